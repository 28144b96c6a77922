"""Access units of a recording file become pictures, by the decoder that decodes files and live streams."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.streams import Gap
from galago_edge.recorded.stored_items import Missing, Stored, StoredPicture, UnrecordedGap
from galago_edge.sources.media.library import import_av
from galago_edge.sources.media.picture_decoder import Damage, Picture, PictureDecoder

_CODECS = {"h264": "h264", "h265": "hevc", "vp9": "vp9", "av1": "av1"}
"""Formats of foxglove.CompressedVideo, and what FFmpeg calls them."""
_HOLES = ("missing", "unreadable")
"""Causes of gaps in which units were lost that later ones lean on."""
_LARGEST_PIXELS = 1 << 26
_TICK = Fraction(1, 1000)

DecodedUnit = tuple[StoredPicture, Any]
"""A unit and its pixels: uint8, BGR, ``(height, width, 3)``; None for damage."""


class RecordedVideo:
    """The pictures of one source, one access unit each, in the order in which they are shown.

    A decoder may hold pictures back. What lies between them in the stream waits with them.
    """

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
        self._format, self._name = format, name
        stream = SimpleNamespace(codec_context=self._av.CodecContext.create(_CODECS[format], "r"))
        self._decoder = PictureDecoder(stream, name, largest_pixels=_LARGEST_PIXELS, conceal=conceal)
        self._order: deque[tuple[int | None, Stored]] = deque()
        """What is not given yet: units with their number, and what lies between them."""
        self._known: dict[int, Any] = {}
        """Pixels of units that wait for earlier ones."""
        self._count = 0
        self._hole = False

    def decode(self, unit: StoredPicture) -> Iterator[DecodedUnit | Stored]:
        """Take one access unit; yield what is known by now.

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
        self._order.append((self._count, unit))
        self._count += 1
        if self._hole:
            self._decoder.expect_damage()
            self._hole = False
        self._note(self._decoder.decode(packet))
        yield from self._ready()

    def between(self, item: Stored) -> Iterator[DecodedUnit | Stored]:
        """Take what lies between two units; yield what is known by now."""
        gone = isinstance(item, Gap) and item.cause in _HOLES
        self._hole |= gone or isinstance(item, Missing | UnrecordedGap)
        self._order.append((None, item))
        yield from self._ready()

    def rest(self) -> Iterator[DecodedUnit | Stored]:
        """Yield everything that is left, at the end."""
        self._note(self._decoder.flush())
        for number, _ in self._order:
            if number is not None:
                self._known.setdefault(number, None)
        yield from self._ready()

    def _note(self, outcomes: Iterator[Picture | Damage]) -> None:
        units = dict(self._order)
        for outcome in outcomes:
            if outcome.pts is not None:
                unit = units.get(outcome.pts)
                seen = isinstance(outcome, Picture) and isinstance(unit, StoredPicture) and not unit.hidden
                self._known[outcome.pts] = outcome.pixels if seen else None  # type: ignore[union-attr]

    def _ready(self) -> Iterator[DecodedUnit | Stored]:
        while self._order:
            number, item = self._order[0]
            if number is not None and number not in self._known:
                return
            self._order.popleft()
            if number is None:
                yield item
                continue
            pixels = self._known.pop(number)
            assert isinstance(item, StoredPicture)
            if not item.hidden:
                yield item, pixels
