"""Keeps what was seen or heard: samples for retraining."""

from galago_edge.recording.collecting import SampleCollector
from galago_edge.recording.samples import SampleFolder
from galago_edge.recording.triggers import WindowSeen

__all__ = ["SampleCollector", "SampleFolder", "WindowSeen"]
