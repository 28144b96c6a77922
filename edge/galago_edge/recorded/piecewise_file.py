"""A file that is read here and there: many short reads beside each other cost one of the system."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Self

from galago_edge.contract.errors import InputError, LinkError, Reason, disk_error

_SHORT = 1 << 10
_BLOCK = 1 << 14
"""Bytes that are read for a short read: what follows is asked for next, as a rule."""
_LONGEST_READ = 1 << 24


class PiecewiseFile:
    """Used by one thread. Memory: what was asked for, and one block."""

    def __init__(self, path: Path) -> None:
        """Open ``path``.

        Raises:
            LinkError: SOURCE_MISSING, or the disk fails.
            InputError: RECORDING_UNREADABLE; it is a folder, a pipe or a device.
        """
        self.path = path
        try:
            self._fd = os.open(
                path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
            )  # a pipe waits for its writer
            found = os.fstat(self._fd)
        except FileNotFoundError:
            raise LinkError(Reason.SOURCE_MISSING, f"{path} does not exist", hint="check the path") from None
        except OSError as error:
            raise disk_error(error, f"read {path}") from error
        if not stat.S_ISREG(found.st_mode):
            self.close()
            folder = stat.S_ISDIR(found.st_mode)
            raise InputError(
                Reason.RECORDING_UNREADABLE,
                f"{path} is {'a folder' if folder else 'no file'}, expected a recording file (.mcap)",
                hint=f"galago recording import {path} NEW.mcap makes one of a folder of images"
                if folder
                else "",
            )
        self.size = found.st_size
        self._block, self._block_at = b"", 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; a second time is fine."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def read(self, at: int, count: int) -> bytes:
        """Return ``count`` bytes, fewer at the end of the file.

        Raises:
            LinkError: The disk fails.
        """
        if count > _SHORT:
            return self._read(at, count)
        begin = at - self._block_at
        if begin < 0 or begin + count > len(self._block):
            self._block, self._block_at, begin = self._read(at, _BLOCK), at, 0
        return self._block[begin : begin + count]

    def _read(self, at: int, count: int) -> bytes:
        pieces: list[bytes] = []
        try:
            while count > 0 and (piece := os.pread(self._fd, min(count, _LONGEST_READ), at)):
                pieces.append(piece)
                at, count = at + len(piece), count - len(piece)
        except OSError as error:
            raise disk_error(error, f"read {self.path}") from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
