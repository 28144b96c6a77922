"""Keeps what was seen or heard: samples for retraining, and the pictures and sounds of events."""

from galago_edge.recording.attacher import Attacher
from galago_edge.recording.attachment_folder import AttachmentFolder
from galago_edge.recording.collector import SampleCollector
from galago_edge.recording.sample_folder import SampleFolder

__all__ = ["Attacher", "AttachmentFolder", "SampleCollector", "SampleFolder"]
