from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from galago_edge.contract.errors import InputError, Reason
from galago_edge.sources import VideoFile, decode_image
from galago_edge.sources.media.picture_decoder import Damage, Picture, PictureDecoder
from galago_edge.sources.media.recording_container import RecordingContainer
from galago_edge.sources.recording_part import RecordingPart
from real_parts.media import ffmpeg_output
from test_kit.videos import (
    H264,
    HEVC,
    MJPEG,
    MOVING,
    REORDERED,
    Walked,
    damage,
    make_video,
    walk,
    without_packet,
)


def packets_of(path: Path) -> list[tuple[int, int]]:
    """Place and size of each picture's packet."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        return [(packet.pos or 0, packet.size) for packet in packets]


def zeroed(path: Path, number: int) -> Path:
    """A copy in which one picture's packet holds only zeros."""
    at, size = packets_of(path)[number]
    data = bytearray(path.read_bytes())
    data[at : at + size] = bytes(size)
    copy = path.with_name(f"zeroed_{path.name}")
    copy.write_bytes(data)
    return copy


def still_jpeg() -> bytes:
    """One JPEG with something in it."""
    rng = np.random.default_rng(1)
    done, data = cv2.imencode(".jpg", rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
    assert done
    return data.tobytes()


def pixels_of(walked: Walked) -> dict[int, str]:
    """The hash of each picture by its time."""
    return dict(zip(walked.times_ns, walked.hashes, strict=True))


def test_one_jpeg_that_is_gone_is_a_gap_and_all_others_are_decided(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = make_video(tmp_path / "a.avi", *MJPEG)
    walked = walk(zeroed(whole, 40))
    assert walked.indexes == [index for index in range(120) if index != 40]
    assert walked.times_ns == [index * 100_000_000 for index in walked.indexes]
    assert walked.gap_spans("unreadable") == [(4.0, 4.1)]
    assert walked.notice("unreadable") == {"frames": 1}
    assert walked.notices[0].index == 40
    assert walked.summary == {"decoded_frames": 119, "promised_frames": 120, "damaged_frames": 1}
    assert isinstance(walked.failure, InputError)
    assert walked.failure.reason is Reason.VIDEO_UNREADABLE
    assert "1 of its 120 frames cannot be relied on, the first at 4.000 s" in str(walked.failure)
    assert capfd.readouterr().err == ""


def test_every_frame_of_mjpeg_is_the_cameras_own_jpeg_decoded_by_opencv(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.avi", *MJPEG)
    data = path.read_bytes()
    jpegs = [data[at : at + size] for at, size in packets_of(path)]
    walked = walk(path)
    assert walked.encoded == jpegs
    source = iter(VideoFile(path))
    first = next(source)
    np.testing.assert_array_equal(first.pixels, decode_image(jpegs[0], "x"))  # type: ignore[union-attr]
    source.close()


def test_a_jpeg_that_is_damaged_inside_is_damage_and_writes_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = make_video(tmp_path / "a.avi", *MJPEG)
    at, size = packets_of(whole)[7]
    data = bytearray(whole.read_bytes())
    end = data.rindex(b"\xff\xd9", at, at + size)
    data[end - 300 : end - 298] = b"\xff\xd9"  # it ends before it is complete
    whole.write_bytes(data)
    walked = walk(whole)
    assert 7 not in walked.indexes
    assert len(walked.indexes) == 119
    assert capfd.readouterr().err == ""


def test_a_chunk_of_an_avi_that_cannot_be_found_shifts_no_time(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "a.avi", *MJPEG)
    before = pixels_of(walk(whole))
    at, _ = packets_of(whole)[50]
    data = bytearray(whole.read_bytes())
    data[at - 8 : at + 100] = bytes([0x5A]) * 108  # its header too
    whole.write_bytes(data)
    walked = walk(whole)
    assert pixels_of(walked) == {ns: found for ns, found in before.items() if ns != 5_000_000_000}
    assert walked.gap_spans("unreadable") == [(5.0, 5.1)]
    assert walked.failure is not None


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mkv", H264), ("b.mkv", REORDERED), ("a.ts", REORDERED), ("b.avi", REORDERED), ("a.h264", REORDERED),
     ("hevc.mkv", HEVC), ("mpeg4.avi", ("-c:v", "mpeg4", "-g", "20")), ("vp8.webm", ("-c:v", "libvpx"))],
)  # fmt: skip
def test_sixty_damaged_spots_are_told_and_give_the_same_bytes_twice(
    name: str, codec: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = make_video(tmp_path / name, *codec, "-b:v", "1M")
    damaged = damage(whole, 60)
    first, second = walk(damaged), walk(damaged)
    assert (first.hashes, first.times_ns, first.gaps, first.notices) == (
        second.hashes,
        second.times_ns,
        second.gaps,
        second.notices,
    )
    assert str(first.failure) == str(second.failure)
    assert capfd.readouterr().err == ""
    if "hevc" not in name:  # of which FFmpeg notices only what makes no sense at all
        assert first.failure is not None
        assert first.gap_spans("unreadable")


@pytest.mark.parametrize("name", ["a.mkv", "a.ts", "a.mp4"])
def test_what_is_shown_of_a_damaged_h264_is_what_was_recorded_but_for_what_no_decoder_notices(
    name: str, tmp_path: Path
) -> None:
    """How much FFmpeg notices depends on the bytes that an encoder makes on this processor."""
    whole = make_video(tmp_path / name, *REORDERED, "-b:v", "1M", "-sc_threshold", 0)  # key frames: 0, 30 ...
    wanted, data, packets = pixels_of(walk(whole)), whole.read_bytes(), packets_of(whole)
    shown = wrong = 0
    for seed in range(6):
        damaged = damage(whole, 5, seed=seed)
        walked, harmed = walk(damaged), damaged.read_bytes()
        # a picture begins where its first packet does; in a transport stream packets of others lie between
        ends = [at for at, _ in packets[1:]] + [len(data)]
        hit = {
            n // 30
            for n, ((at, _), end) in enumerate(zip(packets, ends, strict=True))
            if data[at:end] != harmed[at:end]
        }
        odd = pixels_of(walked).items() - wanted.items()
        assert walked.gap_spans("unreadable")
        assert {round(ns / 100_000_000) // 30 for ns, _ in odd} <= hit, "wrong where nothing was damaged"
        shown, wrong = shown + len(pixels_of(walked)), wrong + len(odd)
    assert shown > 120 and wrong <= 0.25 * shown


def test_damage_lasts_to_the_next_key_frame_and_not_longer(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "a.mp4", *REORDERED, "-sc_threshold", 0)  # key frames: 0, 30, 60, 90
    wanted = walk(whole)
    walked = walk(zeroed(whole, 31))  # what is decoded right behind the second key frame
    assert walked.gaps
    assert all(start >= 3.0 and end <= 6.0 for start, end in walked.gap_spans("unreadable"))
    assert {ns for ns in wanted.times_ns if not 3_000_000_000 < ns < 6_000_000_000} <= set(walked.times_ns)
    found = pixels_of(wanted)
    assert all(found[ns] == pixels for ns, pixels in pixels_of(walked).items())


def test_damaged_pictures_are_shown_where_that_is_preferred_and_told(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "a.mp4", *REORDERED, "-sc_threshold", 0)
    at, size = packets_of(whole)[31]
    data = bytearray(whole.read_bytes())
    data[at + size // 2 : at + size] = bytes(size - size // 2)
    whole.write_bytes(data)
    strict, shown = walk(whole), walk(whole, conceal=True)
    assert strict.summary["damaged_frames"] == shown.summary["concealed_frames"] == 120 - len(strict.hashes)
    assert len(shown.hashes) == 120
    assert shown.gaps == []
    assert shown.failure is None
    told = [notice.detail for notice in shown.notices if notice.state == "unreadable"]
    assert sum(detail["frames"] for detail in told) == shown.summary["concealed_frames"]
    assert all(detail["concealed"] for detail in told)
    assert VideoFile(whole, conceal=True).description()["damaged"] == "conceal"


def test_many_damaged_frames_in_a_row_are_one_notice(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "a.avi", *MJPEG)
    data = bytearray(whole.read_bytes())
    for at, size in packets_of(whole)[20:90]:
        data[at : at + size] = bytes(size)
    whole.write_bytes(data)
    walked = walk(whole)
    assert walked.notice("unreadable") == {"frames": 70}
    assert walked.gap_spans("unreadable") == [(2.0, 9.0)]


def test_a_video_without_any_picture_that_decodes_is_unreadable(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "a.avi", *MJPEG)
    data = bytearray(whole.read_bytes())
    for at, size in packets_of(whole):
        data[at : at + size] = bytes(size)
    whole.write_bytes(data)
    walked = walk(whole)
    assert walked.failure is not None
    assert walked.failure.reason is Reason.VIDEO_UNREADABLE
    assert "holds no frame that can be decoded" in str(walked.failure)


def test_a_stream_that_begins_between_key_frames_is_damage_up_to_the_first(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "a.ts", *H264, "-sc_threshold", 0)  # key frames: 0, 20, 40 ...
    packets = packets_of(whole)
    start = packets[5][0] // 188 * 188
    late = tmp_path / "late.ts"
    tables = whole.read_bytes()[: 188 * 3]  # without which nobody knows what is in it
    late.write_bytes(tables + whole.read_bytes()[start:])
    walked = walk(late)
    assert 95 <= len(walked.hashes) <= 100
    assert set(walked.hashes) <= set(walk(whole).hashes)


@pytest.mark.parametrize("codec", [H264, REORDERED, HEVC, ("-c:v", "libvpx-vp9", "-deadline", "realtime")])
def test_the_planes_are_those_of_ffmpeg_on_one_thread(codec: tuple[str, ...], tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", *codec, source=MOVING.replace("duration=12", "duration=3"))
    planes = ffmpeg_output("-threads", 1, "-i", path, "-f", "rawvideo", "-pix_fmt", "yuv420p")
    frames = np.frombuffer(planes, np.uint8).reshape(30, 180, 160)
    wanted = [cv2.cvtColor(frame, cv2.COLOR_YUV2BGR_I420) for frame in frames]
    found = [item.pixels for item in VideoFile(path) if hasattr(item, "pixels")]
    assert len(found) == 30
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_pictures_of_more_pixels_than_are_taken_are_refused_before_decoding(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", *H264)
    with RecordingContainer(path, "this test") as container, pytest.raises(InputError) as caught:
        PictureDecoder(container.pictures, "a.mp4", largest_pixels=160 * 120 - 1)
    assert caught.value.reason is Reason.VIDEO_UNREADABLE
    assert "160 x 120" in str(caught.value)


def test_a_decoder_says_damage_for_a_packet_that_its_container_calls_corrupt(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", *H264, "-sc_threshold", 0)
    with RecordingContainer(path, "this test") as container:
        decoder = PictureDecoder(container.pictures, "a.mp4", largest_pixels=10**6)
        outcomes: list[Picture | Damage] = []
        for number, packet in enumerate(container.packets()):
            if number == 45:
                decoder.expect_damage()
            outcomes += decoder.decode(packet)
        outcomes += decoder.flush()
    assert [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Damage)] == [
        *range(45, 60)
    ]


@pytest.mark.parametrize("number", [38, 39, 40, 41, 47], ids="picture {}".format)
def test_a_lost_packet_of_a_transport_stream_damages_the_picture_that_it_was_part_of(
    number: int, tmp_path: Path
) -> None:
    """MPEG-2 hides it, and FFmpeg marks the picture before: of a key frame, one that nothing leans on."""
    codec = ("-c:v", "mpeg2video", "-g", "8", "-bf", "0", "-b:v", "2M")
    path = make_video(tmp_path / "a.ts", *codec, source=MOVING.replace("rate=10", "rate=25"))
    got = walk(without_packet(path, number, 2))
    whole, walked = pixels_of(walk(path)), pixels_of(got)
    end = (number // 8 + 1) * 8
    assert sorted({*range(300)} - {*got.indexes}) == list(range(number, end))
    assert walked.items() <= whole.items()
    assert got.notice("unreadable") == {"frames": end - number}


@pytest.mark.parametrize(
    "codec",
    [
        ("-c:v", "libx264", "-bf", "8", "-x264-params", "b-adapt=0:b-pyramid=normal:keyint=40"),
        ("-c:v", "libx265", "-x265-params", "log-level=none:bframes=8:b-adapt=0:keyint=40"),
    ],
    ids=["h264", "hevc"],
)
def test_a_whole_video_with_many_reordered_pictures_shows_no_damage(
    codec: tuple[str, ...], tmp_path: Path
) -> None:
    got = walk(make_video(tmp_path / "a.mkv", *codec))
    assert (len(got.indexes), got.gaps, got.failure) == (120, [], None)


@pytest.mark.parametrize(
    ("behind", "whole"), [(bytes(40), True), (b"\x5a" * 40, True), (bytes(range(40)), False)]
)
def test_what_fills_a_jpeg_up_is_no_damage_and_data_that_is_left_over_is(
    behind: bytes, whole: bool, tmp_path: Path
) -> None:
    jpeg = still_jpeg()
    file = tmp_path / "a.mjpeg"
    file.write_bytes(jpeg + jpeg[:-2] + behind + jpeg[-2:] + jpeg)
    got = walk(file, rate=Fraction(10))
    assert len(got.indexes) == (3 if whole else 2)
    assert (got.failure is None) is whole


def test_a_jpeg_without_its_end_marker_is_whole_and_one_that_is_cut_off_is_not(tmp_path: Path) -> None:
    jpeg, file = still_jpeg(), tmp_path / "a.mjpeg"
    file.write_bytes(jpeg + jpeg[:-2] + jpeg)
    got = walk(file, rate=Fraction(10))
    assert (len(set(got.hashes)), got.indexes, got.failure) == (1, [0, 1, 2], None)
    file.write_bytes(jpeg + jpeg[: -len(jpeg) // 8] + jpeg)
    got = walk(file, rate=Fraction(10))
    assert got.indexes == [0, 2] and got.failure is not None


def test_a_page_of_an_ogg_that_is_damaged_is_damage_up_to_the_next_key_frame(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.ogv", "-c:v", "libtheora", "-g", 12, "-b:v", "2M")
    data = bytearray(path.read_bytes())
    whole = pixels_of(walk(path))
    assert len(whole) == 120
    at = len(data) // 2
    data[at : at + 50] = bytes(50)
    path.write_bytes(data)
    got = walk(path)
    assert pixels_of(got).items() <= whole.items()
    assert 80 <= len(got.indexes) < 120
    assert isinstance(got.failure, InputError) and "cannot be relied on" in str(got.failure)
    path.write_bytes(data[: at - 10])
    assert "truncated" in {notice.state for notice in walk(path).notices}


@pytest.mark.parametrize("name", ["a.3gp", "a.mkv", "a.avi"])
def test_a_container_that_calls_every_picture_a_key_frame_ends_no_damage(name: str, tmp_path: Path) -> None:
    path = make_video(tmp_path / name, "-c:v", "h263", "-s", "176x144", "-g", "12", "-r", "10")
    whole = pixels_of(walk(path))
    at, size = packets_of(path)[26]
    data = bytearray(path.read_bytes())
    data[at + size // 2 : at + size // 2 + 20] = bytes(20)
    path.write_bytes(data)
    got = walk(path)
    assert pixels_of(got).items() <= whole.items()
    assert sorted({*range(120)} - {*got.indexes}) == list(range(26, 36))


def test_a_part_of_a_damaged_video_fails_by_the_damage_in_it_alone(tmp_path: Path) -> None:
    path = zeroed(make_video(tmp_path / "v.avi", *MJPEG), 10)  # from 1 s to 1.1 s
    outcomes: list[tuple[str | None, int]] = []
    for from_ms, to_ms in ((0, 1000), (0, 1500), (500, 1050), (1100, None)):
        from_ns, to_ns = from_ms * 10**6, None if to_ms is None else to_ms * 10**6
        wanted = RecordingPart(VideoFile(path), from_ns=from_ns, to_ns=to_ns)
        reason = None
        try:
            list(wanted)
        except InputError as error:
            reason = str(error.reason)
        outcomes.append((reason, wanted.summary().get("damaged_frames", 0)))
    assert outcomes == [(None, 0), ("VIDEO_UNREADABLE", 1), ("VIDEO_UNREADABLE", 1), (None, 0)]


def decoded_promptly(path: Path) -> list[list[Picture | Damage]]:
    """What each packet gives in a live stream."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoder = PictureDecoder(stream, "a", largest_pixels=1 << 24, prompt=True)
        given = [list(decoder.decode(packet)) for packet in container.demux(stream) if packet.size]
        return [*given, list(decoder.flush())]


def test_a_live_stream_with_reordered_pictures_gives_them_one_by_one_and_not_in_bursts(
    tmp_path: Path,
) -> None:
    path = make_video(tmp_path / "a.mkv", *REORDERED)
    *given, _ = decoded_promptly(path)
    assert max(map(len, given)) <= 2
    every = [one for found in decoded_promptly(path) for one in found]
    assert len(every) == 120 and all(isinstance(one, Picture) for one in every)


def test_a_live_stream_leaves_out_what_follows_a_damaged_picture_up_to_the_next_key_frame(
    tmp_path: Path,
) -> None:
    path = make_video(tmp_path / "a.mkv", *REORDERED)
    found = [one for given in decoded_promptly(zeroed(path, 40)) for one in given]
    exact = walk(zeroed(path, 40)).times_ns
    shown = sum(isinstance(one, Picture) for one in found)
    assert len(exact) <= shown <= len(exact) + 3  # those that are shown before it may rely on it
    assert shown < 120


@pytest.mark.parametrize(
    "codec",
    [
        ("-c:v", "libx264", "-bf", "3", "-x264-params", "open-gop=1:keyint=30:b-adapt=0"),
        ("-c:v", "libx265", "-x265-params", "log-level=none:keyint=30:bframes=3:b-adapt=0"),
        ("-c:v", "mpeg2video", "-r", "25", "-g", "12", "-bf", "2"),
    ],
    ids=["h264", "hevc", "mpeg2"],
)
def test_a_live_stream_joined_in_the_middle_shows_everything_from_the_first_key_frame_on(
    codec: tuple[str, ...], tmp_path: Path
) -> None:
    path = make_video(tmp_path / "a.ts", *codec)

    def shown(prompt: bool) -> list[int | None]:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            decoder = PictureDecoder(stream, "a", largest_pixels=1 << 24, prompt=prompt)
            packets = [packet for packet in container.demux(stream) if packet.size][7:]
            given = [one for packet in packets for one in decoder.decode(packet)] + list(decoder.flush())
        return [one.pts for one in given if isinstance(one, Picture)]

    assert shown(True) == shown(False)
    assert len(shown(True)) > 60
