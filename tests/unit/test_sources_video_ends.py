from __future__ import annotations

import struct
from pathlib import Path

import pytest

from galago_edge.contract.errors import InputError, Reason
from galago_edge.sources import VideoFile
from galago_edge.sources.media.container_end import is_cut_off
from real_parts.media import ffmpeg
from test_kit.videos import H264, MJPEG, REORDERED, cut, make_video, walk

FRAGMENTED = ("-movflags", "frag_keyframe+empty_moov")


@pytest.mark.parametrize(
    ("name", "arguments", "promised_s"),
    [
        ("a.mkv", MJPEG, 12.0),
        ("b.mkv", REORDERED, 12.0),
        ("a.avi", MJPEG, 12.0),
        ("b.avi", H264, 12.0),
        ("a.mp4", (*H264, *FRAGMENTED), None),
        ("a.flv", H264, 12.0),
        ("a.ts", H264, None),
        ("a.gif", (), None),
        ("a.webm", ("-c:v", "libvpx"), 12.0),
        ("a.wmv", (), None),
    ],
)
def test_a_recording_that_is_cut_is_decided_to_its_end_and_then_said_to_be(
    name: str, arguments: tuple[str, ...], promised_s: float | None, tmp_path: Path
) -> None:
    whole = make_video(tmp_path / name, *arguments)
    wanted = walk(whole)
    assert wanted.failure is None
    assert not is_cut_off(whole)
    walked = walk(cut(whole))
    count = len(walked.hashes)
    assert 40 <= count <= 110
    assert walked.hashes[: count - 3] == wanted.hashes[: count - 3]
    detail = walked.notice("truncated")
    assert detail is not None
    assert detail["frames"] == count
    [(start, end)] = walked.gap_spans("truncated")
    assert start == detail["to_ns"] / 1e9
    assert start == pytest.approx(count / 10, abs=0.5)
    if promised_s is not None:
        assert end == pytest.approx(promised_s, abs=0.1)
    assert isinstance(walked.failure, InputError)
    assert walked.failure.reason is Reason.VIDEO_TRUNCATED
    assert walked.failure.exit_code == 1
    assert f"it holds {count} frames, {start:.3f} s" in str(walked.failure)  # as the record says


def test_a_recording_of_which_only_the_end_is_cut_says_what_is_missing(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", *MJPEG)
    path.write_bytes(path.read_bytes()[:-1])
    walked = walk(path)
    assert len(walked.hashes) == 120
    assert str(walked.failure).endswith(
        "ends early: it holds 120 frames, 12.000 s, all that its header promises; what stands behind them, "
        "such as the index, is cut off"
    )


@pytest.mark.parametrize("name", ["a.flv", "a.gif", "a.avi", "a.mkv", "a.mp4", "a.mpg", "a.ts"])
@pytest.mark.parametrize("padding", [bytes(5_000), b"\xff" * 5_000], ids=["zeros", "ones"])
def test_what_fills_a_file_up_behind_its_end_is_no_damage(name: str, padding: bytes, tmp_path: Path) -> None:
    codec = {"gif": (), "mpg": ("-r", "25")}.get(name[2:], H264)
    path = make_video(tmp_path / name, *codec)
    whole = walk(path)
    path.write_bytes(path.read_bytes() + padding[: 188 * 26])
    walked = walk(path)
    assert (walked.hashes, walked.times_ns) == (whole.hashes, whole.times_ns)
    assert (walked.gaps, walked.failure) == ([], None)


def test_an_flv_whose_recorder_was_killed_is_read_to_its_end_and_says_so(tmp_path: Path) -> None:
    """GStreamer states a day until it knows better."""
    path = make_video(tmp_path / "a.flv", *H264)
    data = path.read_bytes()
    at = data.index(b"duration") + len("duration") + 1
    path.write_bytes(data[:at] + struct.pack(">d", 86_400.0) + data[at + 8 :])
    walked = walk(path)
    assert len(walked.hashes) == 120
    assert walked.notice("unfinished") == {"frames": 120}
    assert (walked.gaps, walked.failure) == ([], None)


@pytest.mark.parametrize(
    "name", ["a.mkv", "a.avi", "a.mp4", "a.mov", "a.flv", "a.ts", "a.gif", "a.webm", "a.wmv"]
)
def test_a_whole_recording_does_not_seem_cut_and_a_cut_one_does_wherever(name: str, tmp_path: Path) -> None:
    codec = {"avi": MJPEG, "gif": (), "wmv": (), "webm": ("-c:v", "libvpx")}.get(name[2:], H264)
    whole = make_video(tmp_path / name, *codec, source="testsrc2=size=64x48:rate=10:duration=3")
    assert not is_cut_off(whole)
    for share in (0.3, 0.5, 0.77, 0.95):
        assert is_cut_off(cut(whole, share)) or cut(whole, share).stat().st_size % 188 == 0


def test_a_recording_that_was_written_to_a_pipe_promises_nothing_and_is_whole(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "a.mkv", *H264)
    live = tmp_path / "live.mkv"
    ffmpeg("-i", whole, "-c", "copy", "-live", 1, live)
    assert walk(live).failure is None
    walked = walk(cut(live))
    assert walked.failure is not None
    assert walked.failure.reason is Reason.VIDEO_TRUNCATED
    [(start, end)] = walked.gap_spans("truncated")
    assert start == end  # how much is missing, nobody knows


def test_what_is_damaged_right_before_the_cut_belongs_to_the_cut(tmp_path: Path) -> None:
    walked = walk(cut(make_video(tmp_path / "a.avi", *MJPEG)))
    assert walked.gap_spans("unreadable") == []
    assert walked.notice("unreadable") is None
    assert "damaged_frames" not in walked.summary


def test_an_mp4_without_its_index_is_one_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = cut(make_video(tmp_path / "a.mp4", *H264))
    with pytest.raises(InputError) as caught:
        VideoFile(path)
    why = "its index (moov) is missing or damaged: the recording was not finished, or is cut off"
    assert str(caught.value) == f"{path} cannot be read as video: {why}"
    assert capfd.readouterr().err == ""


def test_sound_that_is_longer_than_its_pictures_is_no_missing_end(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    ffmpeg(
        *(
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=64x48:rate=10:duration=3",
            "-f",
            "lavfi",
            "-i",
            "sine=duration=9",
        ),
        *(*H264, "-c:a", "aac", path),
    )
    walked = walk(path)
    assert len(walked.hashes) == 30
    assert walked.failure is None
