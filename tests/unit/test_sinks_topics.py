"""What goes to which topic, and what Home Assistant is told, as it documents its device discovery."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from jinja2.sandbox import SandboxedEnvironment

from galago_edge.contract.records import EventRecord, GapRecord, Record, StateRecord, encode_record
from galago_edge.sinks.topics import Component, Described, Message, Topics, plain

STREAMS = {
    "hall": Described("microphone", ("smoke", "glass break")),
    "door": Described("camera", ("person",)),
}


def event(label: str = "smoke") -> EventRecord:
    return EventRecord(
        stream="hall", seq=0, label=label, score=0.9, start_index=0, end_index=1, start_ns=0, end_ns=1,
        bundle="b", backend="edgetpu",
    )  # fmt: skip


def state(subject: str, state: str, *, stream: str = "hall", **detail: Any) -> StateRecord:
    return StateRecord(stream=stream, subject=subject, state=state, index=0, ns=0, detail=detail)


def changes(record: Record, discovery: str = "homeassistant") -> list[Message]:
    topics = Topics("galago", "porch", "1.2.3", discovery)
    return topics.changes(record, STREAMS[record.stream].labels if record.stream else ())


def messages(record: Record) -> dict[str, Message]:
    return {each.topic: each for each in changes(record)}


def discovery(
    topics: Topics, streams: dict[str, Described], gone: dict[str, Component] | None = None
) -> Message:
    return topics.of_discovery(topics.entities(streams), gone or {})


def test_a_record_goes_to_the_topic_of_its_stream_and_kind_as_it_is() -> None:
    for record, topic in (
        (event(), "galago/porch/hall/event"),
        (GapRecord(stream="door", from_ns=0, to_ns=1, cause="drop"), "galago/porch/door/gap"),
        (state("governor", "step"), "galago/porch/hall/state"),
        (state("spool", "lost", stream="", lost=3), "galago/porch/state"),
    ):
        found = Topics("galago", "porch", "1.2.3", "").of_record(encode_record(record).rstrip())
        assert found.topic == topic
        assert found.payload == encode_record(record).rstrip()
        assert not found.retain, "whoever comes later must not take an old event for a new one"


def test_an_event_turns_its_label_on_and_the_end_of_the_label_turns_it_off() -> None:
    assert messages(event())["galago/porch/hall/label/smoke"].payload == b"ON"
    assert messages(state("label:smoke", "off"))["galago/porch/hall/label/smoke"].payload == b"OFF"
    assert messages(event())["galago/porch/hall/label/smoke"].retain


@pytest.mark.parametrize("how", ["started", "ended", "failed"])
def test_no_label_stays_on_when_its_stream_begins_or_ends(how: str) -> None:
    found = messages(state("stream", how))
    labels = {topic: each.payload for topic, each in found.items() if "/label/" in topic}
    assert set(labels.values()) == {b"OFF"} and len(labels) == 2


def test_liveness_and_backend_are_shown_where_they_change() -> None:
    assert messages(state("source", "alarmed"))["galago/porch/hall/source"].payload == b"alarmed"
    assert "galago/porch/hall/source" not in messages(state("source", "implausible", what="dark"))
    fallen = messages(state("backend", "fallback", backend="cpu", reason="delegate_hung"))
    assert fallen["galago/porch/hall/backend"].payload == b"cpu"
    assert messages(event())["galago/porch/hall/backend"].payload == b"edgetpu"


def test_without_discovery_there_are_only_records() -> None:
    assert changes(event(), discovery="") == []
    assert Topics("galago", "porch", "1", "").entities(STREAMS) == {}
    assert Topics("galago", "porch", "1", "").config == ""


def config() -> tuple[str, dict[str, Any]]:
    topics = Topics("site/galago/", "porch.1", "1.2.3", "homeassistant")
    message = discovery(topics, STREAMS)
    assert message.retain and message.topic == topics.config
    return message.topic, json.loads(message.payload)


def test_discovery_is_one_retained_message_for_the_device() -> None:
    topic, found = config()
    assert re.fullmatch(r"homeassistant/device/[a-zA-Z0-9_-]+/config", topic)
    assert set(found) == {"device", "origin", "availability", "qos", "components"}
    assert found["device"]["identifiers"] == ["galago-porch.1"] and found["device"]["name"] == "porch.1"
    assert found["origin"] == {"name": "galago", "sw_version": "1.2.3"}
    assert found["qos"] == 1  # once at least: a second time does no harm
    assert found["availability"] == [{"topic": "site/galago/porch.1/availability"}]


def test_every_entity_has_a_platform_an_id_of_its_own_and_a_topic_that_is_written_to() -> None:
    _, found = config()
    entities = found["components"]
    assert len({each["unique_id"] for each in entities.values()}) == len(entities) == 10
    topics = Topics("site/galago", "porch.1", "1.2.3", "homeassistant")
    written = {topics.of_lost(0).topic}
    for stream in STREAMS:
        records = [event("smoke"), event("glass break"), event("person"), state("source", "healthy")]
        for record in (msgspec.structs.replace(record, stream=stream) for record in records):
            written.add(topics.of_record(encode_record(record)).topic)
            written |= {each.topic for each in topics.changes(record, STREAMS[stream].labels)}
    for entity in entities.values():
        assert entity["platform"] in ("event", "sensor", "binary_sensor")
        assert entity["state_topic"] in written


def test_the_event_entity_lists_the_labels_and_reads_them_from_the_record() -> None:
    _, found = config()
    entity = found["components"]["hall-event"]
    assert entity["event_types"] == ["smoke", "glass break"]
    environment = SandboxedEnvironment()
    environment.filters["to_json"] = json.dumps  # Home Assistant's own filter
    record = json.loads(encode_record(event("glass break")))
    shown = json.loads(environment.from_string(entity["value_template"]).render(value_json=record))
    assert shown == record | {"event_type": "glass break"}
    assert found["components"]["hall-label-smoke"]["device_class"] == "sound"
    assert "device_class" not in found["components"]["door-label-person"]


def test_a_label_that_a_new_bundle_does_not_have_is_taken_away() -> None:
    topics = Topics("galago", "porch", "1.2.3", "homeassistant")
    message = discovery(topics, STREAMS, {"hall-label-fire": Component("binary_sensor", "hall")})
    assert json.loads(message.payload)["components"]["hall-label-fire"] == {"platform": "binary_sensor"}


def test_labels_that_may_not_stand_in_a_topic_get_names_that_may_and_differ() -> None:
    names = ["a b", "a/b", "a+b", "a#b", "ä b", "a-b", "#", "日本"]
    found = [plain(name) for name in names]
    assert len(set(found)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in found)
    assert plain("smoke_alarm-2.0") == "smoke_alarm-2.0"


BASE = "galago/porch/hall"


@pytest.mark.parametrize(
    ("record", "others"),
    [
        (event(), [("label/smoke", b"ON"), ("backend", b"edgetpu")]),
        (event("glass break"), [("label/glass-break-a006bd7a", b"ON"), ("backend", b"edgetpu")]),
        (state("label:smoke", "off"), [("label/smoke", b"OFF")]),
        (state("label:smoke", "on"), []),
        (state("source", "failed"), [("source", b"failed")]),
        (state("source", "implausible"), []),
        (state("backend", "fallback", backend="cpu"), [("backend", b"cpu")]),
        (state("backend", "failed"), []),
        (
            state("stream", "started", backend="cpu"),
            [("label/smoke", b"OFF"), ("label/glass-break-a006bd7a", b"OFF"), ("backend", b"cpu")],
        ),
        (state("label:fire", "off"), []),
        (msgspec.structs.replace(event(), label="fire"), [("backend", b"edgetpu")]),
        (state("stream", "ended"), [("label/smoke", b"OFF"), ("label/glass-break-a006bd7a", b"OFF")]),
        (state("gate", "open", backend="cpu"), []),
        (GapRecord(stream="hall", from_ns=0, to_ns=1, cause="drop"), []),
    ],
    ids=lambda value: "-".join(value.subject.split(":")) if isinstance(value, StateRecord) else None,
)
def test_of_a_record_the_entities_that_it_changes_are_told_and_kept(
    record: Record, others: list[tuple[str, bytes]]
) -> None:
    assert changes(record) == [Message(f"{BASE}/{topic}", payload, retain=True) for topic, payload in others]


def test_of_a_stream_that_nobody_described_the_backend_is_known_and_no_label() -> None:
    """One that the running bundle does not have would stay on for ever."""
    topics = Topics("galago", "porch", "1", "homeassistant")
    assert topics.changes(event(), ()) == [Message(f"{BASE}/backend", b"edgetpu", retain=True)]


def test_a_record_of_the_device_changes_no_entity() -> None:
    assert changes(state("backend", "fallback", stream="", backend="cpu")) == []


def test_topics_are_told_apart_by_their_stream_and_what_they_say() -> None:
    topics = Topics("a/b", "porch", "1", "homeassistant")
    label, source = topics.of_label("hall", "source"), f"{topics.of_stream('hall')}/source"
    assert topics.is_label(label) and not topics.is_source(label)
    assert topics.is_source(source) and not topics.is_label(source)
    for topic in (label, source):
        assert topics.is_of(topic, {"hall"}) and not topics.is_of(topic, {"hal", "label", "porch"})
    assert not topics.is_of("a/b/barn/hall/source", {"hall"}) and not topics.is_of("a/b/porch/lost", {"lost"})
    assert not topics.is_of(topics.config, {"device", "homeassistant"})


def test_what_was_lost_is_a_figure_that_is_kept() -> None:
    assert Topics("galago", "porch", "1", "").of_lost(17) == Message("galago/porch/lost", b"17", retain=True)


def test_only_the_labels_of_a_microphone_are_sounds() -> None:
    entities = config()[1]["components"]
    assert entities["hall-label-smoke"]["device_class"] == "sound"
    assert "device_class" not in entities["door-label-person"]
