"""Whose memory it is: what a process grew by while a bundle on trial was loaded and while it decided."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from galago_edge.service.limits import resident_mb


class MemoryShare:
    """Counts how much larger the process is after one bundle's work than before it.

    The system only tells what the whole process has, so what another thread takes in the same moment is
    counted as well, and what the bundle frees is taken off. Used by one thread; asked by any.
    """

    def __init__(self, resident: Callable[[], float] = resident_mb) -> None:
        """Begin; ``resident`` says how much the process has, in MB."""
        self._resident = resident
        self._begun_mb = resident()
        self.own_mb = 0.0
        """What came while the bundle worked."""

    @property
    def grown_mb(self) -> float:
        """What the process has grown by since the beginning, whatever caused it."""
        return self._resident() - self._begun_mb

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Count what the process grows by meanwhile."""
        before_mb = self._resident()
        try:
            yield
        finally:
            self.own_mb += self._resident() - before_mb
