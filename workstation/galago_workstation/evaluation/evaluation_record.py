"""The record of an evaluated run: one table for Keras, float TFLite and int8 TFLite."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from galago_converters.conversion_record import read_conversion, read_record
from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.manifest import (
    DataSummary,
    LatencyMeasure,
    Natural,
    Positive,
    Probability,
    Resources,
    Sha256,
)

EVALUATION_FILE = "evaluation.json"
CONFUSION_FILE = "evaluation.png"


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every object in ``evaluation.json``."""


class Variant(_Part, frozen=True, kw_only=True):
    """One form of the network on the test part."""

    accuracy: Probability
    recall: dict[str, Probability]
    """Per label that occurs in the test part."""
    flips: Natural
    """Samples that get another label than from Keras."""
    bytes: Positive
    """Size of the file."""
    p50_us: Natural
    """Latency of one inference, one thread, without preprocessing."""
    p99_us: Natural
    confusion: tuple[tuple[Natural, ...], ...]
    """Samples by true label (row) and given label (column), in label order."""


class Evaluation(_Part, frozen=True, kw_only=True):
    """``evaluation.json``. Packing takes the manifest's figures from here."""

    schema: Literal["galago.evaluation/1"] = "galago.evaluation/1"
    labels: tuple[str, ...]
    test_samples: Positive
    keras: Variant
    tflite_float: Variant
    tflite_int8: Variant
    model_sha256: Sha256
    int8_sha256: Sha256
    train_sha256: Sha256
    calibration_sha256: Sha256
    test_sha256: Sha256
    rss_peak_bytes: Natural
    """Of a process that did nothing but load and run the int8 model through the edge engine."""
    engine_heap_bytes: Natural | UnsetType = UNSET
    """Of that, the engine's share of the C heap; left out where the C library does not tell it."""
    cpu: str
    threads: Positive = 1
    runtime: str
    """Package and version of the interpreter."""

    def data_summary(self) -> DataSummary:
        """Return the manifest's ``data``."""
        return DataSummary(
            train_sha256=self.train_sha256,
            calibration_sha256=self.calibration_sha256,
            test_sha256=self.test_sha256,
            test_samples=self.test_samples,
            accuracy_float=self.keras.accuracy,
            accuracy_int8=self.tflite_int8.accuracy,
            recall_int8=self.tflite_int8.recall,
        )

    def resources(self, *, min_free_disk_bytes: int) -> Resources:
        """Return the manifest's ``resources``; only the packer knows how much disk an install needs."""
        latency = LatencyMeasure(
            cpu=self.cpu,
            threads=self.threads,
            p50_us=self.tflite_int8.p50_us,
            p99_us=self.tflite_int8.p99_us,
        )
        return Resources(
            model_bytes=self.tflite_int8.bytes,
            rss_peak_bytes=self.rss_peak_bytes,
            engine_heap_bytes=self.engine_heap_bytes,
            latency=(latency,),
            min_free_disk_bytes=min_free_disk_bytes,
        )


def read_evaluation(run: Path) -> Evaluation:
    """Read the evaluation of the run folder ``run`` and prove that it is about the model that lies there.

    Raises:
        InputError: RUN_BAD; the run was not converted or evaluated, or was converted again since.
        LinkError: A file cannot be read.
    """
    found = read_record(run / EVALUATION_FILE, Evaluation, remedy=f"galago evaluate {run}")
    if found.int8_sha256 != read_conversion(run).int8_sha256:
        raise InputError(
            Reason.RUN_BAD,
            f"{run / EVALUATION_FILE} is about another model: the run was converted again since",
            hint=f"galago evaluate {run}",
        )
    return found
