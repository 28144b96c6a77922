"""OpenCV in the child: what the camera itself sent is kept, sizes may change, nothing is decoded in vain."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.sources.capture.camera import OpenCvCamera
from galago_edge.sources.capture.capture_messages import CameraDescription, Order
from galago_edge.sources.capture.frame_memory import SharedMemory, SharedView
from test_kit.pictures import out_of_step_jpeg

Pixels = npt.NDArray[np.uint8]


class FakeCapture:
    """What cv2.VideoCapture promises of a V4L2 device."""

    def __init__(self, *, mjpg: bool) -> None:
        self.properties: dict[int, float] = {cv2.CAP_PROP_FOURCC: cv2.VideoWriter_fourcc(*"YUYV")}
        self.mjpg = mjpg
        self.log: list[str] = []
        self.next: Pixels | None = None

    def isOpened(self) -> bool:  # noqa: N802 - the library's name
        return True

    def set(self, name: int, value: float) -> bool:
        self.log.append(f"set {name}")
        if name == cv2.CAP_PROP_FOURCC and not self.mjpg:
            return False
        self.properties[name] = value
        return True

    def get(self, name: int) -> float:
        return self.properties.get(name, 0.0)

    def grab(self) -> bool:
        return self.next is not None

    def retrieve(self, into: Pixels | None = None) -> tuple[bool, Pixels | None]:
        self.log.append("retrieve")
        if into is not None and self.next is not None and into.shape == self.next.shape:
            into[:] = self.next  # as OpenCV does when the size fits
            return True, into
        return self.next is not None, self.next

    def release(self) -> None:
        self.log.append("release")


class FakeCv2:
    """OpenCV, but for its captures."""

    def __init__(self, capture: FakeCapture) -> None:
        self.capture = capture

    def __getattr__(self, name: str) -> Any:
        return getattr(cv2, name)

    def VideoCapture(self, *given: Any) -> FakeCapture:  # noqa: N802 - the library's name
        self.capture.log.append(f"open {given[0]}")
        return self.capture


@pytest.fixture
def device(tmp_path: Path) -> str:
    (tmp_path / "usb-camera-index0").touch()
    return str(tmp_path / "usb-camera-index0")


def opened(capture: FakeCapture, device: str, **options: int) -> OpenCvCamera:
    order = Order(
        kind="camera",
        target=device,
        shown=device,
        options=options,
        fps=None,
        rate_hz=None,
        open_s=10.0,
        stall_s=5.0,
    )
    return OpenCvCamera(FakeCv2(capture), order)


def seen(memory: SharedMemory, taken: tuple[list[int] | None, int] | None) -> tuple[Pixels, bytes]:
    """What the parent reads from the memory."""
    assert taken is not None and taken[0] is not None
    shape, encoded = taken
    view = SharedView()
    fds = memory.fds() or (memory._fd,)
    view.adopt([os.dup(fd) for fd in fds])
    size = int(np.prod(shape))
    read = view.read(0, size), view.read(size, encoded)
    assert read[0] is not None and read[1] is not None
    pixels, behind = np.frombuffer(bytes(read[0]), np.uint8).reshape(shape), bytes(read[1])
    for part in read:
        part.release()
    view.close()
    return pixels, behind


def scene(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_camera_that_sends_jpeg_is_asked_for_it_and_its_own_bytes_are_kept(device: str) -> None:
    capture = FakeCapture(mjpg=True)
    camera = opened(capture, device, width=64, height=48, fps=10)
    assert camera.description() == CameraDescription(
        name=device, width=64, height=48, fps=10.0, encoding="jpeg"
    )
    assert capture.properties[cv2.CAP_PROP_CONVERT_RGB] == 0
    # the format decides which sizes there are, so it is chosen first
    assert capture.log[:3] == [
        f"open {device}",
        f"set {cv2.CAP_PROP_FOURCC}",
        f"set {cv2.CAP_PROP_FRAME_WIDTH}",
    ]
    jpeg = cv2.imencode(".jpg", scene(48, 64))[1].tobytes()
    capture.next = np.frombuffer(jpeg + bytes(500), np.uint8).reshape(1, -1)  # a whole driver's buffer
    memory = SharedMemory()
    pixels, encoded = seen(memory, camera.retrieve(memory))
    assert encoded == jpeg
    np.testing.assert_array_equal(pixels, cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))
    memory.close()


@pytest.mark.parametrize(
    "data", [b"\xff\xd8 cut off", b"\xff\xd8 nothing in here \xff\xd9", out_of_step_jpeg()]
)
def test_a_damaged_jpeg_is_no_frame(data: bytes, device: str, capfd: pytest.CaptureFixture[str]) -> None:
    capture = FakeCapture(mjpg=True)
    camera = opened(capture, device)
    capture.next = np.frombuffer(data, np.uint8).reshape(1, -1)
    assert camera.retrieve(SharedMemory()) is None
    assert capfd.readouterr().err == ""


def test_a_camera_whose_jpegs_are_all_damaged_says_so(device: str) -> None:
    capture = FakeCapture(mjpg=True)
    camera = opened(capture, device)
    capture.next = np.frombuffer(out_of_step_jpeg(), np.uint8).reshape(1, -1)
    for _ in range(5):
        assert camera.retrieve(SharedMemory()) is None
    with pytest.raises(LinkError, match="are all damaged, 5 in a row"):
        camera.retrieve(SharedMemory())


def test_a_camera_whose_jpegs_are_all_cut_off_says_so(device: str) -> None:
    capture = FakeCapture(mjpg=True)
    camera = opened(capture, device)
    pixels = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    whole = cv2.imencode(".jpg", pixels)[1]
    capture.next = whole[: len(whole) // 2].reshape(1, -1)
    for _ in range(5):
        assert camera.retrieve(SharedMemory()) is None
    with pytest.raises(LinkError, match="are all damaged, 5 in a row"):
        camera.retrieve(SharedMemory())


def test_a_camera_without_jpeg_is_taken_as_opencv_gives_it(device: str) -> None:
    capture = FakeCapture(mjpg=False)
    camera = opened(capture, device)
    assert camera.description().encoding == "raw"
    assert cv2.CAP_PROP_CONVERT_RGB not in capture.properties
    memory = SharedMemory()
    for seed, (height, width) in enumerate([(48, 64), (48, 64), (96, 128), (24, 32), (48, 64)]):
        capture.next = scene(height, width, seed)
        pixels, encoded = seen(memory, camera.retrieve(memory))
        np.testing.assert_array_equal(pixels, capture.next)
        assert encoded == b""
    memory.close()


def test_a_gray_camera_becomes_three_channels(device: str) -> None:
    capture = FakeCapture(mjpg=False)
    camera = opened(capture, device)
    gray = scene(8, 8)[:, :, 0].copy()
    memory = SharedMemory()
    for _ in range(2):
        capture.next = gray
        pixels, _ = seen(memory, camera.retrieve(memory))
        np.testing.assert_array_equal(pixels, np.dstack([gray] * 3))
    memory.close()


def test_grabbing_decodes_nothing_and_a_camera_without_frames_is_lost(device: str) -> None:
    capture = FakeCapture(mjpg=False)
    camera = opened(capture, device)
    capture.next = scene(8, 8)
    camera.grab()
    assert "retrieve" not in capture.log
    capture.next = None
    with pytest.raises(LinkError, match="gives no more frames") as caught:
        camera.grab()
    assert caught.value.reason is Reason.SOURCE_LOST
    camera.close()
    assert capture.log[-1] == "release"
