"""Records between decision and delivery, kept through crashes: the newest are never refused.

A folder of segments (``galago_edge.sinks.segment``), each a row of records with consecutive numbers, and
one small cursor file for each receiver. Appending never waits for a receiver. When the spool has reached
its size, or the disk is full for longer than memory can bridge, the oldest records are given up, counted,
and every receiver that has not had them is told how many.

What is there: ``spool_records``. How it comes in: ``spool_writer``. How it goes out: ``spool_reader``.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from galago_edge.sinks.clocks import Clocks
from galago_edge.sinks.consumer import Consumer
from galago_edge.sinks.delivery import Delivery
from galago_edge.sinks.disk import Disk
from galago_edge.sinks.record_filter import Subject
from galago_edge.sinks.record_sorts import Wanted
from galago_edge.sinks.spool_reader import SpoolReader
from galago_edge.sinks.spool_records import SpoolRecords
from galago_edge.sinks.spool_writer import Entry, SpoolWriter


class Spool:
    """Appended to by one thread, read and acknowledged by one thread for each receiver."""

    def __init__(
        self,
        folder: Path,
        device: str,
        receivers: Mapping[str, Wanted],
        *,
        max_bytes: int,
        sync_s: float,
        disk: Disk | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        """Name a spool for ``receivers``: by name, the records that each wants.

        ``sync_s``: longest time for which a power cut may lose what was appended. A crash of the process
        alone loses nothing that :meth:`append` has taken while the disk takes it.
        """
        disk, clocks, lock = disk or Disk(), clocks or Clocks(), threading.RLock()
        boot = clocks.boot()
        self._records = SpoolRecords(disk, folder, max_bytes, receivers)
        self._writer = SpoolWriter(
            self._records, lock, folder, boot=boot, sync_s=sync_s, disk=disk, clocks=clocks
        )
        self._reader = SpoolReader(self._records, lock, device, boot, clocks)

    def lock(self) -> None:
        """Make the folder and make it ours. When the disk refuses that, it is tried again later.

        Raises:
            BusyError: LOCKED; another process uses this spool.
        """
        self._writer.lock()

    def load(self) -> None:
        """Read what earlier runs left, and where each receiver stands. What is damaged is passed over.

        While the disk refuses that, records wait in memory and nothing is handed out, but not for ever.
        """
        self._writer.load()

    def close(self) -> None:
        """Write and sync what can be, and give everything back."""
        self._writer.close()

    # writing

    def append(self, entries: Sequence[Entry]) -> None:
        """Take records, and write them unless the disk refuses; then they wait in memory."""
        self._writer.append(entries)

    def miss(self, subjects: Mapping[Subject, int]) -> None:
        """Count records, so many about each subject, that were lost before they came here."""
        self._writer.miss(subjects)

    def tick(self) -> float | None:
        """Do what is due; return in how many seconds to call again, None when only for new records."""
        return self._writer.tick()

    def sync(self) -> None:
        """Wait until everything is on the disk. Nobody else waits meanwhile."""
        self._writer.sync()

    # reading

    def consumer(self, name: str) -> Consumer:
        """Return the books of one receiver; their figures may be read by any thread."""
        return self._records.consumer(name)

    def read(self, name: str, limit: int) -> list[Delivery]:
        """Hand out up to ``limit`` further deliveries for a receiver, the oldest first.

        Raises:
            OSError: The disk cannot read now; after :meth:`rewind` it may be tried again.
        """
        return self._reader.read(name, limit)

    def ack(self, name: str, token: int, *, refused: bool = False) -> None:
        """Take note that a delivery has arrived, or that the receiver will never take it (``refused``)."""
        self._reader.ack(name, token, refused=refused)

    def rewind(self, name: str) -> None:
        """Hand out again, oldest first, whatever a receiver has not acknowledged."""
        self._reader.rewind(name)

    def oldest_pending_s(self, name: str) -> float:
        """Return for how long the oldest record has been waiting for a receiver; 0 when none is.

        Of a record from before the last boot it is only known that it is older than this process. While
        the disk makes others wait, what was said last is said again.
        """
        return self._reader.oldest_pending_s(name)

    # figures

    @property
    def appended(self) -> int:
        """Records taken since this process started."""
        return self._writer.appended

    @property
    def fault(self) -> str:
        """What the disk said last, in one line; empty while it takes everything."""
        return self._writer.fault

    @property
    def bytes(self) -> int:
        """The size of all segments."""
        return self._records.segments.bytes
