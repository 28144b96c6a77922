"""The memory that a capture child hands its frames over in: it writes, its parent reads."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from collections.abc import Sequence

_STEP_BYTES = 16 * 1024
"""Room for what has many lengths is taken in such steps, so that it rarely has to grow."""


class SharedMemory:
    """The child's side of the memory that frames are handed over in. It only ever grows, in a new file."""

    def __init__(self) -> None:
        self._fd = -1
        self._new = False
        self._map: mmap.mmap | None = None

    def room(self, size: int) -> mmap.mmap:
        """Return at least ``size`` writable bytes; what was in them is still there if they were enough."""
        if self._map is None or len(self._map) < size:
            self.close()
            whole = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
            self._fd = os.memfd_create("galago-frame", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(self._fd, whole)
            # a mapping whose file shrinks kills whoever reads it: nobody can shrink this one
            fcntl.fcntl(self._fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
            self._map = mmap.mmap(self._fd, whole)
            self._new = True
        return self._map

    def put(self, data: bytes) -> None:
        """Write ``data`` to the beginning."""
        self.room(-(-len(data) // _STEP_BYTES) * _STEP_BYTES)[: len(data)] = data

    def fds(self) -> tuple[int, ...]:
        """Return the file that the other side does not have yet, for the next message."""
        new, self._new = self._new, False
        return (self._fd,) if new else ()

    def close(self) -> None:
        """Give up the memory; what looks into it keeps it until it is gone itself."""
        if self._map is not None:
            with contextlib.suppress(BufferError):
                self._map.close()
            os.close(self._fd)
            self._map = None


class SharedView:
    """The parent's side of it, read-only."""

    def __init__(self) -> None:
        self._map: mmap.mmap | None = None

    def adopt(self, fds: Sequence[int]) -> None:
        """Take over the memory whose files came with a message, if any did; they are closed.

        Raises:
            OSError: It cannot be mapped.
        """
        for fd in fds:
            try:
                mapped = mmap.mmap(fd, os.fstat(fd).st_size, prot=mmap.PROT_READ)
            finally:
                os.close(fd)
            self.close()
            self._map = mapped

    def read(self, start: int, size: int) -> memoryview | None:
        """Return what stands there, to be copied at once; None when there is less."""
        if self._map is None or start < 0 or size < 0 or start + size > len(self._map):
            return None
        return memoryview(self._map)[start : start + size]

    def close(self) -> None:
        """Give up the memory."""
        if self._map is not None:
            self._map.close()
            self._map = None
