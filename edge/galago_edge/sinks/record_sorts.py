"""Who wants which record, as one small number for each record: its sort.

The spool counts for each receiver what it still wants, over thousands of records at a time. A filter looks
at a record once, when it comes in or when its file is read; from then on its sort stands for the set of
receivers that want it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set

from galago_edge.sinks.record_filter import RecordFilter, Subject, filter_of, subject_of
from galago_edge.sinks.stored_record import DAMAGED, KIND_NAMES, StoredRecord

Wanted = Collection[str] | RecordFilter
"""What a receiver wants: kinds of records, or a filter."""


class RecordSorts:
    """Numbers the sets of receivers that any record was wanted by. Whoever calls holds the spool's lock."""

    def __init__(self, receivers: Mapping[str, Wanted]) -> None:
        """Learn by name of each receiver what it wants."""
        self._filters = {
            name: wanted if isinstance(wanted, RecordFilter) else filter_of(wanted)
            for name, wanted in receivers.items()
        }
        self._by_kind_alone = not any(one.streams or one.labels for one in self._filters.values())
        self._numbers: dict[tuple[bool, ...], int] = {}
        self._wanted_by: dict[str, set[int]] = {name: set() for name in receivers}

    def wanted_by(self, name: str) -> Set[int]:
        """Return the sorts that a receiver wants. The set grows with the sorts that there are."""
        return self._wanted_by[name]

    def of(self, subject: Subject) -> int:
        """Return the sort of records about this; never ``DAMAGED``."""
        wanted = tuple(one.wants(subject) for one in self._filters.values())
        number = self._numbers.get(wanted)
        if number is None:
            number = self._numbers[wanted] = DAMAGED + 1 + len(self._numbers)
            for sorts, wants in zip(self._wanted_by.values(), wanted, strict=True):
                if wants:
                    sorts.add(number)
        return number

    def of_line(self, kind: str, line: bytes) -> int:
        """Return the sort of a record of this kind, JSON."""
        return self.of(Subject(kind) if self._by_kind_alone else subject_of(kind, line))

    def of_record(self, record: StoredRecord) -> int:
        """Return the sort of a record that was stored before; one of a kind that is new is for nobody."""
        return self.of_line(KIND_NAMES.get(record.kind, ""), record.line)
