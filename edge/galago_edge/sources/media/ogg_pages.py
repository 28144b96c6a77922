"""The pages of an Ogg file (RFC 3533): which streams follow on one another, and whether each one ends.

A page says itself whether it is whole (a checksum), where it belongs (a sequence number), and whether it is
its stream's last one. FFmpeg passes over damaged pages without a word.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import BinaryIO

_MAGIC = b"OggS"
_HEAD_BYTES = 27
_FIRST, _LAST = 2, 4
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(slots=True)
class OggLink:
    """Logical streams that begin together: one part of a chained file, a file of its own."""

    start: int
    end: int
    """Bytes of the file, half-open."""
    ends: bool = False
    """Whether every one of its streams has its last page."""
    places: list[int] = field(default_factory=list)
    """Bytes of the file at which pages are damaged, or behind a number that is missing."""

    @property
    def damaged(self) -> int:
        """How many places are damaged."""
        return len(self.places)


def ogg_links(file: BinaryIO) -> list[OggLink]:
    """Return the links of a file that begins with a page, in order; memory does not grow with the file.

    Raises:
        OSError: The disk fails.
    """
    links: list[OggLink] = []
    sequence: dict[int, int] = {}
    open_streams: set[int] = set()
    heads = False  # the first pages of a link come before all others
    at = 0
    while True:
        file.seek(at)
        page = _page(file)
        if not page:
            found = _next_magic(file, at + 1)
            if links and not (found.at_end and found.padding):
                links[-1].places.append(at)
                links[-1].end = found.at
            if found.at_end:
                return links
            at = found.at
            continue
        kind, serial, number = page[5], page[14:18], int.from_bytes(page[18:22], "little")
        if kind & _FIRST and not heads:
            links.append(OggLink(at, at))
            sequence, open_streams, heads = {}, set(), True
        elif not links:  # it does not begin at a beginning
            links.append(OggLink(at, at))
        heads = heads and bool(kind & _FIRST)
        link = links[-1]
        stream = int.from_bytes(serial, "little")
        open_streams |= {stream} if kind & _FIRST else set()
        if number > sequence.get(stream, number) + 1:
            link.places.append(at)
        sequence[stream] = number
        if kind & _LAST:
            open_streams.discard(stream)
            link.ends = not open_streams
        at += len(page)
        link.end = at


def _page(file: BinaryIO) -> bytes:
    """Return the whole page at the file's position; nothing when there is none."""
    head = file.read(_HEAD_BYTES)
    if len(head) < _HEAD_BYTES or head[:4] != _MAGIC:
        return b""
    lengths = file.read(head[26])
    body = file.read(sum(lengths))
    if len(lengths) < head[26] or len(body) < sum(lengths):
        return b""
    page = head + lengths + body
    whole = _checksum(head[:22] + bytes(4) + page[26:]) == int.from_bytes(head[22:26], "little")
    return page if whole else b""


@dataclass(frozen=True, slots=True)
class _Found:
    at: int
    at_end: bool
    padding: bool
    """What was passed over is no lost page: nothing, zeros, or tags of other programs behind the last one."""


def _next_magic(file: BinaryIO, at: int) -> _Found:
    """Return where the next page may begin."""
    file.seek(at - 1)
    first = file.read(3)
    padding = first == b"TAG" or not first.strip(b"\0")
    file.seek(at)
    rest = b""
    while chunk := file.read(1 << 16):
        data = rest + chunk
        if (found := data.find(_MAGIC)) >= 0:
            return _Found(at + found, False, False)
        rest = data[-3:]
        at += len(data) - len(rest)
    return _Found(at + len(rest), True, padding)


def _checksum(data: bytes) -> int:
    """Return the checksum of RFC 3533: zlib's polynomial with its bits the other way round, from 0.

    >>> hex(_checksum(b"123456789"))
    '0x89a1897f'
    """
    mirrored = zlib.crc32(data.translate(_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int(f"{mirrored:032b}"[::-1], 2)
