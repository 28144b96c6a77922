"""What ssh, or the device through it, prints beside the talk: the end of it is kept, however much it is."""

from __future__ import annotations

import contextlib
import threading
from typing import IO

KEPT_BYTES = 64 << 10
_PIECE_BYTES = 64 << 10


class DeviceStderr:
    """Reads a process's standard error in a thread of its own, so that the process never waits for us."""

    def __init__(self, stream: IO[bytes]) -> None:
        """Begin to read ``stream``, which is closed at its end."""
        self._stream = stream
        self._lock = threading.Lock()
        self._kept = b""
        self._dropped = 0
        self._thread = threading.Thread(target=self._read, name="device-stderr", daemon=True)
        self._thread.start()

    def text(self) -> str:
        """Return the last ``KEPT_BYTES`` of what came so far, and how much came before it."""
        with self._lock:
            kept, dropped = self._kept, self._dropped
        text = kept.decode(errors="replace")
        return f"({dropped} bytes before this are not kept)\n{text}" if dropped else text

    def wait(self, timeout_s: float) -> None:
        """Wait until all has come; a process that outlives its parent may hold the other end for longer."""
        self._thread.join(timeout_s)

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._stream:
            while piece := self._stream.read1(_PIECE_BYTES):  # type: ignore[attr-defined]
                with self._lock:
                    whole = self._kept + piece
                    self._dropped += max(len(whole) - KEPT_BYTES, 0)
                    self._kept = whole[-KEPT_BYTES:]
