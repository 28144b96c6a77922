"""A video file: frames counted by decoding, times from the declared rate."""

from __future__ import annotations

import math
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import Any

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import Frame, Item
from galago_edge.sources.image_folder import frame_ns
from galago_edge.sources.opencv import import_cv2

_LARGEST_DENOMINATOR = 1001  # NTSC rates are n * 1000 / 1001


class VideoFile:
    """AVI, MP4, MKV or MOV, decoded by the FFmpeg inside OpenCV, from the first frame to the last.

    The header's frame count and positions are never trusted: an index is how many frames were decoded
    before, a time is ``index / rate``.
    """

    modality: Modality = "camera"
    live = False

    def __init__(self, path: Path, rate: Fraction | None = None) -> None:
        """Open ``path``; ``rate`` replaces the one of the header.

        Raises:
            InputError: VIDEO_UNREADABLE; not a video, or its header has no usable rate and none is given.
            DeviceError: EXTRA_MISSING.
        """
        cv2 = import_cv2("reading video")
        self._path = path
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise self._unreadable("is not a video that can be decoded, or its index is missing")
        used = rate or _exact_rate(float(self._capture.get(cv2.CAP_PROP_FPS)))
        if used is None:
            self._capture.release()
            raise self._unreadable("states no frame rate", hint=f"give one: {path.name}?fps=25")
        self._rate = used
        promised = float(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._promised = int(promised) if math.isfinite(promised) and promised > 0 else None
        self._decoded = 0
        self._stopped = False

    def description(self) -> dict[str, Any]:
        """Return name, rate and what the header promises."""
        return {
            "kind": "video",
            "name": self._path.name,
            "fps": str(self._rate),
            "promised_frames": self._promised,
        }

    def conversion(self) -> None:
        """Return None: frames are taken as they are decoded."""
        return

    def __iter__(self) -> Generator[Item, None, None]:
        """Yield every frame that can be decoded."""
        try:
            while not self._stopped:
                more, pixels = self._capture.read()
                if not more:
                    break
                index = self._decoded
                self._decoded += 1
                yield Frame(pixels, index, frame_ns(index, self._rate))
        finally:
            self._capture.release()
        if not self._decoded and not self._stopped:
            raise self._unreadable("holds no frame that can be decoded")

    def summary(self) -> dict[str, Any]:
        """Return how many frames were decoded and how many the header promised."""
        return {"decoded_frames": self._decoded, "promised_frames": self._promised}

    def stop(self) -> None:
        """End after the current frame."""
        self._stopped = True

    def _unreadable(self, what: str, hint: str = "check that the file is whole") -> InputError:
        return InputError(Reason.VIDEO_UNREADABLE, f"{self._path} {what}", hint=hint)


def _exact_rate(stated: float) -> Fraction | None:
    """Return the rate behind a header's float.

    >>> _exact_rate(29.97002997002997)
    Fraction(30000, 1001)
    """
    if not math.isfinite(stated) or not 0 < stated <= 1000:
        return None
    return Fraction(stated).limit_denominator(_LARGEST_DENOMINATOR) or None
