"""Records that wait in memory for the disk: normally for no longer than one write takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from galago_edge.sinks.stored_record import OVERHEAD_BYTES, StoredRecord

MEMORY_RECORDS = 2_000
MEMORY_BYTES = 1 << 20
"""What waits in memory, at most, while the disk takes nothing."""


class Waiting:
    """A queue of records with consecutive numbers."""

    def __init__(self) -> None:
        self._records: deque[StoredRecord] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[StoredRecord]:
        return iter(self._records)

    @property
    def too_many(self) -> bool:
        """Tell whether this is more than memory should hold."""
        return len(self._records) > MEMORY_RECORDS or self._bytes > MEMORY_BYTES

    @property
    def first_seq(self) -> int | None:
        """Return the number of the first record, None when there is none."""
        return self._records[0].seq if self._records else None

    def append(self, record: StoredRecord) -> None:
        """Put a record at the end."""
        self._records.append(record)
        self._bytes += OVERHEAD_BYTES + len(record.line)

    def popleft(self) -> StoredRecord:
        """Take the first record."""
        record = self._records.popleft()
        self._bytes -= OVERHEAD_BYTES + len(record.line)
        return record

    def find(self, seq: int) -> StoredRecord | None:
        """Return the record with this number, None when it is not here."""
        if not self._records:
            return None
        at = seq - self._records[0].seq
        return self._records[at] if 0 <= at < len(self._records) else None

    def chunk(self, limit_bytes: int) -> list[StoredRecord]:
        """Return the first records that fit into so many bytes; one at least."""
        chunk: list[StoredRecord] = []
        size = 0
        for record in self._records:
            size += OVERHEAD_BYTES + len(record.line)
            if chunk and size > limit_bytes:
                break
            chunk.append(record)
        return chunk
