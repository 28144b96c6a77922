"""How one record lies in a spool's file: a header that explains itself, then the record's own line.

Every record says there all that is known about it, so that any one of them can be read when what surrounds it
is damaged::

    offset  bytes  content, little endian
    0       4      b"GSP1": finds the next record behind a damaged one, and is the version
    4       4      length of the line in bytes
    8       8      sequence number, from 1, one higher for every record of this spool
    16      8      number of the run (one process) that wrote it, random
    24      8      when, in ns on the clock that counts from boot (CLOCK_BOOTTIME)
    32      4      which boot that was: CRC-32 of the kernel's boot id
    36      1      kind: 1 event, 2 state, 3 gap, 4 attachment
    37      1      1 when the wall clock was known to be synchronized, else 0
    38      2      0
    40      4      CRC-32 of the 40 bytes before and of the line
    44      n      the record as one line of JSON
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

MARKER = b"GSP1"
LINE_LIMIT_BYTES = 1 << 20
"""A longer record is none of ours."""

_HEAD = struct.Struct("<4sIQQQIBBxx")
_CRC = struct.Struct("<I")
OVERHEAD_BYTES = _HEAD.size + _CRC.size
"""What a record needs beside its line."""

KIND_CODES = {"event": 1, "state": 2, "gap": 3, "attachment": 4}
"""Kinds of records that are spooled."""
KIND_NAMES = {code: kind for kind, code in KIND_CODES.items()}
DAMAGED = 0
"""Sort of a record that was here and cannot be read."""


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """One spooled record."""

    seq: int
    run: int
    boot: int
    boot_ns: int
    kind: int
    synced: bool
    line: bytes
    """JSON, newline included."""
    sort: int = field(default=0, compare=False)
    """Who wants it (``galago_edge.sinks.record_sorts``); not written."""


def encode_record(record: StoredRecord) -> bytes:
    """Return the bytes of one record."""
    head = _HEAD.pack(
        MARKER,
        len(record.line),
        record.seq,
        record.run,
        record.boot_ns,
        record.boot,
        record.kind,
        record.synced,
    )
    return head + _CRC.pack(zlib.crc32(record.line, zlib.crc32(head))) + record.line


def decode_record(data: bytes, offset: int = 0) -> StoredRecord | None:
    """Return the record at ``offset``, or None when no whole one is there."""
    start = offset + OVERHEAD_BYTES
    if len(data) < start:
        return None
    marker, length, seq, run, boot_ns, boot, kind, synced = _HEAD.unpack_from(data, offset)
    if marker != MARKER or length > LINE_LIMIT_BYTES or len(data) < start + length:
        return None
    line = data[start : start + length]
    (crc,) = _CRC.unpack_from(data, offset + _HEAD.size)
    if crc != zlib.crc32(line, zlib.crc32(data[offset : offset + _HEAD.size])):
        return None
    return StoredRecord(seq, run, boot, boot_ns, kind, bool(synced), line)


def scan_records(data: bytes) -> Iterator[tuple[int, StoredRecord]]:
    """Yield offset and content of every whole record; what lies between them is skipped."""
    offset = 0
    while (offset := data.find(MARKER, offset)) >= 0:
        record = decode_record(data, offset)
        if record is None:
            offset += 1
        else:
            yield offset, record
            offset += OVERHEAD_BYTES + len(record.line)
