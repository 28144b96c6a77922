"""Labelled data: what lies in the folders, which part it belongs to, how it becomes model input."""
