"""The catalogue of boards: profiles as data, and their reader."""

__version__ = "0.1.0"
