"""Records as lines of JSON, in a file or on standard output; never half a line."""

from __future__ import annotations

import contextlib
import io
import os
import select
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from galago_edge.contract.errors import disk_error
from galago_edge.contract.records import Record, encode_record
from galago_edge.host.file_replacement import Durable, replacement

_BATCH_BYTES = 65_536


class JsonlSink:
    """Writes each batch of whole lines at once to an unbuffered binary stream.

    When the disk is full in the middle of a line, a regular file is cut back to its last whole line.
    """

    def __init__(self, stream: BinaryIO | io.RawIOBase, name: str, *, batch_bytes: int = 0) -> None:
        """Write to ``stream``; ``name`` is for messages.

        Up to ``batch_bytes`` are collected before they are written; 0 writes every call's lines at once.
        """
        self._stream = stream
        self._name = name
        self._batch_bytes = batch_bytes
        self._lines = bytearray()
        self._piece_bytes = select.PIPE_BUF if _is_pipe(stream) else sys.maxsize

    def emit(self, records: Sequence[Record]) -> None:
        """Write the records.

        Raises:
            LinkError: NO_SPACE or another trouble of the disk.
            BrokenPipeError: Nobody reads standard output any more.
        """
        self.write(b"".join(map(encode_record, records)))

    def write(self, lines: bytes) -> None:
        """Write records that are encoded already: whole lines.

        Raises:
            LinkError, BrokenPipeError: As ``emit``.
        """
        self._lines += lines
        if len(self._lines) > self._batch_bytes:
            self.flush()

    def flush(self) -> None:
        """Write what was collected.

        Raises:
            LinkError, BrokenPipeError: As ``emit``.
        """
        lines, self._lines = bytes(self._lines), bytearray()
        done = 0
        try:
            while done < len(lines):
                done += self._stream.write(lines[done : self._piece_end(lines, done)]) or 0
        except BrokenPipeError:
            raise  # the reader has seen enough (head): click ends the command quietly
        except OSError as error:
            self._cut_back(done - (lines.rfind(b"\n", 0, done) + 1))
            raise disk_error(error, f"write {self._name}") from error

    def _piece_end(self, lines: bytes, start: int) -> int:
        """Return how far to write at once: whole lines that a pipe takes wholly or not at all.

        So whatever interrupts the process, a reader has not got half a line.
        """
        if len(lines) - start <= self._piece_bytes:
            return len(lines)
        end = lines.rfind(b"\n", start, start + self._piece_bytes) + 1
        return end or lines.find(b"\n", start) + 1 or len(lines)

    def _cut_back(self, torn_bytes: int) -> None:
        if not torn_bytes:
            return
        with contextlib.suppress(OSError, io.UnsupportedOperation):  # not a file that can be cut
            end = self._stream.seek(0, os.SEEK_END)
            self._stream.truncate(end - torn_bytes)


@contextlib.contextmanager
def open_jsonl(path: Path, *, append: bool = False) -> Iterator[JsonlSink]:
    """Give a sink that writes the file ``path``.

    ``append`` continues a log, record by record. Otherwise the file is written under another name and
    takes its place at the end of the ``with`` block; when writing fails, what was there before stays.
    What is not a regular file (a pipe, a device) is written to directly.

    Raises:
        LinkError: The file cannot be created or written.
    """
    if append or _is_special(path):
        with _opened(path, "a", path) as stream:
            if append:
                _end_torn_line(path, stream)
            yield JsonlSink(stream, str(path))
        return
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(replacement(path, durable=Durable.NO))
        with _opened(temporary, "w", path) as stream:
            sink = JsonlSink(stream, str(path), batch_bytes=_BATCH_BYTES)
            yield sink
            sink.flush()
        try:
            stack.close()  # here, so that no other fault is taken for one of this file
        except OSError as error:
            raise disk_error(error, f"write {path}") from error


def _is_pipe(stream: BinaryIO | io.RawIOBase) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except (OSError, AttributeError):  # not a file of the system's at all
        return False


def _is_special(path: Path) -> bool:
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False  # not there yet, or opening it will say what is wrong


@contextlib.contextmanager
def _opened(path: Path, mode: str, named: Path) -> Iterator[io.FileIO]:
    """Open ``path``, for what the caller has ``named``."""
    try:
        stream = io.FileIO(path, mode)
    except OSError as error:
        raise disk_error(error, f"write {named}") from error
    with stream:
        yield stream


def _end_torn_line(path: Path, stream: io.FileIO) -> None:
    """Begin on a line of our own, if a power cut left the last one without an end."""
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        return
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                if file.read(1) != b"\n":
                    stream.write(b"\n")
    except OSError as error:
        raise disk_error(error, f"continue {path}") from error
