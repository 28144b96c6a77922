"""Whole JPEG pictures come out of any bytes, byte for byte, and nothing else does."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.sources.capture import jpeg_scanner
from galago_edge.sources.capture.jpeg_scanner import JpegScanner


@cache
def picture(seed: int = 0, side: int = 24, *, progressive: bool = False, restarts: bool = False) -> bytes:
    """A JPEG of noise, so that its coded data hold stuffed FFs."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    options = [
        *(cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)),
        *(cv2.IMWRITE_JPEG_RST_INTERVAL, int(restarts)),
    ]
    data: bytes = cv2.imencode(".jpg", pixels, options)[1].tobytes()
    return data


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def with_segment(data: bytes, marker: int, content: bytes) -> bytes:
    return data[:2] + segment(marker, content) + data[2:]


def scanned(data: bytes, cuts: list[int] | None = None) -> list[bytes]:
    """What comes out of ``data`` in pieces of these lengths, over and over; ``b""`` for what is not whole."""
    scanner, at, turn, found = JpegScanner(), 0, 0, []
    cuts = cuts or [max(1, len(data))]
    while at < len(data):
        size = cuts[turn % len(cuts)]
        scanner.feed(data[at : at + size])
        at, turn = at + size, turn + 1
        while (came := scanner.next_picture()) is not None:
            found.append(came)
    return found + [b""] * scanner.finish()


WHOLE = {
    "plain": picture(),
    "larger": picture(1, 96),
    "progressive": picture(2, 64, progressive=True),
    "restart markers": picture(3, 64, restarts=True),
    "thumbnail inside": with_segment(picture(4), 0xE1, b"Exif\0\0" + picture(5, 16)),
    "comment with markers": with_segment(picture(6), 0xFE, b"\xff\xd9 \xff\xd8\xff\xda"),
    "fill bytes before markers": picture(7)[:2] + b"\xff\xff\xff" + picture(7)[2:-2] + b"\xff\xff\xff\xd9",
    "one pixel": picture(8, 1),
}


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
def test_a_picture_comes_out_as_it_is(data: bytes) -> None:
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None
    for size in (1, 2, 3, 7, len(data)):
        assert scanned(data, [size]) == [data]


between = st.lists(
    st.sampled_from([b"--", b"\r\n", b"frame", b"\xff", b"\xff\xd9", b"\x00", b"\xff\xff", b"--x--"]),
    max_size=8,
).map(b"".join)
pieces = st.lists(st.integers(1, 400), min_size=1, max_size=5)


@given(st.lists(st.tuples(between, st.sampled_from(list(WHOLE.values()))), max_size=5), between, pieces)
def test_whatever_stands_between_pictures_and_however_they_come_all_of_them_come_out(
    parts: list[tuple[bytes, bytes]], end: bytes, cuts: list[int]
) -> None:
    data = b"".join(before + whole for before, whole in parts) + end
    assert scanned(data, cuts) == [whole for _, whole in parts]


marks = st.sampled_from(
    [b"\xff\xd8", b"\xff\xd9", b"\xff\xda\x00\x03\x00", b"\xff\xc0\x00\x04\x00\x00", b"\xff"]
)
junk = st.lists(marks | st.binary(max_size=20), max_size=30).map(b"".join)


@given(junk, pieces)
def test_junk_is_never_an_error_and_gives_the_same_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    assert scanned(data, cuts) == scanned(data)


@given(st.integers(1, len(WHOLE["thumbnail inside"]) - 1), pieces)
def test_a_picture_that_the_end_cuts_off_is_none_and_neither_is_its_thumbnail(
    left: int, cuts: list[int]
) -> None:
    data = WHOLE["thumbnail inside"][:left]
    assert scanned(data, cuts) == ([b""] if left >= 3 else [])


@given(st.sampled_from(["plain", "restart markers"]), st.data())
def test_a_picture_that_is_cut_off_among_its_coded_data_costs_no_other(
    kind: str, data: st.DataObject
) -> None:
    whole = WHOLE[kind]
    coded = whole.find(b"\xff\xda") + 2 + whole[whole.find(b"\xff\xda") + 3]
    left = data.draw(st.integers(coded, len(whole) - 2))
    head = b"\r\n--frame\r\nContent-Length: 5\r\n\r\n"
    assert scanned(head + whole[:left] + head + WHOLE["plain"] + head) == [b"", WHOLE["plain"]]


def test_a_picture_that_is_cut_off_among_its_tables_costs_at_most_the_next_one() -> None:
    whole = WHOLE["thumbnail inside"]
    for left in range(3, whole.find(b"\xff\xda")):
        head = b"\r\n--frame\r\n\r\n"
        found = [came for came in scanned(whole[:left] + (head + WHOLE["larger"]) * 3) if came]
        assert len(found) >= 2 and set(found) == {WHOLE["larger"]}


def test_an_end_without_coded_data_and_data_without_a_size_are_no_picture() -> None:
    assert scanned(b"\xff\xd8" + segment(0xE0, b"JFIF") + b"\xff\xd9") == [b""]
    assert scanned(b"\xff\xd8" + segment(0xDA, b"\x00") + b"xx\xff\xd9") == [b""]
    assert scanned(b"\xff\xd8" + b"\xff\xe0\x00\x01" + picture()) == [b"", picture()]
    assert scanned(b"\xff\xd8\xff\xd8" + picture()) == [b"", b"", picture()]


def test_a_picture_without_an_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg_scanner, "LONGEST_PICTURE", 100_000)
    endless = picture()[:-2] + b"x" * 300_000
    assert scanned(endless + picture(), [10_000]) == [b"", picture()]


def test_what_is_no_picture_is_not_kept() -> None:
    scanner = JpegScanner()
    for _ in range(100):
        scanner.feed(b"x" * 100_000)
        assert scanner.next_picture() is None
    assert len(scanner._data) <= 2
