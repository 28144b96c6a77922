"""One file, one answer: no smoothing, no thresholds, no events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
from galago_edge.pipeline.windows import AudioWindows, FrameWindows, windows_of
from galago_edge.sources import AudioFile, read_image
from galago_edge.sources.address import AUDIO_SUFFIXES, IMAGE_SUFFIXES
from galago_edge.sources.sample_conversion import Converter, PcmFormat


@dataclass(frozen=True, slots=True)
class RankedLabel:
    """The highest score of one label over all windows of an image or clip, and where that was."""

    label: str
    score: float
    """0 to 1, not smoothed."""
    span: Span


@dataclass(frozen=True, slots=True)
class Classification:
    """What a bundle says to one image or clip."""

    ranked: tuple[RankedLabel, ...]
    """All labels; the first one is the answer."""
    windows: int
    """So many were looked at: one of an image, as many as fit of a clip."""
    padded_samples: int = 0
    """Zeros that were put behind a sound that is shorter than a window."""
    conversion: dict[str, Any] | None = None
    """What was done to the samples; see ``galago_edge.sources.sample_conversion``."""

    @property
    def label(self) -> str:
        """The answer."""
        return self.ranked[0].label

    @property
    def score(self) -> float:
        """The answer's score, 0 to 1. Another label's may be higher where the answer is no background."""
        return self.ranked[0].score


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
    if not isinstance(loaded.spec, AudioPreprocess):
        return classify_image(read_image(path), loaded)
    source = AudioFile(path, loaded.spec.sample_rate_hz)
    blocks = (item for item in source if isinstance(item, AudioBlock))
    return _classify_sound(blocks, source.conversion(), loaded.spec, loaded)


def classify_image(pixels: npt.NDArray[np.uint8], loaded: LoadedBundle) -> Classification:
    """Classify one image: uint8, shape ``(height, width, 3)``, BGR.

    Raises:
        InputError: SOURCE_MISMATCH; the bundle is for a microphone, or ``pixels`` is something else.
        BundleError: MODEL_BAD; the model failed.
    """
    windows = windows_of(loaded.preprocessor, loaded.engine)
    found = list(_answers([Frame(pixels, 0, 0)], windows, loaded))
    return Classification(_rank(found, loaded), len(found))


def classify_clip(samples: npt.NDArray[np.int16], rate_hz: int, loaded: LoadedBundle) -> Classification:
    """Classify one clip, int16 mono of shape ``(n,)``, as a file of these samples would be.

    Raises:
        InputError: SOURCE_MISMATCH; the bundle is for a camera.
        DeviceError: EXTRA_MISSING; an odd rate needs soxr, which is not installed.
        BundleError: MODEL_BAD; the model failed.
    """
    spec = loaded.spec
    if not isinstance(spec, AudioPreprocess):
        raise _mismatch("samples of a microphone", loaded)
    converter = Converter(PcmFormat("s16", 1, rate_hz), spec.sample_rate_hz)
    converted = converter.convert(samples.reshape(-1, 1), last=True)
    blocks = [AudioBlock(converted, 0, 0, spec.sample_rate_hz)]
    return _classify_sound(blocks, converter.declaration(), spec, loaded)


def _classify_sound(
    blocks: Iterable[AudioBlock],
    conversion: dict[str, Any] | None,
    spec: AudioPreprocess,
    loaded: LoadedBundle,
) -> Classification:
    windows = windows_of(loaded.preprocessor, loaded.engine)
    found = list(_answers(blocks, windows, loaded))
    padded = 0
    if not found:
        padded = spec.window_samples - windows.next_index
        silence = np.zeros(padded, np.int16)
        rest = AudioBlock(silence, windows.next_index, windows.end_ns, spec.sample_rate_hz)
        found = list(_answers([rest], windows, loaded))
    return Classification(_rank(found, loaded), len(found), padded, conversion)


def _answers(
    items: Iterable[Frame | AudioBlock], windows: FrameWindows | AudioWindows, loaded: LoadedBundle
) -> Iterator[tuple[Span, npt.NDArray[np.int8]]]:
    """Run the model on every window of the items."""
    for item in items:
        for span in windows.feed(item):
            windows.fill()
            loaded.engine.invoke()
            yield span, loaded.engine.logits()


def _rank(found: list[tuple[Span, npt.NDArray[np.int8]]], loaded: LoadedBundle) -> tuple[RankedLabel, ...]:
    labels = loaded.manifest.labels
    scores = loaded.activation.scores(np.array([logits for _, logits in found]))  # (windows, labels)
    winners = {int(logits.argmax()) for _, logits in found}
    foreground = {index for index in winners if not labels[index].background}
    best = scores.max(axis=0)
    answer = max(sorted(foreground or winners), key=lambda index: best[index])
    order = [answer, *(index for index in _descending(best) if index != answer)]
    where = scores.argmax(axis=0)
    return tuple(
        RankedLabel(labels[index].name, int(best[index]) / ONE, found[int(where[index])][0])
        for index in order
    )


def _descending(values: npt.NDArray[np.int64]) -> Iterator[int]:
    return map(int, np.argsort(-values, kind="stable"))


def _check_kind(path: Path, loaded: LoadedBundle) -> None:
    """Say it in the bundle's words when a camera gets a sound, before a decoder complains in its own."""
    other = IMAGE_SUFFIXES if isinstance(loaded.spec, AudioPreprocess) else AUDIO_SUFFIXES
    if path.suffix.lower() in other:
        raise _mismatch(str(path), loaded)


def _mismatch(met: str, loaded: LoadedBundle) -> InputError:
    return InputError(
        Reason.SOURCE_MISMATCH,
        f"{met}: the bundle {loaded.manifest.bundle.name} is for a {loaded.manifest.modality}",
        hint="give it files of its own kind, or take another bundle",
    )
