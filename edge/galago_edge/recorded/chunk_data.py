"""What a chunk says of itself, and what it holds: nothing that a damaged length claims is believed."""

from __future__ import annotations

import struct
import zlib

LARGEST_RECORD = 256 << 20
"""Bytes of one record, or of what a chunk unpacks to: a larger one is passed over."""
CHUNK, DATA_END = 0x06, 0x0F
"""Opcodes."""
CHUNK_HEAD = struct.Struct("<QQQI")
"""First and last log time, bytes when unpacked, CRC-32 of these."""
_LONGEST_NAME = 64
LONGEST_HEAD = CHUNK_HEAD.size + 4 + _LONGEST_NAME + 8
"""Bytes of all that stands before the data of a chunk."""


class DamagedRecordError(Exception):
    """This record cannot be believed."""


def why_no_record(opcode: int, body: bytes) -> str:
    """Return why a record's own lengths cannot be right; empty where they can."""
    if opcode == CHUNK and not is_chunk_head(body, len(body)):
        return "a chunk that contradicts itself"
    if opcode == 0x07 and (len(body) < 6 or int.from_bytes(body[2:6], "little") != len(body) - 6):
        return "an index that contradicts itself"
    elif opcode == 0x09 and (stated := body[-4:]) != bytes(4) and _crc(body[:-4]) != stated:
        return "an attachment whose checksum does not match"
    elif opcode in (0x01, 0x0C) and not _is_two_fields(body):
        return "a header, or metadata, that contradict themselves"
    elif (opcode == DATA_END and len(body) != 4) or (opcode == 0x02 and len(body) != 20):
        return "an end that contradicts itself"
    return ""


def _crc(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "little")


def _is_two_fields(body: bytes) -> bool:
    """Tell whether two fields (profile and library, name and map), each behind its length, are all there is.

    Else a length that has flipped would swallow the chunks behind the record.
    """
    second_at = 4 + int.from_bytes(body[:4], "little")
    return second_at + 4 + int.from_bytes(body[second_at : second_at + 4], "little") == len(body)


def is_chunk_head(head: bytes, length: int) -> bool:
    """Tell whether a chunk of ``length`` bytes may begin so: its own lengths agree with that.

    ``head``: its first ``LONGEST_HEAD`` bytes, or all that it has.
    """
    at = CHUNK_HEAD.size
    name_bytes = int.from_bytes(head[at : at + 4], "little")
    data_at = at + 4 + name_bytes + 8
    if name_bytes > _LONGEST_NAME or len(head) < data_at:
        return False
    return int.from_bytes(head[data_at - 8 : data_at], "little") == length - data_at


def chunk_parts(body: bytes) -> tuple[str, bytes]:
    """Return how a chunk is compressed, and its data.

    Raises:
        DamagedRecordError: Its lengths contradict each other.
    """
    if not is_chunk_head(body, len(body)):
        raise DamagedRecordError("a chunk that contradicts itself")
    at = CHUNK_HEAD.size + 4
    data_at = at + int.from_bytes(body[at - 4 : at], "little") + 8
    return body[at : data_at - 8].decode("latin-1"), body[data_at:]


def unpacked_chunk(compression: str, data: bytes, size: int) -> bytes:
    """Return what a chunk holds: never more than it says, nor than ``LARGEST_RECORD``."""
    if size > LARGEST_RECORD:
        raise DamagedRecordError(f"a chunk that says it unpacks to {size} bytes")
    if compression == "":
        unpacked = data
    elif compression == "zstd":
        import zstandard

        try:
            with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data) as reader:
                unpacked = reader.read(size + 1)
        except (zstandard.ZstdError, MemoryError):
            raise DamagedRecordError("a chunk that cannot be unpacked") from None
    elif compression == "lz4":
        import lz4.frame

        try:
            unpacked = lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=size + 1)
        except (RuntimeError, MemoryError, EOFError):
            raise DamagedRecordError("a chunk that cannot be unpacked") from None
    else:
        raise DamagedRecordError(f"a chunk that is compressed as {compression[:16]!r}")
    if len(unpacked) != size:
        raise DamagedRecordError("a chunk of another size than it says")
    return unpacked
