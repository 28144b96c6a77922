"""``counter:FRAMES?fps=10``: even pictures that grow brighter with their number, out of nothing.

``counter:FRAMES`` is a recording of so many frames. ``counter:live`` is a device that never ends.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import numpy as np

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.modality import Modality
from galago_edge.contract.settings import SourceSettings
from galago_edge.contract.streams import NS_PER_S, Frame, Item
from galago_edge.sources.address_options import integer
from galago_edge.sources.source import Capture, Source
from galago_edge.sources.source_kind import Address, Opening, SourceKind, split_query

_LIVE = "live"
_FPS = 10
_LEVELS = 256


def picture(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return frame ``number``: uint8 (48, 64, 3), one gray level."""
    return np.full((48, 64, 3), number % _LEVELS, np.uint8)


class Counter:
    """A recording: the same frames in every replay."""

    modality: Modality = "camera"
    live = False

    def __init__(self, frames: int, fps: int) -> None:
        """Give ``frames`` frames, ``fps`` a second of stream time."""
        self._frames = frames
        self._step_ns = NS_PER_S // fps
        self._stopping = False

    def description(self) -> dict[str, Any]:
        """Return what is known before the first frame."""
        return {"kind": "counter", "name": str(self._frames)}

    def conversion(self) -> dict[str, Any] | None:
        """Frames are not converted."""
        return None

    def __iter__(self) -> Generator[Item, None, None]:
        """Yield every frame."""
        for number in range(self._frames):
            if self._stopping:
                return
            yield Frame(picture(number), number, number * self._step_ns)

    def summary(self) -> dict[str, Any]:
        """Return the counts."""
        return {"frames": self._frames}

    def stop(self) -> None:
        """End soon."""
        self._stopping = True


class LiveCounter:
    """A device: a frame whenever one is due."""

    def __init__(self, fps: int) -> None:
        """Give ``fps`` frames a second."""
        self._step_s = 1 / fps
        self._number = 0
        self._due_s = time.monotonic()

    def description(self) -> dict[str, Any]:
        """Return what the device says of itself."""
        return {"kind": "counter", "name": _LIVE}

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next frame, or None when it is not due in time."""
        wait_s = self._due_s - time.monotonic()
        time.sleep(max(0.0, min(wait_s, timeout_s)))
        if wait_s > timeout_s:
            return None
        frame = Frame(picture(self._number), self._number, time.monotonic_ns())
        self._number += 1
        self._due_s += self._step_s
        return frame

    def close(self) -> None:
        """Nothing is held."""


def _split(rest: str) -> tuple[str, str]:
    target, query = split_query(rest)
    if target != _LIVE and not target.isdigit():
        raise CallerError(
            Reason.CONFIG_BAD, f"counter:{target} is no number of frames", hint="counter:300 or counter:live"
        )
    return target, query


def _is_live(address: Address) -> bool:
    return address.target == _LIVE


def _open(address: Address, opening: Opening) -> Source:
    return Counter(int(address.target), address.options.get("fps", _FPS))


def _capture(address: Address, settings: SourceSettings, rate_hz: int | None) -> Capture:
    return LiveCounter(address.options.get("fps", _FPS))


SOURCE = SourceKind(
    modality="camera",
    what="a counter",
    form="counter:FRAMES",
    options={"fps": integer(1, 1_000)},
    split=_split,
    open=_open,
    capture=_capture,
    captured=_is_live,
)
