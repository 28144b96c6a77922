"""What is not made for two threads at once says so, instead of answering wrongly."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class SoleUser:
    """Lets one call in at a time and, once closed, none."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._busy = threading.Lock()
        self.closed = False

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold the place during one call.

        Raises:
            RuntimeError: Another call is under way, in another thread or further up in this one.
            ValueError: Closed.
        """
        if not self._busy.acquire(blocking=False):
            raise RuntimeError(f"{self._what} is in use by another call; expected one thread at a time")
        try:
            if self.closed:
                raise ValueError(f"{self._what} is closed; use it before the end of its with block")
            yield
        finally:
            self._busy.release()
