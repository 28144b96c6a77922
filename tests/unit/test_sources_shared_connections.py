"""Picture and sound of one camera: opened once, ended by the last, and neither interrupts the other."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from galago_edge.children.channel import Packet
from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.settings import SourceSettings
from galago_edge.contract.streams import AudioBlock, Frame, Gap
from galago_edge.sources import Capture, parse_source
from galago_edge.sources.capture.capture_messages import (
    CameraDescription,
    Damaged,
    FrameReady,
    MicrophoneDescription,
    Opened,
    Sound,
)
from galago_edge.sources.capture.frame_memory import SharedMemory
from galago_edge.sources.capture.shared_connections import SharedConnections

URL = "rtsp://admin:hunter2@127.0.0.1/live"
FOREVER_S = 60.0
LOST = LinkError(Reason.SOURCE_LOST, "the cable is out", hint="plug it in")


class Process:
    """A capture process that gives what the test says."""

    pid = 7

    def __init__(self) -> None:
        self._given: list[Packet[Any]] = []
        self._changed = threading.Condition()
        self.error: LinkError | None = None
        self.closed = threading.Event()
        self.asked = 0
        self._memory = SharedMemory()

    def give(self, message: Any, payload: bytes = b"", fds: tuple[int, ...] = ()) -> None:
        with self._changed:
            self._given.append(Packet(message, payload, fds))
            self._changed.notify()

    def give_frame(self, index: int) -> None:
        self._memory.room(12)[:12] = bytes([index]) * 12
        ready = FrameReady(index=index, captured_ns=index, shape=[2, 2, 3], encoded=0)
        self.give(ready, fds=tuple(os.dup(fd) for fd in self._memory.fds()))

    def give_sound(self, first: int) -> None:
        self.give(Sound(first_sample=first, captured_ns=first), b"\x01\x00" * 10)

    def fail(self) -> None:
        with self._changed:
            self.error = LOST
            self._changed.notify()

    def receive(self, timeout_s: float) -> Packet[Any] | None:
        with self._changed:
            if not self._given and self.error is None:
                self._changed.wait(timeout_s)
            if self._given:
                return self._given.pop(0)
            if self.error is not None:
                raise self.error
            return None

    def ask(self) -> None:
        self.asked += 1

    def confused(self) -> LinkError:
        return LinkError(Reason.SOURCE_LOST, "confused", hint="report it")

    def close(self) -> None:
        self.closed.set()


class Camera:
    """Opens connections as the service does."""

    def __init__(self, sound: bool = True) -> None:
        self.opened: list[Process] = []
        self.error: LinkError | None = None
        self._sound = MicrophoneDescription(name="cam", rate_hz=8_000, channels=1) if sound else None
        self.connections = SharedConnections(self._open)  # type: ignore[arg-type]
        self.settings = {name: SourceSettings(address=f"{name}:{URL}") for name in ("camera", "microphone")}
        for settings in self.settings.values():
            self.connections.expect(parse_source(settings.address), settings)

    def _open(
        self, address: Any, settings: Any, rate_hz: Any, gives: Any, *, packets: bool
    ) -> tuple[Process, Opened]:
        assert address.kind == "camera" and gives == ("picture", "sound") and not packets
        if self.error is not None:
            raise self.error
        self.opened.append(Process())
        return self.opened[-1], Opened(CameraDescription(name="cam"), self._sound)

    def open(self, kind: str) -> Capture | None:
        settings = self.settings[kind]
        return self.connections.open(parse_source(settings.address), settings, 16_000)


def read(capture: Capture | None) -> Frame | AudioBlock | Gap:
    assert capture is not None
    item = capture.read(FOREVER_S)
    assert item is not None
    return item


def test_both_halves_come_over_one_connection_that_the_last_one_ends() -> None:
    camera = Camera()
    sound, pictures = camera.open("microphone"), camera.open("camera")
    assert len(camera.opened) == 1 and sound is not None and pictures is not None
    process = camera.opened[0]
    process.give_frame(1)
    process.give_sound(0)
    block, frame = read(sound), read(pictures)
    assert isinstance(block, AudioBlock) and (block.rate_hz, len(block.samples)) == (8_000, 10)
    assert isinstance(frame, Frame) and (frame.index, int(frame.pixels[0, 0, 0])) == (1, 1)
    process.give(Damaged(from_ns=1, to_ns=2, pictures=1))
    process.give_frame(2)
    gap, frame = read(pictures), read(pictures)
    assert isinstance(gap, Gap) and gap.cause == "unreadable"
    assert isinstance(frame, Frame) and frame.index == 2 + 1  # the damaged one is numbered too
    sound.close()
    process.give_frame(3)
    assert isinstance(read(pictures), Frame) and not process.closed.is_set()
    pictures.close()
    pictures.close()
    assert process.closed.wait(FOREVER_S)


def test_who_left_gets_a_connection_of_its_own_while_the_other_goes_on() -> None:
    camera = Camera()
    pictures, sound = camera.open("camera"), camera.open("microphone")
    assert pictures is not None and sound is not None
    sound.close()
    assert camera.open("microphone") is None  # it opens what any source opens
    camera.opened[0].give_frame(1)
    assert isinstance(read(pictures), Frame) and len(camera.opened) == 1
    pictures.close()
    again = camera.open("camera")
    assert again is not None and len(camera.opened) == 2
    again.close()


def test_a_connection_that_breaks_is_lost_for_both_and_opened_once_again() -> None:
    camera = Camera()
    both = [camera.open("camera"), camera.open("microphone")]
    camera.opened[0].fail()
    for capture in both:
        assert capture is not None
        with pytest.raises(LinkError, match="the cable is out"):
            capture.read(FOREVER_S)
        capture.close()
    again = [camera.open("microphone"), camera.open("camera")]
    assert len(camera.opened) == 2 and camera.opened[0].closed.wait(FOREVER_S)
    for capture in again:
        assert capture is not None
        capture.close()


def test_a_camera_without_sound_says_so_and_its_pictures_go_on() -> None:
    camera = Camera(sound=False)
    pictures = camera.open("camera")
    with pytest.raises(LinkError, match=r"microphone rtsp://\*\*\*@127.0.0.1/live has no sound") as caught:
        camera.open("microphone")
    assert caught.value.reason is Reason.SOURCE_MISMATCH and caught.value.hint
    camera.opened[0].give_frame(1)
    assert isinstance(read(pictures), Frame)
    assert pictures is not None
    pictures.close()


def test_a_connection_that_cannot_be_opened_fails_for_both_and_is_tried_again() -> None:
    camera = Camera()
    camera.error = LOST
    for kind in ("camera", "microphone"):
        with pytest.raises(LinkError, match="the cable is out"):
            camera.open(kind)
    camera.error = None
    both = [camera.open("camera"), camera.open("microphone")]
    assert len(camera.opened) == 1
    for capture in both:
        assert capture is not None
        capture.close()


def test_both_may_be_opened_at_the_same_moment() -> None:
    for _ in range(50):
        camera = Camera()
        found: list[Capture | None] = []
        gate = threading.Barrier(2)

        def begin(kind: str, camera: Camera = camera, gate: Any = gate, found: Any = found) -> None:
            gate.wait()
            found.append(camera.open(kind))

        threads = [threading.Thread(target=begin, args=(kind,)) for kind in ("camera", "microphone")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(FOREVER_S)
        assert len(camera.opened) == 1 and len(found) == 2
        for capture in found:
            assert capture is not None
            capture.close()


def test_a_source_that_nobody_shares_opens_its_own() -> None:
    connections = SharedConnections()
    for text in (f"camera:{URL}", "microphone:default", "camera:/dev/video0"):
        settings = SourceSettings(address=text)
        connections.expect(parse_source(text), settings)
        assert connections.open(parse_source(text), settings, None) is None


def test_files_that_nobody_takes_are_closed() -> None:
    def files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    camera = Camera()
    pictures, sound = camera.open("camera"), camera.open("microphone")
    assert pictures is not None and sound is not None
    process, before = camera.opened[0], files()
    pictures.close()
    process.give(
        FrameReady(index=0, captured_ns=0, shape=None, encoded=0), fds=(os.open("/dev/null", os.O_RDONLY),)
    )
    process.give_sound(0)
    read(sound)
    assert files() <= before
    sound.close()
