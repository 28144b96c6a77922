"""What libjpeg and libpng write to standard error about a picture, and what of it means damage.

Neither gives it to OpenCV: a JPEG whose data makes no sense half-way is decoded to something all the same,
and only a line on standard error tells. So those lines are taken from there, judged, and shown to nobody.

libjpeg writes only the first of its lines about a picture. When that one is about something odd in its
header, it hides what may come: so such a picture is looked at once more, without what is odd.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from galago_edge.host.native_stderr import hold_stderr
from galago_edge.sources.jpeg_parts import jpeg_end, without_oddities

T = TypeVar("T")

_WRITTEN = re.compile(
    rb"Corrupt JPEG data|Premature end of JPEG|Inconsistent progression|Invalid SOS|Unknown Adobe"
    rb"|Unsupported |Invalid |Warning: |libpng (?:warning|error): "
)
"""How they begin their lines."""
_ODD = re.compile(
    rb"Warning: unknown JFIF revision|Invalid SOS parameters|Unknown Adobe color"
    rb"|Corrupt JPEG data: (?:bad ICC marker|\d+ extraneous bytes before marker 0x(?!d9))"
)
"""What is about a JPEG's header, which is decoded in one way only; or so it may be: bytes before a marker may
also be the rest of coded data that came out of step."""
_LIBPNG = b"libpng "
"""It writes all of its lines, and what it cannot decode is no picture at all."""
_EXTRANEOUS = re.compile(rb"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
"""The picture was complete before its data ended: filled up, as many cameras do, or out of step."""
_READ_AHEAD = 10
"""Bytes: libjpeg has up to 8 of them in its bit buffer, and the picture's own last ones may be the same."""
_JPEG_END = b"\xff\xd9"


def watched_decoding(decode: Callable[[], T]) -> tuple[T, bool]:
    """Return what ``decode`` makes of a picture that is no JPEG, and whether that can be relied on."""
    with hold_stderr(_is_written) as lines:
        decoded = decode()
    return decoded, all(line.startswith(_LIBPNG) for line in lines)


def watched_jpeg(
    data: bytes, decode: Callable[[bytes], T], glance: Callable[[bytes], bool]
) -> tuple[T, bool]:
    """Return what ``decode`` makes of a JPEG, and whether that can be relied on.

    Both are about the bytes up to the picture's own end, whatever stands behind it.

    Args:
        data: Begins with the picture.
        decode: Makes the result.
        glance: Goes through the coded data, however coarse what it makes of them; False when it cannot.
    """
    end = jpeg_end(data)
    if end is not None:
        data = data[:end]
    elif not data.endswith(_JPEG_END):
        data += _JPEG_END  # some cameras leave it out; with it libjpeg complains only if more is missing
    with hold_stderr(_is_written) as lines:
        decoded = decode(data)
    if lines and all(_ODD.match(line) for line in lines):
        data = without_oddities(data)
        with hold_stderr(_is_written) as lines:
            seen = glance(data)
        return decoded, seen and _is_whole(lines, data)
    return decoded, _is_whole(lines, data)


def _is_written(line: bytes) -> bool:
    return _WRITTEN.match(line) is not None


def _is_whole(lines: list[bytes], jpeg: bytes) -> bool:
    return all(_is_filling(line, jpeg) for line in lines)


def _is_filling(line: bytes, jpeg: bytes) -> bool:
    """Tell whether libjpeg met nothing worse than one byte, repeated, between the picture and its end.

    >>> line = b"Corrupt JPEG data: 3 extraneous bytes before marker 0xd9"
    >>> _is_filling(line, b"data\\0\\0\\0\\xff\\xd9"), _is_filling(line, b"data\\xff\\xd9")
    (True, False)

    Nor is it whole when much of what is repeated was taken for the picture.

    >>> _is_filling(line, b"data" + bytes(300) + b"\\xff\\xd9")
    False
    """
    found = _EXTRANEOUS.match(line)
    if found is None:
        return False
    left = int(found[1])
    body = jpeg[: jpeg.rfind(_JPEG_END)]
    repeated = len(body) - len(body.rstrip(body[-1:]))
    return left <= repeated <= left + _READ_AHEAD
