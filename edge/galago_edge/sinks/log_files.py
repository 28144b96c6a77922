"""A log with its renamed files, read back from either end; also while it is written and renamed."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from galago_edge.contract.errors import LinkError, Reason, disk_error
from galago_edge.sinks.stored_record import LINE_LIMIT_BYTES

_STEP_BYTES = 1 << 20
_MOMENT_S = 0.2
"""How long a writer may take between the two halves of a line."""
_POLL_S = 0.02


class LogFiles:
    """``log``, ``log.1``, ``log.2`` ..., as they are when this is made.

    A file is known by its number on the disk, not by its name, which changes when the log is renamed: each is
    read once, and none is missed but one that was removed meanwhile.
    """

    def __init__(self, path: Path) -> None:
        """Look which files there are.

        Raises:
            LinkError: The folder cannot be read; the log is no regular file.
        """
        self._path = path
        self._found: list[tuple[int, tuple[int, int]]] = []
        seen: set[tuple[int, int]] = set()
        for number in self._upwards(0):
            try:
                status = self._named(number).stat()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise disk_error(error, f"read {self._named(number)}") from None
            if not stat.S_ISREG(status.st_mode):
                raise LinkError(
                    Reason.IO,
                    f"{self._named(number)} is no file, so nothing can be read back from it",
                    hint="give [log] the path of a file",
                )
            if (identity := (status.st_dev, status.st_ino)) not in seen:
                seen.add(identity)
                self._found.append((number, identity))

    @property
    def empty(self) -> bool:
        """Tell whether there is no file at all."""
        return not self._found

    def lines(self) -> Iterator[bytes]:
        """Yield every line, without its end, the oldest first. What is longer than a record may be is cut.

        Raises:
            LinkError: A file cannot be read.
        """
        for number, identity in reversed(self._found):
            with self._opened(number, identity) as file:
                while file is not None and (line := self._line(file)):
                    yield line.rstrip(b"\n")

    def newest(self, limit_bytes: int) -> Iterator[bytes]:
        """Yield the lines of the last ``limit_bytes`` of the log, newest first, without an unfinished one.

        Raises:
            LinkError: A file cannot be read.
        """
        for number, identity in self._found:
            with self._opened(number, identity) as file:
                if file is None:
                    continue
                end, rest = file.seek(0, os.SEEK_END), b""
                whole = False
                while end > 0 and limit_bytes > 0:
                    start = max(end - min(_STEP_BYTES, limit_bytes), 0)
                    file.seek(start)
                    first, *lines = (file.read(end - start) + rest).split(b"\n")
                    yield from reversed(lines if whole else lines[:-1])
                    whole = whole or bool(lines)
                    limit_bytes -= end - start
                    end, rest = start, first[: LINE_LIMIT_BYTES + 1]
                if end == 0 and whole:
                    yield rest

    def _line(self, file: BinaryIO) -> bytes:
        """Return the next line; what follows an overlong one up to its end is passed over."""
        line = _finished(file, file.readline(LINE_LIMIT_BYTES + 1))
        part = line
        while len(part) > LINE_LIMIT_BYTES and not part.endswith(b"\n"):
            part = file.readline(LINE_LIMIT_BYTES + 1)
        return line

    def _named(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path

    def _upwards(self, first: int) -> Iterator[int]:
        """Yield the numbers from ``first`` on, as renaming moves files: none of them is passed by."""
        number, highest = first, self._highest()
        while number <= highest:
            yield number
            number += 1
            if number > highest:
                highest = self._highest()

    def _highest(self) -> int:
        pattern = re.compile(rf"{re.escape(self._path.name)}\.([0-9]{{1,4}})")
        try:
            found = [pattern.fullmatch(name) for name in os.listdir(self._path.parent)]  # noqa: PTH208
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise disk_error(error, f"read {self._path.parent}") from None
        return max((int(match[1]) for match in found if match), default=0)

    @contextlib.contextmanager
    def _opened(self, number: int, identity: tuple[int, int]) -> Iterator[BinaryIO | None]:
        """Give a file wherever it is by now; None when it was removed."""
        for later in self._upwards(number):
            try:
                fd = os.open(self._named(later), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise disk_error(error, f"read {self._named(later)}") from None
            with os.fdopen(fd, "rb") as file:
                status = os.fstat(fd)
                if (status.st_dev, status.st_ino) != identity:
                    continue
                try:
                    yield file
                except OSError as error:
                    raise disk_error(error, f"read {self._named(later)}") from None
            return
        yield None


def _finished(file: BinaryIO, line: bytes) -> bytes:
    """Return a line that was read up to the end of the file, with the rest of it that comes in a moment."""
    deadline = time.monotonic() + _MOMENT_S
    while line and not line.endswith(b"\n") and len(line) <= LINE_LIMIT_BYTES and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        line += file.readline(LINE_LIMIT_BYTES + 1 - len(line))
    return line
