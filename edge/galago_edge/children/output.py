"""What a child writes, kept in memory."""

from __future__ import annotations

import contextlib
import os

_TAIL_BYTES = 4096
_LINE = 200
"""Characters of a line that is told."""
_CHATTER = "INFO:"
"""How the runtimes begin lines that explain nothing."""


class Output:
    """A file in memory for a child to write to: standard output, standard error, or one of its own.

    The child never waits for a reader, and what it wrote before a crash is still there.
    """

    def __init__(self, name: str) -> None:
        """Make an empty file; ``name`` shows in /proc.

        Raises:
            OSError: There is no memory or descriptor to be had.
        """
        self._fd = os.memfd_create(name, os.MFD_CLOEXEC)

    def fileno(self) -> int:
        """Return the descriptor to hand on."""
        return self._fd

    def read(self) -> bytes:
        """Return everything."""
        return self._from(0)

    def text(self) -> str:
        """Return everything; what is no UTF-8 is replaced."""
        return self.read().decode(errors="replace")

    def last_line(self) -> str:
        """Return the last line that explains something, at most 200 characters of it; empty without any."""
        size = os.fstat(self._fd).st_size if self._fd >= 0 else 0
        text = self._from(max(0, size - _TAIL_BYTES)).decode(errors="replace")
        lines = [line.strip() for line in text.splitlines()]
        told = [line for line in lines if line and not line.startswith(_CHATTER)]
        return told[-1][:_LINE] if told else ""

    def close(self) -> None:
        """Give the memory back; there is nothing to be read any more. May be called twice."""
        with contextlib.suppress(OSError):
            os.close(self._fd)
        self._fd = -1

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _from(self, start: int) -> bytes:
        if self._fd < 0:
            return b""
        # by its position in the file, which the child shares, nothing may be read
        return os.pread(self._fd, os.fstat(self._fd).st_size - start, start)
