"""Keeps what was seen or heard: samples for retraining."""

from galago_edge.recording.collector import SampleCollector
from galago_edge.recording.sample_folder import SampleFolder

__all__ = ["SampleCollector", "SampleFolder"]
