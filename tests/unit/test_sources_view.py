"""What a stream sees of a picture: turned, cut, blacked out, exactly."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from galago_edge.contract.errors import CallerError, InputError, Reason
from galago_edge.contract.settings import SourceSettings, StreamSettings
from galago_edge.contract.streams import Frame, Gap, Item, Notice
from galago_edge.sources.address_options import read_options
from galago_edge.sources.picture_view import PictureViewer, inside_polygon
from galago_edge.sources.view_options import (
    UNITS,
    VIEW_OPTIONS,
    Corners,
    PictureView,
    read_corners,
    read_masks,
    view_of,
    view_settings,
)
from galago_edge.sources.viewed_source import viewed
from test_kit.listed import ListSource

UNIT = st.integers(0, UNITS)
PICTURE = np.random.default_rng(5).integers(1, 256, (6, 8, 3), np.uint8)


def seen(picture: np.ndarray[Any, np.dtype[np.uint8]] = PICTURE, **options: str) -> Any:
    read: dict[str, Any] = {name: VIEW_OPTIONS[name](text) for name, text in options.items()}
    return PictureViewer(view_of(read)).apply(picture)


def brute_force(corners: Corners, height: int, width: int) -> list[list[bool]]:
    """Count the edges to the right of every pixel's centre with fractions."""
    xs = [Fraction(x * width, UNITS) for x in corners[0::2]]
    ys = [Fraction(y * height, UNITS) for y in corners[1::2]]
    edges = list(zip(xs, ys, xs[1:] + xs[:1], ys[1:] + ys[:1], strict=True))

    def inside(x: Fraction, y: Fraction) -> bool:
        crossed = 0
        for x1, y1, x2, y2 in edges:
            if min(y1, y2) <= y < max(y1, y2):
                crossed += x1 + (y - y1) * (x2 - x1) / (y2 - y1) > x
        return crossed % 2 == 1

    half = Fraction(1, 2)
    return [[inside(column + half, row + half) for column in range(width)] for row in range(height)]


@settings(max_examples=150, deadline=None)
@given(
    corners=st.lists(st.tuples(UNIT, UNIT), min_size=3, max_size=7).map(lambda found: sum(found, ())),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
)
def test_a_pixel_is_inside_when_its_centre_is(corners: list[int], height: int, width: int) -> None:
    found = inside_polygon(tuple(corners), height, width)
    assert found.tolist() == brute_force(tuple(corners), height, width)


def test_a_large_picture_is_counted_without_overflow() -> None:
    found = inside_polygon((0, 0, UNITS, 0, UNITS, UNITS), 3, 65_536)
    assert [int(row.sum()) for row in found] == [54_613, 32_768, 10_923]  # five, three and one sixth


def test_polygons_that_share_an_edge_share_no_pixel_and_leave_none_out() -> None:
    upper = inside_polygon((0, 0, UNITS, 0, UNITS, 7_777, 0, 3_333), 90, 160)
    lower = inside_polygon((0, 3_333, UNITS, 7_777, UNITS, UNITS, 0, UNITS), 90, 160)
    assert (upper ^ lower).all()


@pytest.mark.parametrize(
    ("degrees", "code"),
    [("90", cv2.ROTATE_90_CLOCKWISE), ("180", cv2.ROTATE_180), ("270", cv2.ROTATE_90_COUNTERCLOCKWISE)],
)
def test_rotation_is_clockwise(degrees: str, code: int) -> None:
    np.testing.assert_array_equal(seen(rotate=degrees), cv2.rotate(PICTURE, code))
    assert seen(rotate=degrees).flags.c_contiguous


def test_a_rectangle_is_cut_out_at_the_nearest_pixels() -> None:
    np.testing.assert_array_equal(seen(region="0.25,0.5,0.75,1"), PICTURE[3:, 2:6])
    np.testing.assert_array_equal(seen(region="0,0,1,1"), PICTURE)
    np.testing.assert_array_equal(seen(region="0.0624,0,0.9376,1"), PICTURE)  # 0.0625: half a pixel of eight
    np.testing.assert_array_equal(seen(region="0.0626,0,0.9374,1"), PICTURE[:, 1:7])


def test_a_polygon_is_cut_out_and_black_around() -> None:
    found = seen(region="0,0,1,0,0,1")
    kept = inside_polygon((0, 0, UNITS, 0, 0, UNITS), 6, 8)
    rows, columns = np.flatnonzero(kept.any(axis=1)), np.flatnonzero(kept.any(axis=0))
    expected = np.where(kept[:, :, None], PICTURE, 0)[: rows[-1] + 1, : columns[-1] + 1]
    np.testing.assert_array_equal(found, expected)


def test_masks_are_black_and_in_coordinates_of_the_whole_turned_picture() -> None:
    found = seen(rotate="180", region="0.5,0,1,1", mask="0.5,0,0.75,0.5;0,0,0.5,1")
    expected = PICTURE[::-1, ::-1][:, 4:].copy()
    expected[:3, :2] = 0
    np.testing.assert_array_equal(found, expected)
    assert (PICTURE > 0).all()  # what the source gave is as it was


def test_pictures_may_change_their_size() -> None:
    viewer = PictureViewer(PictureView(region=read_corners("0.5,0.5,1,1")))
    for height, width in ((6, 8), (60, 80), (6, 8), (8, 6)):
        assert viewer.apply(np.zeros((height, width, 3), np.uint8)).shape == (height // 2, width // 2, 3)


def test_a_region_without_a_pixel_is_refused() -> None:
    with pytest.raises(InputError, match=r"holds no pixel of a picture of 8 x 6") as caught:
        seen(region="0.001,0,0.002,1")
    assert caught.value.reason is Reason.SOURCE_MISMATCH


FLAT = (
    "0.5,0.5,0.5,0.5,0.5,0.5",
    "0.1,0.1,0.9,0.9,0.5,0.5",
    "0.3,0,0.3,1,0.3,0.5,0.3,0.7",
    "0,0,0.5,0,0.5,0.5,0.5,0",
    "0,0,1,1,0,0,1,1",
    "0,0,1,0,0,0,0,1",
)
"""Shapes in which nothing lies."""


def test_a_mask_without_a_pixel_is_refused() -> None:
    with pytest.raises(InputError, match=r"mask .* holds no pixel of a picture of 8 x 6") as caught:
        seen(mask="0,0,1,1;0.001,0,0.002,1")
    assert caught.value.reason is Reason.SOURCE_MISMATCH


@pytest.mark.parametrize("text", ["0,0,1,0,1,1,0,1", "0,0,1,1,1,0,0,1"])
def test_a_shape_with_anything_inside_is_taken(text: str) -> None:
    assert seen(mask=text).shape == PICTURE.shape


@pytest.mark.parametrize(
    ("option", "text"),
    [
        *(("rotate", text) for text in ("45", "-90", "90.0", "", "360")),
        *(
            ("region", text)
            for text in (
                "",
                "1",
                "0,0,1",
                "0,0,1,1,0",
                "0,0,2,1",
                "0,0,nan,1",
                "0,0,1e400000000,1",
                "0,0,1e-9,1",
                "0,0,0.12345,1",
            )
        ),
        *(("region", text) for text in ("0,0,1e400000000,1", "1,0,0,1", "0,0.5,1,0.5", "a,b,c,d", "0;0;1;1")),
        *(("mask", text) for text in ("", ";", "0,0,1,1;", "0,0,1,1;2,2,3,3")),
        *((option, text) for option in ("region", "mask") for text in FLAT),
    ],
)
def test_what_is_no_view_is_refused_in_one_line(option: str, text: str) -> None:
    with pytest.raises(CallerError) as caught:
        read_options(f"{option}={text}", VIEW_OPTIONS, "door.mkv")
    assert caught.value.reason is Reason.CONFIG_BAD and "\n" not in str(caught.value)


@given(st.lists(st.integers(0, UNITS), min_size=6, max_size=6), st.sampled_from([0, 90, 180, 270]))
def test_an_address_a_table_and_a_program_say_the_same(numbers: list[int], rotate: int) -> None:
    ax, ay, bx, by, cx, cy = numbers
    assume((bx - ax) * (cy - ay) != (by - ay) * (cx - ax))
    fractions = [number / UNITS for number in numbers]
    text = ",".join(map(str, fractions))
    by_address = view_of(
        {"rotate": rotate, "region": read_corners(text), "mask": read_masks(f"{text};{text}")}
    )
    table = {"address": "camera:0", "rotate": rotate, "region": fractions, "mask": [fractions, fractions]}
    assert view_of({}, msgspec.convert(table, SourceSettings)) == by_address
    assert view_of({}, view_settings(rotate, fractions, [fractions, fractions])) == by_address
    assert by_address.region == tuple(numbers)


def test_a_stream_says_more_than_its_source_and_that_more_than_the_address() -> None:
    source = SourceSettings(address="camera:0", rotate=90, region=(0.0, 0.0, 0.5, 0.5))
    options = {"rotate": 180, "mask": read_masks("0,0,1,0.1")}
    view = view_of(options, source, StreamSettings(name="door", source="cam", region=()))
    assert view == PictureView(rotate=90, masks=((0, 0, UNITS, 1_000),))
    assert view.description() == {"rotate": 90, "mask": [[0.0, 0.0, 1.0, 0.1]]}
    assert not view_of({}, SourceSettings(address="camera:0")) and view
    with pytest.raises(CallerError, match="met 3 numbers"):
        view_of({}, SourceSettings(address="camera:0", region=(0.0, 0.5, 1.0)))


def test_a_viewed_source_changes_frames_and_nothing_else() -> None:
    items: list[Item] = [
        Notice("offset", 0, 0, {}),
        Frame(PICTURE, 3, 70, b"what the camera sent"),
        Gap(70, 90, "missing"),
    ]
    source = viewed(ListSource(items), PictureView(rotate=90))
    notice, frame, gap = source
    assert (notice, gap) == (items[0], items[2])
    assert isinstance(frame, Frame)
    assert (frame.index, frame.captured_ns, frame.encoded) == (3, 70, None)
    assert frame.pixels.shape == (8, 6, 3)
    assert source.description()["view"] == {"rotate": 90}
    plain = ListSource(items)
    assert viewed(plain, PictureView()) is plain


def test_a_microphone_has_no_view() -> None:
    source = ListSource([])
    source.modality = "microphone"
    with pytest.raises(CallerError, match="are for a camera"):
        viewed(source, PictureView(rotate=90))


@pytest.mark.parametrize(
    ("given", "met"),
    [
        ({"rotate": 45}, r"rotate is 45, expected 0, 90, 180 or 270"),
        ({"rotate": "90"}, r"rotate is '90', expected 0, 90, 180 or 270"),
        ({"region": "0,0,1,1"}, r"region is '0,0,1,1', expected left, top, right, bottom, or x, y of"),
        ({"region": [0, 0, 2, 1]}, r"region is \[0, 0, 2, 1\], expected left, top"),
        ({"region": [[0, 0], [1, 1]]}, r"region is \[\[0, 0\], \[1, 1\]\], expected left, top"),
        ({"region": [0, 0, 1]}, r"region: met 3 numbers, expected left, top"),
        ({"mask": [0, 0, 1, 1]}, r"mask is \[0, 0, 1, 1\], expected a list of shapes such as \[\[0, 0"),
        ({"mask": [[0.5] * 6]}, r"mask: its corners lie on one line"),
        ({"mask": 1}, r"mask is 1, expected a list of shapes"),
    ],
)
def test_a_program_is_told_what_it_gave_and_what_is_expected(given: dict[str, Any], met: str) -> None:
    with pytest.raises(ValueError, match=met):
        view_settings(**{"rotate": None, "region": None, "mask": None} | given)


def test_a_program_may_give_arrays_and_tuples() -> None:
    table = view_settings(np.int64(90), np.array([0, 0, 0.5, 1]), ((0, 0, 0.25, 1), np.array([0, 0, 1, 1])))
    assert view_of({}, table) == PictureView(
        90, (0, 0, 5000, UNITS), ((0, 0, 2500, UNITS), (0, 0, UNITS, UNITS))
    )
