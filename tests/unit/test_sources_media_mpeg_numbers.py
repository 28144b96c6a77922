from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from galago_edge.sources.media.mpeg_numbers import MpegNumbers
from real_parts.media import ffmpeg
from test_kit.videos import MOVING, make_video, walk

ORDERS = {
    "reordered": ("-bf", "2"),
    "in order": ("-bf", "0"),
    "closed groups": ("-bf", "2", "-flags", "+cgop", "-sc_threshold", "1000000000"),
}
AT_25 = MOVING.replace("rate=10", "rate=25").replace("duration=12", "duration=3")
"""75 pictures, in groups of twelve."""


class Packet(bytes):
    """What a demuxer gives, as far as it is looked at."""

    pts: int | None = None


def picture(kind: str, number: int, *, group: bool = False, pts: int | None = None) -> Packet:
    head = b"\0\0\1\xb8" + bytes(4) if group else b""
    code = "IPB".index(kind) + 1
    packet = Packet(head + b"\0\0\1\0" + bytes([number >> 2 & 255, (number & 3) << 6 | code << 3, 0, 0]))
    packet.pts = pts
    return packet


def followed(pictures: Iterator[Packet] | list[Packet], *, delayed: bool = True) -> list[int]:
    """Numbers of the packets that lean on a lost one, as it is said of them."""
    numbers, wrong = MpegNumbers(), []
    for number, packet in enumerate(pictures):
        if not numbers.follows(packet, delayed=delayed):
            wrong.append(number)
    return wrong


@pytest.mark.parametrize("codec", ["mpeg1video", "mpeg2video"])
@pytest.mark.parametrize("order", ORDERS)
def test_whatever_picture_is_lost_nothing_is_decided_that_leans_on_it(
    codec: str, order: str, tmp_path: Path
) -> None:
    path = make_video(tmp_path / "a.mkv", "-c:v", codec, "-g", 12, *ORDERS[order], source=AT_25)
    whole = walk(path)
    assert (len(whole.indexes), whole.failure) == (75, None)
    right = dict(zip(whole.times_ns, whole.hashes, strict=True))
    with av.open(str(path)) as container:
        kinds = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    for lost in range(20, 34):
        ffmpeg("-i", path, "-c", "copy", "-bsf:v", f"noise=drop=eq(n\\,{lost})", tmp_path / "lost.mkv")
        got = walk(tmp_path / "lost.mkv")
        assert dict(zip(got.times_ns, got.hashes, strict=True)).items() <= right.items(), lost
        assert len(got.indexes) >= 75 - 14 - 12 * kinds[lost], lost


def test_interlaced_fields_and_films_on_television_have_no_holes(tmp_path: Path) -> None:
    fields = make_video(
        tmp_path / "a.mpg", "-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-bf", 2, source=AT_25
    )
    got = walk(fields)
    assert (len(got.indexes), got.failure) == (75, None)


def test_two_fields_of_one_picture_have_one_number() -> None:
    kinds = [
        ("I", 2),
        ("P", 2),
        ("B", 0),
        ("B", 0),
        ("B", 1),
        ("B", 1),
        ("P", 5),
        ("P", 5),
        ("B", 3),
        ("B", 3),
    ]
    first = [picture("I", 0, group=True)]
    assert followed(first + [picture(*one, group=not at) for at, one in enumerate(kinds)]) == []


def test_numbers_without_groups_go_on_beyond_the_last_one() -> None:
    assert followed([picture("I", 0), *(picture("P", number % 1024) for number in range(1, 3000))]) == []
    lost = [picture("I", 0), *(picture("P", number % 1024) for number in range(1, 3000) if number != 1024)]
    assert followed(lost) == [1025]
    assert followed(lost, delayed=False)[0] == 1024


def test_what_leads_a_group_may_be_left_out() -> None:
    one = [picture("I", 2, group=True), picture("P", 5), picture("B", 3), picture("B", 4)]
    assert followed([picture("I", 0, group=True), *one, *one]) == []


def test_what_is_no_picture_is_left_to_the_decoder() -> None:
    assert followed([Packet(b""), Packet(b"\0\0\1"), Packet(bytes(5000)), Packet(b"\0\0\1\xb3abc")]) == []


def test_a_picture_has_its_number_however_much_user_data_stands_before_its_header() -> None:
    for length in (*range(4_070, 4_100), 9_000):
        data = b"\0\0\1\xb2" + bytes(1 + at % 250 for at in range(length))
        behind = [Packet(data + picture("P", number)) for number in (1, 2)]
        pictures = [picture("I", 0, group=True), *behind, picture("P", 3), Packet(data + picture("P", 5))]
        assert followed(pictures, delayed=False) == [4], length
