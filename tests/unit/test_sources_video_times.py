from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.streams import LATEST_NS, NS_PER_S
from galago_edge.sources import VideoFile
from galago_edge.sources.image_folder import frame_ns
from galago_edge.sources.media.presentation_times import JUMP_INTERVALS, PictureTimes, usual_interval
from real_parts.media import ffmpeg
from test_kit.videos import H264, HEVC, MJPEG, MOVING, REORDERED, VARIABLE, Walked, make_video, walk

VP8 = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8")
TENTH_NS = 100_000_000
SLOWER = "select='lt(n,40)+not(mod(n,2))'"
"""After four seconds every second picture is left out."""
OTHER = MOVING.replace("testsrc2", "testsrc")
HOLE = "select='lt(t,4)+gte(t,9)'"


def offset_ns(walked: Walked) -> int:
    """What a walk said of its first stamp."""
    detail = walked.notice("offset")
    assert detail is not None
    return int(detail["offset_ns"])


def jpegs_labelled(folder: Path, label: int, rate: int) -> Path:
    """Pictures of a camera that gives ``rate`` a second, stamped so, in a file labelled otherwise."""
    raw = make_video(folder / "raw.mjpeg", *MJPEG, "-f", "mjpeg")
    path = folder / "labelled.mkv"
    stamps = f"setts=ts=N*{1_000 // rate}"  # Matroska counts milliseconds
    ffmpeg("-r", label, "-f", "mjpeg", "-i", raw, "-c", "copy", "-bsf:v", stamps, path)
    return path


@pytest.mark.parametrize("name", ["a.avi", "a.mkv", "a.mp4", "a.mov", "a.ts", "a.flv"])
@pytest.mark.parametrize("codec", [H264, REORDERED], ids=["in order", "reordered"])
def test_h264_at_a_constant_rate_has_exact_times_in_every_container(
    name: str, codec: tuple[str, ...], tmp_path: Path
) -> None:
    walked = walk(make_video(tmp_path / name, *codec))
    assert walked.times_ns == [index * TENTH_NS for index in range(120)]
    assert walked.indexes == list(range(120))
    assert walked.gaps == []
    assert walked.failure is None


def test_containers_of_one_stream_give_the_same_pixels_at_the_same_times(tmp_path: Path) -> None:
    first = make_video(tmp_path / "a.mkv", *REORDERED)
    wanted = walk(first)
    assert len(set(wanted.hashes)) == 120
    for name in ("a.mp4", "a.ts", "a.flv", "a.h264"):
        ffmpeg("-i", first, "-c", "copy", tmp_path / name)
        found = walk(tmp_path / name)
        assert (found.hashes, found.times_ns) == (wanted.hashes, wanted.times_ns), name


def test_milliseconds_do_not_round_the_times_of_a_stated_rate(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", *MJPEG, source="testsrc2=size=64x48:rate=30000/1001:duration=20")
    times = walk(path).times_ns
    assert times == [frame_ns(index, Fraction(30_000, 1001)) for index in range(len(times))]
    assert len(times) == 600


@pytest.mark.parametrize("name", ["slower.mp4", "slower.mkv"])
def test_a_variable_rate_has_the_times_of_its_stamps(name: str, tmp_path: Path) -> None:
    walked = walk(make_video(tmp_path / name, "-vf", SLOWER, *VARIABLE, *REORDERED))
    steady, slower = [i * TENTH_NS for i in range(40)], [i * TENTH_NS for i in range(40, 120, 2)]
    assert walked.times_ns == steady + slower
    assert walked.indexes == list(range(80))
    assert walked.gaps == []
    assert walked.failure is None


@pytest.mark.parametrize("name", ["hole.mp4", "hole.mkv", "hole.avi", "hole.ts"])
def test_a_hole_is_a_gap_and_what_follows_has_its_true_time(name: str, tmp_path: Path) -> None:
    codec = MJPEG if name.endswith("avi") else H264
    walked = walk(make_video(tmp_path / name, "-vf", HOLE, *VARIABLE, *codec))
    assert walked.gap_spans("missing") == [(4.0, 9.0)]
    assert len(walked.gaps) == 1
    assert walked.times_ns == [i * TENTH_NS for i in (*range(40), *range(90, 120))]
    assert walked.indexes == list(range(70))
    assert walked.notice("rate") is None
    assert walked.failure is None


@pytest.mark.parametrize("name", ["late.mkv", "late.mp4", "late.ts", "late.flv"])
def test_a_file_whose_stamps_begin_late_begins_at_0_and_says_its_offset(name: str, tmp_path: Path) -> None:
    walked = walk(make_video(tmp_path / name, *H264, "-muxdelay", 0, "-output_ts_offset", 3600))
    assert walked.times_ns == [index * TENTH_NS for index in range(120)]
    offset = walked.notice("offset")
    assert offset is not None
    assert abs(offset["offset_ns"] - 3600 * 10**9) < 10**9
    assert walked.failure is None


def test_what_begins_at_0_says_no_offset(tmp_path: Path) -> None:
    assert walk(make_video(tmp_path / "a.mp4", *H264)).notices == []


def test_a_label_that_contradicts_the_stamps_is_told_and_the_stamps_count(tmp_path: Path) -> None:
    walked = walk(jpegs_labelled(tmp_path, 25, 10))
    assert walked.notice("rate") == {"stated": "25", "found": "10", "used": "stamps"}
    assert walked.times_ns == [index * TENTH_NS for index in range(120)]
    assert walked.failure is None


def test_an_avi_with_fewer_pictures_than_slots_goes_to_its_end(tmp_path: Path) -> None:
    path = make_video(tmp_path / "sparse.avi", "-vf", "select='not(mod(n,3))'", *VARIABLE, *MJPEG)
    source = VideoFile(path)
    assert source.description()["promised_frames"] == 118
    walked = walk(path)
    assert walked.times_ns == [i * TENTH_NS for i in range(0, 120, 3)]
    assert walked.summary == {"decoded_frames": 40, "promised_frames": 118}
    assert walked.notice("rate") == {"stated": "10", "found": "3.333", "used": "stamps"}
    assert walked.failure is None


def test_a_given_rate_replaces_the_stamps_and_says_so(tmp_path: Path) -> None:
    walked = walk(make_video(tmp_path / "hole.mkv", "-vf", HOLE, *VARIABLE, *H264), rate=Fraction(25, 2))
    assert walked.notice("rate") == {"stated": "10", "found": "10", "used": "12.500"}
    assert walked.times_ns == [index * 80_000_000 for index in range(70)]
    assert walked.gaps == []


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.h264", REORDERED), ("a.hevc", HEVC), ("a.m4v", ("-c:v", "mpeg4", "-bf", "2", "-f", "m4v"))],
)
def test_a_bare_stream_is_counted_by_the_rate_that_it_states(
    name: str, codec: tuple[str, ...], tmp_path: Path
) -> None:
    walked = walk(make_video(tmp_path / name, *codec))
    assert walked.times_ns == [index * TENTH_NS for index in range(120)]
    assert walked.notice("rate") == {"stated": "10", "found": None, "used": "10"}


def test_a_bare_stream_without_a_rate_needs_one(tmp_path: Path) -> None:
    jpegs = make_video(tmp_path / "bare.mjpeg", *MJPEG, "-f", "mjpeg")
    with pytest.raises(InputError, match="has neither time stamps nor a frame rate") as caught:
        VideoFile(jpegs)
    assert caught.value.reason is Reason.VIDEO_UNREADABLE
    assert caught.value.hint == "give one: bare.mjpeg?fps=25"
    assert walk(jpegs, rate=Fraction(10)).times_ns == [index * TENTH_NS for index in range(120)]


def test_pictures_between_boundaries_need_a_rate_and_say_nothing_else(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mpjpeg", *MJPEG, "-f", "mpjpeg")
    with pytest.raises(InputError, match="neither time stamps nor a frame rate"):
        VideoFile(path)
    walked = walk(path, rate=Fraction(10))
    assert walked.times_ns == [index * TENTH_NS for index in range(120)]
    assert [notice.state for notice in walked.notices] == ["rate"]
    assert (walked.gaps, walked.failure) == ([], None)


def test_a_sound_that_begins_late_hides_no_picture(tmp_path: Path) -> None:
    silent = make_video(tmp_path / "silent.ts", *H264)
    both = tmp_path / "both.ts"
    ffmpeg("-i", silent, "-f", "lavfi", "-i", "sine=duration=12", "-c:v", "copy", "-c:a", "mp2", both)
    long = make_video(tmp_path / "long.ts", *H264, "-b:v", "20M", source=MOVING.replace("160x120", "640x480"))
    (tmp_path / "late.ts").write_bytes(long.read_bytes() + both.read_bytes())
    walked = walk(tmp_path / "late.ts")
    assert walked.indexes == list(range(240))
    assert walked.failure is None


def test_two_recordings_behind_each_other_are_one_stream_with_a_new_beginning(tmp_path: Path) -> None:
    one = make_video(tmp_path / "one.mpg", "-c:v", "mpeg2video", "-bf", 0, "-r", 25)
    both = tmp_path / "both.mpg"
    both.write_bytes(one.read_bytes() * 2)
    walked = walk(both)
    assert walked.times_ns == [index * 40_000_000 for index in range(600)]
    assert walked.notice("stamps") == {"fault": "went back"}
    assert walked.gap_spans("missing") == [(12.0, 12.0)]
    assert walked.failure is None


@pytest.mark.parametrize("codec", [REORDERED, (*HEVC[:-1], "log-level=none:bframes=3")], ids=["h264", "hevc"])
@pytest.mark.parametrize("later_s", [0, 3, 100])
def test_transport_streams_behind_each_other_lose_no_picture(
    codec: tuple[str, ...], later_s: int, tmp_path: Path
) -> None:
    parts = [
        make_video(tmp_path / f"{name}.ts", *codec, "-output_ts_offset", offset_s, source=source)
        for name, offset_s, source in (
            ("one", 0, MOVING),
            ("two", later_s, OTHER),
        )
    ]
    both = tmp_path / "both.ts"
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    one, two, walked = walk(parts[0]), walk(parts[1]), walk(both)
    assert walked.hashes == one.hashes + two.hashes
    assert walked.indexes == list(range(240))
    later_ns = offset_ns(two) - offset_ns(one)
    begin_ns = later_ns if later_s > 12 else 120 * TENTH_NS  # after the first, however long that is
    assert walked.times_ns == one.times_ns + [begin_ns + at_ns for at_ns in two.times_ns]
    assert [notice.state for notice in walked.notices] == ["offset"] + ["stamps"] * (later_s < 12)
    assert walked.gap_spans("missing") == [(12.0, begin_ns / 1e9)]
    assert walked.failure is None


def test_a_short_recording_before_another_makes_no_invented_times(tmp_path: Path) -> None:
    short, long = (
        make_video(tmp_path / f"{length}.ts", *REORDERED, source=f"{MOVING[:-2]}{length}")
        for length in ("0.3", "2")
    )
    both = tmp_path / "both.ts"
    both.write_bytes(short.read_bytes() + long.read_bytes())
    walked = walk(both)
    assert walked.times_ns == [index * TENTH_NS for index in range(23)]
    assert walked.notice("stamps") == {"fault": "went back"}
    assert walked.summary == {"decoded_frames": 23, "promised_frames": None}


@given(st.integers(1, 60), st.integers(1, 1001), st.lists(st.booleans(), min_size=2, max_size=200))
def test_stamps_in_milliseconds_of_any_rate_are_exact_whatever_is_left_out(
    rate_n: int, rate_d: int, kept: list[bool]
) -> None:
    rate = Fraction(rate_n * 1000, 1001) if rate_d % 2 else Fraction(rate_n)
    if rate > 200:
        return
    slots = [slot for slot, keep in enumerate(kept) if keep]
    times = PictureTimes(Fraction(1, 1000), stated=rate, usual=None)
    placed = [times.place(round(slot * 1000 / rate)).ns for slot in slots]
    assert placed == [frame_ns(slot - slots[0], rate) for slot in slots]


@given(st.lists(st.one_of(st.none(), st.integers(-(2**62), 2**62)), max_size=60), st.booleans())
def test_no_stamps_make_time_stand_still_or_go_back(stamps: list[int | None], known: bool) -> None:
    times = PictureTimes(Fraction(1, 90_000), stated=None, usual=9_000 if known else None)
    placed = [times.place(stamp, after).ns for stamp, after in itertools.zip_longest(stamps, stamps[1:])]
    assert all(a < b for a, b in itertools.pairwise(placed))
    assert placed == [] or placed[0] == 0


def test_one_stamp_that_is_off_moves_nothing_else() -> None:
    for wrong in (-(2**40), 0, 2**40, 90_000):
        stamps = [9_000 * index for index in range(30)]
        stamps[17] = wrong
        times = PictureTimes(Fraction(1, 90_000), stated=None, usual=9_000)
        placed = [times.place(a, b) for a, b in itertools.zip_longest(stamps, stamps[1:])]
        others = [p.ns for index, p in enumerate(placed) if index != 17]
        assert others == [index * TENTH_NS for index in range(30) if index != 17]
        assert not any(p.missing or p.restarted for p in placed)


def test_the_usual_interval_does_not_heed_holes_and_order() -> None:
    assert usual_interval([0, 400, 200, 100, 300, 9_000, 9_100]) == 100
    assert usual_interval([5]) is None


def test_a_camera_that_becomes_slower_is_missing_only_until_that_is_usual() -> None:
    times = PictureTimes(Fraction(1, 1000), stated=None, usual=40)
    fast, slow = [40 * index for index in range(50)], [1_960 + 1_000 * index for index in range(1, 50)]
    gaps = [times.place(stamp).missing for stamp in fast + slow]
    assert 1 <= sum(gap is not None for gap in gaps) <= JUMP_INTERVALS


IVF_HEAD_BYTES = 32


def ivf_with_stamp(folder: Path, picture: int, stamp: int, seconds: int) -> Path:
    """An IVF of ten pictures a second, in which one has another stamp (64 bits behind 32 of its length)."""
    path = make_video(folder / "a.ivf", *VP8, source=MOVING.replace("duration=12", f"duration={seconds}"))
    data = bytearray(path.read_bytes())
    at = IVF_HEAD_BYTES
    for _ in range(picture):
        at += 12 + int.from_bytes(data[at : at + 4], "little")
    data[at + 4 : at + 12] = stamp.to_bytes(8, "little")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "stamp", [1 << 62, 20 * 366 * 24 * 3600 * 10], ids=["beyond all time", "in 20 years"]
)
@pytest.mark.parametrize(("picture", "seconds"), [(9, 1), (8, 1)], ids=["last", "last but one"])
def test_a_damaged_stamp_at_the_end_makes_no_time_and_is_told(
    stamp: int, picture: int, seconds: int, tmp_path: Path
) -> None:
    walked = walk(ivf_with_stamp(tmp_path, picture, stamp, seconds))
    assert walked.times_ns == [index * TENTH_NS for index in range(10)]
    assert walked.notice("stamps") is not None
    assert walked.gaps == []
    assert walked.summary["unstamped_frames"] == 1


def test_a_damaged_stamp_at_the_beginning_makes_no_offset_beyond_all_time(tmp_path: Path) -> None:
    walked = walk(ivf_with_stamp(tmp_path, 0, 1 << 62, 1))
    assert walked.times_ns == [index * TENTH_NS for index in range(10)]
    assert walked.notice("offset") is None
    faults = [notice.detail["fault"] for notice in walked.notices if notice.state == "stamps"]
    assert faults == ["not plausible", "went back"]


@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=2, max_size=12), st.integers(1, 1000))
def test_whatever_the_stamps_no_time_is_beyond_64_bits(stamps: list[int], rate: int) -> None:
    times = PictureTimes(Fraction(1, rate), stated=None, usual=usual_interval(stamps))
    last_ns = -1
    for stamp, following in zip(stamps, [*stamps[1:], None], strict=True):
        placed = times.place(stamp, following)
        assert last_ns < placed.ns < LATEST_NS + 12 * NS_PER_S  # the last ones follow at the usual interval
        last_ns = placed.ns
