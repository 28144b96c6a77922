"""Image preprocessing: geometry, colours, and writing straight into the tensor."""

from __future__ import annotations

import sys

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import DeviceError, InputError, Reason
from galago_edge.contract.manifest import ImagePreprocess
from galago_edge.preprocess import ImagePreprocessor
from galago_edge.preprocess.image import Box, crop_box, letterbox_box, use_one_thread

SPEC = ImagePreprocess(width=40, height=30)
SIZES = st.integers(1, 3_000)


def frame(height: int, width: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)


def test_stretch_resizes_exactly_and_gives_rgb() -> None:
    pixels = frame(121, 77)
    out = ImagePreprocessor(SPEC)(pixels)
    assert out.shape == (30, 40, 3)
    assert out.dtype == np.uint8
    assert np.array_equal(out, resized(pixels, 30, 40)[:, :, ::-1])
    assert not np.array_equal(out, cv2.resize(pixels, (40, 30))[:, :, ::-1]), "LINEAR is not exact"


def test_crop_keeps_the_centre() -> None:
    preprocess = ImagePreprocessor(msgspec.structs.replace(SPEC, resize="crop"))
    wide, tall = frame(90, 200), frame(301, 80)
    assert np.array_equal(preprocess(wide), resized(wide[:, 40:160], 30, 40)[:, :, ::-1])
    assert np.array_equal(preprocess(tall), resized(tall[120:180], 30, 40)[:, :, ::-1])


@pytest.mark.parametrize("color", ["rgb", "gray"])
def test_letterbox_keeps_everything_between_bars(color: str) -> None:
    spec = ImagePreprocess(width=40, height=30, resize="letterbox", color=color, pad_value=9)
    preprocess, whole = ImagePreprocessor(spec), msgspec.structs.replace(spec, resize="stretch")
    wide = preprocess(frame(50, 100))  # 40 x 20 pixels
    assert (wide[:5] == 9).all()
    assert (wide[25:] == 9).all()
    inner = msgspec.structs.replace(whole, height=20)
    assert np.array_equal(wide[5:25], ImagePreprocessor(inner)(frame(50, 100)))
    tall = preprocess(frame(90, 30))  # 10 x 30 pixels
    assert (tall[:, :15] == 9).all()
    assert (tall[:, 25:] == 9).all()
    inner = msgspec.structs.replace(whole, width=10)
    assert np.array_equal(tall[:, 15:25], ImagePreprocessor(inner)(frame(90, 30)))  # fmt: skip


@given(SIZES, SIZES, SIZES, SIZES)
def test_crop_box_is_the_largest_centred_one(
    height: int, width: int, out_height: int, out_width: int
) -> None:
    box = crop_box(height, width, out_height, out_width)
    assert box.height == height or box.width == width
    assert 1 <= box.height <= height
    assert 1 <= box.width <= width
    assert box.top == (height - box.height) // 2
    assert box.left == (width - box.width) // 2
    # the aspect ratio is right to half a pixel, unless that would leave no pixel at all
    if width * out_height >= height * out_width:
        assert box.width == 1 or abs(2 * (box.width * out_height - height * out_width)) <= out_height
    else:
        assert box.height == 1 or abs(2 * (box.height * out_width - width * out_height)) <= out_width


@given(SIZES, SIZES, SIZES, SIZES)
def test_letterbox_box_is_the_largest_centred_one(
    height: int, width: int, out_height: int, out_width: int
) -> None:
    box = letterbox_box(height, width, out_height, out_width)
    assert box.height == out_height or box.width == out_width
    assert 1 <= box.height <= out_height
    assert 1 <= box.width <= out_width
    assert box.top == (out_height - box.height) // 2
    assert box.left == (out_width - box.width) // 2
    if width * out_height >= height * out_width:
        assert box.height == 1 or abs(2 * (box.height * width - height * out_width)) <= width
    else:
        assert box.width == 1 or abs(2 * (box.width * height - width * out_height)) <= height


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (crop_box(10, 11, 4, 3), Box(0, 1, 10, 8)),  # 7.5 pixels: halves go up
        (crop_box(11, 10, 3, 4), Box(1, 0, 8, 10)),
        (letterbox_box(10, 8, 5, 9), Box(0, 2, 5, 4)),
        (letterbox_box(5, 10, 9, 9), Box(2, 0, 5, 9)),  # 4.5 pixels
        (letterbox_box(1, 1000, 5, 5), Box(2, 0, 1, 5)),
        (crop_box(1, 1000, 1000, 1), Box(0, 499, 1, 1)),
    ],
)
def test_lengths_are_rounded_as_declared(box: Box, expected: Box) -> None:
    assert box == expected


def test_gray_is_the_declared_integer_formula() -> None:
    """OpenCV has several implementations; 600,000 colours and the corners of the cube decide."""
    spec = ImagePreprocess(width=800, height=750, color="gray")
    pixels = frame(750, 800, seed=4)
    pixels[:2, :4] = np.stack(np.meshgrid([0, 255], [0, 255], [0, 255]), axis=-1).reshape(2, 4, 3)
    b, g, r = pixels.astype(np.int64).transpose(2, 0, 1)
    gray = ImagePreprocessor(spec)(pixels)
    assert gray.shape == (750, 800, 1)
    assert np.array_equal(gray[:, :, 0], (3735 * b + 19235 * g + 9798 * r + (1 << 14)) >> 15)


def test_a_frame_of_the_right_size_is_only_recoloured() -> None:
    pixels = frame(30, 40)
    for resize in ("stretch", "crop", "letterbox"):
        out = ImagePreprocessor(msgspec.structs.replace(SPEC, resize=resize))(pixels)
        assert np.array_equal(out, pixels[:, :, ::-1])


@pytest.mark.parametrize("resize", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize("color", ["rgb", "gray"])
def test_it_writes_straight_into_the_given_memory(resize: str, color: str) -> None:
    """The tensor's own bytes change, all of them, and nothing beside them."""
    spec = ImagePreprocess(width=31, height=22, resize=resize, color=color)
    preprocess = ImagePreprocessor(spec)
    expected = preprocess(frame(57, 93))
    memory = np.full(expected.size + 200, 77, dtype=np.uint8)
    tensor = memory[100:-100].reshape(1, *preprocess.shape)
    for fill in (0, 255):
        tensor[...] = fill
        preprocess.into(frame(57, 93), tensor[0])
        assert np.array_equal(tensor[0], expected)
    assert (memory[:100] == 77).all()
    assert (memory[-100:] == 77).all()


def test_frames_may_change_their_size_and_their_layout() -> None:
    preprocess = ImagePreprocessor(msgspec.structs.replace(SPEC, resize="crop"))
    first = preprocess(frame(99, 77))
    preprocess(frame(20, 300))
    mirrored = frame(99, 77)[:, ::-1]
    mirrored.setflags(write=False)
    assert np.array_equal(preprocess(mirrored), preprocess(mirrored.copy()))
    assert np.array_equal(preprocess(frame(99, 77)), first)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5_000), (40_000, 3), (2, 70_000)])
@pytest.mark.parametrize("resize", ["stretch", "crop", "letterbox"])
def test_any_size_works(shape: tuple[int, int], resize: str) -> None:
    out = ImagePreprocessor(msgspec.structs.replace(SPEC, resize=resize))(np.full((*shape, 3), 200, np.uint8))
    assert set(out.ravel().tolist()) <= {200, SPEC.pad_value}
    assert 200 in out


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((5, 5, 3)),
        np.zeros((5, 5, 3), np.uint16),
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((5, 5, 1), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5, 0, 3), np.uint8),
        np.zeros((1, 5, 5, 3), np.uint8),
    ],
    ids=["float", "16 bits", "no channels", "BGRA", "gray", "no rows", "no columns", "batch"],
)
def test_other_frames_are_refused(pixels: np.ndarray) -> None:
    preprocess = ImagePreprocessor(SPEC)
    for _ in range(2):  # also behind a good frame of the same shape
        with pytest.raises(InputError, match="expected uint8 of shape") as caught:
            preprocess(pixels)
        assert caught.value.reason is Reason.SOURCE_MISMATCH
        preprocess(frame(5, 5))


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((30, 40, 1), np.uint8),
        np.zeros((40, 30, 3), np.uint8),
        np.zeros((30, 40, 3), np.int8),
        np.zeros((30, 80, 3), np.uint8)[:, ::2],
        np.zeros((1, 30, 40, 3), np.uint8),
    ],
    ids=["channels", "turned", "signed", "strided", "batch"],
)
def test_other_tensors_are_refused(out: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected contiguous uint8"):
        ImagePreprocessor(SPEC).into(frame(50, 50), out)
    assert not out.any()


def test_without_opencv_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(DeviceError, match="cv2") as caught:
        ImagePreprocessor(SPEC)
    assert caught.value.reason is Reason.EXTRA_MISSING
    assert "galago-edge[camera]" in caught.value.hint
    use_one_thread()


def test_results_do_not_depend_on_opencv_s_threads() -> None:
    before = cv2.getNumThreads()
    preprocess, pixels = ImagePreprocessor(ImagePreprocess(width=300, height=300)), frame(481, 643)
    try:
        cv2.setNumThreads(4)
        shared = preprocess(pixels)
        use_one_thread()
        assert cv2.getNumThreads() == 1
        assert np.array_equal(preprocess(pixels), shared)
    finally:
        cv2.setNumThreads(before)
