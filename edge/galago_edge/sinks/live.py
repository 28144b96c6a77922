"""A sink for several live streams: one lock, and wall time on every record."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from galago_edge.contract.records import Record
from galago_edge.sinks.jsonl import JsonlSink
from galago_edge.sinks.wall import clock_synced


def stamped(records: Sequence[Record], wall_ns: int, synced: bool) -> list[Record]:
    """Return the records with the wall time, which is a label for people; nothing is decided by it."""
    return [msgspec.structs.replace(record, wall_ns=wall_ns, clock_synced=synced) for record in records]


class LiveSink:
    """Adds ``wall_ns`` and ``clock_synced`` and writes whole batches, one stream at a time."""

    def __init__(
        self,
        sink: JsonlSink,
        *,
        wall_ns: Callable[[], int] = time.time_ns,
        synced: Callable[[], bool] = clock_synced,
    ) -> None:
        self._sink = sink
        self._wall_ns = wall_ns
        self._synced = synced
        self._turn = threading.Lock()

    def emit(self, records: Sequence[Record]) -> None:
        """Write the records of one stream.

        Raises:
            LinkError, BrokenPipeError: As :meth:`JsonlSink.emit`.
        """
        with self._turn:
            self._sink.emit(stamped(records, self._wall_ns(), self._synced()))
