"""What a spool holds: records on the disk and in memory, and for each receiver which of them it has had.

Writer and reader share it. Nothing here waits or is locked: whoever calls holds the spool's lock.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from pathlib import Path

from galago_edge.sinks.consumer import Consumer
from galago_edge.sinks.cursor import CursorFile
from galago_edge.sinks.disk import Disk
from galago_edge.sinks.memory_tail import Waiting
from galago_edge.sinks.record_sorts import RecordSorts, Wanted
from galago_edge.sinks.segment import Segment
from galago_edge.sinks.segments import Segments
from galago_edge.sinks.stored_record import DAMAGED, StoredRecord


class SpoolRecords:
    """Segments, then what waits in memory, in one row of numbers; and the books of every receiver."""

    def __init__(self, disk: Disk, folder: Path, max_bytes: int, receivers: Mapping[str, Wanted]) -> None:
        """Name the folder, its size, and by name of each receiver the records that it wants."""
        self.sorts = RecordSorts(receivers)
        self.segments = Segments(disk, folder, max_bytes)
        self.tail = Waiting()
        """What is not on the disk yet."""
        self.next_seq = 1
        """Number of the next record that is taken."""
        self.closed = False
        self._consumers = {
            name: Consumer(name, self.sorts.wanted_by(name), CursorFile(disk, folder, name))
            for name in receivers
        }

    @property
    def consumers(self) -> Collection[Consumer]:
        """The books of all receivers."""
        return self._consumers.values()

    def consumer(self, name: str) -> Consumer:
        """Return the books of one receiver."""
        return self._consumers[name]

    def add(self, record: StoredRecord) -> None:
        """Put the next record behind all others, in memory."""
        self.next_seq += 1
        self.tail.append(record)
        for consumer in self.consumers:
            consumer.pending += record.sort in consumer.wants

    def is_wanted(self, sort: int) -> bool:
        """Tell whether any receiver wants records of this sort."""
        return any(sort in consumer.wants for consumer in self.consumers)

    def wanted(self, consumer: Consumer, first_seq: int, end_seq: int) -> int:
        """Count the records from ``first_seq`` up to ``end_seq``, exclusive, that a receiver wants."""
        return self.segments.count(consumer.wants, first_seq, end_seq) + sum(
            first_seq <= record.seq < end_seq and record.sort in consumer.wants for record in self.tail
        )

    def find(self, seq: int, consumer: Consumer) -> tuple[StoredRecord | None, int]:
        """Return a record and its sort; ``DAMAGED`` when it should be there and is not.

        One that this receiver does not want is not even read.

        Raises:
            OSError: The disk cannot read now.
        """
        if (record := self.tail.find(seq)) is not None:
            return record, record.sort
        segment = self.segments.find(seq)
        if segment is None:
            return None, DAMAGED
        sort = segment.sorts[seq - segment.first_seq]
        if sort not in consumer.wants:
            return None, sort
        record = self.segments.read(segment, seq, consumer.name)
        if record is None:
            for each in self.consumers:
                each.pending -= seq > each.position and sort in each.wants
            return None, DAMAGED
        return record, sort

    def missing_from(self, seq: int) -> int:
        """Return how many records in a row, this one first, no file holds; 1 within a segment."""
        if self.segments.find(seq) is not None:
            return 1
        return (self.segments.next_start(seq) or self.tail.first_seq or self.next_seq) - seq

    def time_of(self, seq: int) -> int:
        """Return when a record was taken, on the clock that counts from boot; 0 when that is not known."""
        if (record := self.tail.find(seq)) is not None:
            return record.boot_ns
        segment = self.segments.find(seq)
        return segment.times_ns[seq - segment.first_seq] if segment is not None else 0

    def miss(self, sort: int, count: int = 1) -> None:
        """Count records that are lost without ever having been in the spool."""
        for consumer in self.consumers:
            if sort in consumer.wants:
                consumer.miss(count)

    def give_up(self, segment: Segment) -> None:
        """Lose a segment; every receiver that has not had its records is to be told how many."""
        for consumer in self.consumers:
            consumer.give_up(segment.end_seq, self.wanted(consumer, consumer.acked + 1, segment.end_seq))
        self._remove(segment)

    def give_up_first_in_memory(self) -> None:
        """Lose the oldest record that waits in memory."""
        oldest = self.tail.popleft()
        for consumer in self.consumers:
            missed = oldest.seq > consumer.acked and oldest.sort in consumer.wants
            consumer.give_up(oldest.seq + 1, int(missed))

    def collect(self) -> None:
        """Remove the segments that every receiver has had."""
        acked = self._acked_by_all()
        while (done := self.segments.done_with(acked)) is not None:
            self._remove(done)

    def drop_delivered_tail(self) -> None:
        """Forget what was delivered from memory while the disk was full: it need not be written any more."""
        acked = self._acked_by_all()
        while (first := self.tail.first_seq) is not None and first <= acked:
            self.tail.popleft()

    def with_cursors(self) -> list[Consumer]:
        """Return the books of the receivers whose cursor is on the disk."""
        return [consumer for consumer in self.consumers if consumer.cursor.ready]

    def _remove(self, segment: Segment) -> None:
        """Remove a segment; first the cursors, or a power cut would make its records look lost."""
        for consumer in self.with_cursors():
            consumer.save()
            with contextlib.suppress(OSError):
                consumer.cursor.sync()
        self.segments.remove(segment)

    def _acked_by_all(self) -> int:
        return min((consumer.acked for consumer in self.consumers), default=0)
