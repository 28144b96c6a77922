"""The catalogue of boards: profiles as data, and their reader."""

from galago_devices.catalogue import names, profile, profile_text

__all__ = ["names", "profile", "profile_text"]

__version__ = "0.1.0"
