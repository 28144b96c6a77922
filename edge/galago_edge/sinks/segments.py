"""All segments of a spool, oldest first; the last one may be the one that is written."""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from galago_edge.sinks.disk import Disk
from galago_edge.sinks.segment import Segment, segments_in
from galago_edge.sinks.stored_record import DAMAGED, OVERHEAD_BYTES, StoredRecord

_SHARE = 16
"""A spool consists of so many segments, of which the oldest is given up as a whole."""
_BLOCK_BYTES = 4_096
"""No file takes less room than this."""

_LEFT = 2
"""So many segments may be unsynced when a process is killed: the last one, and the one before if that
was just full."""


class Segments:
    """Finds, counts, writes and removes. Who has had which record is not known here."""

    def __init__(self, disk: Disk, folder: Path, max_bytes: int) -> None:
        """Name a folder that is to hold at most ``max_bytes``."""
        self._disk = disk
        self._folder = folder
        self._max_bytes = max_bytes
        self.segment_bytes = max(_BLOCK_BYTES, max_bytes // _SHARE)
        """Size from which on the next segment is begun."""
        self._segments: list[Segment] = []
        self._active: Segment | None = None
        self._new_names = False
        self._reading: dict[str, Segment] = {}

    def __len__(self) -> int:
        return len(self._segments)

    @property
    def oldest(self) -> Segment:
        """Return the segment with the oldest records."""
        return self._segments[0]

    @property
    def end_seq(self) -> int:
        """Return the number behind the last record; 1 when there is none."""
        return self._segments[-1].end_seq if self._segments else 1

    @property
    def bytes(self) -> int:
        """Return the size of all files."""
        return sum(segment.size for segment in self._segments)

    def load(self, sort_of: Callable[[StoredRecord], int]) -> None:
        """Read what the folder holds; ``sort_of`` says who wants a record.

        Raises:
            OSError: It cannot be read; there is nothing then.
        """
        found: list[Segment] = []
        for segment in segments_in(self._disk, self._folder):
            segment.load(sort_of)
            if found:
                # records behind it were written again elsewhere, when the disk would not take them back
                found[-1].forget_from(segment.first_seq)
            found.append(segment)
        for segment in found:
            if not segment.sorts:
                segment.remove()
        self._segments = [segment for segment in found if segment.sorts]
        for segment in self._segments[-_LEFT:]:
            segment.dirty = True  # whoever wrote it may have been killed before he synced it

    def find(self, seq: int) -> Segment | None:
        """Return the segment that a record belongs to, None when there is none."""
        at = bisect_right(self._segments, seq, key=lambda segment: segment.first_seq) - 1
        return self._segments[at] if at >= 0 and seq < self._segments[at].end_seq else None

    def read(self, segment: Segment, seq: int, reader: str) -> StoredRecord | None:
        """Return a record, None when it is damaged; then that is remembered.

        Only the segment that each ``reader`` is at stays open, however many there are.

        Raises:
            OSError: It cannot be read now, which says nothing about the record.
        """
        if self._reading.get(reader) is not segment:
            self._reading[reader] = segment
            self._close_idle()
        record = segment.read(seq)
        if record is None:
            segment.sorts[seq - segment.first_seq] = DAMAGED
        return record

    def next_start(self, seq: int) -> int | None:
        """Return the number of the first record of the first segment behind ``seq``."""
        return next((segment.first_seq for segment in self._segments if segment.first_seq > seq), None)

    def count(self, sorts: Collection[int], first_seq: int, end_seq: int) -> int:
        """Count the records of these sorts from ``first_seq`` up to ``end_seq``, exclusive."""
        count = 0
        for segment in self._segments:
            start, end = max(first_seq - segment.first_seq, 0), max(end_seq - segment.first_seq, 0)
            part = segment.sorts[start:end]
            count += sum(part.count(sort) for sort in sorts)
        return count

    def has_room(self, records: Sequence[StoredRecord]) -> bool:
        """Tell whether these may be written without giving up the oldest segment."""
        taken = sum(max(segment.size, _BLOCK_BYTES) for segment in self._segments if segment.size)
        return not self._segments or taken + _size(records) <= self._max_bytes

    def write(self, records: Sequence[StoredRecord]) -> None:
        """Append consecutive records, all or none, to the active segment or to a new one.

        Raises:
            OSError: The disk does not take them.
        """
        active = self._active
        if (
            active is None
            or active.broken
            or active.end_seq != records[0].seq
            or active.size + _size(records) > self.segment_bytes
        ):
            self._active = None
            active = Segment(self._disk, self._folder, records[0].seq)
            active.create()
            self._segments.append(active)
            self._active = active
            self._new_names = True
        active.append(records)

    def done_with(self, acked: int) -> Segment | None:
        """Return the oldest segment if all its records are up to ``acked`` and it is not written any more."""
        if self._segments and self.oldest is not self._active and self.oldest.end_seq <= acked + 1:
            return self.oldest
        return None

    def remove(self, segment: Segment) -> None:
        """Remove a segment and its file."""
        segment.remove()
        self._segments.remove(segment)
        if segment is self._active:
            self._active = None

    def unsynced(self) -> tuple[list[int], bool]:
        """Return descriptors to be synced and closed, and whether the folder's names must be synced too."""
        fds = []
        for segment in self._segments:
            if segment.dirty:
                with contextlib.suppress(OSError):  # an old one that somebody has removed
                    fds.append(segment.sync_fd())
        new_names, self._new_names = self._new_names, False
        self._close_idle()
        return fds, new_names

    def retire(self) -> None:
        """Write no more to the active segment."""
        self._active = None

    def close(self) -> None:
        """Give all descriptors back."""
        for segment in self._segments:
            segment.close()

    def _close_idle(self) -> None:
        in_use = {id(segment) for segment in (self._active, *self._reading.values())}
        for segment in self._segments:
            if id(segment) not in in_use and not segment.dirty:
                segment.close()


def _size(records: Sequence[StoredRecord]) -> int:
    return sum(OVERHEAD_BYTES + len(record.line) for record in records)
