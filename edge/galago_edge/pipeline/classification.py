"""One file, one answer: no smoothing, no thresholds, no events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.manifest import AudioPreprocess
from galago_edge.contract.streams import AudioBlock, Frame, Span
from galago_edge.decision import ONE
from galago_edge.pipeline.loaded_bundle import LoadedBundle
from galago_edge.pipeline.windows import windows_of
from galago_edge.sources import AudioFile, read_image
from galago_edge.sources.address import AUDIO_SUFFIXES, IMAGE_SUFFIXES


@dataclass(frozen=True, slots=True)
class Ranked:
    """The highest score of one label over all windows of a file, and where that was."""

    label: str
    score: float
    span: Span


@dataclass(frozen=True, slots=True)
class Classification:
    """What a bundle says to one file."""

    ranked: tuple[Ranked, ...]
    """All labels; the first one is the answer."""
    windows: int
    padded_samples: int = 0
    """Zeros that were put behind a sound that is shorter than a window."""
    conversion: dict[str, Any] | None = None
    """What was done to the samples; see ``galago_edge.sources.sample_conversion``."""


def classify(path: Path, loaded: LoadedBundle) -> Classification:
    """Classify one image, or one sound file window by window.

    The answer is the label that wins a window with the highest score. Where a file has several windows,
    a background label is the answer only if no other label wins any: one second of alarm in a minute of
    noise is an alarm.

    Raises:
        InputError: SOURCE_MISMATCH, or the file cannot be read or is cut off.
        LinkError: SOURCE_MISSING, or the disk fails.
        DeviceError: EXTRA_MISSING.
        BundleError: MODEL_BAD; the model failed.
    """
    _check_kind(path, loaded)
    windows = windows_of(loaded.preprocessor, loaded.engine)
    found: list[tuple[Span, npt.NDArray[np.int8]]] = []

    def feed(item: Frame | AudioBlock) -> None:
        for span in windows.feed(item):
            windows.fill()
            loaded.engine.invoke()
            found.append((span, loaded.engine.logits()))

    if not isinstance(loaded.spec, AudioPreprocess):
        feed(Frame(read_image(path), 0, 0))
        return Classification(_rank(found, loaded), len(found))
    source = AudioFile(path, loaded.spec.sample_rate_hz)
    for item in source:
        if isinstance(item, AudioBlock):
            feed(item)
    padded = 0
    if not found:
        padded = loaded.spec.window_samples - windows.next_index
        silence = np.zeros(padded, np.int16)
        feed(AudioBlock(silence, windows.next_index, windows.end_ns, loaded.spec.sample_rate_hz))
    return Classification(_rank(found, loaded), len(found), padded, source.conversion())


def _rank(found: list[tuple[Span, npt.NDArray[np.int8]]], loaded: LoadedBundle) -> tuple[Ranked, ...]:
    labels = loaded.manifest.labels
    scores = np.stack([loaded.activation.scores(logits) for _, logits in found])  # (windows, labels)
    winners = {int(logits.argmax()) for _, logits in found}
    foreground = {index for index in winners if not labels[index].background}
    best = scores.max(axis=0)
    answer = max(sorted(foreground or winners), key=lambda index: best[index])
    order = [answer, *(index for index in _descending(best) if index != answer)]
    where = scores.argmax(axis=0)
    return tuple(
        Ranked(labels[index].name, int(best[index]) / ONE, found[int(where[index])][0]) for index in order
    )


def _descending(values: npt.NDArray[np.int64]) -> Iterator[int]:
    return map(int, np.argsort(-values, kind="stable"))


def _check_kind(path: Path, loaded: LoadedBundle) -> None:
    """Say it in the bundle's words when a camera gets a sound, before a decoder complains in its own."""
    other = IMAGE_SUFFIXES if isinstance(loaded.spec, AudioPreprocess) else AUDIO_SUFFIXES
    if path.suffix.lower() in other:
        raise InputError(
            Reason.SOURCE_MISMATCH,
            f"{path}: the bundle {loaded.manifest.bundle.name} is for a {loaded.manifest.modality}",
            hint="give it files of its own kind, or take another bundle",
        )
