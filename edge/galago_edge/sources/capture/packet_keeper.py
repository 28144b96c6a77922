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

KEPT_CODECS = ("h264", "hevc")
"""Of other codecs a recorder gets the pictures."""

MOST_BYTES = 8 * 1024 * 1024
"""Waiting at once: more than ten seconds of the video of a usual camera."""
_MOST_PACKETS = 1_500
"""A minute of a usual camera; their places go into one message."""
_STEP_BYTES = 256 * 1024
"""Room is asked for in such steps, so that the memory rarely has to grow."""
_LENGTHS = b"\x01"
"""How extradata begins whose packets have lengths in place of start codes (ISO/IEC 14496-15, 5.3.3.1)."""
_START_CODE = b"\x00\x00\x01"
_PARAMETERS = {"h264": (7,), "hevc": (32, 33)}
"""Types of the NAL units without which no key frame is decoded (ITU-T H.264, table 7-1; H.265, table 7-1)."""


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
        """Keep the packets of ``track``, an ``av.VideoStream`` of one of :data:`KEPT_CODECS`."""
        context = track.codec_context
        self._codec = str(context.codec.canonical_name)
        extradata = bytes(context.extradata or b"")
        self._filter = _annex_b(track, self._codec) if extradata.startswith(_LENGTHS) else None
        self._parameters = b"" if self._filter is not None else extradata
        base = track.time_base
        self._begins: PacketsBegin | None = PacketsBegin(
            codec=self._codec,
            extradata=self._parameters,
            time_base=(int(base.numerator), int(base.denominator)) if base else (0, 1),
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
        kept = _Kept(self._bytes_of(packet, key), number, key, now_ns, packet.pts, damaged)
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

    def _bytes_of(self, packet: Any, key: bool) -> bytes:
        data = bytes(packet)
        if self._filter is not None:
            import av

            copy = av.Packet(data)  # a filter takes its packet away, and the decoder wants it too
            copy.pts, copy.dts, copy.is_keyframe = packet.pts, packet.dts, packet.is_keyframe
            return b"".join(bytes(done) for done in self._filter.filter(copy))
        return self._parameters + data if key and not self._names_parameters(data) else data

    def _names_parameters(self, data: bytes) -> bool:
        """Tell whether parameter sets stand before the picture, as most cameras send them."""
        at, types = 0, _PARAMETERS[self._codec]
        while (at := data.find(_START_CODE, at)) >= 0 and at + len(_START_CODE) < len(data):
            at += len(_START_CODE)
            kind = data[at] & 0x1F if self._codec == "h264" else data[at] >> 1 & 0x3F
            if kind in types:
                return True
            if kind in (1, 5) if self._codec == "h264" else kind < types[0]:
                return False
        return False


def _annex_b(track: Any, codec: str) -> Any:
    from av.bitstream import BitStreamFilterContext

    return BitStreamFilterContext(f"{codec}_mp4toannexb", track)
