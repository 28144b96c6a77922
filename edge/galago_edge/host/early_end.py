"""SIGTERM while a service is still starting: it ends there and then, in order, with exit code 0.

From the first line of :mod:`galago_edge.__main__` on until the service itself can be told to end. What the
kernel does before Python runs at all cannot be changed; systemd takes that as a good end, too.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any


class EndedEarly(BaseException):
    """Somebody said SIGTERM. No Exception: nothing that goes on after failures may go on after this."""


class EarlyEnd:
    """Takes SIGTERM from :meth:`take` on; a second one ends the process as usual."""

    def __init__(self) -> None:
        self.asked = False
        """Whether it came. After the whole start only where somebody's code has swallowed what was raised."""
        self.taken = False
        self.before: Any = signal.SIG_DFL
        """What SIGTERM did before."""
        self._held = False

    def take(self) -> None:
        """Raise :class:`EndedEarly` in the main thread, which this must be, as soon as SIGTERM comes."""
        self.before = signal.signal(signal.SIGTERM, self._told)
        self.taken = True

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let what is done here be done whole, and end behind it."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self.asked:
            raise EndedEarly

    def _told(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.asked = True
        if not self._held:
            raise EndedEarly
