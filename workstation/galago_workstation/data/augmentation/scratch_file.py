"""A nameless file on the disk for what was decoded once and is read again and again."""

from __future__ import annotations

import os
import tempfile
import weakref
from pathlib import Path
from typing import IO

from galago_edge.contract.errors import disk_error


class ScratchFile:
    """Bytes in a nameless file that is gone with the object; any thread, and any forked process, may read."""

    def __init__(self, folder: Path | None) -> None:
        """Use the disk of ``folder``, or that of temporary files."""
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._size = 0
        self._owner = os.getpid()

    def append(self, content: bytes) -> int:
        """Add bytes, and return where they begin; one thread at a time.

        Raises:
            LinkError: NO_SPACE and other trouble with the disk.
        """
        start = self._size
        assert self._file is None or self._owner == os.getpid(), "two processes would write to one place"
        self._owner = os.getpid()
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
                weakref.finalize(self, self._file.close)  # it lives as long as this
            self._file.write(content)
        except OSError as error:
            raise disk_error(error, f"keep {len(content) >> 10} KiB for training") from error
        self._size += len(content)
        return start

    def read(self, start: int, count: int) -> bytes:
        """Return ``count`` bytes."""
        assert self._file is not None
        return os.pread(self._file.fileno(), count, start)
