"""Faults of a replay: the recording plays the camera or microphone, and something goes wrong with it."""
