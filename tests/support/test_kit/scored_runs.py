"""A run that was scored, with answers chosen by hand: nothing is trained, and no file is needed for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess, Preprocess
from galago_edge.decision.activation import to_q16
from galago_workstation.data.sample import Sample
from galago_workstation.evaluation.evaluation_record import Evaluation, Variant
from galago_workstation.evaluation.scoring import ScoredRun

METRICS = """\
epoch,loss,accuracy,validation_loss,validation_accuracy,validation_balanced,learning_rate,seconds
1,1.1,0.4,1.0,0.5,0.5,0.01,1
2,0.6,0.8,0.7,0.75,0.7,0.01,1
3,0.4,0.9,0.8,0.7,0.7,0.001,1
"""


@dataclass
class PlainRun:
    """What a report asks of a run; samples named ``gone`` cannot be read."""

    path: Path
    labels: tuple[str, ...]
    preprocess: Preprocess
    test: list[Sample]

    config = None
    data_root = Path()

    @property
    def record(self) -> Any:
        result = SimpleNamespace(parameters=1_234, best_epoch=2, epochs=3, seconds=1_800.0, interrupted=False)
        return SimpleNamespace(result=result, duplicates_left_out=0)

    def samples(self, part: str) -> list[Sample]:
        return {"test": self.test, "train": self.test, "validation": []}[part]

    def raw(self, sample: Sample) -> npt.NDArray[Any]:
        if "gone" in sample.id:
            raise InputError(Reason.DATA_BAD, f"{sample.id} is gone", hint="train again")
        if isinstance(self.preprocess, AudioPreprocess):
            times = np.arange(self.preprocess.window_samples) / self.preprocess.sample_rate_hz
            return (8_000 * np.sin(2 * np.pi * 400 * (1 + sample.label) * times)).astype(np.int16)
        picture = np.full((120, 160, 3), 40, np.uint8)
        picture[30:90, 40 + 10 * sample.label : 120, sample.label % 3] = 220
        return picture

    def inputs(self, samples: list[Sample]) -> npt.NDArray[np.int8]:
        assert isinstance(self.preprocess, AudioPreprocess)
        shape = (len(samples), self.preprocess.window_frames, self.preprocess.mel_bands)
        return np.broadcast_to(np.arange(shape[2], dtype=np.int8), shape)


def variant(truth: list[int], given: list[int], labels: tuple[str, ...]) -> Variant:
    """Return the record of answers."""
    confusion = np.zeros((len(labels), len(labels)), int)
    np.add.at(confusion, (truth, given), 1)
    totals = confusion.sum(axis=1)
    return Variant(
        accuracy=float(np.mean(np.array(truth) == given)),
        recall={name: confusion[n, n] / totals[n] for n, name in enumerate(labels) if totals[n]},
        flips=0,
        bytes=12_345,
        p50_us=1_250,
        p99_us=2_000,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def scored_run(
    path: Path,
    labels: tuple[str, ...],
    truth: list[int],
    scores: list[list[float]],
    *,
    ids: list[str] | None = None,
    groups: list[str | None] | None = None,
    sounds: bool = False,
) -> tuple[Any, ScoredRun]:
    """Return a run and its answers, which all forms give alike. ``scores``: from 0 to 1, by label."""
    (path / "metrics.csv").write_text(METRICS)
    named = ids or [f"data/{number}.png" for number in range(len(truth))]
    grouped = groups or [None] * len(truth)
    samples = [
        Sample(name, None, "0" * 64, label, group)
        for name, label, group in zip(named, truth, grouped, strict=True)
    ]
    given = np.argmax(scores, axis=1)
    found = variant(truth, given.tolist(), labels)
    evaluation = Evaluation(
        labels=labels,
        test_samples=len(truth),
        keras=found,
        tflite_float=found,
        tflite_int8=found,
        model_sha256="0" * 64,
        int8_sha256="1" * 64,
        train_sha256="2" * 64,
        calibration_sha256="3" * 64,
        test_sha256="4" * 64,
        rss_peak_bytes=55_000_000,
        cpu="a processor",
        runtime="ai-edge-litert 2.3.0",
    )
    spec: Preprocess = (
        AudioPreprocess(sample_rate_hz=16_000) if sounds else ImagePreprocess(width=16, height=16)
    )
    q16 = np.array([[to_q16(one) for one in row] for row in scores], np.int64)
    scored = ScoredRun(evaluation, samples, {"keras": given, "float": given, "int8": given}, q16)
    return PlainRun(path, labels, spec, samples), scored
