"""Whether a video's own packets say all that the video says: what is made of them is compared, all of it.

A container may say what packets do not: how pictures are turned, which are not shown, what their colours
mean. Packets of pictures that are shown in another order than they were sent in are no units of a recording
file at all.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from galago_edge.contract.streams import Frame, Gap, Notice
from galago_edge.recorded.stored_items import Stored, StoredPicture
from galago_edge.recorded.well_known import VIDEO_FORMATS
from galago_edge.sources.media.recorded_video import DecodedUnit, RecordedVideo


class NotAlikeError(Exception):
    """A replay of the packets would not say what a replay of the file says."""


class UnitCheck:
    """Makes units of a source's frames, and decodes them as a replay of the recording will."""

    def __init__(self, shown: str, *, conceal: bool) -> None:
        """``shown`` is what messages call the file; for ``conceal`` see ``SourceSettings.damaged``."""
        self._shown, self._conceal = shown, conceal
        self._video: RecordedVideo | None = None
        self._expected: deque[bytes] = deque()
        """Of the pixels of each picture that is not decoded again yet."""

    def units_of(self, frame: Frame) -> list[StoredPicture]:
        """Return what is stored of a frame; nothing when it brings no packets along.

        Raises:
            NotAlikeError: It does not follow from the packets.
        """
        coded = frame.coded
        if coded is None:
            if self._video is not None:
                raise NotAlikeError
            return []
        if not coded.packets or coded.packets[-1].number != coded.shown:
            raise NotAlikeError  # a picture that was sent later is shown before it
        format_ = VIDEO_FORMATS[coded.format.codec]
        if self._video is None:
            self._video = RecordedVideo(format_, self._shown, conceal=self._conceal)
        self._expected.append(_digest(frame.pixels))
        units = []
        for packet in coded.packets:
            hidden = packet.number != coded.shown
            unit = StoredPicture(
                frame.index, frame.captured_ns, format_, packet.data, hidden=hidden, key=packet.key
            )
            units.append(unit)
            self._compare(self._video.decode(unit))
        return units

    def between(self, item: Gap | Notice) -> None:
        """Take what lies between two frames: a decoder may take it for a hole.

        Raises:
            NotAlikeError: As :meth:`units_of`.
        """
        if self._video is not None:
            self._compare(self._video.between(item))

    def end(self) -> None:
        """Compare what is left.

        Raises:
            NotAlikeError: As :meth:`units_of`.
        """
        if self._video is not None:
            self._compare(self._video.rest())
            if self._expected:
                raise NotAlikeError

    def _compare(self, decoded: Iterator[DecodedUnit | Stored]) -> None:
        for one in decoded:
            if isinstance(one, tuple):
                pixels: Any = one[1]
                if pixels is None or not self._expected or _digest(pixels) != self._expected.popleft():
                    raise NotAlikeError


def _digest(pixels: np.ndarray[Any, Any]) -> bytes:
    shape = repr(pixels.shape).encode()
    return hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16, person=shape[:16]).digest()
