from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.streams import Frame
from galago_edge.sources import VideoFile
from galago_edge.sources.video_file import _exact_rate

COUNT = 12


def write_video(path: Path, code: str = "MJPG", rate: float = 25.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), rate, (64, 48))
    assert writer.isOpened()
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        frame = np.full((48, 64, 3), 20 * number, np.uint8)
        frame[::2] = rng.integers(0, 256, (24, 64, 3), dtype=np.uint8)  # noise makes frames of some size
        writer.write(frame)
    writer.release()
    return path


def frames_of(source: VideoFile) -> list[Frame]:
    return [item for item in source if isinstance(item, Frame)]


@pytest.mark.parametrize(
    ("name", "code"), [("a.avi", "MJPG"), ("a.avi", "png "), ("a.mkv", "FFV1"), ("a.mp4", "mp4v")]
)
def test_every_frame_is_decoded_in_order_at_exact_times(name: str, code: str, tmp_path: Path) -> None:
    source = VideoFile(write_video(tmp_path / name, code))
    frames = frames_of(source)
    assert [frame.index for frame in frames] == list(range(COUNT))
    assert [frame.captured_ns for frame in frames] == [40_000_000 * index for index in range(COUNT)]
    levels = [int(frame.pixels[1::2].mean()) for frame in frames]
    assert all(abs(level - 20 * number) < 12 for number, level in enumerate(levels))
    assert source.summary() == {"decoded_frames": COUNT, "promised_frames": COUNT}


def test_a_given_rate_replaces_the_headers(tmp_path: Path) -> None:
    frames = frames_of(VideoFile(write_video(tmp_path / "a.avi"), Fraction(10)))
    assert frames[3].captured_ns == 300_000_000


@pytest.mark.parametrize(
    ("stated", "rate"),
    [
        (25.0, Fraction(25)),
        (29.97, Fraction(2997, 100)),
        (30000 / 1001, Fraction(30000, 1001)),
        (24000 / 1001, Fraction(24000, 1001)),
        (0.5, Fraction(1, 2)),
    ],
)
def test_the_rate_behind_a_float_is_found(stated: float, rate: Fraction) -> None:
    assert _exact_rate(stated) == rate


@pytest.mark.parametrize("stated", [0.0, -1.0, float("nan"), float("inf"), 90_000.0, 1e-9])
def test_an_absurd_rate_is_none(stated: float) -> None:
    assert _exact_rate(stated) is None


def test_a_video_that_is_cut_off_is_finished_and_the_counts_are_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_video(tmp_path / "a.avi")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source = VideoFile(path)
    frames = frames_of(source)
    assert 3 <= len(frames) < COUNT
    assert source.summary() == {"decoded_frames": len(frames), "promised_frames": COUNT}
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("content", [b"", b"hello, I am no video", b"RIFF\x00\x00\x00\x00AVI LIST"])
def test_what_is_no_video_is_one_error_and_no_other_line(
    content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.avi"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        list(VideoFile(path))
    assert caught.value.reason is Reason.VIDEO_UNREADABLE
    assert str(path) in str(caught.value)
    assert capfd.readouterr().err == ""


def test_an_mp4_without_its_index_is_unreadable(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_video(tmp_path / "a.mp4", "mp4v")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError):
        list(VideoFile(path))
    assert capfd.readouterr().err == ""


def test_stop_ends_after_the_current_frame(tmp_path: Path) -> None:
    source = VideoFile(write_video(tmp_path / "a.avi"))
    items = iter(source)
    next(items)
    source.stop()
    assert list(items) == []
