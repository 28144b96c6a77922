from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from itertools import count
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.streams import Frame, Gap, Item
from galago_edge.sources import Camera
from galago_edge.sources import camera as camera_module

FRAMES = 10


class MjpegServer(http.server.BaseHTTPRequestHandler):
    """Sends FRAMES pictures of rising gray as a network camera does, then hangs up."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for number in range(FRAMES):
            picture = cv2.imencode(".jpg", np.full((48, 64, 3), 20 * number, np.uint8))[1].tobytes()
            head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture)
            self.wfile.write(head + picture + b"\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def mjpeg_url() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), MjpegServer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://admin:hunter2@127.0.0.1:{server.server_port}/cam.mjpg"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_network_camera_gives_its_frames_until_it_hangs_up(
    mjpeg_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    source = Camera(mjpeg_url)
    items: list[Item] = []
    with pytest.raises(LinkError) as caught:
        for item in source:
            items.append(item)
    assert caught.value.reason is Reason.SOURCE_LOST
    assert "hunter2" not in f"{caught.value}{caught.value.hint}{source.description()}"
    frames = [item for item in items if isinstance(item, Frame)]
    assert frames[-1].index == FRAMES - 1
    assert source.summary() == {"captured_frames": FRAMES, "dropped_frames": FRAMES - len(frames)}
    assert all(abs(float(frame.pixels.mean()) - 20 * frame.index) < 5 for frame in frames)
    assert [frame.captured_ns for frame in frames] == sorted(frame.captured_ns for frame in frames)
    assert capfd.readouterr().err == ""


class FakeCapture:
    """What cv2.VideoCapture promises, given frame by frame by the test."""

    def __init__(self) -> None:
        self.allowed = threading.Semaphore(0)
        self.waiting = threading.Semaphore(0)
        self.last = False

    def get(self, name: int) -> float:
        return 0.0

    def read(self) -> tuple[bool, npt.NDArray[np.uint8] | None]:
        self.waiting.release()  # the frame before was taken over
        self.allowed.acquire()
        return (False, None) if self.last else (True, np.zeros((2, 2, 3), np.uint8))

    def give(self, frames: int) -> None:
        for _ in range(frames):
            self.allowed.release()
            self.waiting.acquire()

    def release(self) -> None:
        return


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> FakeCapture:
    fake = FakeCapture()
    monkeypatch.setattr(camera_module, "_open", lambda cv2, device, shown: fake)
    return fake


def camera(period_ms: int, **options: int) -> Camera:
    return Camera("0", clock_ns=count(0, period_ms * 1_000_000).__next__, **options)


def test_when_frames_come_faster_than_decisions_the_newest_win(capture: FakeCapture) -> None:
    source = camera(33)
    items = iter(source)
    capture.allowed.release()
    assert isinstance(first := next(items), Frame)
    assert first.index == 0
    capture.waiting.acquire()
    capture.waiting.acquire()
    capture.give(9)  # while the stream is busy with the first
    source.stop()
    capture.last = True
    capture.allowed.release()
    assert [item.index for item in items if isinstance(item, Frame)] == [8, 9]
    assert source.summary() == {"captured_frames": 10, "dropped_frames": 7}


@pytest.mark.parametrize(("gap_ms", "gaps"), [(1_000, 1), (2_700, 1), (2_701, 0)])
def test_drops_become_a_gap_where_nobody_looked_for_long(
    gap_ms: int, gaps: int, capture: FakeCapture
) -> None:
    source = camera(300, gap_ms=gap_ms)
    items = iter(source)
    capture.allowed.release()
    first = next(items)
    assert isinstance(first, Frame)
    capture.waiting.acquire()
    capture.waiting.acquire()
    capture.give(10)
    source.stop()
    capture.last = True
    capture.allowed.release()
    rest = list(items)
    assert [item for item in rest if isinstance(item, Gap)] == [
        Gap(first.captured_ns, first.captured_ns + 2_700_000_000, "drop")
    ] * gaps


def test_a_slow_camera_that_loses_nothing_has_no_gaps(capture: FakeCapture) -> None:
    items = iter(camera(2_000))
    for index in range(3):
        capture.allowed.release()
        frame = next(items)
        assert isinstance(frame, Frame) and frame.index == index
    capture.last = True
    capture.allowed.release()
    with pytest.raises(LinkError):
        next(items)


def test_stop_ends_a_camera_that_goes_on(capture: FakeCapture) -> None:
    source = camera(33)
    items = iter(source)
    capture.allowed.release()
    next(items)
    source.stop()
    capture.last = True
    capture.allowed.release()
    assert list(items) == []


@pytest.mark.parametrize("device", ["987", "/dev/no-such-camera"])
def test_a_device_that_does_not_exist_is_a_missing_source(device: str) -> None:
    with pytest.raises(LinkError, match="there is no camera /dev/") as caught:
        Camera(device)
    assert caught.value.reason is Reason.SOURCE_MISSING


def test_what_is_no_camera_cannot_be_opened(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LinkError, match="cannot be opened") as caught:
        Camera("/dev/null")
    assert caught.value.reason is Reason.SOURCE_MISSING
    assert capfd.readouterr().err == ""
