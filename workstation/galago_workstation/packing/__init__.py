"""Packing: from an evaluated run to a signed bundle with golden samples."""
