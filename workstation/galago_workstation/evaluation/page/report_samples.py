"""Samples made small enough to be shown in a page: thumbnails, and sounds with what the model is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import GalagoError
from galago_edge.contract.manifest import AudioPreprocess
from galago_edge.contract.streams import Frame
from galago_edge.recording.sample_media import bare_jpeg_bytes, wav_bytes
from galago_workstation.data.sample import Sample
from galago_workstation.run_folder import Run

MOST_MEDIA_BYTES = 4 << 20
"""Of all samples of a page; a third more as base64."""
PICTURE_WIDTH = 160
"""Pixels; a wider picture is made smaller."""
_SPECTROGRAM_PIXELS = 3
"""Height of a mel band."""


class SampleMedia:
    """The media of one page, as long as there is room."""

    def __init__(self, run: Run) -> None:
        self._run, spec = run, run.preprocess
        self._rate_hz = spec.sample_rate_hz if isinstance(spec, AudioPreprocess) else 0
        self.files: dict[str, bytes] = {}
        self.too_many = 0
        """Samples for which there was no room."""
        self.unreadable = 0
        """Samples that are gone, changed or damaged since the training."""

    def take(self, sample: Sample) -> tuple[str, str] | None:
        """Return the names of a sample's picture and sound (empty: none); None when it cannot be shown."""
        try:
            raw = self._run.raw(sample)
            given = self._run.inputs([sample])[0] if self._rate_hz else raw
            return self.keep(raw, given)
        except GalagoError:
            self.unreadable += 1
            return None

    def keep(self, raw: npt.NDArray[Any], given: npt.NDArray[Any]) -> tuple[str, str] | None:
        """Return the names of the media of a picture ``(height, width, 3)`` BGR or a window of sound
        ``(window_samples,)``, whose features are ``given``; None when there is no room.

        Raises:
            InputError: IMAGE_UNREADABLE; OpenCV cannot encode it.
        """
        sound = wav_bytes(raw.astype(np.int16, copy=False), self._rate_hz) if self._rate_hz else b""
        shown = spectrogram(given) if self._rate_hz else raw.astype(np.uint8, copy=False)
        picture = bare_jpeg_bytes(Frame(shown, 0, 0), 0 if self._rate_hz else PICTURE_WIDTH)
        held = sum(map(len, self.files.values()))
        if held + len(picture) + len(sound) > MOST_MEDIA_BYTES:
            self.too_many += 1
            return None
        number = len(self.files)
        names = f"{number}.jpg", f"{number}.wav" if sound else ""
        self.files[names[0]] = picture
        if sound:
            self.files[names[1]] = sound
        return names


def spectrogram(codes: npt.NDArray[np.int8] | npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return features ``(frames, bands)`` as grey pixels ``(height, width, 3)``: time to the right, high
    bands at the top, the loudest white."""
    levels = np.flipud(codes.T).astype(np.float32)
    low, high = float(levels.min()), float(levels.max())
    grey = ((levels - low) * (255 / max(high - low, 1.0))).astype(np.uint8)
    times = max(1, round(PICTURE_WIDTH / grey.shape[1]))
    return np.repeat(np.kron(grey, np.ones((_SPECTROGRAM_PIXELS, times), np.uint8))[:, :, None], 3, axis=2)


def spread(samples: Sequence[Sample], labels: int, most: int, each: int) -> list[Sample]:
    """Return at most ``each`` samples of every label, and ``most`` in all, evenly of those that there are."""
    each = max(1, min(each, most // max(labels, 1)))
    found: list[Sample] = []
    for label in range(labels):
        own = [sample for sample in samples if sample.label == label]
        places = np.unique(np.linspace(0, len(own) - 1, min(each, len(own))).round().astype(int))
        found += [own[place] for place in places.tolist()]
    return found[:most]
