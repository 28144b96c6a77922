from __future__ import annotations

from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.contract.errors import InputError, Reason
from galago_edge.sources.media.library import import_av
from galago_edge.sources.media.pictures import to_bgr

av = import_av("tests")

BT601 = (Fraction(299, 1000), Fraction(114, 1000))
BT709 = (Fraction(2126, 10000), Fraction(722, 10000))
BT2020 = (Fraction(2627, 10000), Fraction(593, 10000))
SUBSAMPLED = {
    "yuv420p": (2, 2),
    "yuv422p": (2, 1),
    "yuv444p": (1, 1),
    "yuv440p": (1, 2),
    "yuv411p": (4, 1),
    "yuv410p": (4, 4),
}


def random_frame(kind: str, width: int, height: int, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    frame = av.VideoFrame(width, height, kind)
    for plane in frame.planes:
        plane.update(rng.integers(0, 256, plane.buffer_size, dtype=np.uint8).tobytes())
    return frame


def spread(plane: npt.NDArray[Any], across: int, down: int, height: int, width: int) -> npt.NDArray[Any]:
    return plane.repeat(across, axis=1).repeat(down, axis=0)[:height, :width].astype(np.float64)


def by_the_book(
    frame: Any, matrix: tuple[Fraction, Fraction], full: bool, across: int, down: int
) -> npt.NDArray[np.float64]:
    """Return the picture as H.273 defines it, in floating point; OpenCV takes black for what is below."""
    planes = [np.frombuffer(plane, np.uint8).reshape(plane.height, -1) for plane in frame.planes]
    luma, blue, red = (
        planes[0][:, : frame.width].astype(np.float64),
        *(
            spread(plane[:, : -(-frame.width // across)], across, down, frame.height, frame.width) - 128
            for plane in planes[1:]
        ),
    )
    if not full:
        luma, blue, red = (luma - 16) * 255 / 219, blue * 255 / 224, red * 255 / 224
    kr, kb = map(float, matrix)
    kg = 1 - kr - kb
    green = luma - 2 * kb * (1 - kb) / kg * blue - 2 * kr * (1 - kr) / kg * red
    return np.stack([luma + 2 * (1 - kb) * blue, green, luma + 2 * (1 - kr) * red], axis=-1)


@pytest.mark.parametrize("kind", SUBSAMPLED)
@pytest.mark.parametrize("size", [(64, 48), (63, 47), (1, 1), (5, 3)])
@pytest.mark.parametrize(("number", "matrix"), [(2, BT601), (5, BT601), (1, BT709), (9, BT2020)])
@pytest.mark.parametrize("full", [False, True])
def test_every_sampling_matrix_and_range_is_within_one_level_of_its_standard(
    kind: str, size: tuple[int, int], number: int, matrix: tuple[Fraction, Fraction], full: bool
) -> None:
    frame = random_frame(kind, *size)
    frame.colorspace, frame.color_range = number, 2 if full else 1
    luma = np.frombuffer(frame.planes[0], np.uint8)
    if not full:  # below black, OpenCV and the standard differ
        frame.planes[0].update(luma.clip(16, 255).tobytes())
    wanted = by_the_book(frame, matrix, full, *SUBSAMPLED[kind]).clip(0, 255)
    got = to_bgr(frame, "x")
    assert got.shape == (size[1], size[0], 3)
    assert got.dtype == np.uint8
    assert got.flags.c_contiguous
    assert np.abs(got - wanted).max() <= 1.01


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_limited_bt601_of_even_size_is_what_opencv_makes_of_i420(width: int, height: int, seed: int) -> None:
    frame = random_frame("yuv420p", 2 * width, 2 * height, seed)
    lines = [
        np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : plane.width].ravel()
        for plane in frame.planes
    ]
    whole = np.concatenate(lines).reshape(3 * height, 2 * width)
    np.testing.assert_array_equal(to_bgr(frame, "x"), cv2.cvtColor(whole, cv2.COLOR_YUV2BGR_I420))


@pytest.mark.parametrize(
    ("kind", "same"),
    [("nv12", "yuv420p"), ("nv21", "yuv420p"), ("nv16", "yuv422p"), ("yuyv422", "yuv422p"),
     ("uyvy422", "yuv422p"), ("nv24", "yuv444p")],
)  # fmt: skip
@pytest.mark.parametrize("size", [(64, 48), (63, 47)])
@pytest.mark.parametrize("colour_range", [1, 2])
def test_the_order_of_samples_in_memory_changes_no_pixel(
    kind: str, same: str, size: tuple[int, int], colour_range: int
) -> None:
    planar = random_frame(same, *size)
    other = planar.reformat(format=kind)  # moves samples and computes nothing
    planar.color_range = other.color_range = colour_range
    np.testing.assert_array_equal(to_bgr(other, "x"), to_bgr(planar, "x"))


@pytest.mark.parametrize("kind", ["yuv420p10le", "yuv420p10be", "yuv422p12le", "yuv444p16le", "p010le"])
def test_more_than_8_bits_are_rounded_to_the_nearest_of_8(kind: str) -> None:
    bits = 16 if "16" in kind else 12 if "12" in kind else 10
    up = 6 if kind == "p010le" else 0
    frame = av.VideoFrame(8, 4, kind)
    dtype = ">u2" if kind.endswith("be") else "<u2"
    for plane, value in zip(frame.planes, (101, 120, 140), strict=False):
        deep = (value << (bits - 8)) + (1 << (bits - 8)) // 2 - 1  # just below the next level
        plane.update((np.full(plane.buffer_size // 2, deep << up)).astype(dtype).tobytes())
    eight = av.VideoFrame(8, 4, "yuv420p")
    values = (101, 120, 120) if kind == "p010le" else (101, 120, 140)  # both chromas in one plane
    for plane, value in zip(eight.planes, values, strict=True):
        plane.update(np.full(plane.buffer_size, value, np.uint8).tobytes())
    got, wanted = to_bgr(frame, "x"), to_bgr(eight, "x")
    assert np.abs(got.astype(int) - wanted).max() <= (0 if "420" in kind or kind == "p010le" else 1)


@pytest.mark.parametrize(
    "kind",
    [
        "bgr24",
        "rgb24",
        "rgba",
        "bgra",
        "argb",
        "abgr",
        "bgr0",
        "0rgb",
        "gbrp",
        "gbrap",
        "rgb48le",
        "rgba64le",
    ],
)
def test_rgb_keeps_its_levels_in_any_order(kind: str) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format=kind)
    np.testing.assert_array_equal(to_bgr(frame, "x"), picture)


def test_gray_is_of_the_full_range_unless_it_says_otherwise() -> None:
    frame = av.VideoFrame.from_ndarray(np.arange(256, dtype=np.uint8).reshape(16, 16), format="gray")
    assert to_bgr(frame, "x")[:, :, 1].ravel().tolist() == list(range(256))
    frame.color_range = 1
    limited = to_bgr(frame, "x")[:, :, 2].ravel()
    assert limited[[0, 16, 126, 235, 255]].tolist() == [0, 0, 128, 255, 255]


def test_what_is_transparent_is_laid_over_white() -> None:
    picture = np.zeros((2, 3, 4), np.uint8)
    picture[..., 3] = [[0, 128, 255]] * 2
    frame = av.VideoFrame.from_ndarray(picture, format="bgra")
    assert to_bgr(frame, "x")[0, :, 0].tolist() == [255, 127, 0]


@pytest.mark.parametrize("kind", ["monow", "xyz12le", "gbrpf32le", "vuyx"])
def test_pixels_without_an_exact_way_are_one_error(kind: str) -> None:
    frame = av.VideoFrame(16, 16, kind)
    with pytest.raises(InputError, match=f"clip.mkv has pixels of the format {kind}, expected YUV") as caught:
        to_bgr(frame, "clip.mkv")
    assert caught.value.reason is Reason.VIDEO_UNREADABLE


def test_a_colour_matrix_that_is_not_known_is_one_error() -> None:
    frame = random_frame("yuv420p", 16, 16)
    frame.colorspace = 8  # YCgCo
    with pytest.raises(InputError, match=r"a colour matrix \(number 8\)"):
        to_bgr(frame, "clip.mkv")
