"""The last events that status and page show: each with its own picture or sound, whichever life it is of."""

from __future__ import annotations

from typing import Any

from galago_edge.contract.records import AttachmentRecord, EventRecord
from galago_edge.service.status_report import EVENTS_KEPT, RecentEvents


def event(number: int, wall_ns: int = 0) -> EventRecord:
    return EventRecord(
        stream="a", seq=number, label="smoke", score=0.9, start_index=0, end_index=1, start_ns=0, end_ns=1,
        bundle="b", backend="cpu", wall_ns=wall_ns, clock_synced=True,
    )  # fmt: skip


def attachment(number: int, file: str) -> AttachmentRecord:
    return AttachmentRecord(
        stream="a", seq=number, label="smoke", start_index=0, end_index=1, start_ns=0, end_ns=1,
        media_type="image/jpeg", file=file, bytes=1, sha256="", from_ns=0, to_ns=0,
    )  # fmt: skip


def shown(recent: RecentEvents) -> list[tuple[int, str | None]]:
    def file(event: dict[str, Any]) -> str | None:
        return event["attachment"]["file"] if "attachment" in event else None

    return [(event["seq"], file(event)) for event in recent.newest()]


def test_an_attachment_belongs_to_its_event_however_much_later_it_comes() -> None:
    recent = RecentEvents()
    for number in range(3):
        recent.take(event(number))
    before = recent.newest()
    recent.take(attachment(1, "one.jpg"))
    assert shown(recent) == [(2, None), (1, "one.jpg"), (0, None)]
    assert "attachment" not in before[1], "what was handed out stays as it was"
    for number in range(3, 1 + EVENTS_KEPT):
        recent.take(event(number))
    recent.take(attachment(0, "late.jpg"))  # its event is shown no more
    assert [file for _, file in shown(recent) if file] == ["one.jpg"]


def test_after_a_restart_the_events_have_their_attachments_again_and_numbers_are_not_mixed_up() -> None:
    recent = RecentEvents()
    recent.take(event(0, wall_ns=900))  # of this life, as event 0 of the life before
    recent.before([event(1, 500), attachment(0, "old.jpg"), event(0, 400)])
    assert shown(recent) == [(0, None), (1, None), (0, "old.jpg")]
    recent.take(attachment(0, "new.jpg"))
    assert shown(recent) == [(0, "new.jpg"), (1, None), (0, "old.jpg")]


def test_what_is_read_back_while_it_is_said_is_there_once_with_its_attachment() -> None:
    recent = RecentEvents()
    recent.take(event(3))
    recent.take(attachment(3, "three.jpg"))
    recent.before([attachment(3, "three.jpg"), event(3), event(2)])
    assert shown(recent) == [(3, "three.jpg"), (2, None)]
    later = RecentEvents()
    later.take(event(3))
    later.before([attachment(3, "three.jpg"), event(3), event(2)])
    later.take(attachment(3, "three.jpg"))
    assert shown(later) == shown(recent)
