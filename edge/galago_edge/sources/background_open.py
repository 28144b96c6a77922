"""Opens a capture without having to wait for it: a camera that does not answer must not delay the end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from galago_edge.sources.source import Capture


class Connecting:
    """One attempt, in a thread of its own that ends with it."""

    def __init__(self, open: Callable[[], Capture]) -> None:
        """Begin."""
        self._open = open
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._capture: Capture | None = None
        self._error: Exception | None = None
        self._abandoned = False
        # a daemon: what hangs in a driver must not keep the process from ending
        threading.Thread(target=self._run, name="connecting", daemon=True).start()

    def wait(self, timeout_s: float) -> bool:
        """Tell whether the attempt is over, waiting for it so long at most."""
        return self._done.wait(timeout_s)

    def capture(self) -> Capture:
        """Return what was opened, or raise what went wrong. To be called once, when the attempt is over."""
        with self._lock:
            error, self._error = self._error, None
            if error is not None:
                raise error
            assert self._capture is not None, "the attempt is not over"
            return self._capture

    def abandon(self) -> None:
        """Close what was opened, or what will be."""
        with self._lock:
            self._abandoned = True
            if self._capture is not None:
                _close(self._capture)

    def _run(self) -> None:
        try:
            capture = self._open()
        except Exception as error:  # noqa: BLE001 - whatever it is, capture() raises it
            self._error = error
        else:
            with self._lock:
                self._capture = capture
                if self._abandoned:
                    _close(capture)
        finally:
            self._done.set()


def _close(capture: Capture) -> None:
    with contextlib.suppress(Exception):  # nobody wants it any more
        capture.close()
