"""Stand in for sinks whose plug-in cannot be used: they say so, and their records wait or are counted."""

from __future__ import annotations

from galago_edge.host.backoff import Backoff
from galago_edge.sinks.delivery_thread import DeliveryThread
from galago_edge.sinks.spool import Spool

_PAUSE_S = 3_600.0


class UnusableSink(DeliveryThread):
    """Delivers nothing. A later start, with a plug-in that works, delivers what has waited."""

    def __init__(self, name: str, spool: Spool, fault: str) -> None:
        """Say ``fault``, one line, in the status of ``name``."""
        super().__init__(name, spool, Backoff(_PAUSE_S, _PAUSE_S))
        self._troubled(fault, hopeless=True)

    def _connection(self) -> None:
        """There is none."""


class UnusableWriter:
    """Writes nothing, and counts what it does not write."""

    def __init__(self, fault: str) -> None:
        """Say ``fault``, one line."""
        self.fault = fault
        self.written = 0
        self.lost = 0

    def write(self, lines: bytes) -> None:
        """Count the lines."""
        self.lost += lines.count(b"\n")

    def close(self) -> None:
        """Nothing is held."""
