from __future__ import annotations

import gc
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from galago_edge.contract.errors import DeviceError, InputError, Reason
from galago_edge.contract.streams import Frame
from galago_edge.sources import VideoFile
from real_parts.media import ffmpeg, ffmpeg_output
from test_kit.videos import H264, make_video, walk

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


def open_files() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


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
    promised = None if name.endswith("mkv") else COUNT  # Matroska states no number
    assert source.summary() == {"decoded_frames": COUNT, "promised_frames": promised}


def test_a_given_rate_replaces_the_headers(tmp_path: Path) -> None:
    frames = frames_of(VideoFile(write_video(tmp_path / "a.avi"), Fraction(10)))
    assert frames[3].captured_ns == 300_000_000


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


def test_a_source_that_is_never_walked_leaves_nothing_open(tmp_path: Path) -> None:
    before = open_files()
    source = VideoFile(write_video(tmp_path / "a.avi"))
    assert source.description() == {
        "kind": "video",
        "name": "a.avi",
        "codec": "mjpeg",
        "fps": "25",
        "promised_frames": COUNT,
    }
    del source
    gc.collect()
    assert open_files() <= before


def test_a_name_that_is_no_utf_8_is_read_and_escaped(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi").rename(tmp_path / "caf\udce9.avi")
    assert len(frames_of(VideoFile(path))) == COUNT
    path.write_bytes(b"no video")
    with pytest.raises(InputError) as caught:
        VideoFile(path)
    assert "caf\\xe9.avi" in str(caught.value)


def test_a_playlist_is_no_video_and_opens_nothing(tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi")
    for name, text in {
        "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\na.avi\n#EXT-X-ENDLIST\n",
        "list.ffconcat": "ffconcat version 1.0\nfile a.avi\n",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError):
            VideoFile(tmp_path / name)


@pytest.mark.parametrize("stated", [90, 180, 270])
def test_a_stated_rotation_is_applied_as_ffmpeg_does(stated: int, tmp_path: Path) -> None:
    plain, turned = tmp_path / "a.mp4", tmp_path / "turned.mp4"
    make_video(plain, *H264, source="testsrc2=size=64x48:rate=10:duration=1")
    ffmpeg("-i", plain, "-c", "copy", "-metadata:s:v", f"rotate={stated}", turned)
    width, height = (64, 48) if stated == 180 else (48, 64)
    planes = ffmpeg_output("-i", turned, "-f", "rawvideo", "-pix_fmt", "yuv420p")
    assert walk(turned).notice("rotation") == {"degrees": -stated % 360, "applied": True}
    assert walk(plain).notices == []
    for frame, whole in zip(
        frames_of(VideoFile(turned)),
        np.frombuffer(planes, np.uint8).reshape(10, height * 3 // 2, width),
        strict=True,
    ):
        np.testing.assert_array_equal(frame.pixels, cv2.cvtColor(whole, cv2.COLOR_YUV2BGR_I420))


def test_a_stated_rotation_of_jpegs_is_told_and_not_applied(tmp_path: Path) -> None:
    plain = make_video(tmp_path / "a.mov", "-c:v", "mjpeg", source="testsrc2=size=64x48:rate=10:duration=1")
    ffmpeg("-i", plain, "-c", "copy", "-metadata:s:v", "rotate=90", tmp_path / "turned.mov")
    walked = walk(tmp_path / "turned.mov")
    assert walked.notice("rotation") == {"degrees": 270, "applied": False}
    assert walked.hashes == walk(plain).hashes


def test_av1_and_gif_decode_too(tmp_path: Path) -> None:
    for name, codec in {"a.gif": (), "a.mkv": ("-c:v", "libaom-av1", "-cpu-used", "8")}.items():
        path = make_video(tmp_path / name, *codec, source="testsrc2=size=64x48:rate=10:duration=1")
        frames = frames_of(VideoFile(path))
        assert [frame.captured_ns for frame in frames] == [index * 100_000_000 for index in range(10)]


def test_without_pyav_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.avi")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DeviceError, match="reading video needs the Python module av") as caught:
        VideoFile(path)
    assert caught.value.reason is Reason.EXTRA_MISSING
    assert "galago-edge[media]" in caught.value.hint
