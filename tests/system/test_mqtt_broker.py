"""Records to a real Mosquitto, which is away, dies, hangs, refuses and comes back."""

from __future__ import annotations

import contextlib
import gc
import json
import socket
import subprocess
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import msgspec
import paho.mqtt.client as paho
import pytest

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.records import EventRecord, StateRecord, decode_record
from galago_edge.contract.status import SinkStatus
from galago_edge.sinks import Outbox, broker_link
from galago_edge.sinks.broker_link import BrokerLink
from galago_edge.sinks.broker_probe import broker_fault
from galago_edge.sinks.kinds import mqtt_sink
from galago_edge.sinks.kinds.mqtt_sink import MqttSettings
from galago_edge.sinks.sink_tables import settings_of
from real_parts import Broker, missing_part, wait_for
from real_parts.processes import DEADLINE_S, free_port

OpenOutbox = Callable[..., Outbox]


@pytest.fixture
def outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenOutbox]:
    """Returns what starts an outbox towards a port; all are stopped after the test."""
    monkeypatch.setattr(broker_link, "_ANSWER_S", DEADLINE_S)  # a busy machine is no broker that hangs
    opened: list[Outbox] = []

    def start(
        port: int,
        *,
        max_mb: int = 4,
        device: str = "porch",
        streams: tuple[str, ...] = ("hall",),
        labels: tuple[str, ...] = ("smoke",),
        absent: tuple[str, ...] = (),
        **options: Any,
    ) -> Outbox:
        """``absent``: streams that are configured and have no bundle that can run."""
        given = {"host": "127.0.0.1", "port": port, "backoff_max_s": 0.5} | options
        named = [{"name": name, "source": name} for name in (*streams, *absent)]
        tables = {"stream": named, "mqtt": given, "spool": {"max_mb": max_mb}}
        box = Outbox(settings_of(tables), tmp_path, device, version="1.2.3")
        for name in streams:
            box.describe(name, "microphone", labels)
        box.start()
        opened.append(box)
        return box

    yield start
    for box in opened:
        box.stop(0.0)


class Listener:
    """A subscriber to everything, which remembers."""

    def __init__(self, port: int, **login: str) -> None:
        self.messages: list[paho.MQTTMessage] = []
        self.live = frozenset(f"galago/porch/hall/{kind}" for kind in ("event", "state", "gap"))
        self._ready = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        if login:
            self._client.username_pw_set(login["username"], login["password"])
        self._client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda client, data, message: self.messages.append(message)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._ready.wait(DEADLINE_S)

    def retained(self) -> dict[str, bytes]:
        """What the broker keeps, as far as that has come."""
        found = {each.topic: bytes(each.payload) for each in tuple(self.messages)}
        return {topic: payload for topic, payload in found.items() if payload and topic not in self.live}

    def payloads(self, topic: str) -> list[bytes]:
        return [bytes(message.payload) for message in tuple(self.messages) if message.topic == topic]

    def events(self) -> list[Any]:
        return [json.loads(payload) for payload in self.payloads("galago/porch/hall/event")]

    def numbers(self) -> list[int]:
        """Each event once, in the order of its first arrival, by its key."""
        return list({each["key"]: each["seq"] for each in self.events()}.values())

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        sock = self._client.socket()
        if sock is not None:
            sock.close()


@contextlib.contextmanager
def listening(broker: Broker, **login: str) -> Iterator[Listener]:
    listener = Listener(broker.port, **login)
    try:
        yield listener
    finally:
        listener.close()


def living_clients() -> int:
    # its type, not isinstance: a proxy among all objects may stand for one that is gone
    return sum(issubclass(type(each), paho.Client) for each in gc.get_objects())


def event(number: int, fill: int = 0) -> EventRecord:
    return EventRecord(
        stream="hall", seq=number, label="smoke", score=0.9, start_index=0, end_index=1, start_ns=0, end_ns=1,
        bundle="b" + "x" * fill, backend="cpu",
    )  # fmt: skip


def state(subject: str, to: str, **detail: Any) -> StateRecord:
    return StateRecord(stream="hall", subject=subject, state=to, index=0, ns=0, detail=detail)


def kept(broker: Broker, topics: Collection[str]) -> dict[str, bytes]:
    """What somebody finds who comes now, when these topics are there and no others."""
    with listening(broker) as listener:
        wait_for(lambda: set(listener.retained()) == set(topics), f"{sorted(topics)} and nothing else")
        return listener.retained()


def status(box: Outbox) -> SinkStatus:
    return next(each for each in box.status() if each.name == "mqtt")


def delivered(box: Outbox, count: int) -> None:
    wait_for(lambda: status(box).delivered >= count, f"{count} delivered records")


def test_records_arrive_in_order_with_presence_and_entities(broker: Broker, outbox: OpenOutbox) -> None:
    with listening(broker) as listener:
        box = outbox(broker.port)
        for number in range(200):
            box.emit([event(number)])
        delivered(box, 200)
        wait_for(lambda: len(listener.events()) == 200, "200 events")
        assert [each["seq"] for each in listener.events()] == list(range(200))
        assert len({each["key"] for each in listener.events()}) == 200
        assert decode_record(listener.payloads("galago/porch/hall/event")[0]).key.startswith("porch-")
        wait_for(lambda: listener.payloads("galago/porch/hall/label/smoke")[-1:] == [b"ON"], "the label")
        box.stop(5)
        wait_for(lambda: b"offline" in listener.payloads("galago/porch/availability"), "the farewell")
    with listening(broker) as later:  # what a Home Assistant that starts later finds
        found = later.messages
        wait_for(lambda: len({each.topic for each in tuple(found) if each.retain}) == 5, "what is retained")
        retained = {each.topic: bytes(each.payload) for each in tuple(found)}
        assert retained["galago/porch/availability"] == b"offline"
        assert retained["galago/porch/hall/label/smoke"] == b"OFF", "nobody watches any more"
        assert "hall-event" in json.loads(retained["homeassistant/device/galago-porch/config"])["components"]
        assert "galago/porch/hall/event" not in retained
    assert (status(box).pending, status(box).lost) == (0, 0)


HALL = "galago/porch/hall"
CONFIG = "homeassistant/device/galago-porch/config"
DEVICE = {"galago/porch/availability", "galago/porch/lost"}
EVERYTHING = {*DEVICE, CONFIG, f"{HALL}/label/smoke", f"{HALL}/source", f"{HALL}/backend"}


def in_alarm(box: Outbox) -> None:
    """Let the hall decide, hear smoke, and go on hearing it."""
    box.emit([state("stream", "started", backend="cpu"), state("source", "healthy"), event(0)])
    delivered(box, 3)


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_broker_that_forgets_is_told_again_what_holds(
    real_part: Callable[..., Any], tmp_path: Path, outbox: OpenOutbox, end: str
) -> None:
    """A label that is on has no news to tell, so without this it is unknown until it is off."""
    broker = real_part(Broker, tmp_path)
    broker.forget_everything()
    broker.start()
    box = outbox(broker.port)
    in_alarm(box)
    before = kept(broker, EVERYTHING)
    assert before[f"{HALL}/label/smoke"] == b"ON" and before["galago/porch/availability"] == b"online"
    for _ in range(2):
        getattr(broker, end)()
        broker.start()
        assert kept(broker, EVERYTHING) == before


def test_what_changed_while_the_broker_was_away_is_shown_as_it_is_now(
    real_part: Callable[..., Any], tmp_path: Path, outbox: OpenOutbox
) -> None:
    """The records of the outage follow, and do not play the past on the label."""
    broker = real_part(Broker, tmp_path)
    broker.forget_everything()
    broker.start()
    box = outbox(broker.port)
    in_alarm(box)
    broker.kill()
    for number in range(1, 30):
        box.emit([state("label:smoke", "off"), event(number)])
    box.emit([state("source", "escalated"), state("backend", "fallback", backend="cpu")])
    box.emit([state("label:smoke", "off")])
    wait_for(lambda: status(box).pending == 61, "all of it in the spool")
    seen: list[bytes] = []
    broker.start()
    with listening(broker) as listener:
        wait_for(lambda: listener.numbers()[-1:] == [29], "the events of the outage")
        seen = listener.payloads(f"{HALL}/label/smoke")
        assert listener.retained()[f"{HALL}/source"] == b"escalated"
    assert set(seen) == {b"OFF"}


def test_a_short_alarm_is_shown_while_the_broker_is_there(broker: Broker, outbox: OpenOutbox) -> None:
    with listening(broker) as listener:
        box = outbox(broker.port)
        wait_for(lambda: status(box).state == "ok", "the connection")
        box.emit([event(0), state("label:smoke", "off")])
        box.emit([event(1), state("label:smoke", "off")])
        topic = f"{HALL}/label/smoke"
        wait_for(lambda: len(listener.payloads(topic)) == 5, "every step")
        assert listener.payloads(topic) == [b"OFF", b"ON", b"OFF", b"ON", b"OFF"]


@pytest.mark.parametrize("bundle", ["runs", "is gone"])
def test_a_service_that_died_in_an_alarm_shows_no_stale_one_when_it_is_back(
    broker: Broker, outbox: OpenOutbox, monkeypatch: pytest.MonkeyPatch, bundle: str
) -> None:
    box = outbox(broker.port)
    in_alarm(box)
    with monkeypatch.context() as patch:
        patch.setattr(BrokerLink, "say_goodbye", lambda *_: None)  # dies without a word
        box.stop(0)
    topic = f"{HALL}/label/smoke"
    with listening(broker) as listener:
        wait_for(lambda: listener.payloads("galago/porch/availability")[-1:] == [b"offline"], "the last will")
        assert listener.payloads(topic) == [b"ON"]
        outbox(broker.port) if bundle == "runs" else outbox(broker.port, streams=(), absent=("hall",))
        wait_for(lambda: listener.payloads("galago/porch/availability")[-1:] == [b"online"], "presence")
        assert listener.payloads(topic) == [b"ON", b"OFF"]
        places = [each.topic for each in tuple(listener.messages)]
        last_off = len(places) - 1 - places[::-1].index(topic)
        assert last_off < len(places) - 1 - places[::-1].index("galago/porch/availability"), (
            "off, then online"
        )
        assert listener.payloads(f"{HALL}/source")[-1] == b"recovering", "nothing has come from it yet"
        assert listener.payloads(f"{HALL}/backend")[-1] == b"cpu"
        assert "hall-label-smoke" in json.loads(listener.payloads(CONFIG)[-1])["components"]


def test_a_renamed_stream_and_a_removed_label_are_taken_back(broker: Broker, outbox: OpenOutbox) -> None:
    box = outbox(broker.port, streams=("hall", "hall.2"), labels=("smoke", "glass break"))
    in_alarm(box)
    assert len(kept(broker, EVERYTHING | {
        f"{HALL}/label/glass-break-a006bd7a", f"{HALL}.2/label/smoke", f"{HALL}.2/label/glass-break-a006bd7a",
    })) == 9  # fmt: skip
    box.stop(5)
    box = outbox(broker.port, streams=("hall", "attic"))
    wait_for(lambda: status(box).state == "ok", "the connection")
    assert kept(broker, EVERYTHING | {"galago/porch/attic/label/smoke"})
    with listening(broker) as listener:
        wait_for(lambda: bool(listener.payloads(CONFIG)), "the entities")
        components = json.loads(listener.payloads(CONFIG)[0])["components"]
    removed = {key for key, told in components.items() if set(told) == {"platform"}}
    assert removed == {
        "hall-label-glass-break-a006bd7a", "hall.2-event", "hall.2-source", "hall.2-backend",
        "hall.2-label-smoke", "hall.2-label-glass-break-a006bd7a",
    }  # fmt: skip
    assert "hall-label-smoke" in components and "attic-event" in components
    box.stop(5)
    box = outbox(broker.port, streams=("hall", "attic"))
    wait_for(lambda: status(box).state == "ok", "the connection")
    with listening(broker) as listener:
        wait_for(lambda: bool(listener.payloads(CONFIG)), "the entities")
        again = json.loads(listener.payloads(CONFIG)[0])["components"]
    assert set(again) == set(components) - removed, "told once"


def test_whatever_the_broker_keeps_was_noted_before_and_is_taken_back_after_any_number_of_renamings(
    broker: Broker, outbox: OpenOutbox, tmp_path: Path
) -> None:
    """A source and a backend are told of after the first connection, as in a service that has just begun."""
    renamed = [("bench", "door"), ("bench", "gate"), ("bench", "hall"), ("porch", "hall"), ("porch", "yard")]
    for device, stream in renamed:
        box = outbox(broker.port, device=device, streams=(stream,))
        wait_for(lambda: status(box).state == "ok", "the connection")  # noqa: B023
        for subject, to, detail in (("source", "healthy", {}), ("backend", "fallback", {"backend": "cpu"})):
            record = msgspec.structs.replace(state(subject, to, **detail), stream=stream)
            box.emit([record])
        place = f"galago/{device}"
        expected = {
            f"{place}/availability", f"{place}/lost", f"homeassistant/device/galago-{device}/config",
            f"{place}/{stream}/label/smoke", f"{place}/{stream}/source", f"{place}/{stream}/backend",
        }  # fmt: skip
        with listening(broker) as listener:
            listener.live = frozenset(f"{place}/{stream}/{kind}" for kind in ("event", "state", "gap"))
            wait_for(lambda: set(listener.retained()) == expected, "these topics and no others")  # noqa: B023
        noted = set(json.loads((tmp_path / "spool" / "mqtt.published").read_bytes())["topics"])
        assert expected <= noted, "also while it runs: it may be killed"
        box.stop(5)


def test_a_retained_topic_is_on_the_disk_before_the_broker_gets_it(
    broker: Broker, outbox: OpenOutbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unnoted: list[str] = []
    publish = paho.Client.publish

    def watched(client: Any, topic: str, payload: Any = None, qos: int = 0, retain: bool = False) -> Any:
        noted = json.loads((tmp_path / "spool" / "mqtt.published").read_bytes())["topics"]
        unnoted.extend([topic] if retain and payload and topic not in noted else ())
        return publish(client, topic, payload, qos, retain)

    monkeypatch.setattr(paho.Client, "publish", watched)
    box = outbox(broker.port)
    wait_for(lambda: status(box).state == "ok", "the connection")
    in_alarm(box)
    kept(broker, EVERYTHING)
    box.stop(5)
    assert unnoted == []


def test_a_new_bundle_without_a_label_takes_it_back_at_once(broker: Broker, outbox: OpenOutbox) -> None:
    box = outbox(broker.port, labels=("smoke", "fire"))
    in_alarm(box)
    box.emit([msgspec.structs.replace(event(1), label="fire")])
    box.describe("hall", "microphone", ("smoke",))
    box.emit([state("stream", "started", backend="cpu")])
    found = kept(broker, EVERYTHING)
    assert found[f"{HALL}/label/smoke"] == b"OFF"
    assert json.loads(found[CONFIG])["components"]["hall-label-fire"] == {"platform": "binary_sensor"}


def test_a_device_with_a_new_name_takes_the_old_one_back(broker: Broker, outbox: OpenOutbox) -> None:
    box = outbox(broker.port)
    in_alarm(box)
    box.stop(5)
    box = outbox(broker.port, device="barn")
    wait_for(lambda: status(box).state == "ok", "the connection")
    barn = {"galago/barn/availability", "galago/barn/lost", "galago/barn/hall/label/smoke"}
    kept(broker, barn | {"homeassistant/device/galago-barn/config"})


def test_whoever_wants_no_entities_any_more_keeps_none(broker: Broker, outbox: OpenOutbox) -> None:
    box = outbox(broker.port)
    in_alarm(box)
    box.stop(5)
    box = outbox(broker.port, discovery="")
    wait_for(lambda: status(box).state == "ok", "the connection")
    kept(broker, DEVICE)


def test_what_a_broker_could_not_be_told_is_taken_back_when_it_can(
    broker: Broker, outbox: OpenOutbox, tmp_path: Path
) -> None:
    box = outbox(broker.port)
    in_alarm(box)
    box.stop(5)
    broker.stop()
    for names in (("attic",), ("cellar",)):  # renamed twice meanwhile
        box = outbox(broker.port, streams=names)
        wait_for(lambda: status(box).state == "retrying", "the fault")  # noqa: B023
        box.stop(0)
    broker.start()
    outbox(broker.port, streams=("cellar",))
    kept(broker, {*DEVICE, CONFIG, "galago/porch/cellar/label/smoke"})


def test_thousands_of_labels_are_told_in_portions(broker: Broker, outbox: OpenOutbox) -> None:
    labels = tuple(f"class-{number}" for number in range(2_000))
    box = outbox(broker.port, labels=labels)
    wait_for(lambda: status(box).state == "ok", "the connection")
    found = kept(broker, {*DEVICE, CONFIG, *(f"{HALL}/label/{label}" for label in labels)})
    assert found[f"{HALL}/label/class-1999"] == b"OFF"


def test_a_device_that_vanishes_is_announced_by_its_last_will(
    broker: Broker, outbox: OpenOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BrokerLink, "say_goodbye", lambda *_: None)  # dies without a word
    with listening(broker) as listener:
        box = outbox(broker.port)
        wait_for(lambda: listener.payloads("galago/porch/availability") == [b"online"], "presence")
        box.stop(0)
        wait_for(lambda: listener.payloads("galago/porch/availability")[-1] == b"offline", "the last will")


def test_a_second_life_is_online_although_the_last_will_of_the_first_comes_late(
    broker: Broker, outbox: OpenOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut the broker still holds the old connection; the new one must end it."""
    kept = []
    monkeypatch.setattr(BrokerLink, "say_goodbye", lambda *_: None)
    monkeypatch.setattr(BrokerLink, "close", kept.append)
    with listening(broker) as listener:
        first = outbox(broker.port)
        wait_for(lambda: listener.payloads("galago/porch/availability") == [b"online"], "presence")
        first.stop(0)
        second = outbox(broker.port)
        wait_for(lambda: len(listener.payloads("galago/porch/availability")) == 3, "will and presence")
        assert listener.payloads("galago/porch/availability") == [b"online", b"offline", b"online"]
        monkeypatch.undo()
        second.stop(0)
    for link in kept:
        link.close()


def test_a_broker_that_is_absent_at_the_start_gets_everything_when_it_comes(
    real_part: Callable[..., Any], tmp_path: Path, outbox: OpenOutbox
) -> None:
    broker = real_part(Broker, tmp_path)
    box = outbox(broker.port)
    for number in range(50):
        box.emit([event(number)])
    wait_for(lambda: "refused" in status(box).fault and status(box).pending == 50, "a fault that says so")
    assert status(box).state == "retrying"
    assert status(box).oldest_pending_s > 0
    assert box.stalled_s() == 0.0
    broker.start()
    with listening(broker) as listener:
        delivered(box, 50)
        assert status(box).state == "ok" and status(box).fault == ""
        # the listener may have come after the first of them; the retained ones it has in any case
        wait_for(lambda: b"online" in listener.payloads("galago/porch/availability"), "presence")


@pytest.mark.parametrize("end", ["kill", "stop", "hang"])
def test_a_broker_that_goes_away_and_comes_back_gets_every_event(
    broker: Broker, outbox: OpenOutbox, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_link, "_ANSWER_S", 1.0)
    seen: list[int] = []
    box = outbox(broker.port)
    with listening(broker) as listener:
        for number in range(100):
            box.emit([event(number)])
        delivered(box, 100)
        seen += listener.numbers()
        getattr(broker, end)()
        for number in range(100, 200):
            box.emit([event(number)])
        wait_for(lambda: status(box).state == "retrying" and status(box).pending == 100, "the fault")
        if end == "hang":
            broker.unhang()
        else:
            broker.start()
        delivered(box, 200)
        if end == "hang":
            wait_for(lambda: set(range(200)) <= set(listener.numbers()), "all 200")
    assert status(box).lost == 0


def test_no_event_is_lost_while_the_broker_dies_again_and_again(broker: Broker, outbox: OpenOutbox) -> None:
    """What the broker acknowledged it has on disk for its durable subscriber, which comes at the end."""
    durable = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="durable", clean_session=False)
    got: dict[str, int] = {}
    duplicates = 0
    subscribed = threading.Event()

    def take(client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        nonlocal duplicates
        record = json.loads(message.payload)
        duplicates += record["key"] in got
        got[record["key"]] = record["seq"]

    durable.on_connect = lambda client, *_: client.subscribe("galago/porch/hall/event", 1)
    durable.on_subscribe = lambda *_: subscribed.set()
    durable.on_message = take
    durable.connect("127.0.0.1", broker.port)
    durable.loop_start()
    try:
        assert subscribed.wait(DEADLINE_S)
        box = outbox(broker.port)
        for number in range(500):
            box.emit([event(number)])
            if number % 100 == 99:
                delivered(box, number - 50)
                broker.stop()  # in order: a Mosquitto that is killed forgets up to a second by itself
                broker.start()
        delivered(box, 500)
        wait_for(lambda: set(got.values()) == set(range(500)), "every event")
        assert len(got) == 500, "one key for each"
    finally:
        durable.disconnect()
        durable.loop_stop()
    assert (status(box).lost, status(box).pending) == (0, 0)


def test_a_wrong_password_is_told_and_the_right_one_delivers(
    real_part: Callable[..., Any], tmp_path: Path, outbox: OpenOutbox
) -> None:
    broker = real_part(Broker, tmp_path)
    broker.accept_only("galago", "right")
    broker.start()
    box = outbox(broker.port, username="galago", password="wrong")
    box.emit([event(0)])
    wait_for(lambda: status(box).state == "failed", "the refusal")
    assert "refuses" in status(box).fault and "wrong" not in status(box).fault
    box.stop(0)
    box = outbox(broker.port, username="galago", password="right")
    delivered(box, 1)


def test_a_restart_delivers_what_was_left_and_nothing_twice_that_was_acknowledged(
    real_part: Callable[..., Any], tmp_path: Path, outbox: OpenOutbox
) -> None:
    broker = real_part(Broker, tmp_path)
    box = outbox(broker.port)
    for number in range(30):
        box.emit([event(number)])
    box.stop(0.1)
    broker.start()
    with listening(broker) as listener:
        box = outbox(broker.port)
        for number in range(30, 40):
            box.emit([event(number)])
        wait_for(lambda: len(listener.events()) == 40, "40 events")
        assert [each["seq"] for each in listener.events()] == list(range(40))
        box.stop(5)
        box = outbox(broker.port)
        box.emit([event(40)])
        wait_for(lambda: len(listener.events()) >= 41, "the last one")
        assert [each["seq"] for each in listener.events()] == list(range(41))


def test_what_a_long_outage_costs_is_told_as_a_number(
    real_part: Callable[..., Any], tmp_path: Path, outbox: OpenOutbox
) -> None:
    broker = real_part(Broker, tmp_path)
    box = outbox(broker.port, max_mb=1)
    total = 2_000
    for first in range(0, total, 100):
        box.emit([event(number, fill=1_000) for number in range(first, first + 100)])
    wait_for(lambda: status(box).pending + status(box).lost == total, "all to be spooled")
    lost = status(box).lost
    assert lost > 0
    broker.start()
    with listening(broker) as listener:
        delivered(box, total - lost)
    with listening(broker) as listener:
        wait_for(lambda: listener.payloads("galago/porch/lost") == [b"%d" % lost], "the retained figure")


def test_a_record_on_which_the_broker_hangs_up_is_given_up_and_the_others_go_on(
    real_part: Callable[..., Any], tmp_path: Path, outbox: OpenOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = real_part(Broker, tmp_path)
    broker.configure("max_packet_size 3000")
    broker.start()
    box = outbox(broker.port, backoff_max_s=0.05)
    for number in range(40):
        box.emit([event(number, fill=5_000 if number == 20 else 0)])
    delivered(box, 39)
    wait_for(lambda: status(box).lost == 1, "the loss to be counted")
    assert status(box).pending == 0


def test_a_server_that_takes_the_connection_and_says_nothing_is_left_in_time(
    outbox: OpenOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_link, "_ANSWER_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        box = outbox(server.getsockname()[1])
        wait_for(lambda: "did not answer" in status(box).fault, "patience to end")


@pytest.mark.parametrize("how", ["refuses", "hangs up"])
def test_hundreds_of_failed_connections_leave_nothing_behind(
    outbox: OpenOutbox, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(mqtt_sink, "_FIRST_PAUSE_S", 0.001)
    attempts = 0
    original = BrokerLink.open

    def counted(link: Any, bell: Any) -> None:
        nonlocal attempts
        attempts += 1
        original(link, bell)

    monkeypatch.setattr(BrokerLink, "open", counted)
    stopping = threading.Event()

    def hang_up(server: socket.socket) -> None:
        server.settimeout(0.05)
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                server.accept()[0].close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        thread = threading.Thread(target=hang_up, args=(server,))
        thread.start()
        try:
            box = outbox(free_port() if how == "refuses" else port, backoff_max_s=0.001)
            wait_for(lambda: attempts > 50, "the first attempts")
            fds = len(list(Path("/proc/self/fd").iterdir()))
            threads = threading.active_count()
            clients = living_clients()
            wait_for(lambda: attempts > 500, "500 attempts")
            # what has just ended may still be there for a moment
            wait_for(lambda: len(list(Path("/proc/self/fd").iterdir())) <= fds + 3, "as few open files")
            wait_for(lambda: threading.active_count() <= threads, "as few threads")
            wait_for(
                lambda: living_clients() <= clients + 3,
                "as few clients",
            )
            assert status(box).state == "retrying"
        finally:
            stopping.set()
            thread.join()


def test_a_name_that_does_not_exist_is_a_fault_that_is_told(outbox: OpenOutbox) -> None:
    box = outbox(1883, host="no-such-host.invalid")
    wait_for(lambda: status(box).fault.startswith("no-such-host.invalid:1883: "), "the fault")
    assert status(box).state == "retrying"


def openssl(*arguments: object) -> None:
    try:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
    except FileNotFoundError:
        missing_part("openssl")


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Key and certificate of ``localhost``, signed by itself."""
    key, pem = tmp_path / "key.pem", tmp_path / "cert.pem"
    openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 2, "-subj", "/CN=localhost",
        "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", pem,
    )  # fmt: skip
    key.chmod(0o644)
    return key, pem


# paho leaves the socket of a failed handshake to reference counting
@pytest.mark.filterwarnings("ignore:unclosed <ssl:ResourceWarning")
def test_tls_delivers_to_a_broker_that_is_who_it_says_and_to_no_other(
    real_part: Callable[..., Any], tmp_path: Path, outbox: OpenOutbox, certificate: tuple[Path, Path]
) -> None:
    key, pem = certificate
    broker = real_part(Broker, tmp_path)
    broker.configure(f"certfile {pem}", f"keyfile {key}")
    broker.start()
    box = outbox(broker.port, host="localhost", tls=True)
    wait_for(lambda: status(box).state == "failed", "the refusal of a stranger")
    assert "certificate" in status(box).fault.lower()
    box.stop(0)
    box = outbox(broker.port, host="localhost", tls=True, ca_file=str(pem))
    for number in range(100):
        box.emit([event(number)])
    delivered(box, 100)


# as above: the broker ends the handshake
@pytest.mark.filterwarnings("ignore:unclosed <ssl:ResourceWarning")
def test_a_broker_that_wants_to_know_its_clients_is_shown_a_certificate(
    real_part: Callable[..., Any], tmp_path: Path, outbox: OpenOutbox, certificate: tuple[Path, Path]
) -> None:
    key, pem = certificate
    ours, ours_key, both = tmp_path / "ours.pem", tmp_path / "ours.key", tmp_path / "both.pem"
    openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 2, "-subj", "/CN=porch",
        "-keyout", ours_key, "-out", ours,
    )  # fmt: skip
    ours.chmod(0o644)
    both.write_bytes(ours.read_bytes() + ours_key.read_bytes())
    broker = real_part(Broker, tmp_path)
    broker.configure(f"certfile {pem}", f"keyfile {key}", f"cafile {ours}", "require_certificate true")
    broker.start()
    secured = {"host": "mqtts://localhost", "ca_file": str(pem)}
    box = outbox(broker.port, **secured)
    wait_for(lambda: "client_cert_file" in status(box).fault, "a hint at what is missing")
    assert "client_cert_file" in probe(broker.port, **secured)
    box.stop(0)
    for shown in (
        {"client_cert_file": str(ours), "client_key_file": str(ours_key)},
        {"client_cert_file": str(both)},
    ):
        assert probe(broker.port, **secured, **shown) == ""
        box = outbox(broker.port, **secured, **shown)
        box.emit([event(0)])
        delivered(box, 1)
        box.stop(1)


def probe(port: int, **options: Any) -> str:
    """Return what the doctor finds."""
    settings = msgspec.convert({"port": port, **options}, MqttSettings)
    return broker_fault(settings.place(), settings.login())


@pytest.mark.parametrize("wrong", ["missing", "no certificate", "no key", "another's key", "encrypted key"])
def test_a_client_certificate_that_cannot_be_used_is_refused_at_the_start(
    outbox: OpenOutbox, tmp_path: Path, certificate: tuple[Path, Path], wrong: str
) -> None:
    key, pem = certificate
    given = {"client_cert_file": str(pem), "client_key_file": str(key)}
    if wrong == "missing":
        given["client_cert_file"] = str(tmp_path / "none.pem")
    elif wrong == "no certificate":
        pem.write_text("nonsense")
    elif wrong == "no key":
        del given["client_key_file"]
    elif wrong == "another's key":
        openssl("genrsa", "-out", key, 2048)
    else:
        openssl("genrsa", "-aes256", "-passout", "pass:x", "-out", key, 2048)
    with pytest.raises(CallerError, match="client_cert_file") as caught:
        outbox(1883, tls=True, **given)
    assert caught.value.reason is Reason.CONFIG_BAD and "\n" not in str(caught.value)
    if wrong == "encrypted key":
        assert "passphrase" in str(caught.value)


def test_an_authority_that_is_none_is_refused_at_the_start(outbox: OpenOutbox, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nonsense")
    for name in ("ca.pem", "none.pem"):
        with pytest.raises(CallerError, match=name) as caught:
            outbox(1883, tls=True, ca_file=str(tmp_path / name))
        assert caught.value.reason is Reason.CONFIG_BAD


@pytest.mark.parametrize("password", ["hunter2#secret", "p@ss/w%rd", "ü ß"])
def test_a_password_is_read_from_its_file_at_each_connection(
    real_part: Callable[..., Broker], tmp_path: Path, outbox: OpenOutbox, password: str
) -> None:
    broker = real_part(Broker, tmp_path)
    broker.accept_only("galago", password)
    broker.start()
    file = tmp_path / "password"
    box = outbox(broker.port, user="galago", password_file=str(file))
    wait_for(lambda: status(box).state == "failed", "the missing file to be told")
    assert "password_file" in status(box).fault and "does not exist" in status(box).fault
    file.write_text("wrong#secret\n", encoding="utf-8")
    wait_for(lambda: "refuses" in status(box).fault, "the refusal")
    assert "secret" not in status(box).fault
    file.write_text(f"{password}\n", encoding="utf-8")
    box.emit([event(0)])
    delivered(box, 1)
