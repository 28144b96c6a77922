"""The pipeline: source, windows, preprocessing, engine, decision, records. One class, live and replay."""

from galago_edge.pipeline.classification import Classification, Ranked, classify
from galago_edge.pipeline.driver import drive
from galago_edge.pipeline.loaded_bundle import LoadedBundle, load
from galago_edge.pipeline.stream import Stream, StreamTally
from galago_edge.pipeline.threshold_overrides import Overrides

__all__ = [
    "Classification",
    "LoadedBundle",
    "Overrides",
    "Ranked",
    "Stream",
    "StreamTally",
    "classify",
    "drive",
    "load",
]
