"""Pictures and sounds of events to a real Mosquitto: whole, once each, and never in an alarm's way."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho
import pytest

from galago_edge.contract.attachment import attachment_name
from galago_edge.contract.records import AttachmentRecord, EventRecord
from galago_edge.contract.status import SinkStatus
from galago_edge.sinks import Outbox, broker_link
from galago_edge.sinks.sink_tables import settings_of
from real_parts import Broker, wait_for
from real_parts.processes import DEADLINE_S

BASE = "galago/porch/hall"
JPEG = b"\xff\xd8" + bytes(range(256)) * 40


def large(number: int, size: int = 3_000_000) -> bytes:
    return np.random.default_rng(number).integers(0, 256, size, np.uint8).tobytes()


class Heard:
    """What a subscriber to everything got, in order."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []

    def of(self, kind: str) -> list[bytes]:
        return [payload for topic, payload, _ in tuple(self.messages) if topic == f"{BASE}/{kind}"]

    def numbers(self, kind: str) -> list[int]:
        return [json.loads(payload)["seq"] for payload in self.of(kind)]


@contextmanager
def listening(broker: Broker) -> Iterator[Heard]:
    heard, ready = Heard(), threading.Event()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.on_connect = lambda client, *_: client.subscribe("#", 1)
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda client, data, each: heard.messages.append(
        (each.topic, bytes(each.payload), each.retain)
    )
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        assert ready.wait(DEADLINE_S)
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()


class Bench:
    """A store with attachments, and an outbox towards a broker."""

    def __init__(self, root: Path, port: int, **options: Any) -> None:
        self.root = root
        (root / "attachments").mkdir(exist_ok=True)
        mqtt = {"host": "127.0.0.1", "port": port, "backoff_max_s": 0.2} | options
        tables = {"stream": [{"name": "hall", "source": "x"}], "mqtt": mqtt, "attachments": {}}
        self.box = Outbox(settings_of(tables), root, "porch")

    def record(self, number: int, content: bytes = JPEG, *, sound: bool = False) -> AttachmentRecord:
        media_type: Any = "audio/wav" if sound else "image/jpeg"
        name = attachment_name(1_795_348_980_123_000_000, "hall", number, media_type)
        (self.root / "attachments" / name).write_bytes(content)
        return AttachmentRecord(
            stream="hall", seq=number, label="smoke", start_index=0, end_index=1, start_ns=0, end_ns=1,
            media_type=media_type, file=name, bytes=len(content), from_ns=0, to_ns=1,
            sha256=hashlib.sha256(content).hexdigest(),
        )  # fmt: skip

    def event(self, number: int) -> EventRecord:
        return EventRecord(
            stream="hall", seq=number, label="smoke", score=0.9, start_index=0, end_index=1, start_ns=0,
            end_ns=1, bundle="b", backend="cpu",
        )  # fmt: skip

    def status(self) -> SinkStatus:
        return next(each for each in self.box.status() if each.name == "mqtt")


@pytest.fixture
def bench(tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    monkeypatch.setattr(broker_link, "_ANSWER_S", DEADLINE_S)  # a busy machine is no broker that hangs
    made: list[Bench] = []

    def make(**options: Any) -> Bench:
        made.append(Bench(tmp_path, broker.port, **options))
        made[-1].box.describe("hall", "camera", ["smoke"])
        made[-1].box.start()
        return made[-1]

    yield make
    for one in made:
        one.box.stop(0.0)


def test_the_record_comes_first_and_the_bytes_as_they_are_behind_it(
    broker: Broker, bench: Callable[..., Bench]
) -> None:
    with listening(broker) as heard:
        one = bench()
        one.box.emit([one.event(0), one.record(0, large(0)), one.record(1, JPEG, sound=True)])
        wait_for(lambda: one.status().delivered == 3, "everything")
        wait_for(lambda: heard.of("sound"), "the last one")
    live = [
        (topic.removeprefix(f"{BASE}/"), retain) for topic, _, retain in heard.messages if "hall/" in topic
    ]
    assert [each for each in live if each[0] in ("event", "attachment", "picture", "sound")] == [
        ("event", False), ("attachment", False), ("picture", False), ("attachment", False), ("sound", False),
    ]  # fmt: skip
    assert heard.of("picture") == [large(0)] and heard.of("sound") == [JPEG]
    assert json.loads(heard.of("attachment")[0])["key"].startswith("porch-")
    with listening(broker) as later:
        wait_for(
            lambda: any("availability" in topic for topic, _, _ in tuple(later.messages)), "what is kept"
        )
        assert not later.of("picture"), "nobody asked the broker to keep pictures"


def test_two_events_with_one_and_the_same_picture_both_bring_it(
    broker: Broker, bench: Callable[..., Bench]
) -> None:
    with listening(broker) as heard:
        one = bench(retain_pictures=True)
        one.box.emit([one.record(0), one.record(1)])
        wait_for(lambda: one.status().delivered == 2, "both")
        wait_for(lambda: len(heard.of("picture")) == 2, "both pictures")


def test_a_file_that_is_gone_is_told_without_it_and_counted_as_lost(
    broker: Broker, bench: Callable[..., Bench]
) -> None:
    with listening(broker) as heard:
        one = bench()
        gone = one.record(0)
        (one.root / "attachments" / gone.file).unlink()
        one.box.emit([gone, one.record(1)])
        wait_for(lambda: one.status().pending == 0 and one.status().delivered == 1, "both")
        wait_for(lambda: len(heard.of("attachment")) == 2, "both records")
    assert one.status().lost == 1
    assert [json.loads(each).get("gone") for each in heard.of("attachment")] == [True, None]
    assert heard.of("picture") == [JPEG]


def test_events_overtake_pictures_that_wait_for_the_broker(
    broker: Broker, bench: Callable[..., Bench]
) -> None:
    broker.stop()
    one = bench()
    one.box.emit([one.record(number) for number in range(30)])
    one.box.emit([one.event(number) for number in range(50)])
    wait_for(lambda: one.status().pending == 80, "all in the spool")
    broker.start()
    with listening(broker):
        wait_for(lambda: one.status().delivered == 80, "everything")
    assert one.status().lost == 0


def test_a_picture_that_a_broker_never_takes_is_given_up_and_no_event_comes_twice(
    broker: Broker, bench: Callable[..., Bench]
) -> None:
    broker.stop()
    broker.configure("max_packet_size 200000")
    broker.start()
    with listening(broker) as heard:
        one = bench()
        one.box.emit([one.event(0)])
        wait_for(lambda: one.status().delivered == 1, "the first event")
        one.box.emit([one.record(0, large(0, 500_000)), one.event(1), one.record(1)])
        wait_for(lambda: one.status().pending == 0, "everything done with")
        wait_for(lambda: heard.of("picture"), "the small picture")
        status = one.status()
    assert (status.delivered, status.lost) == (3, 1)
    assert heard.of("picture") == [JPEG] and sorted(set(heard.numbers("event"))) == [0, 1]
    keys = [json.loads(each)["key"] for each in heard.of("event")]
    assert len(keys) == len(set(keys)), "an event came twice"


def test_a_broker_that_is_not_to_get_them_gets_events_alone(
    broker: Broker, bench: Callable[..., Bench]
) -> None:
    with listening(broker) as heard:
        one = bench(attachments=False)
        one.box.emit([one.record(0), one.event(0)])
        wait_for(lambda: one.status().delivered == 1, "the event")
        wait_for(lambda: heard.of("event"), "the event")
        assert one.status().pending == 0 and not heard.of("attachment") and not heard.of("picture")
