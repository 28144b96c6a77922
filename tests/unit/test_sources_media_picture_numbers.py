"""A picture that leans on one that never came is found by the stream's own numbers."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.sources.media.library import import_av
from galago_edge.sources.media.picture_numbers import PictureNumbers
from real_parts.media import ffmpeg
from real_parts.missing import missing_part

LAVFI = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=10")
ENCODERS = {
    "no B pictures": ("-tune", "zerolatency"),
    "B pictures that others lean on": ("-bf", "3", "-x264-params", "b-pyramid=normal"),
    "interlaced": ("-flags", "+ildct+ilme"),
    "key frames that are not restarts": ("-x264-params", "open-gop=1"),
}


def packets(path: Path) -> tuple[bytes | None, list[bytes]]:
    with import_av("a test").open(str(path)) as container:
        track = container.streams.video[0]
        return track.codec_context.extradata, [bytes(one) for one in container.demux(track) if one.size]


@pytest.fixture(
    scope="module", params=[(name, end) for name in ENCODERS for end in ("mp4", "h264", "ts", "flv")]
)
def stream(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes | None, list[bytes]]:
    name, end = request.param
    path = tmp_path_factory.mktemp("numbers") / f"stream.{end}"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=10", "-t", "6"]
    try:
        subprocess.run([*command, "-c:v", "libx264", "-g", "20", *ENCODERS[name], path], check=True)
    except FileNotFoundError:
        missing_part("ffmpeg")
    return packets(path)


def follows(extradata: bytes | None, given: list[bytes]) -> list[bool]:
    numbers = PictureNumbers(extradata)
    return [numbers.follows(packet) for packet in given]


def test_a_whole_stream_has_no_hole_and_one_that_lost_a_picture_has_one_where_it_was(
    stream: tuple[bytes | None, list[bytes]],
) -> None:
    extradata, whole = stream
    assert len(whole) > 50 and all(follows(extradata, whole))
    found = 0
    for lost in range(1, len(whole) - 1):
        seen = follows(extradata, whole[:lost] + whole[lost + 1 :])
        holes = [index for index, good in enumerate(seen) if not good]
        # at the place itself or behind pictures on which nothing leans
        assert all(lost <= index <= lost + 4 for index in holes)
        found += bool(holes)
    assert found >= len(whole) // 8


@pytest.mark.parametrize("end", ["mp4", "ts"])
def test_a_picture_has_its_number_wherever_in_its_packet_its_head_stands(end: str, tmp_path: Path) -> None:
    ffmpeg(*LAVFI, "-t", 2, "-c:v", "libx264", "-tune", "zerolatency", "-g", 20, tmp_path / f"a.{end}")
    extradata, given = packets(tmp_path / f"a.{end}")
    before = given[0]
    for length in (*range(4_050, 4_110), 10_000):
        message = b"\6\5" + bytes(1 + at % 250 for at in range(length))
        head = len(message).to_bytes(4, "big") if end == "mp4" else b"\0\0\0\1"
        numbers = PictureNumbers(extradata)
        assert numbers.follows(before)
        assert numbers.follows(head + message + given[1])
        assert numbers.follows(given[2]), length  # two numbers on from the key frame
        assert not numbers.follows(head + message + given[4]), length


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_nothing_that_comes_makes_it_fail(extradata: bytes, packet: bytes) -> None:
    numbers = PictureNumbers(extradata)
    numbers.follows(packet)
    numbers.follows(b"\0\0\1" + packet)
