"""What holds now is learned from records when they are made, and told as steps or as a whole."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest

from galago_edge.contract.records import EventRecord, GapRecord, StateRecord
from galago_edge.sinks import present_state
from galago_edge.sinks.present_state import PresentState
from galago_edge.sinks.topics import Described, Message, Topics

HALL = "galago/porch/hall"


def present(*labels: str) -> PresentState:
    found = PresentState(Topics("galago", "porch", "1", "homeassistant"))
    found.describe("hall", Described("microphone", labels or ("smoke",)))
    return found


def event(label: str = "smoke", stream: str = "hall") -> EventRecord:
    return EventRecord(
        stream=stream, seq=0, label=label, score=0.9, start_index=0, end_index=1, start_ns=0, end_ns=1,
        bundle="b", backend="cpu",
    )  # fmt: skip


def state(subject: str, state: str, **detail: Any) -> StateRecord:
    return StateRecord(stream="hall", subject=subject, state=state, index=0, ns=0, detail=detail)


def test_a_label_that_was_described_is_off_until_an_event_says_otherwise() -> None:
    found = present("smoke", "glass")
    assert found.all() == {f"{HALL}/label/smoke": b"OFF", f"{HALL}/label/glass": b"OFF"}
    assert found.note([event()])
    assert found.all()[f"{HALL}/label/smoke"] == b"ON" and found.all()[f"{HALL}/label/glass"] == b"OFF"


def test_every_step_is_told_once_and_in_order_however_short_it_was() -> None:
    found = present()
    found.all()
    found.note([event(), state("label:smoke", "off")])
    found.note([event(), event()])
    topic = f"{HALL}/label/smoke"
    steps = [(topic, b"ON"), (f"{HALL}/backend", b"cpu"), (topic, b"OFF"), (topic, b"ON")]
    assert found.changes() == [Message(*step, True) for step in steps]
    assert found.changes() == []
    assert not found.note([event(), GapRecord(stream="hall", from_ns=0, to_ns=1, cause="drop")])


def test_very_many_steps_become_what_holds_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(present_state, "_CHANGES", 10)
    found = present()
    found.all()
    for _ in range(20):
        found.note([event(), state("label:smoke", "off")])
    found.note([event()])
    changes = found.changes()
    assert sorted((each.topic, each.payload) for each in changes) == sorted(found.all().items())
    found.note([state("label:smoke", "off")])
    assert found.changes() == [Message(f"{HALL}/label/smoke", b"OFF", True)], "then steps again"


def test_a_bundle_with_other_labels_leaves_nothing_on_that_it_does_not_have() -> None:
    found = present("smoke", "fire")
    found.note([event("fire"), event("smoke")])
    found.describe("hall", Described("microphone", ("smoke", "glass")))
    assert found.all() == {
        f"{HALL}/label/smoke": b"ON",
        f"{HALL}/label/glass": b"OFF",
        f"{HALL}/backend": b"cpu",
    }
    found.note([event("fire")])
    assert f"{HALL}/label/fire" not in found.all()
    found.note([state("stream", "started", backend="cpu")])
    assert found.all()[f"{HALL}/label/smoke"] == b"OFF"


def test_a_label_is_not_of_the_stream_whose_name_begins_like_it() -> None:
    found = present("smoke")
    found.describe("hall.2", Described("microphone", ("smoke",)))
    found.describe("hall", Described("microphone", ("fire",)))
    assert set(found.all()) == {f"{HALL}/label/fire", f"{HALL}.2/label/smoke"}


def test_at_the_end_what_is_on_is_taken_back() -> None:
    found = present("smoke", "glass")
    assert found.nothing_on() == []
    found.note([event("glass")])
    assert found.nothing_on() == [Message(f"{HALL}/label/glass", b"OFF", True)]


def test_without_discovery_nothing_is_held() -> None:
    found = PresentState(Topics("galago", "porch", "1", ""))
    found.describe("hall", Described("camera", ("person",)))
    assert not found.note([event("person")])
    assert found.all() == {} and found.streams == {}


def test_streams_may_tell_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(present_state, "_CHANGES", 1_000_000)  # so that every step is told
    found = PresentState(Topics("galago", "porch", "1", "homeassistant"))
    names = [f"s{number}" for number in range(8)]
    for name in names:
        found.describe(name, Described("camera", ("person",)))
    found.all()
    told: list[Message] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            told.extend(found.changes())

    def write(name: str) -> None:
        off = StateRecord(stream=name, subject="label:person", state="off", index=0, ns=0)
        for _ in range(100):
            found.note([event("person", name)])
            found.note([off])

    reader = threading.Thread(target=read)
    reader.start()
    writers = [threading.Thread(target=write, args=(name,)) for name in names]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    done.set()
    reader.join()
    told += found.changes()
    for name in names:
        steps = [each.payload for each in told if each.topic == f"galago/porch/{name}/label/person"]
        assert steps[-1] == b"OFF"
        assert all(first != second for first, second in itertools.pairwise(steps))
