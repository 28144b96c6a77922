"""Finds whole JPEG pictures in any bytes: by their own structure, whatever stands between them.

Cameras disagree with themselves about the boundary lines and lengths around their pictures, hardly ever about
the pictures. So a picture is what ITU-T T.81, annex B says: a start marker, segments that state their lengths
(an embedded thumbnail lies inside one and is passed over with it), scans of coded data in which every FF is
stuffed, and an end marker.
"""

from __future__ import annotations

import re

from galago_edge.sources.jpeg_parts import AFTER_CODED, BARE, EOI, SIZES, SOI, SOS

LONGEST_PICTURE = 32 * 1024 * 1024
"""Bytes of a picture that is waited for."""

_START = b"\xff\xd8\xff"
_FILL = re.compile(rb"\xff+")
"""A marker may begin with any number of them."""

_LOWEST = 0xC0
_MORE, _NONE = 0, -1
"""No end yet, and none that can come."""


class JpegScanner:
    """Takes pieces of any length and gives the pictures in them, byte for byte.

    A byte is looked at once, and what belongs to no picture is dropped at once, so neither time nor memory
    grows with what a broken camera sends.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._inside = False
        """The data begins with a picture's start."""
        self._at = 0
        """So far it was looked at."""
        self._coded = False
        """What comes there is coded data, else a marker."""
        self._sized = self._scanned = False
        """A size, and then coded data, were met in it."""
        self.fault = ""
        """What was wrong with the last picture; nothing when it was whole."""

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self._data += data

    def next_picture(self) -> bytes | None:
        """Return the next picture, nothing (``b""``) for one that is not whole, None until more came."""
        if not self._inside and not self._find_start():
            return None
        end = self._find_end()
        if end == _MORE:
            if len(self._data) <= LONGEST_PICTURE:
                return None
            return self._break(f"one is longer than {LONGEST_PICTURE >> 20} MiB", len(self._data))
        if end == _NONE:
            return self._break(f"one is cut off or damaged after {self._at} bytes", self._at)
        picture = bytes(memoryview(self._data)[:end])
        self.fault = ""
        self._leave(end)
        return picture

    def rest(self) -> bytes:
        """Return what was taken and not looked at yet, behind the picture that was given last."""
        return bytes(self._data)

    def finish(self) -> bool:
        """Note that nothing more comes; return whether that cuts a picture off."""
        cut = self._inside
        if cut:
            self._break(f"one is cut off after {len(self._data)} bytes", len(self._data))
        return cut

    def _find_start(self) -> bool:
        start = self._data.find(_START)
        if start < 0:  # its first two bytes may be there
            del self._data[: -len(_START) + 1]
            return False
        del self._data[:start]
        self._inside, self._at = True, 2
        self._coded = self._sized = self._scanned = False
        return True

    def _find_end(self) -> int:
        """Go on from ``_at``; return where the picture ends, ``_MORE`` or ``_NONE``."""
        data = self._data
        while True:
            if self._coded:
                found = AFTER_CODED.search(data, self._at)
                if found is None:
                    self._at = max(self._at, len(data) - 1)  # the last byte may be half a marker
                    return _MORE
                self._at, self._coded = found.start(), False
            fill = _FILL.match(data, self._at)
            if fill is None:
                return _NONE if self._at < len(data) else _MORE
            at = self._at = fill.end() - 1
            if at + 2 > len(data):
                return _MORE
            marker = data[at + 1]
            if marker in BARE:
                self._at += 2
            elif marker == EOI:
                return at + 2 if self._scanned else _NONE
            elif marker < _LOWEST or marker == SOI:
                return _NONE
            elif at + 4 > len(data):
                return _MORE
            else:
                self._sized |= marker in SIZES
                self._coded = marker == SOS
                self._scanned |= self._coded
                length = data[at + 2] << 8 | data[at + 3]
                if length < 2 or (self._coded and not self._sized):
                    return _NONE
                self._at += 2 + length

    def _break(self, fault: str, end: int) -> bytes:
        self.fault = fault
        self._leave(end)
        return b""

    def _leave(self, end: int) -> None:
        del self._data[:end]
        self._inside = False
