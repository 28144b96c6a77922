"""Workstation commands; each module imports TensorFlow only inside its functions."""
