"""What libjpeg and libpng write to standard error about a picture, and what of it means damage.

Neither gives it to OpenCV: a JPEG whose data makes no sense half-way is decoded to something all the same,
and only a line on standard error tells. So those lines are taken from there, judged, and shown to nobody.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from galago_edge.host.native_stderr import hold_stderr

T = TypeVar("T")

_WRITTEN = re.compile(
    rb"Corrupt JPEG data|Premature end of JPEG|Inconsistent progression|Invalid SOS|Unknown Adobe"
    rb"|Unsupported |Invalid |Warning: |libpng (?:warning|error): "
)
"""How they begin their lines."""
_HARMLESS = re.compile(
    rb"Warning: unknown JFIF revision|Invalid SOS parameters|Unknown Adobe color|libpng "
    rb"|Corrupt JPEG data: (?:bad ICC marker|\d+ extraneous bytes before marker 0x(?:c[012]|db|e.|fe))"
)
"""Odd, but decoded in one way only: what concerns the parts of a header, behind which no coded data comes.
What libpng cannot decode is no picture at all."""
_EXTRANEOUS = re.compile(rb"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
"""The picture was complete before its data ended: filled up, as many cameras do, or out of step."""
_JPEG_END = b"\xff\xd9"


def watched_decoding(decode: Callable[[], T], data: bytes) -> tuple[T, bool]:
    """Return what ``decode`` makes of the picture ``data``, and whether that can be relied on."""
    with hold_stderr(_is_written) as lines:
        decoded = decode()
    return decoded, all(_HARMLESS.match(line) or _is_filling(line, data) for line in lines)


def _is_written(line: bytes) -> bool:
    return _WRITTEN.match(line) is not None


def _is_filling(line: bytes, jpeg: bytes) -> bool:
    """Tell whether libjpeg met nothing worse than one byte, repeated, between the picture and its end.

    >>> line = b"Corrupt JPEG data: 3 extraneous bytes before marker 0xd9"
    >>> _is_filling(line, b"data\\0\\0\\0\\xff\\xd9"), _is_filling(line, b"data\\xff\\xd9")
    (True, False)
    """
    found = _EXTRANEOUS.match(line)
    if found is None:
        return False
    end = jpeg.rfind(_JPEG_END)
    filling = jpeg[max(0, end - int(found[1])) : end]
    return len(set(filling)) <= 1
