"""The set of streams: who begins later, and who does not any more."""

from __future__ import annotations

import threading
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import pytest

from galago_edge.contract.errors import BundleError, DeviceError, GalagoError, LinkError, Reason
from galago_edge.contract.records import Record, StateRecord
from galago_edge.contract.settings import Settings, SourceSettings, StreamSettings
from galago_edge.contract.streams import Item, Notice
from galago_edge.service.build import Build
from galago_edge.service.outlet import Outlet
from galago_edge.service.running_stream import RunningStream
from galago_edge.service.stream_set import StreamSet

NO_BUNDLE = DeviceError(Reason.NO_BUNDLE, "no bundle is installed")
MISSING = LinkError(Reason.SOURCE_MISSING, "no such file")
MANIFEST = SimpleNamespace(
    modality="microphone",
    bundle=SimpleNamespace(name="tones", version="1.0.0"),
    labels=(SimpleNamespace(name="quiet", background=True), SimpleNamespace(name="low", background=False)),
    preprocess=SimpleNamespace(spec=None),
)


class Outbox:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.described: list[tuple[str, str, list[str]]] = []
        self.failure: Exception | None = None

    def emit(self, records: list[Record]) -> None:
        if self.failure is not None:
            raise self.failure
        self.records += records

    def describe(self, stream: str, modality: str, labels: list[str]) -> None:
        self.described.append((stream, modality, labels))

    def states(self) -> list[tuple[str, str]]:
        return [(one.stream, one.state) for one in self.records if isinstance(one, StateRecord)]


class Prepared:
    """A stream whose recording is gone when it begins."""

    address = None
    live = False
    source = SourceSettings(address="hall.wav")
    source_name = "hall.wav"
    bundle = SimpleNamespace(manifest=MANIFEST, id="0" * 64, modality="microphone", spec=None)

    def __init__(self, name: str) -> None:
        self.settings = StreamSettings(name=name, source="hall.wav")
        self.closed = threading.Event()
        stream: Any = SimpleNamespace(name=name, observe=None, absent=self.absent)
        loaded: Any = SimpleNamespace(id="0" * 64, manifest=MANIFEST, engine=None, close=self.closed.set)
        self.build = Build(loaded, stream, lambda: self.build)

    def absent(self, failure: GalagoError) -> list[Record]:
        return [StateRecord(stream=self.settings.name, subject="stream", state="failed", index=0, ns=0)]

    def open_source(self) -> None:
        raise MISSING


class House:
    """A set of streams with one that cannot run, and whoever is told of ends."""

    def __init__(self, absent: dict[str, GalagoError], source: str = "microphone:default") -> None:
        self.outbox = Outbox()
        self.broken: list[Exception] = []
        self.ends: list[tuple[str, BaseException | None]] = []
        self.ended = threading.Semaphore(0)
        streams = tuple(StreamSettings(name=name, source=source) for name in absent)
        outbox: Any = self.outbox
        self.outlet = Outlet(outbox, self.broken.append)
        self.streams = StreamSet(Settings(stream=streams), [], absent, self.outlet, self.end)

    def end(self, running: RunningStream, failure: BaseException | None) -> None:
        self.ends.append((running.name, failure))
        self.ended.release()

    def begin(self, prepared: Any) -> None:
        self.streams.begin(prepared)


def test_a_stream_that_has_a_bundle_now_begins_once_and_its_end_is_told() -> None:
    house = House({"hall": NO_BUNDLE})
    house.streams.start()
    assert house.outbox.states() == [("hall", "failed")]  # and why
    assert [stream.name for stream in house.streams.waiting()] == ["hall"]
    first, second = Prepared("hall"), Prepared("hall")
    house.begin(first)
    house.begin(second)
    assert house.ended.acquire(timeout=60)
    assert house.ends == [("hall", MISSING)]
    assert second.closed.is_set() and not first.closed.is_set()
    assert house.streams.absent == {} and house.streams.waiting() == []
    assert house.streams.left == 1
    house.streams.ended()
    assert house.streams.left == 0
    assert house.outbox.described == [("hall", "microphone", ["low"])]
    house.streams.close()
    assert first.closed.is_set()


class Changing:
    """Decides with one bundle, and from its first item on with another."""

    name = "hall"

    def __init__(self) -> None:
        self.build = self.of("a", "low")
        self.coverage = SimpleNamespace(end_ns=0)

    @staticmethod
    def of(bundle_id: str, label: str) -> Any:
        labels = (SimpleNamespace(name=label, background=False),)
        return SimpleNamespace(
            bundle_id=bundle_id, manifest=SimpleNamespace(modality="microphone", labels=labels)
        )

    def start(self, source: object) -> list[Record]:
        return [StateRecord(stream="hall", subject="stream", state="started", index=0, ns=0)]

    def push(self, item: object) -> list[Record]:
        self.build = self.of("b", "high")
        return [StateRecord(stream="hall", subject="bundle", state="reloaded", index=0, ns=0)]

    def too_short(self) -> None:
        return None

    def finish(self, source: object, failure: GalagoError | None = None) -> list[Record]:
        return [StateRecord(stream="hall", subject="stream", state="ended", index=0, ns=0)]


def test_sinks_learn_of_a_bundles_labels_when_it_takes_over_and_before_its_first_record() -> None:
    """One that is offered may never take over; until then the labels of the old one hold."""
    told: list[str] = []
    sinks: Any = SimpleNamespace(
        emit=lambda records: told.extend(record.state for record in records),
        describe=lambda stream, modality, labels: told.append(labels[0]),
    )
    prepared: Any = SimpleNamespace(source_name="hall.wav", open_source=lambda: source)
    source: Any = OneNotice()
    live: Any = Changing()
    ended = threading.Event()
    running = RunningStream(prepared, live)
    running.start(Outlet(sinks, lambda failure: None), lambda running, failure: ended.set())
    assert ended.wait(60)
    assert told == ["low", "started", "high", "reloaded", "ended"]


class OneNotice:
    """A recording that says one thing."""

    modality = "microphone"

    def __iter__(self) -> Generator[Item, None, None]:
        yield Notice("here", 0, 0, {})

    def stop(self) -> None:
        """Nothing to do."""


def test_nothing_begins_once_the_streams_were_told_to_stop() -> None:
    house = House({"hall": NO_BUNDLE})
    house.streams.start()
    house.streams.stop()
    late = Prepared("hall")
    house.begin(late)
    assert late.closed.is_set() and list(house.streams) == [] and house.streams.left == 0


@pytest.mark.parametrize(
    ("source", "waits"), [("camera:0", True), ("pipe:hall", True), ("pipe:-?live=no", False)]
)
def test_only_a_stream_on_a_live_source_waits_for_its_bundle(source: str, waits: bool) -> None:
    house = House({"hall": NO_BUNDLE}, source)
    assert [stream.name for stream in house.streams.waiting()] == (["hall"] if waits else [])


def test_why_a_stream_cannot_begin_is_the_newest_reason() -> None:
    house = House({"hall": NO_BUNDLE})
    worse = BundleError(Reason.MODEL_BAD, "an operator failed")
    house.streams.leave_absent("hall", worse)
    assert house.streams.absent == {"hall": worse}


def test_records_that_cannot_be_written_are_noticed_and_news_of_the_device_end_nothing() -> None:
    house = House({})
    full = LinkError(Reason.NO_SPACE, "the disk is full")
    house.outbox.failure = full
    record = StateRecord(stream="", subject="bundle", state="trial", index=0, ns=0)
    with pytest.raises(LinkError):
        house.outlet.deliver([record])
    house.outlet.tell([record])
    house.outlet.tell([])
    assert house.broken == [full, full]


def test_a_stream_that_was_stopped_before_its_source_was_open_reads_nothing() -> None:
    house, prepared = House({"hall": NO_BUNDLE}), Prepared("hall")
    stopped: list[bool] = []

    class Source:
        live = False

        def stop(self) -> None:
            stopped.append(True)

        def __iter__(self) -> Generator[Item, None, None]:
            assert stopped
            yield from ()

    def open_source() -> Any:
        (running,) = house.streams
        running.stop()
        assert not stopped
        return Source()

    prepared.open_source = open_source  # type: ignore[method-assign]
    stream: Any = prepared.build.stream
    stream.start = stream.finish = lambda *_: []
    house.begin(prepared)
    assert house.ended.acquire(timeout=60)
    assert house.ends == [("hall", None)] and stopped
