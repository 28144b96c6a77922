"""Real cameras, microphones and pipes that come and go, supervised as `galago run` does it."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galago_edge.contract.manifest import Preprocess
from galago_edge.contract.settings import PlausibilitySettings, SourceSettings
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap, Item, Notice, samples_to_ns
from galago_edge.sources.address import parse_source
from galago_edge.sources.capture import open_capture
from galago_edge.sources.fanout import Fanout, Subscription
from galago_edge.sources.supervised_source import Supervised
from real_parts import MjpegServer, RtspServer, SoundPipe, SoundServer, silence, tone, wait_for
from test_kit import TINY_AUDIO, TINY_IMAGE

QUICK = {
    "stall_s": 60.0,  # a busy machine is no lost camera
    "open_s": 60.0,
    "gap_ms": 2_500,
    "backoff_s": 0.1,
    "backoff_max_s": 0.5,
    "breaker": 1_000,
    "steady_s": 0.5,
}
IMPATIENT = {"stall_s": 3.0}
"""For what falls silent: a busy machine may make more gaps of it."""
STREAM = TINY_AUDIO.sample_rate_hz


class Watch:
    """One stream of one supervised source, walked in threads as the service does."""

    def __init__(self, address: str, spec: Preprocess, **settings: Any) -> None:
        self.settings = SourceSettings(address=address, **(QUICK | settings))
        parsed = parse_source(address)
        rate_hz = getattr(spec, "sample_rate_hz", None)
        self.source = Supervised(
            "test",
            lambda: open_capture(parsed, self.settings, rate_hz=rate_hz),
            parsed.modality,
            self.settings,
        )
        self.fanout = Fanout(self.source)
        self.items: list[Item] = []
        subscription = self.fanout.subscribe(spec)
        self._threads = [
            threading.Thread(target=self.fanout.run),
            threading.Thread(target=self._note, args=(subscription,)),
        ]
        for thread in self._threads:
            thread.start()

    def _note(self, subscription: Subscription) -> None:
        for item in subscription:
            self.items.append(item)

    def stop(self) -> None:
        self.fanout.stop()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def gaps(self) -> list[Gap]:
        return [item for item in list(self.items) if isinstance(item, Gap)]

    def causes(self) -> list[str]:
        return [gap.cause for gap in self.gaps()]

    def told(self) -> list[str]:
        return [item.state for item in list(self.items) if isinstance(item, Notice)]

    def media(self) -> int:
        return sum(isinstance(item, Frame | AudioBlock) for item in list(self.items))

    def wait_for_more(self, count: int = 5) -> None:
        """Wait until so many more frames or blocks have come."""
        wanted = self.media() + count
        wait_for(lambda: self.media() >= wanted, f"{count} more items; {self.source.status()}")

    def wait_until(self, liveness: str) -> None:
        wait_for(lambda: self.source.status().liveness == liveness, f"{liveness}; {self.source.status()}")


@pytest.fixture
def watch() -> Iterator[Callable[..., Watch]]:
    watches: list[Watch] = []

    def begin(address: str, spec: Preprocess = TINY_IMAGE, **settings: Any) -> Watch:
        watches.append(Watch(address, spec, **settings))
        return watches[-1]

    yield begin
    for one in watches:
        one.stop()


def accounted(seen: Watch) -> None:
    """Check that time and index go on, and that every moment is watched or in a gap."""
    longest_ns = seen.settings.gap_ms * 1_000_000
    at_ns = index = 0
    for item in seen.items:
        if isinstance(item, Gap):
            assert at_ns <= item.from_ns <= item.to_ns
            assert item.from_ns - at_ns < longest_ns
            at_ns = item.to_ns
        elif isinstance(item, Frame):
            assert item.index >= index
            assert 0 <= item.captured_ns - at_ns < longest_ns
            at_ns, index = item.captured_ns, item.index + 1
        elif isinstance(item, AudioBlock):
            assert item.first_sample >= index
            # a sample of the bundle's rate is between two of the device's
            assert abs(item.captured_ns - at_ns) <= NS_PER_S // STREAM + 1
            index = item.first_sample + len(item.samples)
            at_ns = samples_to_ns(index, item.rate_hz)


def test_an_rtsp_camera_that_is_switched_off_and_on_again(
    rtsp_camera: RtspServer, watch: Callable[..., Watch]
) -> None:
    seen = watch(f"camera:{rtsp_camera.url}")
    seen.wait_for_more()
    rtsp_camera.stop()
    seen.wait_until("escalated")
    rtsp_camera.start()
    seen.wait_until("healthy")
    seen.wait_for_more()
    seen.stop()
    assert seen.causes() == ["connecting", "disconnect"]
    assert seen.told() == ["healthy", "alarmed", "recovering", "escalated", "healthy"]
    accounted(seen)


def test_an_rtsp_camera_that_is_not_there_at_start(
    real_part: Callable[..., Any], tmp_path: Path, watch: Callable[..., Watch]
) -> None:
    camera = real_part(RtspServer, tmp_path).start()
    camera.stop()
    seen = watch(f"camera:{camera.url}")
    seen.wait_until("escalated")
    camera.start()
    seen.wait_until("healthy")
    seen.wait_for_more()
    seen.stop()
    assert seen.causes() == ["connecting"]
    assert seen.gaps()[0].from_ns == 0
    accounted(seen)


@pytest.mark.parametrize("fault", ["stall", "hang"])
def test_an_rtsp_camera_that_falls_silent_without_closing(
    fault: str, rtsp_camera: RtspServer, watch: Callable[..., Watch]
) -> None:
    seen = watch(f"camera:{rtsp_camera.url}", **IMPATIENT)
    seen.wait_for_more()
    getattr(rtsp_camera, fault)()
    wait_for(lambda: "alarmed" in seen.told(), "the alarm")
    getattr(rtsp_camera, "resume" if fault == "stall" else "unhang")()
    seen.wait_until("healthy")
    seen.wait_for_more()
    seen.stop()
    first, *others = seen.gaps()
    assert first.cause == "connecting" and {gap.cause for gap in others} == {"stall"}
    assert max(gap.to_ns - gap.from_ns for gap in others) >= 1.5 * NS_PER_S
    accounted(seen)


@pytest.mark.parametrize("codec", ["h264", "jpeg"])
def test_a_camera_that_changes_its_resolution_goes_on(
    codec: str, real_part: Callable[..., Any], tmp_path: Path, watch: Callable[..., Watch]
) -> None:
    camera = real_part(RtspServer, tmp_path, codec=codec).start()
    seen = watch(f"camera:{camera.url}")
    seen.wait_for_more()
    camera.resize(640, 480)
    seen.wait_for_more(15)
    wait_for(
        lambda: (latest := seen.fanout.latest()) and latest.pixels.shape == (480, 640, 3), "the new size"
    )
    seen.stop()
    accounted(seen)


def test_a_picture_that_stands_still_is_told_and_its_end_too(
    rtsp_camera: RtspServer, watch: Callable[..., Watch]
) -> None:
    seen = watch(f"camera:{rtsp_camera.url}", plausibility=PlausibilitySettings(frozen_s=2.0, dark_s=0))
    seen.wait_for_more()
    rtsp_camera.freeze_picture()
    wait_for(lambda: seen.source.status().alarms == ("frozen",), "the alarm")
    rtsp_camera.unfreeze_picture()
    wait_for(lambda: seen.source.status().alarms == (), "its end")
    seen.stop()
    assert seen.told() == ["healthy", "implausible", "plausible"]
    assert seen.causes() == ["connecting"]


def test_an_mjpeg_stream_that_breaks_in_the_middle_of_a_frame(
    mjpeg_camera: MjpegServer, watch: Callable[..., Watch]
) -> None:
    seen = watch(f"camera:{mjpeg_camera.url}")
    for number in range(3):
        seen.wait_for_more()
        mjpeg_camera.truncate()
        wait_for(lambda number=number: mjpeg_camera.connections == number + 2, "the next connection")
    seen.wait_until("healthy")
    seen.stop()
    assert seen.causes() == ["connecting", *["disconnect"] * 3]
    frames = [item for item in seen.items if isinstance(item, Frame)]
    assert {frame.pixels.shape for frame in frames} == {(240, 320, 3)}
    assert all(abs(float(frame.pixels[:, :, 0].mean()) - 128) < 16 for frame in frames)  # none is half gray
    accounted(seen)


def test_a_microphone_that_vanishes_and_returns(
    microphone: SoundServer, watch: Callable[..., Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in microphone.environment.items():
        monkeypatch.setenv(name, value)
    microphone.sound = tone(1_000)
    seen = watch("microphone:default?rate=48000", TINY_AUDIO, **IMPATIENT)
    seen.wait_for_more(20)
    wait_for(lambda: (seen.source.status().level_dbfs or -120.0) > -30.0, "the tone")
    microphone.unplug()
    wait_for(lambda: "alarmed" in seen.told(), f"the alarm; {seen.source.status()}")
    microphone.plug_in()
    seen.wait_until("healthy")
    seen.wait_for_more(20)
    seen.stop()
    told = [state for state in seen.told() if state not in ("implausible", "plausible", "recovering")]
    assert told[:2] == ["healthy", "converted"]
    assert told[2] == "alarmed"
    assert told[-1] == "healthy"
    assert set(seen.causes()) <= {"connecting", "disconnect", "stall", "overrun"}
    assert set(seen.causes()) & {"disconnect", "stall"}
    accounted(seen)


def test_a_pipe_whose_writer_ends_and_another_begins(
    real_part: Callable[..., Any], tmp_path: Path, watch: Callable[..., Watch]
) -> None:
    pipe: SoundPipe = real_part(SoundPipe, tmp_path / "hall", rate_hz=STREAM).start()
    pipe.sound = silence
    seen = watch(f"pipe:{pipe.path}?rate={STREAM}", TINY_AUDIO)
    seen.wait_for_more(20)
    pipe.closed = True
    wait_for(lambda: "alarmed" in seen.told(), "the alarm")
    pipe.closed = False
    seen.wait_until("healthy")
    seen.wait_for_more(20)
    seen.stop()
    causes = seen.causes()  # a pipe that holds a bit already has nothing to wait for
    assert causes[causes[0] == "connecting"] == "disconnect"
    assert seen.source.status().connects >= 2
    accounted(seen)


def test_a_microphone_that_gives_zeros_only_is_told(
    real_part: Callable[..., Any], tmp_path: Path, watch: Callable[..., Watch]
) -> None:
    pipe: SoundPipe = real_part(SoundPipe, tmp_path / "hall", rate_hz=STREAM).start()
    pipe.sound = lambda first, count, rate_hz: np.zeros(count, np.int16)
    checked = PlausibilitySettings(flat_s=1.0, rate_s=0)
    seen = watch(f"pipe:{pipe.path}?rate={STREAM}", TINY_AUDIO, plausibility=checked)
    wait_for(lambda: seen.source.status().alarms == ("flat",), "the alarm")
    assert seen.source.status().level_dbfs == -120.0
    pipe.sound = silence
    wait_for(lambda: seen.source.status().alarms == (), "its end")
    seen.stop()
    assert seen.told() == ["healthy", "implausible", "plausible"]


def test_a_recorder_of_another_rate_than_declared_is_told(
    real_part: Callable[..., Any], tmp_path: Path, watch: Callable[..., Watch]
) -> None:
    pipe: SoundPipe = real_part(SoundPipe, tmp_path / "hall", rate_hz=14_000).start()
    checked = PlausibilitySettings(flat_s=0, rate_s=4.0)
    seen = watch(f"pipe:{pipe.path}?rate={STREAM}", TINY_AUDIO, plausibility=checked)
    wait_for(lambda: seen.source.status().alarms == ("rate",), "the alarm")
    seen.stop()
    (doubt,) = [item for item in seen.items if isinstance(item, Notice) and item.state == "implausible"]
    assert doubt.detail["measured_hz"] == pytest.approx(14_000, rel=0.05)


def children() -> list[str]:
    """Return the processes whose parent this one is."""
    found: list[str] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found += (task / "children").read_text().split()
    return found


def test_reconnects_leave_no_process_no_thread_and_no_descriptor(
    mjpeg_camera: MjpegServer, watch: Callable[..., Watch]
) -> None:
    mjpeg_camera.fps = 50.0
    seen = watch(f"camera:{mjpeg_camera.url}", backoff_s=0.001, backoff_max_s=0.001, breaker_s=0.001)

    def reconnect(times: int) -> None:
        for _ in range(times):
            before = seen.media()
            wait_for(lambda before=before: seen.media() > before, "a frame")
            connections = mjpeg_camera.connections
            mjpeg_camera.truncate()
            wait_for(lambda connections=connections: mjpeg_camera.connections > connections, "a connection")

    def held() -> tuple[int, int, int]:
        seen.wait_for_more(1)
        gc.collect()
        return len(os.listdir("/proc/self/fd")), threading.active_count(), len(children())  # noqa: PTH208

    reconnect(3)
    first = held()
    reconnect(20)

    def as_before() -> bool:  # what has just ended may still be there for a moment
        return all(after <= before + 1 for before, after in zip(first, held(), strict=True))

    wait_for(as_before, f"as little to be held as before: {first}, not {held()}")
    seen.stop()
    assert seen.source.status().connects >= 23
    wait_for(lambda: len(children()) < first[2], "the end of the capture's process")
    for one, other in pairwise(seen.gaps()):
        assert one.to_ns <= other.from_ns
