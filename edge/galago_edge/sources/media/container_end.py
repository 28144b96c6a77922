"""Whether a container's own structure goes on behind the end of its file: then it was cut off."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from galago_edge.sources.file_content import transport_packet_bytes

_HEAD_BYTES = 1 << 16
_RIFF_UNKNOWN = 0xFFFF_FF00
"""A recorder that was killed left this, or 0, where the size belongs."""
_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
_TOP_LEVEL = frozenset(
    {0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1043A770, 0x1254C367, 0x1941A469, _CLUSTER, _SEGMENT}
)
"""What may follow a cluster of unknown size: the elements on its own level (RFC 9559)."""
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_LIVE = 1
_FLV_TAGS = (8, 9, 18)
"""Sound, pictures and what describes them."""


def is_cut_off(path: Path) -> bool:
    """Tell whether ``path`` ends inside an element of its container. False where the format cannot tell.

    Raises:
        OSError: The disk fails.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        size = os.fstat(file.fileno()).st_size
        for matches, check in _CHECKS:
            if matches(head):
                return check(file, head, size)
    return False


def _riff(file: BinaryIO, head: bytes, size: int) -> bool:
    at = 0
    while at + 8 <= size:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        if name not in (b"RIFF", b"JUNK", b"idx1") or (name == b"RIFF" and not 0 < length < _RIFF_UNKNOWN):
            return False  # something else behind it, or a recorder that never came to write the size
        at += 8 + length + length % 2
    return at > size + 1  # some leave out the last padding byte


def _boxes(file: BinaryIO, head: bytes, size: int) -> bool:
    """MP4, QuickTime (ISO 14496-12, 4.2)."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        start = file.read(16)
        length = int.from_bytes(start[:4], "big")
        if length == 1 and len(start) == 16:
            length = int.from_bytes(start[8:], "big")
        if length < 8:  # 0: up to the end of the file
            return False
        before, at = at, at + length
        if at > size and is_padding(file, before):
            return False
    return at != size


def _matroska(file: BinaryIO, head: bytes, size: int) -> bool:
    at = 0
    while at < size:
        file.seek(at)
        element = _element(file.read(12))
        if element is None:
            return size - at < 12  # the head of an element is cut; otherwise it is damaged
        name, header_bytes, length = element
        if length is None and name == _SEGMENT:
            at += header_bytes
        elif length is None and name == _CLUSTER:
            end = _open_cluster_end(file, at + header_bytes, size)
            if end is None:
                return False
            at = end
        elif length is None:
            return False
        else:
            at += header_bytes + length
    return at > size


def _open_cluster_end(file: BinaryIO, at: int, size: int) -> int | None:
    """Return where a cluster of unknown size ends; None when it is damaged."""
    while at < size:
        file.seek(at)
        element = _element(file.read(12))
        if element is None:
            return size + 1 if size - at < 12 else None
        name, header_bytes, length = element
        if name in _TOP_LEVEL:
            return at
        if length is None:
            return None
        at += header_bytes + length
    return at


def _element(start: bytes) -> tuple[int, int, int | None] | None:
    """Return id, bytes of the header and length (None is unknown) of an EBML element (RFC 8794)."""
    if not start or not start[0]:
        return None
    id_bytes = 9 - start[0].bit_length()
    if id_bytes > 4 or len(start) <= id_bytes or not start[id_bytes]:
        return None
    length_bytes = 9 - start[id_bytes].bit_length()
    if len(start) < id_bytes + length_bytes:
        return None
    ones = (1 << 7 * length_bytes) - 1
    length = int.from_bytes(start[id_bytes : id_bytes + length_bytes], "big") & ones
    name = int.from_bytes(start[:id_bytes], "big")
    return name, id_bytes + length_bytes, None if length == ones else length


def _caf(file: BinaryIO, head: bytes, size: int) -> bool:
    """Core Audio Format: names, and lengths of 64 bits; -1 is up to the end of the file."""
    at = 8
    while at + 12 <= size:
        file.seek(at + 4)
        length = int.from_bytes(file.read(8), "big", signed=True)
        if length < 0:
            return False
        at += 12 + length
    return at != size


def _voc(file: BinaryIO, head: bytes, size: int) -> bool:
    """Creative Voice: blocks of a kind and 24 bits of length; kind 0 is the end."""
    at = int.from_bytes(head[20:22], "little")
    while at + 4 <= size:
        file.seek(at)
        kind, *length = file.read(4)
        if kind == 0:  # nothing follows the last one; a damaged one says that it is
            return True
        at += 4 + int.from_bytes(bytes(length), "little")
    file.seek(min(at, size))
    return at > size or file.read() not in (b"", b"\0")  # some leave the end out


def _flv(file: BinaryIO, head: bytes, size: int) -> bool:
    """FLV: one tag behind the other, and behind each its size."""
    at = int.from_bytes(head[5:9], "big") + 4
    while at + 11 <= size:
        file.seek(at)
        start = file.read(11)
        if start[0] & 0x1F not in _FLV_TAGS:
            return not is_padding(file, at) and _ends_inside_tag(file, size)
        at += 11 + int.from_bytes(start[1:4], "big") + 4
    return at != size and not is_padding(file, at)


def _ends_inside_tag(file: BinaryIO, size: int) -> bool:
    """Tell by its last bytes whether a damaged FLV was cut off."""
    file.seek(size - 4)
    tag = int.from_bytes(file.read(4), "big")
    if not 11 <= tag <= size - 17:
        return True
    file.seek(size - 4 - tag)
    start = file.read(4)
    return int.from_bytes(start[1:4], "big") != tag - 11


def is_padding(file: BinaryIO, at: int) -> bool:
    """Tell whether from there on one byte is repeated to the end: what some programs fill files up with.

    Raises:
        OSError: The disk fails.
    """
    file.seek(at)
    first = file.read(1)
    if not first:
        return False
    while chunk := file.read(1 << 16):
        if chunk.strip(first):
            return False
    return True


def _asf(file: BinaryIO, head: bytes, size: int) -> bool:
    at = head.find(_ASF_PROPERTIES)
    if at < 0 or len(head) < at + 92:
        return False
    stated, flags = struct.unpack_from("<Q", head, at + 40)[0], struct.unpack_from("<I", head, at + 88)[0]
    return not flags & _ASF_LIVE and bool(stated > size)


def _transport(file: BinaryIO, head: bytes, size: int) -> bool:
    return size % transport_packet_bytes(head) != 0


def _gif(file: BinaryIO, head: bytes, size: int) -> bool:
    """GIF: blocks up to a trailer; what stands behind that is no part of it."""
    at = 13 + _colours_bytes(head[10:11])
    while at < size:
        file.seek(at)
        start = file.read(10)
        if start[:1] == b";":
            return False
        if start[:1] == b",":
            at += 11 + _colours_bytes(start[9:10])
        elif start[:1] == b"!":
            at += 2
        else:
            file.seek(max(0, size - 64))
            return not file.read().rstrip(b"\0").endswith(b";")
        file.seek(at)
        while at < size and (length := file.read(1)) and length[0]:
            at += 1 + length[0]
            file.seek(at)
        at += 1
    return True


def _colours_bytes(flags: bytes) -> int:
    """Return the bytes of a GIF's colour table."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


_CHECKS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, bytes, int], bool]], ...] = (
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"AVI ", _riff),
    (lambda head: head[:4] == b"\x1aE\xdf\xa3", _matroska),
    (lambda head: head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"), _boxes),
    (lambda head: head[:4] == b"caff", _caf),
    (lambda head: head[:19] == b"Creative Voice File", _voc),
    (lambda head: head[:3] == b"FLV", _flv),
    (lambda head: head[:4] == b"0&\xb2u", _asf),
    (lambda head: head[:4] in (b"GIF8",), _gif),
    (lambda head: transport_packet_bytes(head) > 0, _transport),
)
