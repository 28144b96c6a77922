"""The pages of an Ogg file (RFC 3533): which streams follow on one another, and what each page holds.

A page says itself whether it is whole (a checksum), where it belongs (a sequence number), whether it is its
stream's last one, and at which sample it ends. FFmpeg passes over damaged pages without a word, and gives the
first page behind them the time of those that are missing.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

_MAGIC = b"OggS"
_HEAD_BYTES = 27
_GOES_ON, _FIRST, _LAST = 1, 2, 4
_NO_GRANULE = -1
_WHOLE_SEGMENT = 255
"""A segment of so many bytes is followed by another one of the same packet."""
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(slots=True)
class OggLink:
    """Logical streams that begin together: one part of a chained file, a file of its own."""

    start: int
    end: int
    """Bytes of the file, half-open."""
    ends: bool = False
    """Whether every one of its streams has its last page."""
    serials: list[int] = field(default_factory=list)
    """Numbers of its streams, in the order in which they begin: that of FFmpeg."""


@dataclass(frozen=True, slots=True)
class OggPage:
    """What one page gives to its stream."""

    packets: tuple[bytes, ...]
    """Those that end on it."""
    granule: int
    """Where the last of them ends, in the codec's own count."""
    last: bool
    damaged: bool
    """Whether bytes that are no page lie between this one and the one before."""
    missing: bool
    """Whether pages between them are not in the file."""


def ogg_links(file: BinaryIO) -> list[OggLink]:
    """Return the links of a file that begins with a page, in order; memory does not grow with the file.

    Raises:
        OSError: The disk fails.
    """
    links: list[OggLink] = []
    open_streams: set[int] = set()
    heads = False  # the first pages of a link come before all others
    for at, page in _pages(file, 0, None):
        if page is None:
            if links:
                links[-1].end = at
            continue
        kind, stream = page[5], _serial(page)
        if (kind & _FIRST and not heads) or not links:  # some do not begin at a beginning
            links.append(OggLink(at, at))
            open_streams, heads = set(), bool(kind & _FIRST)
        heads = heads and bool(kind & _FIRST)
        link = links[-1]
        if kind & _FIRST:
            open_streams.add(stream)
            link.serials.append(stream)
        if kind & _LAST:
            open_streams.discard(stream)
            link.ends = not open_streams
        link.end = at + len(page)
    return links


def ogg_stream(file: BinaryIO, link: OggLink, serial: int) -> Iterator[OggPage]:
    """Yield the pages of one stream of ``link`` on which a packet ends, in order.

    What is left of a packet whose beginning is missing is left out. Numbers that stand still or go back are
    their writer's; a page that is there twice counts once.

    Raises:
        OSError: The disk fails.
    """
    begun: list[bytes] | None = []  # of the packet that is not whole yet; None when its beginning is missing
    known: bytes | None = None
    number = 0
    damaged = missing = False
    for _, page in _pages(file, link.start, link.end):
        if page is None:
            damaged = True
            continue
        if _serial(page) != serial:
            continue
        if page == known:
            continue
        gone = known is not None and int.from_bytes(page[18:22], "little") > number + 1
        known, number = page, int.from_bytes(page[18:22], "little")
        damaged, missing = damaged and gone, missing or gone  # what lies between two that follow was no page
        if missing:
            begun = None
        packets, begun = _packets(page, begun)
        granule = int.from_bytes(page[6:14], "little", signed=True)
        if granule == _NO_GRANULE and not packets:
            continue
        yield OggPage(tuple(packets), granule, bool(page[5] & _LAST), damaged, missing)
        damaged = missing = False


def ogg_damage(file: BinaryIO) -> list[int]:
    """Return the bytes at which pages go on behind some that are damaged or missing, of whatever stream.

    Raises:
        OSError: The disk fails.
    """
    places: list[int] = []
    numbers: dict[int, int] = {}
    for at, page in _pages(file, 0, None):
        if page is None:
            places.append(at)
            continue
        stream, number = _serial(page), int.from_bytes(page[18:22], "little")
        if not page[5] & _FIRST and number > numbers.get(stream, number) + 1:
            places.append(at)
        numbers[stream] = number
    return places


def _packets(page: bytes, begun: list[bytes] | None) -> tuple[list[bytes], list[bytes] | None]:
    """Return the packets that end on a page, and what it holds of the next one."""
    if not page[5] & _GOES_ON:
        begun = []
    packets: list[bytes] = []
    at = _HEAD_BYTES + page[26]
    for length in page[_HEAD_BYTES : _HEAD_BYTES + page[26]]:
        if begun is not None:
            begun.append(page[at : at + length])
        at += length
        if length < _WHOLE_SEGMENT:
            if begun is not None:
                packets.append(b"".join(begun))
            begun = []
    return packets, begun


def _pages(file: BinaryIO, at: int, end: int | None) -> Iterator[tuple[int, bytes | None]]:
    """Yield where each page begins, and the page; None where bytes lie that are none, and where they end."""
    while end is None or at < end:
        file.seek(at)
        page = _page(file)
        if page:
            yield at, page
            at += len(page)
            continue
        found = _next_magic(file, at + 1)
        if not (found.at_end and found.padding):
            yield found.at, None
        if found.at_end:
            return
        at = found.at


def _serial(page: bytes) -> int:
    return int.from_bytes(page[14:18], "little")


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
    whole = page_checksum(head[:22] + bytes(4) + page[26:]) == int.from_bytes(head[22:26], "little")
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


def page_checksum(data: bytes) -> int:
    """Return the checksum of RFC 3533: zlib's polynomial with its bits the other way round, from 0.

    >>> hex(page_checksum(b"123456789"))
    '0x89a1897f'
    """
    mirrored = zlib.crc32(data.translate(_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int(f"{mirrored:032b}"[::-1], 2)
