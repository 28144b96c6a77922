"""The packets of a stream's pictures, in the child, for a parent that records: kept until a frame is taken.

They come with the frame that is taken next, so that the two never get out of step. There is room for a
stretch of video; what is older than the newest key frame goes first, for no later picture leans on it.
"""

from __future__ import annotations

import mmap
from collections import deque
from dataclasses import dataclass
from typing import Any

from galago_edge.sources.capture.capture_messages import PacketPlace, PacketsBegin, PacketsReady

MOST_BYTES = 8 * 1024 * 1024
"""Waiting at once: more than ten seconds of the video of a usual camera."""
_MOST_PACKETS = 1_500
"""A minute of a usual camera; their places go into one message."""
_STEP_BYTES = 256 * 1024
"""Room is asked for in such steps, so that the memory rarely has to grow."""


@dataclass(frozen=True, slots=True)
class _Kept:
    data: bytes
    number: int
    key: bool
    arrived_ns: int
    pts: int | None
    damaged: bool


class PacketKeeper:
    """Keeps what one decoder is given, from the first key frame on, in at most ``most_bytes``."""

    def __init__(self, track: Any, most_bytes: int = MOST_BYTES) -> None:
        """Keep the packets of ``track``, an ``av.VideoStream`` of one of ``KEPT_CODECS``."""
        from galago_edge.sources.media.access_units import AccessUnits  # not before a camera is open

        self._units = AccessUnits(track)
        form = self._units.format
        self._begins: PacketsBegin | None = PacketsBegin(
            codec=form.codec, extradata=form.extradata, time_base=form.time_base
        )
        self._most_bytes = most_bytes
        self._kept: deque[_Kept] = deque()
        self._bytes = self._count = self._left_out = 0
        self._waits = True
        """Nothing can be decoded before the next key frame."""

    @property
    def room(self) -> int:
        """How many bytes :meth:`write` wants."""
        return -(-self._bytes // _STEP_BYTES) * _STEP_BYTES

    def take(self, packet: Any, *, damaged: bool, now_ns: int) -> None:
        """Take the next packet that the decoder gets (``av.Packet``, not empty), which came at ``now_ns``."""
        number, self._count = self._count, self._count + 1
        key = bool(packet.is_keyframe)
        if self._waits and not key:
            self._left_out += 1
            return
        self._waits = False
        kept = _Kept(self._units.bytes_of(packet), number, key, now_ns, packet.pts, damaged)
        self._kept.append(kept)
        self._bytes += len(kept.data)
        if self._bytes > self._most_bytes or len(self._kept) > _MOST_PACKETS:
            self._make_room()

    def write(self, memory: mmap.mmap, start: int) -> None:
        """Write everything that waits into ``memory`` from ``start`` on; there must be :attr:`room`."""
        for kept in self._kept:
            memory[start : start + len(kept.data)] = kept.data
            start += len(kept.data)

    def hand_over(self, shown: int, captured_ns: int) -> PacketsReady:
        """Return where everything lies that was written, for the frame decoded from packet ``shown``."""
        places = [
            PacketPlace(
                size=len(kept.data),
                number=kept.number,
                key=kept.key,
                before_ns=max(0, captured_ns - kept.arrived_ns),
                pts=kept.pts,
                damaged=kept.damaged,
            )
            for kept in self._kept
        ]
        ready = PacketsReady(places=places, shown=shown, left_out=self._left_out, begins=self._begins)
        self._kept.clear()
        self._bytes = self._left_out = 0
        self._begins = None
        return ready

    def _make_room(self) -> None:
        """Forget what comes before the newest key frame; everything up to the next one if that is it all."""
        newest = max((at for at, kept in enumerate(self._kept) if kept.key), default=0)
        self._waits = not newest
        for _ in range(newest or len(self._kept)):
            self._bytes -= len(self._kept.popleft().data)
            self._left_out += 1
