"""The service: streams side by side, what ends them, what does not."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from galago_edge.contract.errors import BundleError, BusyError, DeviceError, GalagoError, LinkError, Reason
from galago_edge.contract.records import EventRecord, Record, StateRecord, decode_record, encode_record
from galago_edge.contract.settings import (
    AttachmentsSettings,
    LimitsSettings,
    Settings,
    SourceSettings,
    StreamSettings,
)
from galago_edge.contract.streams import Item, Notice
from galago_edge.pipeline import StreamTally
from galago_edge.service.build import Build
from galago_edge.service.service import Service
from galago_edge.service.slots import RecordingSlots
from galago_edge.service.status_report import RecentEvents
from galago_edge.sinks import JsonlSink
from galago_edge.sinks.kinds.log_sink import LogSettings
from galago_edge.store.running_service import ask_status
from real_parts import wait_for


class FakeSource:
    """Gives one notice, then waits for stop or fails."""

    modality: Any = "camera"
    live = False

    def __init__(self, error: GalagoError | None = None) -> None:
        self.error = error
        self.stopped = threading.Event()

    def description(self) -> dict[str, Any]:
        return {}

    def conversion(self) -> None:
        return

    def __iter__(self) -> Generator[Item, None, None]:
        yield Notice("here", 0, 0, {})
        if self.error is not None:
            raise self.error
        assert self.stopped.wait(60)
        yield Notice("drained", 1, 1, {})

    def summary(self) -> dict[str, Any]:
        return {}

    def stop(self) -> None:
        self.stopped.set()


class FakeStream:
    """Turns what it is told into records, without a model."""

    every = 1
    observe = None
    warm_up = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.tally = StreamTally()

    def record(self, state: str) -> list[Record]:
        return [StateRecord(stream=self.name, subject="stream", state=state, index=0, ns=0)]

    def start(self, source: object) -> list[Record]:
        return self.record("started")

    def push(self, item: Item) -> list[Record]:
        assert isinstance(item, Notice)
        return self.record(item.state)

    def absent(self, failure: GalagoError) -> list[Record]:
        return self.record("failed")

    def too_short(self) -> None:
        return

    def finish(self, source: object, failure: GalagoError | None = None) -> list[Record]:
        return self.record("ended" if failure is None else "failed")

    def levels(self) -> tuple[()]:
        return ()

    def gate_status(self) -> None:
        return


class Engine:
    backend = "cpu"
    reason = None

    def close(self) -> None:
        return


MANIFEST = SimpleNamespace(
    modality="camera",
    bundle=SimpleNamespace(name="b", version="1.0.0"),
    labels=(),
    preprocess=SimpleNamespace(spec=None),
)
BUNDLE = SimpleNamespace(manifest=MANIFEST, id="0" * 64, modality="camera", spec=None)


@dataclass
class FakePrepared:
    """A stream on a source of its own."""

    name: str
    origin: FakeSource | GalagoError
    stream: FakeStream | None = None
    address: None = None
    live = True
    source: SourceSettings = field(default_factory=lambda: SourceSettings(address="x"))
    bundle: Any = field(default_factory=lambda: BUNDLE)

    @property
    def settings(self) -> StreamSettings:
        return StreamSettings(name=self.name, source="x")

    @property
    def source_name(self) -> str:
        return "x"

    @property
    def build(self) -> Build:
        loaded: Any = SimpleNamespace(id="0" * 64, manifest=MANIFEST, engine=Engine(), close=lambda: None)
        stream: Any = self.stream or FakeStream(self.name)
        return Build(loaded, stream, lambda: self.build)

    def open_source(self) -> FakeSource:
        if isinstance(self.origin, GalagoError):
            raise self.origin
        return self.origin


class Sink(JsonlSink):
    """Remembers states; calls ``when`` with each state of each stream."""

    def __init__(self, when: Any = lambda stream, state: None) -> None:
        self.when = when
        self.turn = threading.Lock()
        self.states: dict[str, list[str]] = {}

    def write(self, lines: bytes) -> None:
        for line in lines.splitlines():
            record = decode_record(line)
            assert isinstance(record, StateRecord)
            with self.turn:
                self.states.setdefault(record.stream, []).append(record.state)
            self.when(record.stream, record.state)

    def flush(self) -> None:
        return


def service(root: Path, streams: list[FakePrepared], sink: Sink, **options: Any) -> Service:
    settings = Settings(
        stream=tuple(stream.settings for stream in streams),
        limits=options.pop("limits", LimitsSettings(memory_mb=0)),
        attachments=options.pop("attachments", None),
    )
    prepared: Any = streams
    return Service(settings, root, prepared, out=sink, **options)


LOST = LinkError(Reason.SOURCE_LOST, "gone")


def nobody(name: str, failure: BaseException) -> None:
    """Take a failure that the test does not look at."""


def test_a_stream_that_fails_leaves_the_others_alone_and_is_told_at_once(tmp_path: Path) -> None:
    good = FakeSource()
    sink = Sink()
    told: list[tuple[str, BaseException]] = []

    def report(name: str, failure: BaseException) -> None:
        told.append((name, failure))
        if len(told) == 2:
            assert not good.stopped.is_set()
            good.stop()  # the test's own end, not the service's

    streams = [
        FakePrepared("bad", FakeSource(LOST)),
        FakePrepared("good", good),
        FakePrepared("absent", LOST),
    ]
    failures = service(tmp_path, streams, sink).run(report)
    assert failures == [LOST, LOST]
    assert {name for name, _ in told} == {"bad", "absent"}
    assert sink.states == {
        "bad": ["started", "here", "failed"],
        "good": ["started", "here", "drained", "ended"],
        "absent": ["failed"],
    }


def test_stop_lets_every_stream_finish_what_it_has(tmp_path: Path) -> None:
    both = threading.Barrier(2)
    running: Service

    def when(stream: str, state: str) -> None:
        if state == "here":
            threading.Thread(target=meet).start()  # a sink takes one batch at a time

    def meet() -> None:
        if both.wait(60) == 0:
            running.stop()

    sink = Sink(when)
    running = service(tmp_path, [FakePrepared("a", FakeSource()), FakePrepared("b", FakeSource())], sink)
    assert running.run(nobody) == []
    assert sink.states == {name: ["started", "here", "drained", "ended"] for name in "ab"}


def event(number: int) -> EventRecord:
    return EventRecord(
        stream="a", seq=number, label="smoke", score=0.9, start_index=0, end_index=1, start_ns=0, end_ns=1,
        bundle="b", backend="cpu", wall_ns=number, clock_synced=True,
    )  # fmt: skip


def test_the_last_events_are_there_after_a_restart(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.with_name("log.jsonl.1").write_bytes(b"".join(encode_record(event(number)) for number in range(30)))
    log.write_bytes(b"torn\n" + b"".join(encode_record(event(number)) for number in range(30, 35)))
    settings = Settings(
        stream=(StreamSettings(name="a", source="x"),),
        limits=LimitsSettings(memory_mb=0),
        sinks={"log": LogSettings(path=str(log))},
    )
    prepared: Any = [FakePrepared("a", FakeSource())]
    running = Service(settings, tmp_path, prepared)
    thread = threading.Thread(target=lambda: running.run(nobody))
    thread.start()
    try:
        wait_for(lambda: len(running.status().last_events) == 20, "the events of the life before")
        assert [each["seq"] for each in running.status().last_events] == list(range(34, 14, -1))
    finally:
        running.stop()
        thread.join()


def test_events_of_earlier_lives_stand_behind_those_of_this_one_and_each_is_there_once() -> None:
    recent = RecentEvents()
    recent.take(event(7))
    recent.before([event(number) for number in (7, 6, 5)])
    recent.take(event(8))
    assert [each["seq"] for each in recent.newest()] == [8, 7, 6, 5]
    for number in range(100, 118):
        recent.take(event(number))
    recent.before([event(4)])
    assert [each["seq"] for each in recent.newest()] == [*range(117, 99, -1), 8, 7], "no more than it shows"


def test_stop_while_a_source_is_being_opened_still_counts(tmp_path: Path) -> None:
    quick = FakeSource()

    class Slow(FakePrepared):
        def open_source(self) -> FakeSource:
            assert quick.stopped.wait(60)  # so the service has been told, and this source was not there
            return super().open_source()

    sink = Sink()
    running = service(tmp_path, [FakePrepared("quick", quick), Slow("slow", FakeSource())], sink)
    running.stop()
    assert running.run(nobody) == []
    assert sink.states["slow"] == ["started", "here", "drained", "ended"]


def test_a_fault_of_our_own_is_told_leaves_the_others_alone_and_is_raised_at_the_end(tmp_path: Path) -> None:
    class Faulty(FakeStream):
        def push(self, item: Item) -> list[Record]:
            raise ZeroDivisionError

    good = FakeSource()
    faulty = FakePrepared("faulty", FakeSource(), Faulty("faulty"))
    sink = Sink()

    def report(name: str, failure: BaseException) -> None:
        assert (name, type(failure)) == ("faulty", ZeroDivisionError)
        assert not good.stopped.is_set()
        good.stop()

    with pytest.raises(ZeroDivisionError):
        service(tmp_path, [faulty, FakePrepared("good", good)], sink).run(report)
    assert sink.states["good"][-1] == "ended"


def test_standard_output_that_fails_stops_everything_and_is_raised(tmp_path: Path) -> None:
    full = LinkError(Reason.NO_SPACE, "full")

    def when(stream: str, state: str) -> None:
        if (stream, state) == ("a", "here"):
            raise full

    waiting = FakeSource()
    with pytest.raises(LinkError) as caught:
        service(tmp_path, [FakePrepared("a", FakeSource()), FakePrepared("b", waiting)], Sink(when)).run(
            nobody
        )
    assert caught.value is full
    assert waiting.stopped.is_set()


def test_too_much_memory_drains_and_ends_with_its_own_reason(tmp_path: Path) -> None:
    sink = Sink()
    running = service(tmp_path, [FakePrepared("a", FakeSource())], sink, limits=LimitsSettings(memory_mb=64))
    ballast = bytearray(b"x" * 80_000_000)
    with pytest.raises(DeviceError) as caught:
        running.run(nobody)
    assert caught.value.reason is Reason.MEMORY_LIMIT
    assert sink.states["a"] == ["started", "here", "drained", "ended"]
    assert len(ballast)


def test_one_store_has_one_service(tmp_path: Path) -> None:
    second: list[BaseException] = []

    def when(stream: str, state: str) -> None:
        if state == "here":
            try:
                service(tmp_path, [FakePrepared("b", FakeSource())], Sink()).run(nobody)
            except BusyError as busy:
                second.append(busy)
            running.stop()

    running = service(tmp_path, [FakePrepared("a", FakeSource())], Sink(when))
    running.run(nobody)
    assert [type(failure) for failure in second] == [BusyError]


def test_a_label_that_no_bundle_decides_on_is_a_problem_until_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = SimpleNamespace(name="smoke", background=False), SimpleNamespace(name="quiet", background=True)
    monkeypatch.setattr(MANIFEST, "labels", labels)
    asked: list[Any] = []

    def ask(page_url: str | None) -> None:
        asked.append(ask_status(tmp_path))
        fire = SimpleNamespace(name="fire", background=False)
        monkeypatch.setattr(MANIFEST, "labels", (*labels, fire))  # as a new bundle may
        asked.append(ask_status(tmp_path))
        running.stop()

    attachments = AttachmentsSettings(labels=("fire",), streams=("a",))
    stream = FakePrepared("a", FakeSource())
    running = service(tmp_path, [stream], Sink(), attachments=attachments)
    said = "[attachments] labels names fire, which no bundle of its streams decides on; there are smoke"
    assert running.idle == (said,)
    running.run(nobody, started=ask)
    assert asked[0].state == "degraded" and asked[0].problems == (said,)
    assert asked[1].state == "ok" and asked[1].problems == ()


def test_a_running_service_says_how_it_is_and_an_absent_stream_is_a_problem(tmp_path: Path) -> None:
    asked: list[Any] = []

    def ask(page_url: str | None) -> None:
        asked.append(ask_status(tmp_path))
        running.stop()

    bad = DeviceError(Reason.NO_BUNDLE, "no bundle is installed")
    sink = Sink()
    running = service(tmp_path, [FakePrepared("a", FakeSource())], sink, absent=[("b", bad)])
    running.run(nobody, started=ask)
    (status,) = asked
    assert status.state == "degraded"
    assert status.problems == ("stream b does not decide: no bundle is installed [NO_BUNDLE]",)
    assert [stream.name for stream in status.streams] == ["a"]
    assert sink.states["b"] == ["failed"]
    assert ask_status(tmp_path) is None


@pytest.mark.parametrize(
    ("wanted", "told"),
    [("0" * 64, False), ("1" * 64, True), (DeviceError(Reason.NO_BUNDLE, "none is whole"), True)],
    ids=["it runs what it should", "another should run", "nothing can run"],
)
def test_a_bundle_that_was_refused_is_a_problem_only_while_another_one_should_run(
    tmp_path: Path, wanted: str | GalagoError, told: bool
) -> None:
    class Wanted(RecordingSlots):
        def bundle(self, name: str) -> Any:
            if isinstance(wanted, GalagoError):
                raise wanted
            return SimpleNamespace(id=wanted)

    class Refusing(FakeSource):
        def __iter__(self) -> Generator[Item, None, None]:
            stream.refused = BundleError(Reason.MODEL_BAD, "an operator failed")
            yield from super().__iter__()

    def when(name: str, state: str) -> None:
        if state == "here":
            asked.append(running.status())
            running.stop()

    asked: list[Any] = []
    running = service(tmp_path, [FakePrepared("a", Refusing())], Sink(when), slots=Wanted(tmp_path))
    (stream,) = (one.live for one in running._streams)
    running.run(nobody)
    (status,) = asked
    problem = "stream a goes on with the bundle before: an operator failed [MODEL_BAD]"
    assert status.problems == ((problem,) if told else ())


HANGS = """
import sys, threading
sys.path[:0] = sys.argv[2:]
from pathlib import Path
import test_service_running as t
from galago_edge.contract.settings import LimitsSettings
from galago_edge.service.status_report import RecentEvents
from galago_edge.sinks import JsonlSink
from galago_edge.sinks.kinds.log_sink import LogSettings

class Hanging(t.FakeStream):
    def push(self, item):
        threading.Event().wait()

out = JsonlSink(open(1, "wb", buffering=0, closefd=False), "out")
t.service(Path(sys.argv[1]), [t.FakePrepared("a", t.FakeSource(), Hanging("a"))], out,
    limits=LimitsSettings(hang_s=0.2, memory_mb=0)).run(t.nobody)
"""


def test_a_model_that_hangs_ends_the_process_with_its_last_words(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGS, str(tmp_path), str(Path(__file__).parent), *sys.path],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    assert "HUNG" in done.stderr and "Traceback" not in done.stderr
    assert '"state":"hung"' in done.stdout
