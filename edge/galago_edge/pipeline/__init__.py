"""The pipeline: source, windows, preprocessing, engine, decision, records. One class, live and replay."""

from galago_edge.pipeline.classifying import Classification, Ranked, classify
from galago_edge.pipeline.driving import drive
from galago_edge.pipeline.loading import LoadedBundle, load
from galago_edge.pipeline.overrides import Overrides
from galago_edge.pipeline.stream import Stream, WindowSeen

__all__ = [
    "Classification",
    "LoadedBundle",
    "Overrides",
    "Ranked",
    "Stream",
    "WindowSeen",
    "classify",
    "drive",
    "load",
]
