"""Choose the samples that travel in a bundle: from the test part, answered right, and clearly so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import ModelError, Reason
from galago_edge.contract.manifest import AudioPreprocess, Golden, GoldenExpected
from galago_edge.engine import Engine
from galago_edge.pipeline.golden_run import GoldenRunner, expected_answer
from galago_edge.preprocess import ImagePreprocessor, LogMelFrontend
from galago_edge.recording.sample_media import wav_bytes
from galago_workstation.data.sample import Sample
from galago_workstation.run_folder import Run

LIMIT = 16
"""Golden samples in one bundle: one for each label, spread over the labels when there are more."""
TRIES = 25
"""Test samples of a label that are tried until one is answered right and clearly."""
ATOL_STEPS = 4
"""Other kernels round a few products otherwise, so their int8 logits differ by some steps. Measured: at most
1 between XNNPACK, builtin and reference kernels of both runtimes on x86-64, for MobileNetV1-0.25-96, ResNet8
and DS-CNN. A wrong model is off by tens; a device that refuses a good one is the greater harm."""
SIDE = 320
"""Longest side of a golden picture in pixels; a camera's full frame would outweigh the model."""


@dataclass(frozen=True, slots=True)
class ChosenGolden:
    """One golden sample: the manifest's entry and the file's content."""

    golden: Golden
    data: bytes


def choose_golden(run: Run, model: bytes) -> list[ChosenGolden]:
    """Return golden samples with the answers that the device's code gives. Same run, same choice.

    A label without a test sample that is answered right gets none.

    Raises:
        ModelError: GOLDEN_FAIL; no test sample at all is answered right.
        InputError: The run's data are not what they were.
    """
    spec = run.preprocess
    suffix = "wav" if isinstance(spec, AudioPreprocess) else "png"
    preprocessor = LogMelFrontend(spec) if isinstance(spec, AudioPreprocess) else ImagePreprocessor(spec)
    runner = GoldenRunner(Engine(model), preprocessor)
    chosen: list[ChosenGolden] = []
    for label in _labels(len(run.labels)):
        found = _choose(run, runner, label)
        if found is not None:
            data, expected = found
            path = f"golden/{len(chosen):02}.{suffix}"
            golden = Golden(file=path, label=run.labels[label], expected=expected)
            chosen.append(ChosenGolden(golden, data))
    if not chosen:
        raise ModelError(
            Reason.GOLDEN_FAIL,
            f"{run.path}: the int8 model answers none of the test samples that were tried",
            hint="train longer, or look at the confusions that galago evaluate shows",
        )
    return chosen


def _labels(count: int) -> list[int]:
    """Return which labels get a sample.

    >>> _labels(3), _labels(32)[:3]
    ([0, 1, 2], [0, 2, 4])
    """
    return [place * count // LIMIT for place in range(LIMIT)] if count > LIMIT else list(range(count))


def _choose(run: Run, runner: GoldenRunner, label: int) -> tuple[bytes, GoldenExpected] | None:
    best: tuple[int, bytes, GoldenExpected] | None = None
    for data in _candidates(run, label):
        expected = expected_answer(runner, data, ATOL_STEPS)
        if expected.argmax != label:
            continue
        others = [code for place, code in enumerate(expected.logits) if place != label]
        margin = expected.logits[label] - max(others)
        if best is None or margin > best[0]:
            best = (margin, data, expected)
        if margin > 2 * ATOL_STEPS:  # then no allowed difference can make another label win
            break
    return None if best is None else best[1:]


def _candidates(run: Run, label: int) -> Iterator[bytes]:
    samples = [sample for sample in run.samples("test") if sample.label == label]
    samples.sort(key=lambda sample: sample.sha256)  # as good as random, and the same every time
    for sample in samples[:TRIES]:
        yield _encoded(run, sample)


def _encoded(run: Run, sample: Sample) -> bytes:
    spec, raw = run.preprocess, run.raw(sample)
    if isinstance(spec, AudioPreprocess):
        return wav_bytes(raw.astype(np.int16), spec.sample_rate_hz)
    return png_bytes(raw.astype(np.uint8))


def png_bytes(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return a PNG of a picture ``(h, w, 3)`` BGR, made smaller when a side is above ``SIDE``."""
    import cv2

    height, width = pixels.shape[:2]
    scale = SIDE / max(height, width, SIDE)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR_EXACT).astype(np.uint8)
    encoded: bytes = cv2.imencode(".png", pixels)[1].tobytes()
    return encoded
