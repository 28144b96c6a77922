"""What lies behind the end of a container: another recording (``cat a.mp4 b.mp4``), or what nobody knows.

FFmpeg stops where the first one ends and says nothing. Padding, tags and a few bytes are no recording.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from galago_edge.sources.data_tail import TAGS
from galago_edge.sources.media.container_end import is_padding
from galago_edge.sources.media.sound_promise import id3_bytes

_FEW_BYTES = 64
"""Fewer are not told."""
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_TTA_HEAD = struct.Struct("<4sHHHIII")
"""Mark, format, channels, bits, rate, samples, checksum (TTA1)."""


@dataclass(frozen=True, slots=True)
class ContainerRest:
    """Bytes from ``start`` to the end of the file."""

    start: int
    bytes: int
    recording: bool
    """Whether another recording is known to begin there."""


def rest_behind(path: Path) -> ContainerRest | None:
    """Return what lies behind the first recording of a file. None where nothing does, or nothing tells.

    Known are MP4 and QuickTime, FLV, ASF and TTA.

    Raises:
        OSError: The disk fails.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        first = id3_bytes(file)
        file.seek(first)
        head = file.read(_TTA_HEAD.size)
        for matches, end_of in _ENDS:
            if matches(head):
                start, recording = end_of(file, first, size)
                return _rest(file, start, size, recording=recording)
    return None


def _rest(file: BinaryIO, start: int, size: int, *, recording: bool) -> ContainerRest | None:
    if size - start < _FEW_BYTES:
        return None
    file.seek(start)
    if not recording and (file.read(16).lstrip(b"\0").startswith(TAGS) or is_padding(file, start)):
        return None
    return ContainerRest(start, size - start, recording)


def _boxes(file: BinaryIO, at: int, size: int) -> tuple[int, bool]:
    """MP4, QuickTime (ISO 14496-12, 4.2): one has one ``moov``, and its ``ftyp`` comes first."""
    begun, samples = False, False
    index_end: int | None = None
    while at + 8 <= size:
        file.seek(at)
        start = file.read(16)
        length, name = int.from_bytes(start[:4], "big"), start[4:8]
        if length == 1 and len(start) == 16:
            length = int.from_bytes(start[8:], "big")
        if name == b"ftyp" and begun:
            return at, True
        if name == b"moov":
            if index_end is not None:
                return (index_end if samples else at), True
            index_end = at + length
        samples |= name == b"mdat" and index_end is None
        if length == 0 and name.strip(b"\0"):  # up to the end of the file
            return size, False
        if length < 8:
            return at, False
        begun, at = True, at + length
    return min(at, size), False


def _tags(file: BinaryIO, at: int, size: int) -> tuple[int, bool]:
    """FLV: what is no tag between others is damage, and told as that."""
    file.seek(at + 5)
    at += int.from_bytes(file.read(4), "big") + 4
    while at + 11 <= size:
        file.seek(at)
        start = file.read(11)
        if start[:4] == b"FLV\x01":
            return at, True
        if start[0] & 0x1F not in (8, 9, 18):
            break
        at += 11 + int.from_bytes(start[1:4], "big") + 4
    return size, False


def _objects(file: BinaryIO, at: int, size: int) -> tuple[int, bool]:
    """ASF: header, data and indexes, each with its length; a live one does not know that of its data."""
    begun = False
    while at + 24 <= size:
        file.seek(at)
        name, length = struct.unpack("<16sQ", file.read(24))
        if name == _ASF_HEADER and begun:
            return at, True
        if length < 24 or length > size - at:
            break
        begun, at = True, at + length
    return size, False


def _frames(file: BinaryIO, at: int, size: int) -> tuple[int, bool]:
    """TTA: a table gives the length of each frame."""
    file.seek(at)
    _, _, _, _, rate_hz, samples, _ = _TTA_HEAD.unpack(file.read(_TTA_HEAD.size))
    count = -(-samples // max(1, rate_hz * 256 // 245))
    table = file.read(4 * count) if 4 * count <= size else b""
    at += (
        _TTA_HEAD.size
        + 4 * count
        + 4
        + sum(struct.unpack(f"<{len(table) // 4}I", table[: len(table) // 4 * 4]))
    )
    at += _tag_bytes(file, at)
    file.seek(min(at, size))
    return min(at, size), file.read(4) == b"TTA1"


def _tag_bytes(file: BinaryIO, at: int) -> int:
    """Return the bytes of a tag there: APE (version 2, with its header) or ID3v1; 0 when there is none."""
    file.seek(at)
    head = file.read(16)
    if head[:8] == b"APETAGEX" and len(head) == 16:
        return 32 + int.from_bytes(head[12:], "little")
    return 128 if head[:3] == b"TAG" else 0


_ENDS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, int, int], tuple[int, bool]]], ...] = (
    (lambda head: head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"), _boxes),
    (lambda head: head[:4] == b"FLV\x01", _tags),
    (lambda head: head[:16] == _ASF_HEADER, _objects),
    (lambda head: head[:4] == b"TTA1" and len(head) == _TTA_HEAD.size, _frames),
)
