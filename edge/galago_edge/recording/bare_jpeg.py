"""A camera's JPEG with nothing in it but the picture: no place, no thumbnail, no note, nothing behind it.

ITU-T T.81, annex B: a start marker, segments that state their lengths, scans of coded data in which every FF
is stuffed, an end marker. What decides how the picture looks is copied byte for byte, so nothing is decoded
and nothing gets worse. Anything that is not exactly that is refused: who wants it encodes the pixels anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""SOF: the picture's size and how it is coded."""
_TABLES = frozenset({0xC4, 0xCC, 0xDB, 0xDC, 0xDD})
"""DHT, DAC, DQT, DNL, DRI."""
_JFIF, _EXIF, _ADOBE, _COMMENT = 0xE0, 0xE1, 0xEE, 0xFE
_REMARKS = frozenset({*range(0xE0, 0xF0), _COMMENT})

_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
"""It may begin with any number of FF."""
_BEHIND_CODED = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""Neither a stuffed FF nor a restart marker."""
_ORIENTATION = re.compile(rb"(?=\x01\x12.{6}\x00[\x02-\x08]|\x12\x01.{6}[\x02-\x08]\x00)", re.DOTALL)
"""An entry of EXIF's directory in either byte order, whatever type it claims: OpenCV asks for none."""


def bare_jpeg(data: bytes) -> bytes | None:
    """Return the same picture without APPn and COM segments and without what lies behind its end.

    Of APPn only what colours depend on stays: JFIF without its thumbnail, and Adobe's. None when ``data`` is
    no well-formed JPEG, or when it would be seen another way without its EXIF: turned.

    >>> scan = b"\\xff\\xc0\\x00\\x04ab\\xff\\xda\\x00\\x04cdcoded\\xff\\xd9"
    >>> bare_jpeg(b"\\xff\\xd8\\xff\\xfe\\x00\\x05Bob" + scan + b"tail") == b"\\xff\\xd8" + scan
    True
    """
    if not data.startswith(b"\xff\xd8"):
        return None
    pieces, at, sized, coded = [data[:2]], 2, False, False
    while (found := _MARKER.match(data, at)) is not None:
        marker, at = found[1][0], found.end()
        if marker == _END:
            return b"".join((*pieces, b"\xff\xd9")) if coded else None
        length = int.from_bytes(data[at : at + 2], "big")
        content = data[at + 2 : at + length]
        if length < 2 or len(content) != length - 2:
            return None
        at += length
        if marker in _REMARKS:
            if marker == _EXIF and _ORIENTATION.search(content):
                return None
            content = _KEPT.get(marker, _nothing)(content)
            if not content:
                continue
        elif marker in _FRAMES:
            sized = True
        elif marker not in _TABLES and not (marker == _SCAN and sized):
            return None
        pieces.append(bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content)
        if marker == _SCAN:
            behind = _BEHIND_CODED.search(data, at)
            if behind is None:
                return None
            pieces.append(data[at : behind.start()])
            at, coded = behind.start(), True
    return None


def _nothing(content: bytes) -> bytes:
    return b""


def _of_jfif(content: bytes) -> bytes:
    """Return version and density, and a thumbnail of no size. Decoders take a shorter one for none."""
    return content[:12] + b"\0\0" if content.startswith(b"JFIF\0") and len(content) >= 14 else b""


def _of_adobe(content: bytes) -> bytes:
    """Return what says how colours are transformed."""
    return content[:12] if content.startswith(b"Adobe") and len(content) >= 12 else b""


_KEPT: Mapping[int, Callable[[bytes], bytes]] = {_JFIF: _of_jfif, _ADOBE: _of_adobe}
