"""Galago on the device: load a signed bundle, watch and listen, decide, tell."""

__version__ = "0.1.0"
