"""Several sinks of one kind, each with its name, its cursor and its filter."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from galago_edge.contract.records import EventRecord, GapRecord, Record, StateRecord
from galago_edge.contract.status import SinkStatus
from galago_edge.sinks import Outbox
from galago_edge.sinks.record_filter import RecordFilter, Subject, filter_of, subject_of
from galago_edge.sinks.sink_tables import anchored, settings_of
from galago_edge.sinks.spool import Spool
from galago_edge.sinks.spool_writer import Entry
from real_parts import WebhookServer, wait_for

STREAMS = [{"name": "hall", "source": "x"}, {"name": "yard", "source": "y"}]
OpenOutbox = Callable[..., Outbox]


def event(number: int, stream: str = "hall", label: str = "smoke") -> EventRecord:
    return EventRecord(
        stream=stream, seq=number, label=label, score=0.9, start_index=0, end_index=1, start_ns=0, end_ns=1,
        bundle="b", backend="cpu",
    )  # fmt: skip


def off(stream: str, label: str) -> StateRecord:
    return StateRecord(stream=stream, subject=f"label:{label}", state="off", index=0, ns=0)


def gap(stream: str) -> GapRecord:
    return GapRecord(stream=stream, from_ns=0, to_ns=1, cause="stall")


WHOLE_DEVICE = StateRecord(stream="", subject="store", state="damaged", index=0, ns=0)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[OpenOutbox]:
    opened: list[Outbox] = []

    def start(**tables: Any) -> Outbox:
        box = Outbox(settings_of({"stream": STREAMS} | tables), tmp_path / "store", "porch")
        box.start()
        opened.append(box)
        return box

    yield start
    for box in opened:
        box.stop(0.0)


def status(box: Outbox, name: str) -> SinkStatus:
    return next(each for each in box.status() if each.name == name)


# ---- the tables


def test_one_table_is_called_as_its_kind_and_those_of_an_array_by_their_names() -> None:
    alone = settings_of({"stream": STREAMS, "webhook": {"url": "http://h/"}})
    named = settings_of({"stream": STREAMS, "webhook": {"url": "http://h/", "name": "phone"}})
    hooks = [{"url": "http://h/"}, {"url": "http://i/", "name": "phone"}]
    programs = [{"command": ["x"], "name": "door"}]
    several = settings_of({"stream": STREAMS, "webhook": hooks, "program": programs})
    assert list(alone.sinks) == ["webhook"]
    assert list(named.sinks) == ["webhook.phone"]
    assert list(several.sinks) == ["program.door", "webhook", "webhook.phone"]
    assert several.sinks["webhook.phone"].url == "http://i/"


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"webhook": [{"url": "http://h/"}, {"url": "http://h/"}]}, "two are called webhook; give each"),
        ({"webhook": [{"url": "http://h/", "name": "a"}] * 2}, "two are called webhook.a"),
        (
            {"webhook": [{"url": "http://h/", "name": "a.b"}]},
            r"^\[\[webhook\]\] a.b name: expected at most 32 letters",
        ),
        (
            {"webhook": [{"url": "http://h/"}, {"url": "http://h/", "nmae": "b"}]},
            r"^\[\[webhook\]\] number 2 has no setting 'nmae'; did you mean name\?",
        ),
        (
            {"webhook": [{"url": "http://h/"}, {"url": 5}]},
            r"^\[\[webhook\]\] number 2 url: expected a text, got a whole number",
        ),
        (
            {"log": [{"path": "x"}, {"path": "y"}]},
            r"^\[log\] can be there only once: write \[log\], not \[\[log\]\]",
        ),
        ({"mqtt": [{"host": "x"}]}, r"^\[mqtt\] can be there only once"),
    ],
)
def test_what_is_wrong_in_one_of_several_is_told_with_its_place(tables: dict[str, Any], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        settings_of({"stream": STREAMS} | tables)


def test_none_of_them_is_no_sink() -> None:
    assert settings_of({"stream": STREAMS, "webhook": []}).sinks == {}


def test_files_of_each_of_several_start_at_the_folder_of_the_configuration(tmp_path: Path) -> None:
    hooks = [{"url": "http://h/", "name": name, "user": "a", "password_file": "secret"} for name in "ab"]
    programs = [{"command": ["./alarm.sh"], "name": "door"}]
    found = anchored(settings_of({"stream": STREAMS, "webhook": hooks, "program": programs}).sinks, tmp_path)
    assert found["webhook.b"].password_file == str(tmp_path / "secret")
    assert found["program.door"].command == (str(tmp_path / "alarm.sh"),)


# ---- the filters


KINDS, NAMES, LABELS = ("event", "state", "gap"), ("hall", "yard"), ("smoke", "dog")
SUBJECTS = [
    Subject(kind, stream, label)
    for kind, stream, label in itertools.product(KINDS, (*NAMES, ""), (*LABELS, ""))
]


@pytest.mark.parametrize("kinds", [("event",), ("gap", "state"), KINDS, ()])
@pytest.mark.parametrize("streams", [(), ("hall",), NAMES])
@pytest.mark.parametrize("labels", [(), ("smoke",), LABELS])
def test_a_filter_lets_pass_what_it_names_and_what_is_about_none_of_that(
    kinds: tuple[str, ...], streams: tuple[str, ...], labels: tuple[str, ...]
) -> None:
    one = filter_of(kinds, streams, labels)
    for subject in SUBJECTS:
        stream_fits = streams == () or subject.stream in (*streams, "")
        label_fits = labels == () or subject.label in (*labels, "")
        assert one.wants(subject) == (subject.kind in kinds and stream_fits and label_fits)


@pytest.mark.parametrize(
    ("record", "subject"),
    [
        (event(0, "hall", "smoke"), Subject("event", "hall", "smoke")),
        (off("yard", "dog:big"), Subject("state", "yard", "dog:big")),
        (gap("yard"), Subject("gap", "yard", "")),
        (WHOLE_DEVICE, Subject("state", "", "")),
    ],
    ids=["event", "label", "gap", "device"],
)
def test_what_a_record_is_about_stands_in_its_line(record: Record, subject: Subject) -> None:
    assert subject_of(record.kind, msgspec.json.encode(record) + b"\n") == subject


def test_a_line_that_is_no_record_goes_to_whoever_wants_its_kind() -> None:
    assert subject_of("event", b"half a li") == Subject("event")
    assert subject_of("event", b'{"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}") == Subject("event")


def open_spool(folder: Path, receivers: dict[str, Any], max_bytes: int = 1 << 20) -> Spool:
    spool = Spool(folder, "porch", receivers, max_bytes=max_bytes, sync_s=5.0)
    spool.lock()
    spool.load()
    return spool


def entry(record: Record) -> Entry:
    return Entry(record.kind, msgspec.json.encode(record) + b"\n", synced=True)


def numbers(spool: Spool, name: str) -> list[int]:
    found = spool.read(name, 100)
    for delivery in found:
        spool.ack(name, delivery.token)
    return [json.loads(delivery.line)["seq"] for delivery in found]


SMOKE, YARD = filter_of(("event",), labels=("smoke",)), filter_of(("event",), streams=("yard",))


def test_what_a_receiver_does_not_want_is_never_pending_and_moves_its_cursor(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, {"smoke": SMOKE, "yard": YARD, "all": ("event", "gap")})
    for number in range(100):
        spool.append([entry(event(number, "hall", "dog"))])
    assert [spool.consumer(name).pending for name in ("smoke", "yard", "all")] == [0, 0, 100]
    assert numbers(spool, "smoke") == numbers(spool, "yard") == []
    assert spool.consumer("smoke").acked == spool.consumer("yard").acked == 100
    spool.append([entry(event(100, "yard", "smoke")), entry(event(101, "yard", "dog"))])
    assert [spool.consumer(name).pending for name in ("smoke", "yard", "all")] == [1, 2, 102]
    assert (numbers(spool, "smoke"), numbers(spool, "yard")) == ([100], [100, 101])
    assert [spool.consumer(name).pending for name in ("smoke", "yard")] == [0, 0]
    spool.close()


def test_what_waits_for_a_receiver_is_counted_by_its_filter_after_a_restart_too(tmp_path: Path) -> None:
    first = open_spool(tmp_path, {"smoke": SMOKE, "all": ("event",)})
    first.append([entry(event(number, "hall", "dog" if number % 4 else "smoke")) for number in range(20)])
    first.close()
    again = open_spool(tmp_path, {"smoke": SMOKE, "all": ("event",)})
    assert [again.consumer(name).pending for name in ("smoke", "all")] == [5, 20]
    again.rewind("smoke")
    assert again.consumer("smoke").pending == 5
    assert numbers(again, "smoke") == [0, 4, 8, 12, 16]
    again.close()


def test_a_filter_that_was_changed_holds_for_what_still_waits(tmp_path: Path) -> None:
    first = open_spool(tmp_path, {"one": SMOKE, "all": ("event",)})
    first.append([entry(event(number, "hall", "dog" if number % 4 else "smoke")) for number in range(20)])
    first.close()
    again = open_spool(tmp_path, {"one": filter_of(("event",), labels=("dog",)), "all": ("event",)})
    assert again.consumer("one").pending == 15
    assert len(numbers(again, "one")) == 15
    again.close()


def test_only_wanted_records_are_lost_to_a_receiver(tmp_path: Path) -> None:
    receivers = {"smoke": SMOKE, "yard": YARD, "all": ("event", "gap")}
    spool = open_spool(tmp_path, receivers, max_bytes=100_000)
    spool.miss({Subject("event", "hall", "smoke"): 3, Subject("event", "yard", "dog"): 2, Subject("gap"): 1})
    assert [spool.consumer(name).lost for name in receivers] == [3, 2, 6]
    for number in range(1_000):
        spool.append([entry(event(number, "hall", "smoke" if number % 10 == 0 else "dog"))])
    smoke, yard, every = (spool.consumer(name) for name in receivers)
    assert every.lost > 6 and every.lost - 6 + every.pending == 1_000
    assert smoke.lost > 3 and smoke.lost - 3 + smoke.pending == 100
    assert (yard.lost, yard.pending) == (2, 0)
    spool.close()


def test_a_record_that_no_filter_wants_is_not_written(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, {"smoke": SMOKE})
    spool.append([entry(event(number, "hall", "dog")) for number in range(100)])
    assert spool.bytes == 0
    spool.close()


def test_a_filter_without_kinds_wants_nothing() -> None:
    assert not any(RecordFilter(frozenset()).wants(subject) for subject in SUBJECTS)


# ---- together


def test_each_webhook_gets_what_it_asked_for_at_its_own_pace(
    webhook: WebhookServer, outbox: OpenOutbox
) -> None:
    other = WebhookServer()
    other.start()
    try:
        other.status = 503
        box = outbox(
            webhook=[
                {"url": webhook.url, "kinds": ["event", "state", "gap"], "streams": ["hall"]},
                {"url": other.url, "name": "phone", "labels": ["smoke"], "backoff_max_s": 0.1},
            ]
        )
        box.emit([event(0), event(1, "yard"), event(2, "hall", "dog"), off("hall", "dog"), gap("yard")])
        box.emit([WHOLE_DEVICE])
        wait_for(lambda: status(box, "webhook").delivered == 4, "the first to have its records")
        wait_for(lambda: status(box, "webhook.phone").fault, "the fault of the other")
        assert (status(box, "webhook").pending, status(box, "webhook.phone").pending) == (0, 2)
        other.status = 200
        wait_for(lambda: status(box, "webhook.phone").delivered == 2, "the other to have its records")
        assert [request.json()["seq"] for request in other.accepted()] == [0, 1]
        kinds = [request.json()["kind"] for request in webhook.accepted()]
        assert kinds == ["event", "event", "state", "state"]
        assert [one.name for one in box.status()] == ["spool", "webhook", "webhook.phone"]
    finally:
        other.stop()


def test_a_second_webhook_begins_with_what_comes_and_leaves_the_first_ones_cursor_alone(
    webhook: WebhookServer, outbox: OpenOutbox, tmp_path: Path
) -> None:
    webhook.status = 503
    first = outbox(webhook={"url": webhook.url, "backoff_max_s": 0.1})
    first.emit([event(0), event(1)])
    wait_for(lambda: status(first, "webhook").fault, "the fault")
    first.stop(0.0)
    webhook.status = 200
    box = outbox(webhook=[{"url": webhook.url}, {"url": f"{webhook.url}/b", "name": "b"}])
    wait_for(lambda: status(box, "webhook").delivered == 2, "what waited")
    box.emit([event(2)])
    wait_for(lambda: status(box, "webhook").delivered == 3, "the new one at the first")
    wait_for(lambda: status(box, "webhook.b").delivered == 1, "and at the second")
    paths = [(request.path, request.json()["seq"]) for request in webhook.accepted()]
    assert sorted(paths) == [("/events", 0), ("/events", 1), ("/events", 2), ("/events/b", 2)]
    cursors = sorted(path.name for path in (tmp_path / "store/spool").glob("*.cursor"))
    assert cursors == ["webhook.b.cursor", "webhook.cursor"]
