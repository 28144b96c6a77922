"""A run trained further with new samples, and compared with what it was."""
