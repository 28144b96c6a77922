"""A running service records cameras and microphones: replaying that gives what the device decided."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from campaigns.service_rig import CUE_POLICY, levels_bundle, make_root, tones_bundle
from galago_edge.contract.records import (
    EventRecord,
    GapRecord,
    Record,
    ScoresRecord,
    StateRecord,
    decode_record,
)
from galago_edge.contract.settings import (
    LimitsSettings,
    RecordingSettings,
    Settings,
    SourceSettings,
    StreamSettings,
)
from galago_edge.editing.recorded_answers import compare_answers
from galago_edge.pipeline import DecidingStream, load
from galago_edge.pipeline.driver import drive
from galago_edge.recording.tap_things import Shot
from galago_edge.service.prepared_stream import prepare
from galago_edge.service.service import Service
from galago_edge.service.slots import RecordingSlots
from galago_edge.sinks import JsonlSink
from galago_edge.sources.capture import jpeg_decoding
from real_parts import MjpegServer, RtspServer, SoundPipe, wait_for
from real_parts.sound import tone
from test_kit.taps import MemoryTap, MemoryTaps, Replayed

PATIENT: dict[str, Any] = {"stall_s": 60.0, "open_s": 60.0, "gap_ms": 60_000}


class KeptRecords(JsonlSink):
    """Every record, without the wall time, which no replay has."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def write(self, lines: bytes) -> None:
        for line in lines.splitlines():
            record = decode_record(line)
            self.records.append(msgspec.structs.replace(record, wall_ns=UNSET, clock_synced=UNSET))

    def flush(self) -> None:
        return

    def of(self, stream: str, *kinds: type[Any]) -> list[Any]:
        return [one for one in self.records if isinstance(one, kinds) and one.stream == stream]


class Device:
    """A service in this process; each source has one stream of its name."""

    def __init__(
        self, root: Path, addresses: dict[str, str], *, real: bool = False, **recording: Any
    ) -> None:
        self.root, self.disk, self.sink = root, MemoryTaps(), KeptRecords()
        sources = {name: SourceSettings(address=address, **PATIENT) for name, address in addresses.items()}
        self.slots = RecordingSlots(root)
        self.slots.load()
        settings = Settings(
            source=sources,
            stream=tuple(StreamSettings(name=f"at-{name}", source=name) for name in sources),
            limits=LimitsSettings(memory_mb=0, hang_s=60.0),
            recording=RecordingSettings(**{"mode": "always", "keep_free_mb": 0, **recording}),
        )
        streams = [prepare(one, self.slots, sources=sources, scores=True) for one in settings.stream]
        self.service = Service(
            settings,
            root,
            streams,
            out=self.sink,
            scores=True,
            slots=self.slots,
            open_tap=None if real else self.disk,
        )
        self.failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._run)

    def start(self) -> Device:
        self._thread.start()
        return self

    def stop(self) -> None:
        self.service.stop()
        self._thread.join()
        assert not self.failures

    def recording(self, source: str) -> MemoryTap:
        (found,) = [one for one in self.disk.recordings if one.about["name"] == source]
        return found

    def _run(self) -> None:
        try:
            self.service.run(lambda name, failure: self.failures.append(failure))
        except BaseException as error:  # noqa: BLE001 - the test says so
            self.failures.append(error)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Callable[..., Device]]:
    """Makes one; both kinds of bundles are installed."""
    bundles = [levels_bundle(tmp_path, CUE_POLICY), tones_bundle(tmp_path, CUE_POLICY)]
    root, made = make_root(tmp_path / "root", bundles), []

    def make(addresses: dict[str, str], **recording: Any) -> Device:
        made.append(Device(root, addresses, **recording).start())
        return made[-1]

    yield make
    for one in made:
        one.disk.going.set()
        one.service.stop()
        one._thread.join()


def decided(recording: MemoryTap, device: Device, stream: str) -> list[Record]:
    """What the bundle of a stream decides on a recording of its source."""
    (prepared,) = [one for one in device.service._streams if one.name == stream]
    loaded = load(prepared.prepared.bundle)
    again = DecidingStream(stream, loaded, scores=True)
    found: list[Record] = []
    drive(Replayed(recording, stream), again, found.extend, whole=lambda: False)
    loaded.close()
    return found


def outcome(records: list[Record]) -> list[Record]:
    """What must be equal: every score, event and gap, and what happened to a source or a label."""
    kinds = EventRecord | ScoresRecord | GapRecord
    return [
        one
        for one in records
        if isinstance(one, kinds)
        or (isinstance(one, StateRecord) and one.subject not in ("stream", "bundle", "backend"))
    ]


@pytest.fixture
def rtsp_fast(tmp_path: Path, real_part: Callable[..., RtspServer]) -> RtspServer:
    return real_part(RtspServer, tmp_path, size=(64, 48), fps=15).start()


def test_replaying_what_was_recorded_gives_every_score_event_and_gap_that_the_device_had(
    device: Callable[..., Device],
    mjpeg_camera: MjpegServer,
    rtsp_fast: RtspServer,
    tmp_path: Path,
    real_part: Callable[..., SoundPipe],
) -> None:
    sound = real_part(SoundPipe, tmp_path / "hall").start()
    mjpeg_camera.levels = [20] * 20 + [230] * 20
    sources = {
        "yard": f"camera:{mjpeg_camera.url}",
        "gate": f"camera:{rtsp_fast.url}",
        "hall": f"pipe:{sound.path}?rate=16000",
    }
    running = device(sources)

    def scored(source: str, more: int = 20) -> Callable[[], bool]:
        count = len(running.sink.of(f"at-{source}", ScoresRecord)) + more
        return lambda: len(running.sink.of(f"at-{source}", ScoresRecord)) >= count

    for source in sources:
        wait_for(scored(source), f"{source} is decided on")
    rtsp_fast.level(230)
    sound.sound = tone(3000)
    wait_for(lambda: running.sink.of("at-hall", EventRecord), "a tone is heard")
    wait_for(
        lambda: running.sink.of("at-yard", EventRecord),
        "the light is seen, which each connection begins without",
    )
    mjpeg_camera.stop()
    rtsp_fast.stop()
    wait_for(lambda: all(one.failures for one in running.service.status().sources[:2]), "both are away")
    mjpeg_camera.start()
    rtsp_fast.start()
    for source in sources:
        wait_for(scored(source), f"{source} is decided on again")
    running.stop()
    for source in sources:
        recording, stream = running.recording(source), f"at-{source}"
        assert recording.closed and recording.about["zero_ns"] > 0
        told = running.sink.of(stream, object)
        assert recording.all("record") == told, "everything that was decided"
        assert outcome(decided(recording, running, stream)) == outcome(told)
        started = next(one for one in told if isinstance(one, StateRecord) and one.state == "started")
        bundle = started.detail["bundle"]
        assert recording.about["streams"][stream] == {"bundle": bundle, "overrides": {}, "view": {}}
    assert {call[0] for call in running.recording("gate").calls} >= {"coded", "gap", "notice", "record"}
    assert len([gap for gap in running.recording("gate").all("gap") if gap.cause != "connecting"]) == 1
    status = running.service.status().recording
    assert status is not None and not status.lost and not status.fault
    assert status.finished == 3 and sorted(status.sources) == ["gate", "hall", "yard"] and not status.writing


def test_around_an_event_of_an_h264_camera_its_recording_is_decoded_from_the_key_frame_before(
    device: Callable[..., Device], rtsp_fast: RtspServer
) -> None:
    running = device(
        {"gate": f"camera:{rtsp_fast.url}"}, mode="events", labels=("bright",), before_s=0.5, after_s=0.3
    )
    wait_for(lambda: len(running.sink.of("at-gate", ScoresRecord)) > 20, "it is decided on")
    assert not running.disk.recordings
    rtsp_fast.level(230)
    wait_for(lambda: running.disk.recordings and running.disk.recordings[0].closed, "an event is recorded")
    running.stop()
    (event, *_) = running.sink.of("at-gate", EventRecord)
    recording = running.disk.recordings[0]
    coded = recording.all("coded")
    assert coded[0][2].packets[0].key and coded[0][1] <= event.start_ns - 500_000_000
    assert coded[-1][1] <= event.end_ns + 300_000_000
    assert all(index is not None for index, _, _ in coded)
    assert event in recording.all("record")
    again = [one for one in decided(recording, running, "at-gate") if isinstance(one, ScoresRecord)]
    told = {one.start_index: one for one in running.sink.of("at-gate", ScoresRecord)}
    assert len(again) > 5 and all(told[one.start_index].logits == one.logits for one in again)


def test_a_disk_that_hangs_stops_neither_camera_nor_decisions(
    device: Callable[..., Device], mjpeg_camera: MjpegServer
) -> None:
    running = device({"yard": f"camera:{mjpeg_camera.url}"}, memory_mb=1)
    wait_for(lambda: running.disk.recordings, "it is recorded")
    running.disk.going.clear()
    count = len(running.sink.of("at-yard", ScoresRecord))

    def lost() -> int:
        told = running.service.status().recording
        return 0 if told is None else told.lost.get("busy", 0)

    mjpeg_camera.size = (640, 480)
    wait_for(lambda: lost() > 3, "the queue is full")
    wait_for(lambda: len(running.sink.of("at-yard", ScoresRecord)) > count + 40, "it is still decided")
    running.disk.going.set()
    wait_for(lambda: any(drop.cause == "busy" for drop in running.disk.recordings[0].all("drop")), "a drop")
    running.stop()
    told = [one for one in running.sink.of("", StateRecord) if one.subject == "recording"]
    assert told and told[0].state == "incomplete" and told[0].detail["lost"]["busy"] > 0


def test_recording_decodes_and_encodes_nothing(
    device: Callable[..., Device], mjpeg_camera: MjpegServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By counts: each frame is decoded once, for the stream, and nothing is ever packed."""
    decodes, encodes = [], []
    decode, encode = jpeg_decoding.decode_picture, Shot.png

    def counted(*given: Any, **options: Any) -> Any:
        decodes.append(1)
        return decode(*given, **options)

    def packed(shot: Shot) -> bytes:
        encodes.append(shot.index)
        return encode(shot)

    monkeypatch.setattr(jpeg_decoding, "decode_picture", counted)
    monkeypatch.setattr(Shot, "png", packed)
    running = device({"yard": f"camera:{mjpeg_camera.url}"})
    wait_for(lambda: len(running.sink.of("at-yard", ScoresRecord)) > 20, "it is decided on")
    running.stop()
    frames = running.recording("yard").all("picture")
    assert len(decodes) == len(frames) == running.service.status().sources[0].items and not encodes


def test_the_files_of_a_running_service_say_what_it_said(
    device: Callable[..., Device],
    mjpeg_camera: MjpegServer,
    rtsp_fast: RtspServer,
    tmp_path: Path,
    real_part: Callable[..., SoundPipe],
) -> None:
    """Through MCAP files on the disk, with an outage, and files that end in between."""
    sound = real_part(SoundPipe, tmp_path / "hall").start()
    sound.sound = tone(3000)
    mjpeg_camera.levels = [20] * 20 + [230] * 20
    sources = {
        "yard": f"camera:{mjpeg_camera.url}",
        "gate": f"camera:{rtsp_fast.url}",
        "hall": f"pipe:{sound.path}?rate=16000",
    }
    running = device(sources, real=True)

    def scored(source: str) -> Callable[[], bool]:
        count = len(running.sink.of(f"at-{source}", ScoresRecord)) + 20
        return lambda: len(running.sink.of(f"at-{source}", ScoresRecord)) >= count

    for source in sources:
        wait_for(scored(source), f"{source} is decided on")
    rtsp_fast.level(230)
    mjpeg_camera.stop()
    rtsp_fast.stop()
    wait_for(lambda: all(one.failures for one in running.service.status().sources[:2]), "both are away")
    mjpeg_camera.start()
    rtsp_fast.start()
    for source in sources:
        wait_for(scored(source), f"{source} is decided on again")
    running.stop()
    status = running.service.status().recording
    assert status is not None and status.finished == 3 and not status.lost and not status.fault
    for running_stream in running.service._streams:
        (path,) = (running.root / "recordings").glob(f"*-{running_stream.source_name}.mcap")
        report = compare_answers(path, running_stream.prepared.bundle)
        assert report.difference is None and report.compared > 40


def after(count: Callable[[], int], before: int) -> bool:
    return count() > before


def test_recordings_of_events_are_replayed_as_the_device_decided(
    device: Callable[..., Device], rtsp_fast: RtspServer
) -> None:
    """Two events of an H.264 camera: two files, each from a key frame on, both as the device said."""
    running = device({"gate": f"camera:{rtsp_fast.url}"}, real=True, mode="events", before_s=1.0, after_s=0.3)
    folder = running.root / "recordings"

    def files() -> int:
        return len(list(folder.glob("*.mcap")))

    def offs() -> int:
        return sum(one.subject == "label:bright" for one in running.sink.of("at-gate", StateRecord))

    for before in range(2):
        wait_for(lambda: len(running.sink.of("at-gate", ScoresRecord)) > 20, "it is decided on")
        rtsp_fast.level(230)
        wait_for(partial(after, files, before), "an event is recorded")
        rtsp_fast.level(20)
        wait_for(partial(after, offs, before), "it is dark again")
    running.stop()
    (stream,) = running.service._streams
    for path in sorted(folder.glob("*.mcap")):
        report = compare_answers(path, stream.prepared.bundle)
        assert report.difference is None, report
        assert report.compared > 3, report
