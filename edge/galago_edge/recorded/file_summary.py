"""The index at the end of a whole file, as far as it can be believed."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from galago_edge.recorded.chunk_data import LARGEST_RECORD
from galago_edge.recorded.chunk_file import MAGIC
from galago_edge.recorded.piecewise_file import PiecewiseFile
from galago_edge.recorded.recording_library import mcap_records

HEAD_BYTES = 9
"""Of a record: its opcode, and the length of what follows."""
SCHEMA, CHANNEL = 0x03, 0x04
_CHUNK_INDEX, _STATISTICS = 0x08, 0x0B
_FOOTER_BYTES = HEAD_BYTES + 20
PARSING_ERRORS = (struct.error, ValueError, EOFError, KeyError, IndexError, OverflowError)
"""What comes of parsing records that contradict themselves."""


@dataclass(frozen=True, slots=True)
class StoredChannel:
    """Where messages are from."""

    topic: str
    encoding: str
    schema: str
    """Name of the schema; empty without one."""
    metadata: Mapping[str, str] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Summary:
    """The index at the end of a whole file, checked by its checksum."""

    messages: Mapping[str, int]
    """Topic to number of messages."""
    channels: tuple[StoredChannel, ...]
    chunks: tuple[tuple[int, int, int], ...]
    """Place, first and last log time of each chunk."""
    from_ns: int
    to_ns: int


def parsed_record(kind: Any, body: bytes) -> Any:
    """Return a record as the library ``mcap`` reads it.

    Raises:
        ValueError: One of ``PARSING_ERRORS``: it contradicts itself.
    """
    from mcap.data_stream import ReadDataStream
    from mcap.exceptions import McapError

    try:
        return kind.read(ReadDataStream(BytesIO(body)))
    except McapError as error:
        raise ValueError(str(error)) from None


def read_summary(file: PiecewiseFile) -> Summary | None:
    """Return the index at the end; None where there is none that can be believed.

    Raises:
        LinkError: The disk fails.
        DeviceError: EXTRA_MISSING.
    """
    tail_at = file.size - _FOOTER_BYTES - len(MAGIC)
    tail = file.read(tail_at, _FOOTER_BYTES + len(MAGIC)) if tail_at > 0 else b""
    if not tail.endswith(MAGIC) or tail[:1] != b"\x02":
        return None
    start, _, crc = struct.unpack_from("<QQI", tail, HEAD_BYTES)
    if not 0 < start <= tail_at or tail_at - start > LARGEST_RECORD:
        return None
    data = file.read(start, tail_at - start)
    if crc and zlib.crc32(tail[: _FOOTER_BYTES - 4], zlib.crc32(data)) != crc:
        return None
    try:
        return _summarized(data)
    except PARSING_ERRORS:
        return None


def _summarized(data: bytes) -> Summary | None:
    mcap: Any = mcap_records("reading a recording")
    kinds = {
        SCHEMA: mcap.Schema,
        CHANNEL: mcap.Channel,
        _STATISTICS: mcap.Statistics,
        _CHUNK_INDEX: mcap.ChunkIndex,
    }
    schemas: dict[int, str] = {}
    channels: dict[int, StoredChannel] = {}
    chunks: list[tuple[int, int, int]] = []
    statistics: Any = None
    at = 0
    while at + HEAD_BYTES <= len(data):
        opcode, begin = data[at], at + HEAD_BYTES
        at = begin + int.from_bytes(data[at + 1 : begin], "little")
        if opcode not in kinds:
            continue
        one = parsed_record(kinds[opcode], data[begin:at])
        if opcode == SCHEMA:
            schemas[one.id] = one.name
        elif opcode == CHANNEL:
            name = schemas.get(one.schema_id, "")
            channels[one.id] = StoredChannel(one.topic, one.message_encoding, name, one.metadata)
        elif opcode == _STATISTICS:
            statistics = one
        else:
            chunks.append((one.chunk_start_offset, one.message_start_time, one.message_end_time))
    if statistics is None:
        return None
    counts: dict[str, int] = {}
    for number, count in statistics.channel_message_counts.items():
        if number in channels:
            topic = channels[number].topic
            counts[topic] = counts.get(topic, 0) + count
    times = (statistics.message_start_time, statistics.message_end_time)
    return Summary(counts, tuple(channels.values()), tuple(sorted(chunks)), *times)
