"""The service: what a device runs, side by side, until it is told to stop."""
