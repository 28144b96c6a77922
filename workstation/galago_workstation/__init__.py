"""Galago on the workstation: data, training, bundles, evaluation, the demo."""

__version__ = "0.1.0"
