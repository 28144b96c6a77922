"""Access units of a recording file become pictures, by the decoder that decodes files and live streams."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

from galago_edge.contract.errors import InputError, Reason
from galago_edge.recorded.stored_items import StoredPicture
from galago_edge.sources.media.library import import_av
from galago_edge.sources.media.picture_decoder import Damage, Picture, PictureDecoder

_CODECS = {"h264": "h264", "h265": "hevc", "vp9": "vp9", "av1": "av1"}
"""Formats of foxglove.CompressedVideo, and what FFmpeg calls them."""
_LARGEST_PIXELS = 1 << 26
_TICK = Fraction(1, 1000)


class RecordedVideo:
    """The pictures of one source, one access unit each, without such as are shown in another order."""

    def __init__(self, format: str, name: str, *, conceal: bool) -> None:
        """Prepare for ``format``; ``name`` is for messages.

        Raises:
            InputError: SOURCE_MISMATCH; a format that is not known.
            DeviceError: EXTRA_MISSING.
        """
        self._av: Any = import_av("decoding a recording's pictures")
        if format not in _CODECS:
            raise InputError(
                Reason.SOURCE_MISMATCH,
                f"{name} holds pictures in the format {format[:40]!r}, expected one of jpeg, png, webp, "
                f"{', '.join(_CODECS)}",
                hint="galago recording info shows what it holds",
            )
        self._format, self._name, self._conceal = format, name, conceal
        self._waiting: dict[int, StoredPicture] = {}
        self._count = 0
        self._hole = False
        self._decoder = self._begin()

    def decode(self, unit: StoredPicture) -> Iterator[tuple[StoredPicture, Any]]:
        """Take one access unit; yield what is known by now: units and their pixels, None for damage.

        Raises:
            InputError: SOURCE_MISMATCH; the format changed. VIDEO_UNREADABLE.
        """
        if unit.format != self._format:
            raise InputError(
                Reason.SOURCE_MISMATCH,
                f"{self._name}: pictures in the format {unit.format[:40]!r} behind some in {self._format!r}",
                hint="record it again",
            )
        packet = self._av.Packet(unit.data)
        packet.pts = packet.dts = self._count
        packet.time_base = _TICK
        packet.is_keyframe = unit.key
        self._waiting[self._count] = unit
        self._count += 1
        if self._hole:
            self._decoder.expect_damage()
            self._hole = False
        yield from self._shown(self._decoder.decode(packet))

    def rest(self, *, lost: bool = False) -> Iterator[tuple[StoredPicture, Any]]:
        """Yield what the decoder still holds; ``lost``: units are missing behind it."""
        self._hole |= lost
        if self._waiting:
            yield from self._shown(self._decoder.flush())
            self._waiting.clear()
            self._decoder = self._begin()

    def _begin(self) -> PictureDecoder:
        context = self._av.CodecContext.create(_CODECS[self._format], "r")
        stream = SimpleNamespace(codec_context=context)
        return PictureDecoder(stream, self._name, largest_pixels=_LARGEST_PIXELS, conceal=self._conceal)

    def _shown(self, outcomes: Iterator[Picture | Damage]) -> Iterator[tuple[StoredPicture, Any]]:
        for outcome in outcomes:
            unit = self._waiting.pop(-1 if outcome.pts is None else outcome.pts, None)
            if unit is not None and not unit.hidden:
                yield unit, outcome.pixels if isinstance(outcome, Picture) else None
