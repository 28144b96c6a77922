"""What wakes a thread that waits for records, for a socket, or for its end."""

from __future__ import annotations

import contextlib
import os
import select


class Bell:
    """Wakes one thread that waits, alone or together with a socket."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def ring(self) -> None:
        """Wake the waiter, or let its next wait return at once. Never blocks; harmless when closed."""
        with contextlib.suppress(OSError):  # full: it has been rung often enough
            os.write(self._write, b"!")

    def wait(self, timeout_s: float) -> None:
        """Wait until it rings, at most ``timeout_s``; what has rung is used up."""
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        poll.poll(max(timeout_s, 0.0) * 1000)
        self.silence()

    def silence(self) -> None:
        """Use up what has rung."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read, 4_096):
                pass

    def fileno(self) -> int:
        """Return the descriptor that is readable when it has rung."""
        return self._read

    def close(self) -> None:
        """Give the descriptors back."""
        fds, self._read, self._write = (self._read, self._write), -1, -1
        for fd in fds:
            if fd >= 0:
                os.close(fd)
