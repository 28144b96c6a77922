from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.contract.errors import InputError, LinkError, Reason
from galago_edge.contract.streams import Frame, Gap, Notice
from galago_edge.sources import ImageFolder, decode_image, read_image
from galago_edge.sources.image_folder import frame_ns


def picture(seed: int = 0, height: int = 24, width: int = 32) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(suffix: str, seed: int = 0) -> bytes:
    return cv2.imencode(suffix, picture(seed))[1].tobytes()


def test_a_png_comes_back_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(".png"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), picture())


def test_gray_and_transparent_images_become_three_channels() -> None:
    gray = cv2.imencode(".png", picture()[:, :, 0])[1].tobytes()
    clear = cv2.imencode(".png", np.dstack([picture(), picture()[:, :, 0]]))[1].tobytes()
    assert decode_image(gray, "gray").shape == decode_image(clear, "clear").shape == (24, 32, 3)


def broken() -> dict[str, bytes]:
    png, jpg = encoded(".png"), encoded(".jpg")
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 1
    return {
        "empty": b"",
        "text": b"this is no picture at all",
        "signature alone": png[:8],
        "png cut in half": png[: len(png) // 2],
        "png without its end": png[:-12],
        "png with one bit changed": bytes(flipped),
        "jpg cut in half": jpg[: len(jpg) // 2],
        "jpg header alone": jpg[:20],
    }


@pytest.mark.parametrize("name", broken())
def test_an_unreadable_image_is_one_error_and_no_other_line(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError) as caught:
        decode_image(broken()[name], name)
    assert caught.value.reason is Reason.IMAGE_UNREADABLE
    assert str(caught.value).startswith(name)
    assert "\n" not in str(caught.value)
    out, err = capfd.readouterr()  # of the file descriptors, so what C libraries write counts too
    assert out == err == ""


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_behind_a_png_signature_never_crash(data: bytes) -> None:
    with pytest.raises(InputError):
        decode_image(b"\x89PNG\r\n\x1a\n" + data, "noise")


def test_a_missing_image_is_a_missing_source(tmp_path: Path) -> None:
    with pytest.raises(LinkError) as caught:
        read_image(tmp_path / "none.png")
    assert caught.value.reason is Reason.SOURCE_MISSING


def test_a_folder_is_a_stream_in_the_order_of_names_at_the_declared_rate(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        (tmp_path / f"{number:03}.png").write_bytes(encoded(".png", number))
    (tmp_path / "notes.txt").write_text("not an image")
    frames = list(ImageFolder(tmp_path, Fraction(30_000, 1001)))
    assert [type(item) for item in frames] == [Frame] * 3
    for index, (frame, number) in enumerate(zip(frames, (1, 2, 10), strict=True)):
        assert isinstance(frame, Frame)
        np.testing.assert_array_equal(frame.pixels, picture(number))
        assert (frame.index, frame.captured_ns) == (index, index * 1001 * 1_000_000_000 // 30_000)


def test_without_a_rate_a_folder_has_five_frames_a_second(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(encoded(".png"))
    (tmp_path / "2.png").write_bytes(encoded(".png"))
    assert [frame.captured_ns for frame in ImageFolder(tmp_path) if isinstance(frame, Frame)] == [
        0,
        200_000_000,
    ]


def test_an_image_that_cannot_be_read_is_a_gap_and_an_error_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(encoded(".png"))
    (tmp_path / "2.png").write_bytes(b"oops")
    (tmp_path / "3.png").write_bytes(encoded(".png"))
    items = []
    with pytest.raises(InputError, match=r"1 of 3 images cannot be read; the first: .*2\.png") as caught:
        for item in ImageFolder(tmp_path):
            items.append(item)  # what came before the error counts
    assert caught.value.reason is Reason.IMAGE_UNREADABLE
    assert [item.index for item in items if isinstance(item, Frame)] == [0, 2]
    assert items[1:3] == [
        Notice("unreadable", 1, 200_000_000, {"file": "2.png", "reason": "IMAGE_UNREADABLE"}),
        Gap(200_000_000, 400_000_000, "unreadable"),
    ]


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.raises(InputError, match="holds no image"):
        ImageFolder(tmp_path)


def test_the_description_names_the_folder_but_not_where_it_lies(tmp_path: Path) -> None:
    folder = tmp_path / "cards"
    folder.mkdir()
    (folder / "1.png").write_bytes(encoded(".png"))
    assert ImageFolder(folder).description() == {"kind": "folder", "name": "cards", "fps": "5", "images": 1}


@given(st.integers(0, 10**9), st.integers(1, 10**6), st.integers(1, 1001))
def test_frame_times_never_drift(index: int, numerator: int, denominator: int) -> None:
    """Exactly the floor of index / rate, also after years of frames."""
    rate = Fraction(numerator, denominator)
    assert frame_ns(index, rate) == (index * 10**9 / rate).__floor__()
