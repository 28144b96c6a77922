"""Intake: the one door by which bundles come into a device, whatever brought them."""
