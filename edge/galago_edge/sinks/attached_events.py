"""Events read back with their pictures and sounds, which stand as records of their own behind them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from galago_edge.contract.records import AttachmentRecord, EventRecord, event_identity
from galago_edge.sinks.record_history import KeptRecord

_WAIT_NS = 120_000_000_000
"""A sound has at most half a minute after its event, and must be written then."""
_WAIT_RECORDS = 20_000


@dataclass(slots=True)
class AttachedRecord:
    """A record, and if it is an event, its attachment."""

    kept: KeptRecord
    attachment: AttachmentRecord | None = None
    waiting: bool = False
    """Whether it is an event whose attachment may follow."""

    @property
    def own_attachment(self) -> AttachmentRecord | None:
        """What is attached to the event; of an attachment's record, itself."""
        record = self.kept.record
        return record if isinstance(record, AttachmentRecord) else self.attachment


def with_attachments(history: Iterable[KeptRecord]) -> Iterator[AttachedRecord]:
    """Yield every record in its order, events with the attachment that stands not far behind them.

    So an event comes later than it was read, by as many records as were written in two minutes at most.
    """
    rows: deque[AttachedRecord] = deque()
    events: dict[tuple[str | int, ...], AttachedRecord] = {}
    for kept in history:
        record, row = kept.record, AttachedRecord(kept)
        if isinstance(record, AttachmentRecord):
            if (event := events.pop(event_identity(record), None)) is not None:
                event.attachment, event.waiting = record, False
        elif isinstance(record, EventRecord):
            row.waiting = True
            events[event_identity(record)] = row
        rows.append(row)
        while rows and (not rows[0].waiting or len(rows) > _WAIT_RECORDS or _is_late(rows[0], kept)):
            first = rows.popleft()
            if isinstance(first.kept.record, EventRecord) and first.waiting:
                identity = event_identity(first.kept.record)
                if events.get(identity) is first:
                    del events[identity]
            yield first
    yield from rows


def _is_late(row: AttachedRecord, newest: KeptRecord) -> bool:
    began, now = row.kept.record.wall_ns, newest.record.wall_ns
    return isinstance(began, int) and isinstance(now, int) and abs(now - began) > _WAIT_NS
