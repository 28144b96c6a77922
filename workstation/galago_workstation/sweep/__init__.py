"""Trainings of one configuration with some of its keys changed, side by side."""
