"""Reads an MCAP file as far as it can be read: front to back, chunk by chunk, whatever happened to it.

Readers of the library ``mcap`` need the index, or stop at the first fault; in order of time they give nothing
at all of a file that is cut off. Here every length is checked against the file before anything is read, a
chunk counts only if its checksum does, and behind damage the next whole chunk is looked for.
"""

from __future__ import annotations

import contextlib
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from galago_edge.contract.errors import InputError, Reason
from galago_edge.recorded.about import METADATA, AboutRecording, read_about
from galago_edge.recorded.chunk_data import (
    CHUNK,
    CHUNK_HEAD,
    DATA_END,
    LARGEST_RECORD,
    LONGEST_HEAD,
    DamagedRecordError,
    chunk_parts,
    is_chunk_head,
    unpacked_chunk,
    why_no_record,
)
from galago_edge.recorded.chunk_file import MAGIC
from galago_edge.recorded.file_summary import (
    CHANNEL,
    HEAD_BYTES,
    PARSING_ERRORS,
    SCHEMA,
    StoredChannel,
    parsed_record,
    read_summary,
)
from galago_edge.recorded.piecewise_file import PiecewiseFile
from galago_edge.recorded.recording_library import mcap_records
from galago_edge.recorded.walk_budget import OF_A_RECORD, WalkBudget

_MESSAGE, _METADATA = 0x05, 0x0C
_HEADER = 0x01
_KNOWN, _PRIVATE = range(0x01, 0x10), range(0x80, 0x100)
_IN_DATA = {SCHEMA, CHANNEL, _MESSAGE, CHUNK, 0x07, 0x09, _METADATA, DATA_END}
"""What may stand before the end of the data; 0x07: index of a chunk, 0x09: attachment."""
_TAKEN = {SCHEMA, CHANNEL, _MESSAGE, _METADATA}
"""What in a chunk says anything; all else is passed over."""
_MESSAGE_HEAD = struct.Struct("<HIQQ")
_PLACE = re.compile(rb"\x06.{5}\x00\x00\x00|\x0f\x04\x00{7}", re.DOTALL)
"""Where a chunk, or the end of the data, may begin."""
_LOOK_BYTES = 1 << 20
_SUFFIXES = (".mcap", ".part")
_HEAD_RECORDS = 16
"""Before the first chunk: so many are looked at for what the file says of itself."""


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
        self._file = PiecewiseFile(path)
        self._read, self.size = self._file.read, self._file.size
        self._budget = WalkBudget(path, self.size)
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
        self.summary = read_summary(self._file)
        self._read_head()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; a second time is fine."""
        self._file.close()

    def messages(
        self, wanted: Callable[[StoredChannel], bool] = lambda channel: True
    ) -> Iterator[StoredMessage | DamagedBytes]:
        """Yield the messages of these channels in the order of the file, and what is damaged between them.

        Raises:
            LinkError: The disk fails.
            InputError: RECORDING_UNREADABLE; it claims to hold more than a file of its size may.
        """
        at = len(MAGIC)
        if self._read(0, len(MAGIC)) != MAGIC:
            begin, at = 0, self._next_place(1)
            yield DamagedBytes(begin, at, "it does not begin as an MCAP file")
        while at < self.size:
            found = self._record(at)
            if isinstance(found, str):
                begin, at = at, self._next_place(at + 1)
                if at < self.size or begin + HEAD_BYTES <= self.size:
                    yield DamagedBytes(begin, at, found)
                continue
            opcode, body, end = found
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

    def _record(self, at: int) -> tuple[int, bytes | None, int] | str:
        """Return opcode, body (None for what need not be read) and end; or why there is no record here."""
        head = self._read(at, HEAD_BYTES)
        if len(head) < HEAD_BYTES:
            return "it ends within a record"
        opcode, length = head[0], int.from_bytes(head[1:], "little")
        if opcode not in _KNOWN and opcode not in _PRIVATE:
            return f"a record of the unknown kind {opcode}"
        if opcode in _KNOWN and opcode not in _IN_DATA and (opcode, at) != (_HEADER, len(MAGIC)):
            return f"a record of kind {opcode}, which has no place there"
        if (end := at + HEAD_BYTES + length) > self.size:
            return "it ends within a record, or a length is wrong"
        if opcode in _PRIVATE:
            return opcode, None, end
        if length > LARGEST_RECORD:
            return (opcode, None, end) if opcode == 0x09 else f"a record of {length} bytes"
        if opcode == CHUNK and not is_chunk_head(
            self._read(at + HEAD_BYTES, min(length, LONGEST_HEAD)), length
        ):
            return "a chunk that contradicts itself"
        body = self._read(at + HEAD_BYTES, length)
        if wrong := why_no_record(opcode, body):
            self._budget.spend(length)  # whatever it holds is read again
            return wrong
        return opcode, body, end

    def _chunk(self, body: bytes, wanted: Callable[[StoredChannel], bool]) -> Iterator[StoredMessage]:
        _, _, size, crc = CHUNK_HEAD.unpack_from(body)
        compression, data = chunk_parts(body)
        data = self._unpacked(compression, data, size)
        if crc and zlib.crc32(data) != crc:
            raise DamagedRecordError("a chunk whose checksum does not match")
        at, length = 0, len(data)
        while at < length:
            begin = at + HEAD_BYTES
            end = begin + int.from_bytes(data[at + 1 : begin], "little")
            if begin > length or end > length:
                raise DamagedRecordError("a chunk that contradicts itself")
            if compression:
                self._budget.spend(OF_A_RECORD)
            if (opcode := data[at]) in _TAKEN:
                yield from self._outside(opcode, data[begin:end], wanted)
            at = end

    def _unpacked(self, compression: str, data: bytes, size: int) -> bytes:
        if compression:
            self._budget.spend(min(size, LARGEST_RECORD))
        return unpacked_chunk(compression, data, size)

    def _is_out_of_place(self, opcode: int) -> bool:
        """Tell whether this file has such records in its chunks alone, protected by a checksum, or none."""
        if self.about is not None:  # Galago wrote it
            return opcode in (SCHEMA, CHANNEL, _MESSAGE) or opcode in _PRIVATE
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
        elif opcode in _TAKEN:
            self._describe(opcode, body)

    def _describe(self, opcode: int, body: bytes) -> None:
        try:
            if opcode == SCHEMA:
                schema = parsed_record(self._mcap.Schema, body)
                self._schemas[schema.id] = (schema.name, schema.encoding, schema.data)
            elif opcode == CHANNEL:
                channel = parsed_record(self._mcap.Channel, body)
                name = self._schemas.get(channel.schema_id, ("", "", b""))[0]
                known = StoredChannel(channel.topic, channel.message_encoding, name, channel.metadata)
                if self._channels.get(channel.id) != known:
                    self._channels[channel.id] = known
                self._of_channel[channel.id] = channel.schema_id
            else:
                metadata = parsed_record(self._mcap.Metadata, body)
                if metadata.name == METADATA and self.about is None:
                    self.about = read_about(metadata.metadata)
        except PARSING_ERRORS as error:
            raise DamagedRecordError(f"a record that contradicts itself ({type(error).__name__})") from None

    def _next_place(self, at: int) -> int:
        """Return where, from ``at``, the next whole chunk or the end of the data begins; else the size."""
        while at < self.size:
            piece = self._read(at, _LOOK_BYTES)
            for found in _PLACE.finditer(piece):
                if self._is_place(at + found.start()):
                    return at + found.start()
            if len(piece) <= HEAD_BYTES:
                break
            at += len(piece) - HEAD_BYTES + 1
        return self.size

    def _is_place(self, at: int) -> bool:
        found = self._record(at)
        if isinstance(found, str) or found[1] is None:
            return False
        opcode, body, end = found[0], found[1], found[2]
        if opcode == DATA_END:
            behind = self._read(end, 1)
            return bool(behind) and behind[0] in _KNOWN
        self._budget.spend(len(body))  # the next place may lie within
        try:
            _, _, size, crc = CHUNK_HEAD.unpack_from(body)
            compression, data = chunk_parts(body)
            return bool(crc) and zlib.crc32(self._unpacked(compression, data, size)) == crc
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
            at = found[2]


def not_mcap(path: Path, why: str) -> InputError:
    """Return the failure of a file that is no recording, or none that can be read."""
    with contextlib.suppress(OSError):
        why = "is empty" if path.stat().st_size == 0 else why
    hint = "expected an MCAP file with at least one whole chunk of pictures or sound"
    if path.suffix.lower() not in _SUFFIXES:
        hint = f"{hint}; galago recording import makes one of a file of another kind"
    return InputError(Reason.RECORDING_UNREADABLE, f"{path} {why}", hint=hint)
