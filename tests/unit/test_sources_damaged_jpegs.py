"""What is odd about a JPEG neither hides damage nor is taken for it; what stands behind it does not count."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.contract.errors import InputError
from galago_edge.sources.capture.jpeg_scanner import JpegScanner
from galago_edge.sources.jpeg_parts import jpeg_end, jpeg_parts, without_oddities
from galago_edge.sources.still_image import Pixels, decode_picture

Change = Callable[[bytes], bytes]

_SOS = b"\xff\xda"
_PROGRESSIVE = b"\xff\xc2"
_DAMAGED = 40


@cache
def picture(*options: int, width: int = 160, height: int = 120, channels: int = 3) -> bytes:
    rng = np.random.default_rng(width)
    coarse = rng.integers(0, 256, (12, 16, channels), dtype=np.uint8)
    pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", pixels, list(options))[1].tobytes()


def damaged(jpeg: bytes, seed: int) -> bytes:
    """The same with three other bytes in its last scan; no markers appear."""
    rng = random.Random(seed)
    data = bytearray(jpeg)
    for _ in range(3):
        at = rng.randrange(jpeg.rindex(_SOS) + 20, len(jpeg) - 4)
        if 0xFF not in data[at - 1 : at + 1]:
            data[at] = (data[at] + rng.randrange(1, 255)) % 255
    return bytes(data)


def judged(jpeg: bytes) -> tuple[Pixels | None, bool]:
    try:
        return decode_picture(jpeg, "picture")
    except InputError:
        return None, False


def noticed(jpeg: bytes, change: Change) -> int:
    return sum(not judged(change(damaged(jpeg, seed)))[1] for seed in range(_DAMAGED))


def put_before(marker: bytes, more: bytes) -> Change:
    def change(jpeg: bytes) -> bytes:
        at = jpeg.find(marker)
        return jpeg if at < 0 else jpeg[:at] + more + jpeg[at:]

    return change


def odd_scan(jpeg: bytes) -> bytes:
    if _PROGRESSIVE in jpeg:  # it uses them
        return jpeg
    at = jpeg.index(_SOS) + 4
    at += 1 + 2 * jpeg[at]
    return jpeg[:at] + b"\0\0\0" + jpeg[at + 3 :]


def plain(jpeg: bytes) -> bytes:
    return jpeg


def odd_revision(jpeg: bytes) -> bytes:
    return jpeg[:11] + b"\x02" + jpeg[12:]


ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\0\0\0\0\x09"
ODDITIES: dict[str, Change] = {
    "JFIF revision": odd_revision,
    "scan parameters": odd_scan,
    "bytes before a quantization table": put_before(b"\xff\xdb", bytes(3)),
    "bytes before a code table": put_before(b"\xff\xc4", b"junk"),
    "bytes before the size": put_before(b"\xff\xc0", b"\xff\x00\r\n"),
    "bytes before the scan": put_before(_SOS, b"\0"),
    "Adobe's transform": put_before(b"\xff\xc0", ADOBE),
    "several": lambda jpeg: odd_scan(odd_revision(put_before(b"\xff\xdb", bytes(9))(jpeg))),
}
TAILS = {
    "zeros": bytes(4096),
    "a line": b"\r\n",
    "zeros and an end": bytes(64) + b"\xff\xd9",
    "another picture": picture(width=32, height=24),
    "text": b"behind the end" * 9,
}


def filled(count: int, byte: int) -> Change:
    return lambda jpeg: jpeg[:-2] + bytes([byte]) * count + jpeg[-2:]


FILLED = {
    f"{count} times {byte:#04x} before the end": filled(count, byte)
    for count, byte in ((1, 0), (16, 0), (4096, 0), (64, 0x20))
}
_OPTIONS = pytest.mark.parametrize(
    "options",
    [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 5)],
    ids=["sequential", "progressive", "with restarts"],
)


@pytest.mark.parametrize("change", ODDITIES.values(), ids=ODDITIES.keys())
@_OPTIONS
def test_damage_behind_an_odd_header_is_noticed(options: tuple[int, ...], change: Change) -> None:
    jpeg = picture(*options)
    assert noticed(jpeg, change) >= noticed(jpeg, plain) >= _DAMAGED // 4


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS.keys())
def test_damage_is_noticed_whatever_stands_behind_the_end(tail: bytes) -> None:
    assert noticed(picture(), lambda jpeg: jpeg + tail) == noticed(picture(), plain)


@pytest.mark.parametrize("change", FILLED.values(), ids=FILLED.keys())
@_OPTIONS
def test_damage_is_noticed_in_a_picture_that_was_filled_up(options: tuple[int, ...], change: Change) -> None:
    """But for one that lacks some bytes only, and finds them in the filling."""
    jpeg = picture(*options)
    most = noticed(jpeg, plain)
    assert noticed(jpeg, change) >= most - 1
    assert noticed(jpeg, lambda jpeg: change(jpeg) + b"\r\n") >= most - 1


def kind(width: int, height: int, progressive: int, restart: int, sampling: int) -> bytes:
    options = (cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_RST_INTERVAL, restart)
    return picture(*options, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling, width=width, height=height)


_KINDS: dict[str, bytes] = {
    f"{width}x{height} {'progressive' if progressive else 'sequential'} restart {restart} {sampling:#x}": (
        kind(width, height, progressive, restart, sampling)
    )
    for width, height in ((1, 1), (15, 17), (161, 119))
    for progressive in (0, 1)
    for restart in (0, 1, 7)
    for sampling in (0x411111, 0x221111, 0x211111, 0x111111)
} | {"grey": picture(channels=1)}


@pytest.mark.parametrize("jpeg", _KINDS.values(), ids=_KINDS.keys())
def test_a_whole_picture_stays_whole_and_its_pixels_stay(jpeg: bytes) -> None:
    pixels, whole = decode_picture(jpeg, "picture")
    assert whole
    for change in (*ODDITIES.values(), *FILLED.values()):
        for tail in (b"", *TAILS.values()):
            found, whole = decode_picture(change(jpeg) + tail, "picture")
            assert whole
            np.testing.assert_array_equal(found, pixels)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.none() | st.integers(0, 1000),
    name=st.sampled_from(sorted(_KINDS)),
    tail=st.binary(max_size=40) | st.sampled_from(list(TAILS.values())),
)
def test_trailing_bytes_change_neither_pixels_nor_verdict(seed: int | None, name: str, tail: bytes) -> None:
    jpeg = _KINDS[name]
    if seed is not None and len(jpeg) - jpeg.rindex(_SOS) > 40:
        jpeg = damaged(jpeg, seed)
    pixels, whole = judged(jpeg)
    found, still = judged(jpeg + tail)
    assert still == whole
    assert (found is None) == (pixels is None)
    assert found is None or pixels is None or np.array_equal(found, pixels)


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(_KINDS)), tail=st.binary(max_size=40))
def test_a_picture_of_a_file_ends_where_one_of_a_stream_ends(name: str, tail: bytes) -> None:
    scanner = JpegScanner()
    scanner.feed(_KINDS[name] + tail)
    assert scanner.next_picture() == (_KINDS[name] + tail)[: jpeg_end(_KINDS[name] + tail)] == _KINDS[name]


def test_an_end_inside_a_segment_is_none() -> None:
    small = picture(width=32, height=24)
    notes = b"\xff\xe1" + (len(small) + 2).to_bytes(2, "big") + small
    jpeg = picture()[:2] + notes + picture()[2:]
    assert jpeg_end(jpeg + b"tail") == len(jpeg)
    assert jpeg_end(jpeg[:-2]) is None


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(_KINDS)), st.integers(0, 700), st.binary(max_size=12), st.booleans())
def test_no_bytes_make_the_walk_fail(name: str, at: int, patch: bytes, cut: bool) -> None:
    data = _KINDS[name][:at] + patch + (b"" if cut else _KINDS[name][at + len(patch) :])
    for part in jpeg_parts(data):
        assert part.start < len(data)
        assert part.start + 2 <= part.end
    end = jpeg_end(data)
    assert end is None or data[:end].endswith(b"\xff\xd9")
    assert len(without_oddities(data)) <= len(data)
