"""A camera's JPEG without its metadata: the same picture to the last pixel, and nothing else."""

from __future__ import annotations

import struct
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.contract.streams import Frame
from galago_edge.recording.bare_jpeg import bare_jpeg
from galago_edge.recording.sample_media import bare_jpeg_bytes, jpeg_bytes

SECRET = b"GPS-52.5200N-13.4050E"
SHAPES = st.sampled_from([(1, 1), (8, 8), (48, 64), (33, 17)])
OPTIONS = st.sampled_from(
    [
        (),
        (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        (cv2.IMWRITE_JPEG_OPTIMIZE, 1),
        (cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
        (cv2.IMWRITE_JPEG_QUALITY, 100),
        (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
        (cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    ]
)


@cache
def encoded(shape: tuple[int, int], options: tuple[int, ...], gray: bool = False) -> bytes:
    noise = np.random.default_rng(7).integers(0, 255, shape if gray else (*shape, 3), np.uint8)
    return bytes(cv2.imencode(".jpg", noise, options)[1].tobytes())


def decoded(jpeg: bytes) -> npt.NDArray[np.uint8] | None:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return None if picture is None else picture.astype(np.uint8)


def same(one: bytes, other: bytes) -> bool:
    first, second = decoded(one), decoded(other)
    assert first is not None and second is not None
    return np.array_equal(first, second)


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def heads(jpeg: bytes) -> list[int]:
    """Where segments begin, before the first scan; the first is behind the start marker."""
    found, at = [], 2
    while True:
        while jpeg[at + 1] == 0xFF:
            at += 1
        if jpeg[at + 1] == 0xDA:
            return [*found, at]
        found.append(at)
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")


def exif(orientation: int = 1, order: str = "<", extra: bytes = SECRET) -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    directory = struct.pack(f"{order}IH", 8, 1) + entry + struct.pack(f"{order}I", 0)
    return segment(0xE1, b"Exif\0\0" + mark + directory + extra)


REMARKS = st.builds(
    segment,
    st.sampled_from([*range(0xE1, 0xEE), 0xEF, 0xFE]),
    st.binary(max_size=300).map(lambda rest: SECRET + rest),
)


@settings(max_examples=300, deadline=None)
@given(SHAPES, OPTIONS, st.booleans(), st.lists(st.tuples(st.integers(0, 20), REMARKS, st.integers(0, 3))))
def test_whatever_remarks_stand_wherever_the_pixels_stay_and_the_remarks_go(
    shape: tuple[int, int], options: tuple[int, ...], gray: bool, remarks: list[tuple[int, bytes, int]]
) -> None:
    jpeg = encoded(shape, options, gray)
    told = jpeg
    for place, remark, filling in remarks:
        places = heads(told)
        at = places[place % len(places)]
        told = told[:at] + b"\xff" * filling + remark + told[at:]
    told += SECRET
    bare = bare_jpeg(told)
    assert bare == jpeg, "OpenCV's own JPEGs hold nothing but the picture"
    assert same(bare, told)


def test_remarks_between_the_scans_of_a_progressive_picture_go_too() -> None:
    jpeg = encoded((48, 64), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1))
    second = jpeg.index(b"\xff\xda", jpeg.index(b"\xff\xda") + 2)
    told = jpeg[:second] + segment(0xFE, SECRET) + jpeg[second:]
    bare = bare_jpeg(told)
    assert bare == jpeg and same(bare, told)


def test_thumbnails_of_jfif_go_and_its_colours_stay() -> None:
    jpeg = encoded((48, 64), ())
    assert jpeg[2:11] == b"\xff\xe0\x00\x10JFIF\0"
    small = segment(0xE0, jpeg[6:18] + b"\x08\x08" + SECRET.ljust(8 * 8 * 3, b"x"))
    extended = segment(0xE0, b"JFXX\0\x10" + b"\xff\xd8" + SECRET + b"\xff\xd9")
    told = jpeg[:2] + small + extended + segment(0xE0, b"AVI1" + SECRET) + jpeg[20:]
    bare = bare_jpeg(told)
    assert bare == jpeg and same(bare, told)


@pytest.mark.parametrize("transform", [0, 1])
def test_what_adobe_says_of_the_colours_stays(transform: int) -> None:
    jpeg = encoded((48, 64), ())
    adobe = b"Adobe\0\x64\0\0\0\0" + bytes([transform])
    told = jpeg[:2] + segment(0xEE, adobe + SECRET) + segment(0xEE, SECRET) + jpeg[20:]
    bare = bare_jpeg(told)
    assert bare == jpeg[:2] + segment(0xEE, adobe) + jpeg[20:] and same(bare, told)
    assert same(jpeg, told) == (transform == 1), "else this proves nothing"


@settings(max_examples=500, deadline=None)
@given(SHAPES, OPTIONS, st.data())
def test_a_damaged_one_is_refused_or_is_the_same_picture(
    shape: tuple[int, int], options: tuple[int, ...], data: st.DataObject
) -> None:
    jpeg = bytearray(encoded(shape, options)[:2] + exif() + encoded(shape, options)[2:])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(jpeg) - 1))
        jpeg[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    bare = bare_jpeg(bytes(jpeg))
    if bare is None:
        return
    assert bare.startswith(b"\xff\xd8") and bare.endswith(b"\xff\xd9") and bare_jpeg(bare) == bare
    before, after = decoded(bytes(jpeg)), decoded(bare)
    assert (before is None) == (after is None)
    assert before is None or after is None or np.array_equal(before, after)


@given(st.binary(max_size=200))
def test_what_is_no_jpeg_is_refused(data: bytes) -> None:
    assert bare_jpeg(data) is None
    assert bare_jpeg(b"\xff\xd8" + data) is None or b"\xff\xda" in data


@pytest.mark.parametrize(
    "damage",
    [
        lambda jpeg: jpeg[:-2],
        lambda jpeg: jpeg[: len(jpeg) // 2],
        lambda jpeg: jpeg[:2] + b"junk" + jpeg[2:],
        lambda jpeg: jpeg[:2] + b"\xff\xfe\x00\x01" + jpeg[2:],
        lambda jpeg: jpeg[:2] + b"\xff\xd8" + jpeg[2:],
        lambda jpeg: jpeg[:2] + b"\xff\xd9",
        lambda jpeg: jpeg[:-2] + b"\xff\x02\xff\xd9",
        lambda jpeg: b"\x89PNG" + jpeg,
    ],
    ids=["no end", "half", "junk", "no length", "two starts", "empty", "no marker", "other kind"],
)
def test_what_is_not_well_formed_is_encoded_anew_from_its_pixels(damage: object) -> None:
    assert callable(damage)
    pixels = np.full((48, 64, 3), 200, np.uint8)
    sent = damage(cv2.imencode(".jpg", pixels)[1].tobytes())
    assert bare_jpeg(sent) is None
    frame = Frame(pixels, 0, 0, sent)
    bare = bare_jpeg_bytes(frame)
    picture = decoded(bare)
    assert picture is not None and np.abs(picture.astype(int) - 200).max() < 5
    assert bare_jpeg(bare) == bare


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(10))
def test_one_that_its_metadata_turns_is_encoded_as_the_stream_sees_it(orientation: int, order: str) -> None:
    plain = encoded((48, 64), ())
    sent = plain[:2] + exif(orientation, order) + plain[2:]
    seen = decoded(sent)
    assert seen is not None
    turned = not np.array_equal(seen, decoded(plain))
    assert turned == (2 <= orientation <= 8)
    bare = bare_jpeg_bytes(Frame(seen, 0, 0, sent))
    assert SECRET not in bare and b"Exif" not in bare
    picture = decoded(bare)
    assert picture is not None and picture.shape == seen.shape
    assert (bare == plain) == (not turned)


def test_samples_keep_what_the_camera_sent() -> None:
    plain = encoded((48, 64), ())
    sent = plain[:2] + exif() + plain[2:]
    assert jpeg_bytes(Frame(np.zeros((48, 64, 3), np.uint8), 0, 0, sent)) == sent
