"""One MCAP file being written, chunk by chunk. Every chunk stands alone: it holds its channels and schemas.

So whatever is left of a file can be read from any whole chunk on, and a chunk that could not be written is
missed by nobody but its own messages. The records are made by the library ``mcap``; its Writer is not used,
for it ends chunks by their bytes alone, and after a failed write its indexes are of another file. Format:
https://mcap.dev/spec.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from galago_edge.recorded.recording_library import mcap_records

MAGIC = b"\x89MCAP0\r\n"
LIBRARY = "galago"


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """A row of messages of one kind."""

    topic: str
    encoding: str
    """``protobuf`` or ``json``."""
    schema: tuple[str, str, bytes] = ("", "", b"")
    """Name, encoding and data; no name: none."""
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)


class ChunkFile:
    """One file, used by one thread. Memory: the chunk that is being filled, and an index of each before."""

    def __init__(self, path: Path, metadata: Mapping[str, Mapping[str, str]]) -> None:
        """Make ``path``, which must not be there, and write the head with these metadata records.

        Raises:
            OSError: The disk refuses; no file is left.
            DeviceError: EXTRA_MISSING.
        """
        self._mcap: Any = mcap_records("recording")
        from mcap.data_stream import RecordBuilder

        self._builder = RecordBuilder
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._at = 0
        """Where the next record begins: all before is whole."""
        self._crc = 0
        self._sha256 = hashlib.sha256()
        self._channels: dict[ChannelSpec, int] = {}
        self._schemas: dict[tuple[str, str, bytes], int] = {}
        self._records: dict[int, tuple[Any, Any]] = {}
        """Schema (None without one) and channel record by channel."""
        self._metadata_indexes: list[Any] = []
        self._chunks: list[Any] = []
        self._counts: Counter[int] = Counter()
        self._times: tuple[int, int] | None = None
        self._reset()
        try:
            self._write_head(metadata)
        except BaseException:  # whatever it was, an empty file helps nobody
            self.close()
            with contextlib.suppress(OSError):
                path.unlink()
            raise

    @property
    def size(self) -> int:
        """Bytes that are written."""
        return self._at

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the chunk that is being filled."""
        return int(self._chunk.count)

    @property
    def waiting(self) -> Counter[int]:
        """Messages of the chunk that is being filled, by channel."""
        return Counter({channel: len(entries) for channel, entries in self._entries.items()})

    @property
    def sha256(self) -> str:
        """Of everything written, in hexadecimal."""
        return self._sha256.hexdigest()

    def channel(self, spec: ChannelSpec) -> int:
        """Return the number of a channel; the same for the same."""
        if spec in self._channels:
            return self._channels[spec]
        schema = None
        if spec.schema[0]:
            number = self._schemas.setdefault(spec.schema, len(self._schemas) + 1)
            name, encoding, data = spec.schema
            schema = self._mcap.Schema(id=number, name=name, encoding=encoding, data=data)
        channel = len(self._channels) + 1
        record = self._mcap.Channel(
            id=channel,
            topic=spec.topic,
            message_encoding=spec.encoding,
            metadata=dict(spec.metadata),
            schema_id=0 if schema is None else schema.id,
        )
        self._channels[spec] = channel
        self._records[channel] = (schema, record)
        return channel

    def put(self, channel: int, sequence: int, log_ns: int, data: bytes) -> None:
        """Add a message to the chunk that is being filled; nothing is written yet."""
        if channel not in self._entries:
            schema, record = self._records[channel]
            if schema is not None and schema.id not in self._chunk_schemas:
                self._chunk_schemas.add(schema.id)
                schema.write(self._chunk)
            record.write(self._chunk)
        self._entries.setdefault(channel, []).append((log_ns, int(self._chunk.count)))
        message = self._mcap.Message(
            channel_id=channel, sequence=sequence, log_time=log_ns, publish_time=log_ns, data=data
        )
        message.write(self._chunk)

    def flush(self) -> None:
        """Write the chunk, if it holds anything: then it survives whatever becomes of this process.

        Raises:
            OSError: The disk refuses. The messages of the chunk are lost, the file is whole without them.
        """
        entries, data = self._entries, self._chunk.end()
        self._reset()
        if not entries:
            return
        times = [at_ns for channel in entries.values() for at_ns, _ in channel]
        first_ns, last_ns = min(times), max(times)
        out = self._builder()
        chunk = self._mcap.Chunk(
            compression="",
            data=data,
            message_start_time=first_ns,
            message_end_time=last_ns,
            uncompressed_crc=zlib.crc32(data),
            uncompressed_size=len(data),
        )
        chunk.write(out)
        length, offsets = int(out.count), {}
        for channel, places in entries.items():
            offsets[channel] = self._at + int(out.count)
            self._mcap.MessageIndex(channel_id=channel, records=places).write(out)
        index = self._mcap.ChunkIndex(
            chunk_start_offset=self._at,
            chunk_length=length,
            compression="",
            compressed_size=len(data),
            uncompressed_size=len(data),
            message_start_time=first_ns,
            message_end_time=last_ns,
            message_index_length=int(out.count) - length,
            message_index_offsets=offsets,
        )
        self._append(out.end())
        self._chunks.append(index)
        self._counts.update({channel: len(places) for channel, places in entries.items()})
        begin_ns, end_ns = self._times or (first_ns, last_ns)
        self._times = (min(begin_ns, first_ns), max(end_ns, last_ns))

    def sync(self) -> None:
        """Wait until everything written is on the disk.

        Raises:
            OSError: The disk fails.
        """
        os.fdatasync(self._fd)

    def finish(self) -> None:
        """Write index and end, and wait for the disk; the chunk that is being filled must be written.

        Raises:
            OSError: The disk refuses; all chunks are whole.
        """
        out = self._builder()
        self._mcap.DataEnd(self._crc).write(out)
        start = self._at + int(out.count)
        summary = self._builder()
        groups = self._write_summary(summary)
        offsets_at = start + int(summary.count)
        for opcode, begin, length in groups:
            self._mcap.SummaryOffset(
                group_opcode=opcode, group_start=start + begin, group_length=length
            ).write(summary)
        data = summary.end()
        footer = self._mcap.Footer(summary_start=start, summary_offset_start=offsets_at, summary_crc=0)
        head = self._builder()
        footer.write(head)
        footer.summary_crc = zlib.crc32(head.end()[:-4], zlib.crc32(data))
        out.write(data)
        footer.write(out)
        self._append(out.end() + MAGIC)
        os.fsync(self._fd)

    def close(self) -> None:
        """Let go of the file; a second time is fine."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _reset(self) -> None:
        self._chunk = self._builder()
        self._entries: dict[int, list[tuple[int, int]]] = {}
        self._chunk_schemas: set[int] = set()

    def _write_head(self, metadata: Mapping[str, Mapping[str, str]]) -> None:
        out = self._builder()
        out.write(MAGIC)
        self._mcap.Header("", LIBRARY).write(out)
        for name, values in metadata.items():
            begin = int(out.count)
            self._mcap.Metadata(name=name, metadata=dict(values)).write(out)
            index = self._mcap.MetadataIndex(offset=begin, length=int(out.count) - begin, name=name)
            self._metadata_indexes.append(index)
        self._append(out.end())

    def _write_summary(self, out: Any) -> list[tuple[int, int, int]]:
        """Write the records of the summary; return opcode, place and length of each group."""
        from mcap.opcode import Opcode

        schemas = {schema.id: schema for schema, _ in self._records.values() if schema is not None}
        begin_ns, end_ns = self._times or (0, 0)
        statistics = self._mcap.Statistics(
            attachment_count=0,
            channel_count=len(self._records),
            channel_message_counts=dict(self._counts),
            chunk_count=len(self._chunks),
            message_count=self._counts.total(),
            message_start_time=begin_ns,
            message_end_time=end_ns,
            metadata_count=len(self._metadata_indexes),
            schema_count=len(schemas),
        )
        groups = []
        for opcode, records in (
            (Opcode.SCHEMA, list(schemas.values())),
            (Opcode.CHANNEL, [record for _, record in self._records.values()]),
            (Opcode.STATISTICS, [statistics]),
            (Opcode.CHUNK_INDEX, self._chunks),
            (Opcode.METADATA_INDEX, self._metadata_indexes),
        ):
            begin = int(out.count)
            for record in records:
                record.write(out)
            if records:
                groups.append((int(opcode), begin, int(out.count) - begin))
        return groups

    def _append(self, data: bytes) -> None:
        """Write all of it, or nothing.

        Raises:
            OSError: The disk refuses.
        """
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.pwrite(self._fd, rest, self._at + len(data) - len(rest)) :]
        except OSError:
            with contextlib.suppress(OSError):  # what is there is no whole chunk: a reader passes over it
                os.ftruncate(self._fd, self._at)
            raise
        self._at += len(data)
        self._crc = zlib.crc32(data, self._crc)
        self._sha256.update(data)
