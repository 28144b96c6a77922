"""Weights that a training begins with: where they come from, and how they are read without running them."""
