"""Reads an MCAP file as far as it can be read: front to back, chunk by chunk, whatever happened to it.

Readers of the library ``mcap`` need the index, or stop at the first fault; in order of time they give nothing
at all of a file that is cut off. Here every length is checked against the file before anything is read, a
chunk counts only if its checksum does, and behind damage the next whole chunk is looked for.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Self

from galago_edge.contract.errors import InputError, LinkError, Reason, disk_error
from galago_edge.recorded.about import METADATA, AboutRecording, read_about
from galago_edge.recorded.chunk_data import (
    CHUNK,
    CHUNK_HEAD,
    DATA_END,
    LARGEST_RECORD,
    DamagedRecordError,
    chunk_parts,
    unpacked_chunk,
    why_no_record,
)
from galago_edge.recorded.chunk_file import MAGIC
from galago_edge.recorded.recording_library import mcap_records

_HEAD_BYTES = 9
_SCHEMA, _CHANNEL, _MESSAGE, _METADATA = 0x03, 0x04, 0x05, 0x0C
_HEADER = 0x01
_KNOWN, _PRIVATE = range(0x01, 0x10), range(0x80, 0x100)
_IN_DATA = {_SCHEMA, _CHANNEL, _MESSAGE, CHUNK, 0x07, 0x09, _METADATA, DATA_END}
"""What may stand before the end of the data; 0x07: index of a chunk, 0x09: attachment."""
_MESSAGE_HEAD = struct.Struct("<HIQQ")
_FOOTER_BYTES = _HEAD_BYTES + 20
_PLACE = re.compile(rb"\x06.{5}\x00\x00\x00|\x0f\x04\x00{7}", re.DOTALL)
"""Where a chunk, or the end of the data, may begin."""
_LOOK_BYTES = 1 << 20
_HEAD_RECORDS = 16
"""Before the first chunk: so many are looked at for what the file says of itself."""


@dataclass(frozen=True, slots=True)
class StoredChannel:
    """Where messages are from."""

    topic: str
    encoding: str
    schema: str
    """Name of the schema; empty without one."""
    metadata: Mapping[str, str] = field(hash=False)


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message."""

    channel: StoredChannel
    sequence: int
    log_ns: int
    data: bytes
    raw_schema: tuple[str, str, bytes] = ("", "", b"")


@dataclass(frozen=True, slots=True)
class DamagedBytes:
    """A stretch of the file that cannot be read."""

    at: int
    end: int
    why: str


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


class RecordWalk:
    """One file, walked through once by :meth:`messages`."""

    def __init__(self, path: Path) -> None:
        """Open ``path``.

        Raises:
            LinkError: SOURCE_MISSING, or the disk fails.
            DeviceError: EXTRA_MISSING.
        """
        self._mcap: Any = mcap_records("reading a recording")
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self.size = os.fstat(self._fd).st_size
        except FileNotFoundError:
            raise LinkError(Reason.SOURCE_MISSING, f"{path} does not exist", hint="check the path") from None
        except OSError as error:
            raise disk_error(error, f"read {path}") from error
        self.about: AboutRecording | None = None
        """None in files of other programs."""
        self.whole = False
        """Afterwards: the end of the data was met, so nothing is missing behind what was read."""
        self.chunks = 0
        self.data_end = 0
        self.data_crc = 0
        """What the end of the data says of the checksum of all before; 0: nothing."""
        self._schemas: dict[int, tuple[str, str, bytes]] = {}
        self._channels: dict[int, StoredChannel] = {}
        self._of_channel: dict[int, int] = {}
        self.summary = self._read_summary()
        self._read_head()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; a second time is fine."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def messages(
        self, wanted: Callable[[StoredChannel], bool] = lambda channel: True
    ) -> Iterator[StoredMessage | DamagedBytes]:
        """Yield the messages of these channels in the order of the file, and what is damaged between them.

        Raises:
            LinkError: The disk fails.
        """
        at = len(MAGIC)
        if self._read(0, len(MAGIC)) != MAGIC:
            begin, at = 0, self._next_place(1)
            yield DamagedBytes(begin, at, "it does not begin as an MCAP file")
        while at < self.size:
            found = self._record(at)
            if isinstance(found, str):
                begin, at = at, self._next_place(at + 1)
                if at < self.size or begin + _HEAD_BYTES <= self.size:
                    yield DamagedBytes(begin, at, found)
                continue
            opcode, body = found
            end = at + _HEAD_BYTES + len(body) if body is not None else self._end_of(at)
            if opcode == DATA_END and body is not None:
                self.whole, self.data_end = True, at
                self.data_crc = int.from_bytes(body[:4], "little")
                return
            try:
                if opcode == CHUNK and body is not None:
                    yield from self._chunk(body, wanted)
                    self.chunks += 1
                elif self._is_out_of_place(opcode):
                    raise DamagedRecordError(f"a record of kind {opcode} outside the chunks")
                elif body is not None:
                    yield from self._outside(opcode, body, wanted)
            except DamagedRecordError as error:
                yield DamagedBytes(at, end, str(error))
            at = end

    def data_checksum(self) -> int:
        """Return the CRC-32 of everything before the end of the data; known behind :meth:`messages`.

        Raises:
            LinkError: The disk fails.
        """
        crc = 0
        for at in range(0, self.data_end, _LOOK_BYTES):
            crc = zlib.crc32(self._read(at, min(_LOOK_BYTES, self.data_end - at)), crc)
        return crc

    def _record(self, at: int) -> tuple[int, bytes | None] | str:
        """Return opcode and body, None for what need not be read; or why there is no record here."""
        head = self._read(at, _HEAD_BYTES)
        if len(head) < _HEAD_BYTES:
            return "it ends within a record"
        opcode, length = head[0], int.from_bytes(head[1:], "little")
        if opcode not in _KNOWN and opcode not in _PRIVATE:
            return f"a record of the unknown kind {opcode}"
        if opcode in _KNOWN and opcode not in _IN_DATA and (opcode, at) != (_HEADER, len(MAGIC)):
            return f"a record of kind {opcode}, which has no place there"
        if at + _HEAD_BYTES + length > self.size:
            return "it ends within a record, or a length is wrong"
        if opcode in _PRIVATE:
            return opcode, None
        if length > LARGEST_RECORD:
            return (opcode, None) if opcode == 0x09 else f"a record of {length} bytes"
        body = self._read(at + _HEAD_BYTES, length)
        wrong = why_no_record(opcode, body)
        return wrong or (opcode, body)

    def _end_of(self, at: int) -> int:
        return at + _HEAD_BYTES + int.from_bytes(self._read(at + 1, 8), "little")

    def _chunk(self, body: bytes, wanted: Callable[[StoredChannel], bool]) -> Iterator[StoredMessage]:
        _, _, size, crc = CHUNK_HEAD.unpack_from(body)
        compression, data = chunk_parts(body)
        data = unpacked_chunk(compression, data, size)
        if crc and zlib.crc32(data) != crc:
            raise DamagedRecordError("a chunk whose checksum does not match")
        at = 0
        while at < len(data):
            head = data[at : at + _HEAD_BYTES]
            end = at + _HEAD_BYTES + int.from_bytes(head[1:], "little")
            if len(head) < _HEAD_BYTES or end > len(data):
                raise DamagedRecordError("a chunk that contradicts itself")
            yield from self._outside(head[0], data[at + _HEAD_BYTES : end], wanted)
            at = end

    def _is_out_of_place(self, opcode: int) -> bool:
        """Tell whether this file has such records in its chunks alone, protected by a checksum, or none."""
        if self.about is not None:  # Galago wrote it
            return opcode in (_SCHEMA, _CHANNEL, _MESSAGE) or opcode in _PRIVATE
        return opcode == _MESSAGE and self.chunks > 0

    def _outside(
        self, opcode: int, body: bytes, wanted: Callable[[StoredChannel], bool]
    ) -> Iterator[StoredMessage]:
        """Take a record that is a message, or describes some."""
        if opcode == _MESSAGE:
            if len(body) < _MESSAGE_HEAD.size:
                raise DamagedRecordError("a message without a head")
            number, sequence, log_ns, _ = _MESSAGE_HEAD.unpack_from(body)
            if (channel := self._channels.get(number)) is None:
                raise DamagedRecordError("a message of a channel that nobody described")
            if wanted(channel):
                schema = self._schemas.get(self._of_channel[number], ("", "", b""))
                yield StoredMessage(channel, sequence, log_ns, body[_MESSAGE_HEAD.size :], schema)
        elif opcode in (_SCHEMA, _CHANNEL, _METADATA):
            self._describe(opcode, body)

    def _describe(self, opcode: int, body: bytes) -> None:
        try:
            if opcode == _SCHEMA:
                schema = self._parsed(self._mcap.Schema, body)
                self._schemas[schema.id] = (schema.name, schema.encoding, schema.data)
            elif opcode == _CHANNEL:
                channel = self._parsed(self._mcap.Channel, body)
                name = self._schemas.get(channel.schema_id, ("", "", b""))[0]
                known = StoredChannel(channel.topic, channel.message_encoding, name, channel.metadata)
                if self._channels.get(channel.id) != known:
                    self._channels[channel.id] = known
                self._of_channel[channel.id] = channel.schema_id
            else:
                metadata = self._parsed(self._mcap.Metadata, body)
                if metadata.name == METADATA and self.about is None:
                    self.about = read_about(metadata.metadata)
        except _PARSING as error:
            raise DamagedRecordError(f"a record that contradicts itself ({type(error).__name__})") from None

    def _parsed(self, kind: Any, body: bytes) -> Any:
        from mcap.data_stream import ReadDataStream
        from mcap.exceptions import McapError

        try:
            return kind.read(ReadDataStream(BytesIO(body)))
        except McapError as error:
            raise ValueError(str(error)) from None

    def _next_place(self, at: int) -> int:
        """Return where, from ``at``, the next whole chunk or the end of the data begins; else the size."""
        while at < self.size:
            piece = self._read(at, _LOOK_BYTES)
            for found in _PLACE.finditer(piece):
                if self._is_place(at + found.start()):
                    return at + found.start()
            if len(piece) <= _HEAD_BYTES:
                break
            at += len(piece) - _HEAD_BYTES + 1
        return self.size

    def _is_place(self, at: int) -> bool:
        found = self._record(at)
        if isinstance(found, str) or found[1] is None:
            return False
        opcode, body = found[0], found[1] or b""
        if opcode == DATA_END:
            behind = self._read(at + _HEAD_BYTES + len(body), 1)
            return bool(behind) and behind[0] in _KNOWN
        try:
            _, _, size, crc = CHUNK_HEAD.unpack_from(body)
            compression, data = chunk_parts(body)
            return bool(crc) and zlib.crc32(unpacked_chunk(compression, data, size)) == crc
        except DamagedRecordError:
            return False

    def _read_head(self) -> None:
        """Learn what stands before the first chunk, also behind a header that is damaged."""
        at = len(MAGIC)
        for _ in range(_HEAD_RECORDS):
            found = self._record(at)
            if isinstance(found, str) or found[1] is None or found[0] == CHUNK:
                return
            if found[0] == _METADATA:
                with contextlib.suppress(DamagedRecordError):  # whoever walks is told
                    self._describe(found[0], found[1])
            at += _HEAD_BYTES + len(found[1])

    def _read_summary(self) -> Summary | None:
        """Return the index at the end; None where there is none that can be believed."""
        tail_at = self.size - _FOOTER_BYTES - len(MAGIC)
        tail = self._read(tail_at, _FOOTER_BYTES + len(MAGIC)) if tail_at > 0 else b""
        if not tail.endswith(MAGIC) or tail[:1] != b"\x02":
            return None
        start, _, crc = struct.unpack_from("<QQI", tail, _HEAD_BYTES)
        if not 0 < start <= tail_at or tail_at - start > LARGEST_RECORD:
            return None
        data = self._read(start, tail_at - start)
        if crc and zlib.crc32(tail[: _FOOTER_BYTES - 4], zlib.crc32(data)) != crc:
            return None
        try:
            return self._summarized(data)
        except _PARSING:
            return None

    def _summarized(self, data: bytes) -> Summary | None:
        schemas: dict[int, str] = {}
        channels: dict[int, StoredChannel] = {}
        chunks: list[tuple[int, int, int]] = []
        statistics: Any = None
        at = 0
        while at + _HEAD_BYTES <= len(data):
            opcode, length = data[at], int.from_bytes(data[at + 1 : at + _HEAD_BYTES], "little")
            body = data[at + _HEAD_BYTES : at + _HEAD_BYTES + length]
            at += _HEAD_BYTES + length
            if opcode == _SCHEMA:
                schema = self._parsed(self._mcap.Schema, body)
                schemas[schema.id] = schema.name
            elif opcode == _CHANNEL:
                one = self._parsed(self._mcap.Channel, body)
                name = schemas.get(one.schema_id, "")
                channels[one.id] = StoredChannel(one.topic, one.message_encoding, name, one.metadata)
            elif opcode == 0x0B:
                statistics = self._parsed(self._mcap.Statistics, body)
            elif opcode == 0x08:
                index = self._parsed(self._mcap.ChunkIndex, body)
                place = (index.chunk_start_offset, index.message_start_time, index.message_end_time)
                chunks.append(place)
        if statistics is None:
            return None
        counts: dict[str, int] = {}
        for number, count in statistics.channel_message_counts.items():
            if number in channels:
                topic = channels[number].topic
                counts[topic] = counts.get(topic, 0) + count
        times = (statistics.message_start_time, statistics.message_end_time)
        return Summary(counts, tuple(channels.values()), tuple(sorted(chunks)), *times)

    def _read(self, at: int, count: int) -> bytes:
        pieces: list[bytes] = []
        try:
            while count > 0 and (piece := os.pread(self._fd, min(count, 1 << 24), at)):
                pieces.append(piece)
                at, count = at + len(piece), count - len(piece)
        except OSError as error:
            raise disk_error(error, f"read {self.path}") from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


_PARSING = (struct.error, ValueError, EOFError, KeyError, IndexError, OverflowError)
"""What comes of parsing records that contradict themselves."""


def not_mcap(path: Path, why: str) -> InputError:
    """Return the failure of a file that is no recording, or none that can be read."""
    return InputError(
        Reason.RECORDING_UNREADABLE,
        f"{path} {why}",
        hint="expected an MCAP file with at least one whole chunk of pictures or sound",
    )
