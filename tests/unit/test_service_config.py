from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from galago_edge.contract.errors import CallerError, GalagoError, LinkError, Reason
from galago_edge.contract.records import Record, StateRecord
from galago_edge.contract.streams import Item, Notice
from galago_edge.service.config import StreamConfig, checked, read_config, read_option
from galago_edge.service.running import Service

# ---- configuration


def test_a_config_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "galago.toml"
    path.write_text(
        """
        [[stream]]
        name = "door"
        source = "clips/door.avi?fps=10"
        bundle = "digits"
        [stream.thresholds.seven]
        on = 0.9
        [stream.thresholds."two words"]
        on = 0.8
        off = 0.3

        [[stream]]
        name = "hall"
        source = "pipe:-?rate=48000"
        """
    )
    door, hall = read_config(path)
    assert (door.name, door.bundle, door.source) == (
        "door",
        "digits",
        str(tmp_path / "clips/door.avi?fps=10"),
    )
    assert door.overrides() == {"seven": {"on": 0.9}, "two words": {"on": 0.8, "off": 0.3}}
    assert door.thresholds["seven"].off is UNSET
    assert (hall.source, hall.bundle, hall.overrides()) == ("pipe:-?rate=48000", None, {})


def test_absolute_paths_and_cameras_stay_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "galago.toml"
    path.write_text(
        '[[stream]]\nname = "a"\nsource = "/data/a.wav"\n[[stream]]\nname = "b"\nsource = "camera:0"\n'
        '[[stream]]\nname = "c"\nsource = "rtsp://cam/live"\n'
    )
    assert [stream.source for stream in read_config(path)] == ["/data/a.wav", "camera:0", "rtsp://cam/live"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "stream"),
        ("stream = []", "stream"),
        ('[[stream]]\nname = "a"', "source"),
        ('[[stream]]\nname = "a"\nsource = ""', "source"),
        ('[[stream]]\nname = "a b"\nsource = "x"', "name"),
        ('[[stream]]\nname = "a"\nsource = "x"\nbundel = "y"', "bundel"),
        ('[[stream]]\nname = "a"\nsource = "x"\n[stream.thresholds.up]\non = 1.5', "up|thresholds"),
        ('[[stream]]\nname = "a"\nsource = "x"\n[stream.thresholds.up]\nover = 0.5', "over"),
        ('[[stream]]\nname = "a"\nsource = "x"\n[[stream]]\nname = "a"\nsource = "y"', "two streams"),
        ('[[stream]]\nname = "a"\nsource = "pipe:-"\n[[stream]]\nname = "b"\nsource = "pipe:-"', "input"),
        ("[[stream]\n", "galago.toml"),
    ],
)
def test_a_bad_config_is_one_line_that_names_what_is_wrong(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "galago.toml"
    path.write_text(text)
    with pytest.raises(CallerError, match=told) as caught:
        read_config(path)
    assert caught.value.reason is Reason.CONFIG_BAD
    assert "\n" not in str(caught.value)


def test_a_config_that_does_not_exist_is_a_caller_error(tmp_path: Path) -> None:
    with pytest.raises(CallerError, match="does not exist"):
        read_config(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "name", "bundle", "source"),
    [
        ("door=camera:0", "door", None, "camera:0"),
        ("door:digits=a.avi?fps=5", "door", "digits", "a.avi?fps=5"),
        ("hall=a=b.wav", "hall", None, "a=b.wav"),
    ],
)
def test_a_stream_option_is_read(text: str, name: str, bundle: str | None, source: str) -> None:
    assert read_option(text) == StreamConfig(name=name, bundle=bundle, source=source)


@pytest.mark.parametrize("text", ["door", "=x.wav", "do or=x.wav", "door:=x.wav", "door:Big=x.wav", "door="])
def test_a_bad_stream_option_is_one_line(text: str) -> None:
    with pytest.raises(CallerError, match="--stream") as caught:
        read_option(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["do or=camera:rtsp://admin:hunter2@cam/live", "camera:rtsp://admin:hunter2@cam/live"]
)
def test_a_bad_option_never_shows_a_password(text: str) -> None:
    with pytest.raises(CallerError) as caught:
        read_option(text)
    assert "hunter2" not in str(caught.value)


def test_names_are_unique() -> None:
    with pytest.raises(CallerError, match="two streams are called a"):
        checked([read_option("a=x.wav"), read_option("a=y.wav")])


# ---- running


class FakeSource:
    """Gives one notice, then waits for stop or fails."""

    modality: Any = "camera"
    live = True

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
        assert self.stopped.wait(20)
        yield Notice("drained", 1, 1, {})

    def summary(self) -> dict[str, Any]:
        return {}

    def stop(self) -> None:
        self.stopped.set()


class FakeStream:
    """Turns what it is told into records, without a model."""

    def __init__(self, name: str) -> None:
        self.name = name

    def record(self, state: str) -> list[Record]:
        return [StateRecord(stream=self.name, subject="stream", state=state, index=0, ns=0)]

    def start(self, source: object) -> list[Record]:
        return self.record("started")

    def push(self, item: Item) -> list[Record]:
        assert isinstance(item, Notice)
        return self.record(item.state)

    def absent(self, failure: GalagoError) -> list[Record]:
        return self.record("failed")

    def finish(self, source: object, failure: GalagoError | None) -> list[Record]:
        return self.record("ended" if failure is None else "failed")


class FakePrepared:
    def __init__(self, name: str, source: FakeSource | GalagoError) -> None:
        self.config = StreamConfig(name=name, source="x")
        self.stream = FakeStream(name)
        self.source = source

    def open_source(self) -> FakeSource:
        if isinstance(self.source, GalagoError):
            raise self.source
        return self.source


class Collector:
    """A sink; calls ``when`` with each state of each stream."""

    def __init__(self, when: Any = lambda stream, state: None) -> None:
        self.when = when
        self.turn = threading.Lock()
        self.states: dict[str, list[str]] = {}

    def emit(self, records: Sequence[Record]) -> None:
        for record in records:
            assert isinstance(record, StateRecord)
            with self.turn:
                self.states.setdefault(record.stream, []).append(record.state)
            self.when(record.stream, record.state)


def service(streams: list[FakePrepared], sink: Collector) -> Service:
    return Service(streams, sink.emit)  # type: ignore[arg-type]


LOST = LinkError(Reason.SOURCE_LOST, "gone")


def test_a_stream_that_fails_leaves_the_others_alone_and_is_told_at_once() -> None:
    good = FakeSource()
    sink = Collector()
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
    failures = service(streams, sink).run(report)
    assert failures == [LOST, LOST]
    assert {name for name, _ in told} == {"bad", "absent"}
    assert sink.states == {
        "bad": ["started", "here", "failed"],
        "good": ["started", "here", "drained", "ended"],
        "absent": ["failed"],
    }


def test_stop_lets_every_stream_finish_what_it_has() -> None:
    both = threading.Barrier(2)
    running: Service

    def when(stream: str, state: str) -> None:
        if state == "here" and both.wait(20) == 0:
            running.stop()

    sink = Collector(when)
    running = service([FakePrepared("a", FakeSource()), FakePrepared("b", FakeSource())], sink)
    assert running.run(lambda name, failure: None) == []
    assert sink.states == {name: ["started", "here", "drained", "ended"] for name in "ab"}


def test_stop_while_a_source_is_being_opened_still_counts() -> None:
    quick = FakeSource()

    class Slow(FakePrepared):
        def open_source(self) -> FakeSource:
            assert quick.stopped.wait(20)  # so the service has been told, and this source was not there
            return super().open_source()

    sink = Collector()
    running = service([FakePrepared("quick", quick), Slow("slow", FakeSource())], sink)
    running.stop()
    assert running.run(lambda name, failure: None) == []
    assert sink.states["slow"] == ["started", "here", "drained", "ended"]


def test_a_fault_of_our_own_is_told_leaves_the_others_alone_and_is_raised_at_the_end() -> None:
    class Faulty(FakeStream):
        def push(self, item: Item) -> list[Record]:
            raise ZeroDivisionError

    good = FakeSource()
    faulty = FakePrepared("faulty", FakeSource())
    faulty.stream = Faulty("faulty")
    sink = Collector()

    def report(name: str, failure: BaseException) -> None:
        assert (name, type(failure)) == ("faulty", ZeroDivisionError)
        assert not good.stopped.is_set()
        good.stop()

    with pytest.raises(ZeroDivisionError):
        service([faulty, FakePrepared("good", good)], sink).run(report)
    assert sink.states["good"][-1] == "ended"


def test_a_sink_that_fails_stops_everything_and_is_raised() -> None:
    full = LinkError(Reason.NO_SPACE, "full")

    def when(stream: str, state: str) -> None:
        if (stream, state) == ("a", "here"):
            raise full

    waiting = FakeSource()
    with pytest.raises(LinkError) as caught:
        service([FakePrepared("a", FakeSource()), FakePrepared("b", waiting)], Collector(when)).run(
            lambda name, failure: None
        )
    assert caught.value is full
    assert waiting.stopped.is_set()
