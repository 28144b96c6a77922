"""The pipeline: source, windows, preprocessing, engine, decision, records. One class, live and replay."""

from galago_edge.pipeline.classification import (
    Classification,
    RankedLabel,
    classify,
    classify_clip,
    classify_image,
)
from galago_edge.pipeline.driver import Batches, batches, drive, hand_on
from galago_edge.pipeline.loaded_bundle import LoadedBundle, load
from galago_edge.pipeline.stream import DecidingStream, SourceAccount, StreamTally
from galago_edge.pipeline.threshold_overrides import ThresholdOverrides

__all__ = [
    "Batches",
    "Classification",
    "DecidingStream",
    "LoadedBundle",
    "RankedLabel",
    "SourceAccount",
    "StreamTally",
    "ThresholdOverrides",
    "batches",
    "classify",
    "classify_clip",
    "classify_image",
    "drive",
    "hand_on",
    "load",
]
