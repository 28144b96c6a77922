"""Captures of real cameras and microphones: a connection gives what is there, and says when it breaks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.settings import SourceSettings
from galago_edge.contract.streams import AudioBlock, Frame, Gap
from galago_edge.sources import Capture, open_capture, parse_source
from real_parts import MjpegServer, RtspServer, SoundServer, silence, tone, wait_for

FOREVER_S = 60.0
Open = Callable[..., Capture]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens captures and closes them after the test."""
    captures: list[Capture] = []

    def open_(text: str, **settings: Any) -> Capture:
        settings = {"open_s": FOREVER_S, "stall_s": FOREVER_S} | settings
        capture = open_capture(parse_source(text), SourceSettings(address=text, **settings), rate_hz=16_000)
        captures.append(capture)
        return capture

    yield open_
    for capture in captures:
        capture.close()


def frame_of(capture: Capture) -> Frame:
    frame = capture.read(FOREVER_S)
    assert isinstance(frame, Frame)
    return frame


def shows(capture: Capture, gray: int) -> bool:
    return abs(float(frame_of(capture).pixels[:60].mean()) - gray) < 12


def end_of(capture: Capture) -> LinkError:
    deadline = time.monotonic() + FOREVER_S
    with pytest.raises(LinkError) as caught:
        while time.monotonic() < deadline:
            capture.read(1.0)
    assert caught.value.reason is Reason.SOURCE_LOST and caught.value.hint
    return caught.value


def missing(opened: Open, text: str, **settings: Any) -> LinkError:
    with pytest.raises(LinkError) as caught:
        opened(text, **settings)
    assert caught.value.reason is Reason.SOURCE_MISSING and caught.value.hint
    return caught.value


def test_an_rtsp_camera_gives_what_it_sees_until_it_goes(
    rtsp_camera: RtspServer, opened: Open, capfd: pytest.CaptureFixture[str]
) -> None:
    capture = opened(f"camera:{rtsp_camera.url}")
    assert capture.description() | {"fps": 0} == {
        "kind": "camera",
        "name": rtsp_camera.url,
        "width": 320,
        "height": 240,
        "fps": 0,
        "encoding": "raw",
        "codec": "h264",
    }
    frames = [frame_of(capture) for _ in range(5)]
    assert all(frame.pixels.shape == (240, 320, 3) and frame.encoded is None for frame in frames)
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})
    assert np.all(np.diff([frame.captured_ns for frame in frames]) > 0)
    rtsp_camera.level(220)
    wait_for(lambda: shows(capture, 220), "the picture does not follow the scene")
    rtsp_camera.stop()
    end_of(capture)
    missing(opened, f"camera:{rtsp_camera.url}")
    rtsp_camera.start()
    frame_of(opened(f"camera:{rtsp_camera.url}"))
    assert capfd.readouterr().err == ""


def test_an_rtsp_camera_that_stalls_or_hangs_is_waited_for_no_longer_than_asked(
    rtsp_camera: RtspServer, opened: Open
) -> None:
    capture = opened(f"camera:{rtsp_camera.url}")
    frame_of(capture)
    rtsp_camera.stall()
    wait_for(lambda: capture.read(0.5) is None, "the stall is not seen")
    rtsp_camera.resume()
    wait_for(lambda: capture.read(0.5) is not None, "the camera does not go on")
    rtsp_camera.hang()
    wait_for(lambda: capture.read(0.5) is None, "the hang is not seen")
    capture.close()
    assert "was not open after 1 s" in str(missing(opened, f"camera:{rtsp_camera.url}", open_s=1.0))
    rtsp_camera.unhang()
    frame_of(opened(f"camera:{rtsp_camera.url}"))


@pytest.mark.parametrize("codec", ["h264", "jpeg"])
def test_a_change_of_resolution_in_mid_stream_is_survived(
    codec: str, real_part: Any, tmp_path: Path, opened: Open
) -> None:
    camera = real_part(RtspServer, tmp_path, codec=codec).start()
    capture = opened(f"camera:{camera.url}")
    frame_of(capture)
    for size, gray in (((640, 480), 200), ((160, 120), 60)):
        camera.resize(*size)
        camera.level(gray)
        wait_for(lambda: shows(capture, gray), "the picture does not follow the scene")  # noqa: B023
    frame = frame_of(capture)
    assert frame.pixels.shape[2] == 3 and frame.pixels.flags.c_contiguous


def test_at_most_the_declared_rate_is_handed_over(rtsp_camera: RtspServer, opened: Open) -> None:
    capture = opened(f"camera:{rtsp_camera.url}", fps=2.0)
    frames = [frame_of(capture) for _ in range(5)]
    passed_s = (frames[-1].captured_ns - frames[0].captured_ns) / 1e9
    assert passed_s > 4 / 2.0 - 0.5 - 0.1  # a frame may come late in its turn and the last one early
    assert frames[-1].index >= 4


def test_credentials_open_an_rtsp_camera_and_are_never_told(
    real_part: Any, tmp_path: Path, opened: Open, capfd: pytest.CaptureFixture[str]
) -> None:
    camera = real_part(RtspServer, tmp_path, login=("admin", "hunter2")).start()
    capture = opened(f"camera:{camera.url}")
    frame_of(capture)
    assert "hunter2" not in str(capture.description()) and "***@" in capture.description()["name"]
    wrong = missing(opened, f"camera:{camera.url}".replace("hunter2", "hunter3"))
    assert "hunter3" not in f"{wrong}{wrong.hint}"
    assert "hunter" not in capfd.readouterr().err


@pytest.mark.parametrize("digest", [False, True], ids=["basic", "digest"])
@pytest.mark.parametrize("password", ["hunter2#secret", "p@ss/w%rd", "ü ß", "a:b c?d&e"])
def test_a_password_of_an_rtsp_camera_needs_no_escaping(
    real_part: Any, tmp_path: Path, opened: Open, password: str, digest: bool
) -> None:
    camera = real_part(RtspServer, tmp_path, login=("anna", password), digest=digest).start()
    address = f"camera:rtsp://127.0.0.1:{camera.port}/live"
    capture = opened(address, user="anna", password=password)
    frame_of(capture)
    assert password not in str(capture.description())
    wrong = missing(opened, address, user="anna", password=f"{password}x")
    assert password not in f"{wrong}{wrong.hint}"


@pytest.mark.parametrize("digest", [False, True], ids=["basic", "digest"])
@pytest.mark.parametrize("password", ["hunter2#secret", "p@ss/w%rd", "ü ß", "a:b c?d&e"])
def test_a_password_of_an_mjpeg_camera_needs_no_escaping(
    real_part: Any, opened: Open, password: str, digest: bool
) -> None:
    camera = real_part(MjpegServer, login=("anna", password), digest=digest).start()
    address = f"camera:{camera.url_of('/x?channel=1')}"
    capture = opened(address, user="anna", password=password)
    frame_of(capture)
    assert password not in str(capture.description())
    wrong = missing(opened, address, user="anna", password=f"{password}x")
    assert password not in f"{wrong}{wrong.hint}" and "refuses this user" in str(wrong)


def test_an_mjpeg_camera_gives_its_own_pictures(mjpeg_camera: MjpegServer, opened: Open) -> None:
    capture = opened(f"camera:{mjpeg_camera.url}")
    frame = frame_of(capture)
    assert frame.encoded is not None and frame.encoded.startswith(b"\xff\xd8")
    assert frame.pixels.shape == (240, 320, 3)
    mjpeg_camera.level = 220
    wait_for(lambda: shows(capture, 220), "the picture does not follow the scene")
    mjpeg_camera.size = (640, 480)
    wait_for(lambda: frame_of(capture).pixels.shape == (480, 640, 3), "the new size is not seen")
    mjpeg_camera.stalled = True
    wait_for(lambda: capture.read(0.5) is None, "the stall is not seen")
    mjpeg_camera.stalled = False
    wait_for(lambda: capture.read(0.5) is not None, "the camera does not go on")


def test_an_mjpeg_stream_truncated_in_mid_frame_gives_no_half_picture(
    mjpeg_camera: MjpegServer, opened: Open
) -> None:
    capture = opened(f"camera:{mjpeg_camera.url}")
    seen = [frame_of(capture)]
    mjpeg_camera.truncate()
    with pytest.raises(LinkError) as caught:
        while True:
            item = capture.read(FOREVER_S)  # the half picture is told as a Gap
            seen += [item] if isinstance(item, Frame) else []
    assert caught.value.reason is Reason.SOURCE_LOST
    assert all(frame.encoded is not None and frame.encoded.endswith(b"\xff\xd9") for frame in seen)
    frame_of(opened(f"camera:{mjpeg_camera.url}"))  # it is up again at once


def test_an_mjpeg_camera_without_lengths_and_with_a_login(real_part: Any, opened: Open) -> None:
    camera = real_part(MjpegServer, lengths=False, login=("admin", "hunter2")).start()
    capture = opened(f"camera:{camera.url}")
    assert frame_of(capture).pixels.shape == (240, 320, 3)
    assert "hunter2" not in str(capture.description())


def block_of(capture: Capture) -> AudioBlock:
    block = capture.read(FOREVER_S)
    while isinstance(block, Gap):  # a busy machine may lose some
        block = capture.read(FOREVER_S)
    assert isinstance(block, AudioBlock)
    return block


@pytest.fixture
def ears(microphone: SoundServer, monkeypatch: pytest.MonkeyPatch) -> SoundServer:
    """The microphone, for the captures of this process."""
    for name, value in microphone.environment.items():
        monkeypatch.setenv(name, value)
    return microphone


@pytest.mark.parametrize(
    ("text", "rate_hz"),
    [
        ("microphone:default", 16_000),
        ("microphone:galago?rate=44100&channels=2", 44_100),
        ("microphone:gala?rate=48000", 48_000),
    ],
)
def test_a_microphone_hears_at_the_wanted_rate(
    text: str, rate_hz: int, ears: SoundServer, opened: Open, capfd: pytest.CaptureFixture[str]
) -> None:
    ears.sound = tone(1_000)
    capture = opened(text)
    assert capture.description()["rate_hz"] == rate_hz

    def heard_hz() -> float:
        """The loudest frequency of a quarter of a second."""
        blocks = [block_of(capture)]
        while sum(len(block.samples) for block in blocks) < rate_hz // 4:
            blocks.append(block_of(capture))
        first, last = blocks[0], blocks[-1]
        if last.first_sample + len(last.samples) - first.first_sample != sum(len(b.samples) for b in blocks):
            return 0.0  # some are missing in between
        samples = np.concatenate([block.samples for block in blocks]).astype(np.float64)
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
        return 0.0 if not samples.any() else float(np.argmax(spectrum) * rate_hz / len(samples))

    wait_for(lambda: abs(heard_hz() - 1_000) < 20, "the tone is not heard")
    ears.sound = silence
    wait_for(lambda: int(np.abs(block_of(capture).samples).max()) < 200, "the silence is not heard")
    assert capfd.readouterr().err == ""


def test_a_microphone_that_vanishes_is_lost_and_there_again_when_it_is_back(
    ears: SoundServer, opened: Open
) -> None:
    capture = opened("microphone:galago")
    block_of(capture)
    ears.unplug()
    end_of(capture)
    missing(opened, "microphone:galago")
    ears.plug_in()
    first = opened("microphone:galago").read(FOREVER_S)
    assert isinstance(first, Gap) or (isinstance(first, AudioBlock) and first.first_sample == 0)


def test_a_sound_server_that_hangs_is_waited_for_no_longer_than_asked(
    ears: SoundServer, opened: Open
) -> None:
    capture = opened("microphone:galago")
    block_of(capture)
    ears.hang()
    wait_for(lambda: capture.read(0.5) is None, "the hang is not seen")
    capture.close()
    assert "was not open after 1 s" in str(missing(opened, "microphone:galago", open_s=1.0))
    ears.unhang()
    block_of(opened("microphone:galago"))
