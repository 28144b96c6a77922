"""Whether a sample looks or sounds like one that is kept already.

A picture is reduced to the gray levels of 16 x 16 cells. Two pictures are alike when no cell differs by
:data:`PICTURE_STEP` or more: noise and compression average out within a cell, an object that comes, goes or
moves by about a cell does not.

A sound is reduced to mean and 90th percentile over time of each mel band, in the half decibels of its own
frontend. Two sounds are alike when the mean difference is below :data:`SOUND_STEP`: when within the window
something sounds does not matter, what sounds and how loud does.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import numpy.typing as npt

from galago_edge.contract.manifest import AudioPreprocess
from galago_edge.host.extras import import_extra
from galago_edge.preprocess import log_mel

PICTURE_STEP = 12
"""Gray levels."""
SOUND_STEP = 6
"""Half decibels: 3 dB."""
REMEMBERED = 256
"""So many samples of one bundle are compared with, the last kept or met ones."""
_CELLS = 16
_LOUD_PERCENT = 90

Fingerprint = npt.NDArray[np.int16]


def picture_fingerprint(pixels: npt.NDArray[np.uint8]) -> Fingerprint:
    """Return the gray levels of the cells, shape ``(256,)``.

    Raises:
        DeviceError: EXTRA_MISSING; OpenCV is not installed.
    """
    cv2 = import_extra("cv2", "camera", "keeping pictures")
    small = cv2.resize(pixels, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    gray: npt.NDArray[np.uint8] = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    return gray.reshape(-1).astype(np.int16)


def sound_fingerprint(spec: AudioPreprocess, window: npt.NDArray[np.int16]) -> Fingerprint:
    """Return level and peak level of each band, shape ``(2 * mel_bands,)``."""
    codes = log_mel(spec, window)
    level = np.rint(codes.mean(axis=0))
    loud = np.percentile(codes, _LOUD_PERCENT, axis=0, method="nearest")
    return np.concatenate((level, loud)).astype(np.int16)


def alike(one: Fingerprint, other: Fingerprint, *, picture: bool) -> bool:
    """Tell whether two samples of one bundle are near-duplicates."""
    if one.shape != other.shape:
        return False
    difference = np.abs(one - other)
    if picture:
        return int(difference.max()) < PICTURE_STEP
    return int(difference.sum()) < SOUND_STEP * len(difference)


class Seen:
    """The last samples of one bundle."""

    def __init__(self, *, picture: bool) -> None:
        self._picture = picture
        self._kept: OrderedDict[str, Fingerprint] = OrderedDict()

    def twin(self, fingerprint: Fingerprint) -> str | None:
        """Return the name of a kept sample that is alike; it is remembered for longer then."""
        for name in reversed(self._kept):
            if alike(fingerprint, self._kept[name], picture=self._picture):
                self._kept.move_to_end(name)
                return name
        return None

    def add(self, name: str, fingerprint: Fingerprint) -> None:
        """Remember a sample that was kept."""
        self._kept[name] = fingerprint
        if len(self._kept) > REMEMBERED:
            self._kept.popitem(last=False)
