"""Files that were put one behind the other: what is not decided is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.streams import AudioBlock, Notice
from galago_edge.sources import AudioFile
from galago_edge.sources.media.container_rest import rest_behind
from real_parts.media import ffmpeg
from test_kit.videos import H264, make_video, walk

RATE_HZ = 16_000
SHORT = "testsrc2=size=64x48:rate=10:duration=2"
FRAGMENTED = (*H264, "-movflags", "frag_keyframe+empty_moov")
BEGINNINGS = [
    b"\0\0\0\x10ftyp",
    b"FLV\x01\5\0\0\0\x09",
    b"TTA1\1\0",
    b"0&\xb2u\x8ef\xcf\x11\xa6\xd9\0\xaa\0b\xcel",
]


def joined(path: Path, behind: bytes | None = None) -> int:
    """Put a file, or other bytes, behind the file; return its length before."""
    data = path.read_bytes()
    path.write_bytes(data + (data if behind is None else behind))
    return len(data)


def heard(path: Path) -> tuple[int, list[tuple[str, dict[str, object]]]]:
    """Samples, and what was told beside them."""
    items = list(AudioFile(path, RATE_HZ))
    count = sum(len(item.samples) for item in items if isinstance(item, AudioBlock))
    return count, [(item.state, item.detail) for item in items if isinstance(item, Notice)]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", H264), ("f.mp4", FRAGMENTED), ("a.mov", H264), ("a.m4v", H264), ("a.flv", ()), ("a.wmv", ())],
)
def test_a_second_video_that_is_not_decided_is_told(
    name: str, codec: tuple[str, ...], tmp_path: Path
) -> None:
    path = make_video(tmp_path / name, *codec, source=SHORT)
    alone = walk(path)
    assert alone.notice("unclaimed") is None
    length = joined(path)
    walked = walk(path)
    assert (walked.hashes, walked.times_ns) == (alone.hashes, alone.times_ns)
    assert walked.failure is None
    assert walked.notice("unclaimed") == {"bytes": length, "recording": True}


@pytest.mark.parametrize("name", ["a.ts", "a.mkv", "a.avi", "a.mpg", "a.ogv"])
def test_of_a_second_video_that_is_decided_nothing_is_said(name: str, tmp_path: Path) -> None:
    rate = {"mpg": ("-r", 25), "ogv": ()}.get(name[2:], H264)
    path = make_video(tmp_path / name, *rate, source=SHORT)
    count = len(walk(path).hashes)
    joined(path)
    walked = walk(path)
    assert len(walked.hashes) == 2 * count
    assert walked.failure is None
    assert walked.notice("unclaimed") is None


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.tta", "a.m4a", "a.wma", "adpcm.wav", "a.flv"])
def test_a_second_sound_that_is_not_decided_is_told(name: str, tmp_path: Path) -> None:
    codec = ("-c:a", "adpcm_ima_wav") if name.startswith("adpcm") else ()
    rate = ("-ar", 44_100) if name.endswith("flv") else ()
    path = tmp_path / name
    ffmpeg("-f", "lavfi", "-i", f"sine=440:duration=2:sample_rate={RATE_HZ}", *rate, *codec, path)
    count, told = heard(path)
    assert "unclaimed" not in dict(told)
    length = joined(path)
    assert heard(path) == (count, [*told, ("unclaimed", {"bytes": length, "recording": True})])


@pytest.mark.parametrize("tags", [(), ("-id3v2_version", 0), ("-write_xing", 0)], ids=["all", "xing", "id3"])
def test_the_heads_of_a_second_mp3_are_no_damaged_sound(tags: tuple[object, ...], tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    ffmpeg("-f", "lavfi", "-i", f"sine=440:duration=2:sample_rate={RATE_HZ}", *tags, path)
    alone, _ = heard(path)
    joined(path)
    both, told = heard(path)
    assert 2 * alone <= both <= 2 * alone + 4 * 576
    assert told == []


@pytest.mark.parametrize(
    ("behind", "bytes_told"),
    [
        (bytes(5_000), 0),
        (b"\0\0\0\3" + b"what nobody knows " * 10, 184),
        (b"\0\0\0\3 few bytes", 0),
        (b"TAG" + bytes(125), 0),
    ],
    ids=["padding", "unknown", "few", "tag"],
)
def test_other_bytes_behind_a_video_are_told_unless_they_are_none_for_sure(
    behind: bytes, bytes_told: int, tmp_path: Path
) -> None:
    path = make_video(tmp_path / "a.mp4", *H264, source=SHORT)
    joined(path, behind)
    assert walk(path).notice("unclaimed") == ({"bytes": bytes_told} if bytes_told else None)


@given(st.sampled_from(BEGINNINGS), st.binary(max_size=200))
def test_nothing_that_a_file_holds_makes_it_fail(
    tmp_path_factory: pytest.TempPathFactory, beginning: bytes, rest: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "some.bin"
    path.write_bytes(beginning + rest)
    found = rest_behind(path)
    assert found is None or 0 <= found.start < found.start + found.bytes == len(beginning + rest)
