"""Records as a JSONL file that never grows beyond its share of the disk and never stops anybody."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from galago_edge.contract.errors import disk_error
from galago_edge.contract.records import StateRecord, encode_record
from galago_edge.sinks.disk import Disk

RETRY_S = 1.0
"""How long the disk is left alone after it has refused something."""


class RotatingLog:
    """Appends whole lines; renames the file when it is full: ``log`` to ``log.1``, ``log.1`` to ``log.2`` ...

    What the disk does not take is counted, and told by a record in the log as soon as it takes something
    again. A file that somebody else renames or removes is made again.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        keep: int,
        disk: Disk | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Name the log; the file is made with the first record. ``keep``: how many renamed files stay."""
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._disk = disk or Disk()
        self._monotonic = monotonic
        self._wall_ns = wall_ns
        self._fd = -1
        self._size = 0
        self._retry_at = 0.0
        self._untold = 0
        self.written = 0
        """Lines, since the start; as ``lost``."""
        self.lost = 0
        self.fault = ""
        """What the disk said last, in one line; empty while it takes everything."""

    def write(self, lines: bytes) -> None:
        """Append whole lines, or count those that the disk does not take."""
        if self._monotonic() < self._retry_at:
            self._lose(lines)
            return
        try:
            self._open()
            self._tell_what_is_lost()
            while lines:
                if self._size and self._size + lines.index(b"\n") >= self._max_bytes:
                    self._rotate()
                part = self._fitting(lines)
                done, error = self._append(part)
                lines = lines[done:]
                if error is not None:
                    raise error
        except OSError as error:
            self._refused(error)
            self._lose(lines)
        else:
            self.fault = ""

    def close(self) -> None:
        """Give the file back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        if self._fd >= 0 and not self._moved():
            return
        self.close()
        self._disk.make_folder(self._path.parent)
        self._fd = self._disk.open_to_append(self._path)
        self._size = self._disk.size(self._fd)
        if self._size and not self._ends_with_a_line():
            self._size += self._disk.write(self._fd, b"\n")

    def _moved(self) -> bool:
        try:
            here, ours = self._path.stat(), os.fstat(self._fd)
        except OSError:
            return True
        return (here.st_dev, here.st_ino) != (ours.st_dev, ours.st_ino)

    def _ends_with_a_line(self) -> bool:
        """Tell whether the last line is whole; a power cut may have torn it."""
        fd = self._disk.open_to_read(self._path)
        try:
            return self._disk.read_at(fd, 1, self._size - 1) in (b"\n", b"")
        finally:
            os.close(fd)

    def _tell_what_is_lost(self) -> None:
        if self._untold:
            _, error = self._append(_lost_record(self._untold, self._wall_ns()))
            if error is not None:
                raise error
            self._untold = 0

    def _fitting(self, lines: bytes) -> bytes:
        """Return as many of the lines as this file has room for, one at least."""
        end = lines.rfind(b"\n", 0, max(self._max_bytes - self._size, 0)) + 1
        return lines[: end or lines.index(b"\n") + 1]

    def _append(self, lines: bytes) -> tuple[int, OSError | None]:
        """Write whole lines; return how many bytes of them, and what stopped it. Never leaves half a line."""
        done, failure = 0, None
        try:
            while done < len(lines):
                done += self._disk.write(self._fd, lines[done:])
        except OSError as error:
            failure = error
            whole = lines.rfind(b"\n", 0, done) + 1
            if done > whole:
                with contextlib.suppress(OSError):  # then opening it again ends the torn line
                    self._disk.truncate(self._fd, self._size + whole)
            done = whole
        self._size += done
        self.written += lines.count(b"\n", 0, done)
        return done, failure

    def _rotate(self) -> None:
        """Begin a new file."""
        self.close()
        if self._keep == 0:
            self._disk.unlink(self._path)
        else:
            for number in range(self._keep - 1, 0, -1):
                with contextlib.suppress(FileNotFoundError):
                    self._disk.rename(self._numbered(number), self._numbered(number + 1))
            self._disk.rename(self._path, self._numbered(1))
        self._open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _lose(self, lines: bytes) -> None:
        count = lines.count(b"\n")
        self.lost += count
        self._untold += count

    def _refused(self, error: OSError) -> None:
        self.fault = str(disk_error(error, f"write {self._path}"))
        self._retry_at = self._monotonic() + RETRY_S
        self.close()


def _lost_record(lost: int, wall_ns: int) -> bytes:
    return encode_record(
        StateRecord(
            stream="", subject="log", state="lost", index=0, ns=0, detail={"lost": lost}, wall_ns=wall_ns
        )
    )
