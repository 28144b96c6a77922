from __future__ import annotations

import contextlib
import math
import os
import re
import tempfile
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
from galago_edge.sources.picture_order import order_pictures
from galago_edge.sources.picture_times import read_times
from test_kit.pictures import out_of_step_jpeg


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


def test_a_jpeg_that_is_cut_off_is_told_from_one_that_is_damaged() -> None:
    whole = cv2.imencode(".jpg", np.random.default_rng(1).integers(0, 255, (96, 128, 3), np.uint8))[1]
    data = whole.tobytes()
    with pytest.raises(InputError, match="cut is cut off; expected"):
        decode_image(data[: len(data) // 2], "cut")
    with pytest.raises(InputError, match="half-way"):
        decode_image(out_of_step_jpeg(), "damaged")


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
    for number in (3, 2, 1):
        (tmp_path / f"{number:03}.png").write_bytes(encoded(".png", number))
    (tmp_path / "notes.txt").write_text("not an image")
    frames = list(ImageFolder(tmp_path, Fraction(30_000, 1001)))
    assert [type(item) for item in frames] == [Frame] * 3
    for index, (frame, number) in enumerate(zip(frames, (1, 2, 3), strict=True)):
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


# order, numbers, strays


def write(folder: Path, *names: str) -> list[str]:
    for seed, name in enumerate(names):
        (folder / name).write_bytes(encoded(".png", seed))
    return list(names)


def seconds(item: Frame | Gap) -> tuple[float, float] | float:
    return item.captured_ns / 1e9 if isinstance(item, Frame) else (item.from_ns / 1e9, item.to_ns / 1e9)


def test_numbers_count_and_missing_ones_are_a_gap(tmp_path: Path) -> None:
    write(tmp_path, *(f"img{number}.png" for number in (1, 2, 3, 9, 10, 11)))
    items = list(ImageFolder(tmp_path, Fraction(1)))
    assert items[3] == Gap(3 * 10**9, 8 * 10**9, "missing")
    frames = [item for item in items if isinstance(item, Frame)]
    assert [(frame.index, seconds(frame)) for frame in frames] == [
        (index, index) for index in (0, 1, 2, 8, 9, 10)
    ]


def test_a_hundred_and_twenty_numbers_with_thirty_missing_keep_their_times(tmp_path: Path) -> None:
    kept = [number for number in range(1, 121) if not 40 <= number < 70]
    write(tmp_path, *(f"img{number}.png" for number in kept))
    source = ImageFolder(tmp_path, Fraction(10))
    items = list(source)
    (gap,) = [item for item in items if isinstance(item, Gap)]
    assert seconds(gap) == (3.9, 6.9)
    assert [item.index for item in items if isinstance(item, Frame)] == [number - 1 for number in kept]
    assert source.summary() == {"images": 90, "unreadable": 0, "missing": 30}


def test_what_does_not_fit_the_numbering_is_named_and_left_out(tmp_path: Path) -> None:
    write(tmp_path, "img1.png", "img2.png", "img5.png", "Thumbs.jpg", "img12_thumb.png")
    (tmp_path / "img3.png").mkdir()
    os.mkfifo(tmp_path / "img10.png")
    source = ImageFolder(tmp_path)
    notice, *frames = source
    strays = ["Thumbs.jpg", "img3.png", "img10.png", "img12_thumb.png"]
    assert notice == Notice("stray_files", 0, 0, {"files": strays, "count": 4})
    assert [item.index for item in frames if isinstance(item, Frame)] == [0, 1, 4]
    assert source.summary()["strays"] == 4


@pytest.mark.parametrize(
    ("names", "indexes", "strays"),
    [
        (["1.png", "2.png", "10.png"], None, None),
        (["a.png", "b.png", "c.png"], [0, 1, 2], []),
        (["000.png", "001.png", "002.png"], [0, 1, 2], []),
        (["0.png", "10.png", "20.png", "40.png"], [0, 1, 2, 4], []),
        (["7.png"], [0], []),
        (["1.jpg", "2.png", "3.webp"], [0, 1, 2], []),
        (["img1_cam2.png", "img2_cam2.png", "img4_cam2.png"], [0, 1, 3], []),
        (["1.png", "01.png", "2.png"], [0, 1], ["1.png"]),
        (["left_1.png", "right_1.png", "left_2.png", "right_2.png"], [0, 1, 2, 3], []),
        (["f_1000.png", "f_1003.png", "f_9000.png", "f_9001.png"], [0, 1, 2, 3], []),
        ([f"{9**80 + number}.png" for number in (0, 1, 3)], [0, 1, 3], []),
    ],
    ids=[
        *("sparse", "no numbers", "with zeros", "in steps", "one alone", "kinds mixed", "two numbers"),
        *("a number twice", "two cameras", "dates", "large numbers"),
    ],
)
def test_numberings(names: list[str], indexes: list[int] | None, strays: list[str] | None) -> None:
    order = order_pictures(reversed(names))
    if indexes is None:
        assert order.doubt == {"numbers": 3, "range": 10} and order.indexes == (0, 1, 2)
        return
    assert list(order.indexes) == indexes
    assert list(order.strays) == strays


@given(st.sets(st.integers(0, 300), min_size=1, max_size=60), st.text("ab_", max_size=3), st.booleans())
def test_numbered_names_stand_at_their_numbers(numbers: set[int], prefix: str, padded: bool) -> None:
    names = {f"{prefix}{number:04}.png" if padded else f"{prefix}{number}.png": number for number in numbers}
    order = order_pictures(names)
    assert [names[name] for name in order.names] == sorted(numbers)
    assert order.strays == ()
    found = sorted(numbers)
    step = math.gcd(*(number - found[0] for number in found)) or 1
    if order.doubt is None:
        assert [found[0] + step * index for index in order.indexes] == found
    else:
        assert list(order.indexes) == list(range(len(numbers)))


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), unique=True, max_size=20))
def test_any_names_have_an_order_that_does_not_depend_on_the_disk(names: list[str]) -> None:
    one, other = order_pictures(names), order_pictures(reversed(names))
    assert one == other
    assert sorted((*one.names, *one.strays)) == sorted(names)
    assert list(one.indexes) == sorted(set(one.indexes))


def test_several_numberings_in_one_folder_are_said(tmp_path: Path) -> None:
    write(tmp_path, *(f"{side}_{number}.png" for side in ("left", "right") for number in (1, 2, 4)))
    notice, *frames = ImageFolder(tmp_path)
    assert notice == Notice("not_numbered", 0, 0, {"numberings": 2})
    assert [item.index for item in frames if isinstance(item, Frame)] == list(range(6))


def test_names_that_are_no_utf8_are_escaped(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    write(folder, "img1.png", "img2.png", os.fsdecode(b"th\xfc.png"))
    (folder / os.fsdecode(b"img3.png")).write_bytes(b"oops")
    source = ImageFolder(folder)
    items = []
    with pytest.raises(InputError, match=r"caf\\xe9/img3.png") as caught:
        for item in source:
            items.append(item)
    str(caught.value).encode()
    assert source.description()["name"] == "caf\\xe9"
    assert items[0] == Notice("stray_files", 0, 0, {"files": ["th\\xfc.png"], "count": 1})


# times.csv


def test_stated_times_count_from_the_first_and_a_long_pause_is_a_gap(tmp_path: Path) -> None:
    write(tmp_path, "b.png", "a.png", "c.png", "d.png", "left_over.png")
    (tmp_path / "times.csv").write_text(
        "file,time_s\nb.png,3600\na.png,3600.1000000019\nc.png,3600.2\nd.png,3610\n"
    )
    source = ImageFolder(tmp_path)
    offset, strays, *items = source
    assert offset == Notice("offset", 0, 0, {"offset_ns": 3600 * 10**9})
    assert strays == Notice("stray_files", 0, 0, {"files": ["left_over.png"], "count": 1})
    assert [(item.index, item.captured_ns) for item in items if isinstance(item, Frame)] == [
        (0, 0),
        (1, 100_000_001),
        (2, 200_000_000),
        (3, 10_000_000_000),
    ]
    assert items[3] == Gap(300_000_001, 10 * 10**9, "missing")
    np.testing.assert_array_equal(items[0].pixels, picture(0))  # type: ignore[union-attr]
    described = {"kind": "folder", "name": tmp_path.name, "times": "times.csv", "images": 4}
    assert source.description() == described


def test_nanoseconds_are_taken_as_they_are_and_a_given_rate_overrules_them(tmp_path: Path) -> None:
    write(tmp_path, "1.png", "2.png")
    (tmp_path / "times.csv").write_text("file,time_ns\r\n1.png,0\r\n2.png,77\r\n")
    assert [item.captured_ns for item in ImageFolder(tmp_path) if isinstance(item, Frame)] == [0, 77]
    notice, _, second = ImageFolder(tmp_path, Fraction(2))
    assert notice == Notice("rate", 0, 0, {"stated": "times.csv", "used": "2"})
    assert isinstance(second, Frame) and second.captured_ns == 500_000_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: met ''"),
        ("name,when\n1.png,0\n", "line 1: met 'name,when'"),
        ("file,time_s\n", "names no picture"),
        ("file,time_s\n1.png\n", "line 2: met 1 fields"),
        ("file,time_s\n1.png,soon\n", "line 2: 'soon' is no time"),
        ("file,time_s\n1.png,nan\n", "line 2: 'nan' is no time"),
        ("file,time_s\n1.png,1e400\n", "line 2"),
        ("file,time_s\n1.png,-1\n", "line 2: -1 is out of range"),
        ("file,time_ns\n1.png,0.5\n", "line 2: '0.5' is no time"),
        ("file,time_s\n1.png,1\n2.png,1\n", "line 3: 1 is not later"),
        ("file,time_s\n1.png,1\n1.png,2\n", "line 3: 1.png is there twice"),
        ("file,time_s\n1.png,1\n3.png,2\n", "line 3: there is no picture 3.png"),
    ],
)
def test_wrong_times_are_one_line(text: str, said: str, tmp_path: Path) -> None:
    write(tmp_path, "1.png", "2.png")
    (tmp_path / "times.csv").write_text(text)
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        ImageFolder(tmp_path)
    assert caught.value.reason is Reason.TIMES_BAD
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=80))
def test_no_bytes_make_the_reader_of_times_fail_in_another_way(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "times.csv"
        path.write_bytes(b"file,time_s\n" + data)
        with contextlib.suppress(InputError):
            read_times(path, {"1.png"})
