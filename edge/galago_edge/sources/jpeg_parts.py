"""The parts of a JPEG as a decoder meets them: where the picture ends, and what is only odd about it.

ITU-T T.81, annex B: a start marker, segments that state their lengths (an embedded thumbnail lies inside one
and is passed over with it), scans of coded data in which every FF is stuffed, and an end marker. Bytes
between the segments are skipped, as decoders do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""SOF, which states the picture's size. C4, C8 and CC are tables."""
BARE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a length."""
SOI, EOI, SOS = 0xD8, 0xD9, 0xDA
AFTER_CODED = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
"""What ends coded data: neither a stuffed FF, nor a restart marker, nor a code that means nothing."""

_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
"""It may begin with any number of FF; behind them, 0 means that it was none."""
_SEQUENTIAL = frozenset({0xC0, 0xC1, 0xC9})
_WHOLE_SPECTRUM = b"\x00\x3f\x00"
"""What a scan of a sequential JPEG says of itself: coefficients 0 to 63, all of their bits (table B.3)."""
_REMARKS = frozenset({*range(0xE0, 0xF0), 0xFE})
"""APPn and COM: no data of the picture."""


class JpegPart(NamedTuple):
    """One marker with its segment."""

    marker: int
    start: int
    """Where its own FF is."""
    end: int
    """Behind what it states as its length; perhaps behind the data."""


def jpeg_parts(data: bytes) -> Iterator[JpegPart]:
    """Yield the parts behind the start marker, up to the end marker or the end of the data.

    Coded data is passed over.

    >>> parts = jpeg_parts(b"\\xff\\xd8junk\\xff\\xfe\\x00\\x04\\xff\\xd9\\xff\\xd9tail")
    >>> [hex(part.marker) for part in parts]
    ['0xfe', '0xd9']
    """
    at, pattern = 2, _MARKER
    while (found := pattern.search(data, at)) is not None:
        at = found.end()
        marker = data[at - 1]
        if marker not in BARE and marker != EOI:
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
        yield JpegPart(marker, found.end() - 2, at)
        if marker == EOI:
            return
        pattern = AFTER_CODED if marker == SOS else _MARKER


def jpeg_end(data: bytes) -> int | None:
    """Return where the picture ends, behind its end marker; None without one. All behind it is not its own.

    >>> jpeg_end(b"\\xff\\xd8\\xff\\xda\\x00\\x02coded\\xff\\xd9padding\\xff\\xd9")
    13
    """
    coded = False
    for part in jpeg_parts(data):
        if part.marker == EOI:
            return part.end if coded else None
        coded |= part.marker == SOS
    return None


def without_oddities(data: bytes) -> bytes:
    """Return a JPEG with the same coded data, and nothing in its header that a decoder may remark upon.

    APPn and COM segments are gone, and so are bytes between the segments; the scans of a sequential JPEG say
    that they are sequential. Its colours may be taken for others, so it is no picture to show.
    """
    pieces = [data[:2]]
    kept_to, sequential = None, False
    for part in jpeg_parts(data):
        if kept_to is not None:
            pieces.append(data[kept_to : part.start])  # coded data
            kept_to = None
        if part.marker in _REMARKS:
            continue
        sequential |= part.marker in _SEQUENTIAL
        piece = data[part.start : part.end]
        if part.marker == SOS:
            kept_to = part.end
            if sequential and len(piece) > 2 + len(_WHOLE_SPECTRUM):
                piece = piece[: -len(_WHOLE_SPECTRUM)] + _WHOLE_SPECTRUM
        pieces.append(piece)
    if kept_to is not None:
        pieces.append(data[kept_to:])
    return b"".join(pieces)
