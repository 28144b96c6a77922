"""Headers are read before anything is decoded; what is decoded is what the picture shows."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.contract.errors import InputError, Reason
from galago_edge.sources import decode_image, read_image
from galago_edge.sources.picture_header import LARGEST_CAMERA_PIXELS, picture_header, picture_size
from galago_edge.sources.still_image import decode_picture
from test_kit.pictures import claimed_jpeg, claimed_png, made_png, out_of_step_jpeg, png_chunk

_SUFFIXES = (".jpg", ".png", ".bmp", ".webp", ".pgm", ".ppm", ".pbm", ".tiff", ".gif")
_COLOURS = {".pgm": 1, ".pbm": 1}


def picture(width: int, height: int, channels: int = 3) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(width).integers(0, 256, (height, width, channels), dtype=np.uint8)


def encoded(suffix: str, pixels: npt.NDArray[np.generic], *options: int) -> bytes:
    return cv2.imencode(suffix, pixels, list(options))[1].tobytes()


@pytest.mark.parametrize("suffix", _SUFFIXES)
@settings(max_examples=20, deadline=None)
@given(width=st.integers(1, 300), height=st.integers(1, 300))
def test_the_header_says_what_the_decoder_makes(suffix: str, width: int, height: int) -> None:
    data = encoded(suffix, picture(width, height, _COLOURS.get(suffix, 3)))
    assert picture_size(data) == (width, height)
    assert decode_image(data, "picture").shape == (height, width, 3)


@pytest.mark.parametrize(
    "data",
    [
        encoded(".jpg", picture(70, 50), cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        encoded(".webp", picture(70, 50), cv2.IMWRITE_WEBP_QUALITY, 101),
        encoded(".webp", picture(70, 50, 4), cv2.IMWRITE_WEBP_QUALITY, 50),
        encoded(".png", picture(70, 50, 1).astype(np.uint16) * 257),
        encoded(".tiff", picture(70, 50, 1).astype(np.uint16) * 257),
        b"P2\n# by hand\n70 50\n# more\n255\n" + b"7 " * 3500,
        b"P7\nWIDTH 70\nHEIGHT 50\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + bytes(70 * 50 * 3),
    ],
    ids=["progressive", "webp lossless", "webp alpha", "png 16", "tiff 16", "plain pgm", "pam"],
)
def test_every_dialect_of_a_header_is_understood(data: bytes) -> None:
    assert picture_size(data) == (70, 50)
    assert decode_image(data, "picture").shape == (50, 70, 3)


def test_a_jpeg_is_walked_by_its_markers_and_not_searched() -> None:
    """A thumbnail inside the camera's own notes is another picture, with another size."""
    whole, small = encoded(".jpg", picture(64, 48)), encoded(".jpg", picture(8, 8))
    notes = b"\xff\xe1" + struct.pack(">H", len(small) + 2) + small
    data = whole[:2] + notes + b"\xff\xff\xff\xfe\x00\x04\xff\xc0junk" + whole[2:]
    assert picture_size(data) == (64, 48)
    np.testing.assert_array_equal(decode_image(data, "camera"), decode_image(whole, "plain"))


def test_a_bigtiff_and_a_tile_count_by_what_is_taken_for_them() -> None:
    def tag(number: int, value: int) -> bytes:
        return struct.pack(">HHQQ", number, 16, 1, value)

    entries = [tag(256, 100), tag(257, 80), tag(322, 40_000), tag(323, 40_000)]
    data = b"MM\0+" + struct.pack(">HHQQ", 8, 0, 16, len(entries)) + b"".join(entries)
    assert picture_size(data) == (40_000, 40_000)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(_SUFFIXES), st.integers(0, 60), st.binary(max_size=12))
def test_no_bytes_make_the_header_reader_fail(noise: bytes, suffix: str, at: int, patch: bytes) -> None:
    whole = bytearray(encoded(suffix, picture(9, 7, _COLOURS.get(suffix, 3))))
    whole[at : at + len(patch)] = patch
    for data in (bytes(whole), bytes(whole[:at]), bytes(whole[:at]) + noise):
        found = picture_header(data)
        assert found is None or (found.width >= 0 and found.height >= 0)


@pytest.mark.parametrize(
    ("data", "said"),
    [(claimed_jpeg(32_000, 32_000), "32000 x 32000"), (claimed_png(30_000), "30000 x 30000")],
    ids=["jpeg", "png"],
)
def test_a_picture_that_claims_too_much_is_refused_before_it_is_decoded(
    data: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / "bomb").write_bytes(data)
    program = (
        "import resource, sys, pathlib\n"
        "from galago_edge.sources import read_image\n"
        "from galago_edge.contract.errors import InputError\n"
        "from galago_edge.sources.opencv import import_cv2\n"
        "import_cv2('x')\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    read_image(pathlib.Path(sys.argv[1]))\n"
        "except InputError as error:\n    print(error.line)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "bomb")], capture_output=True, text=True, check=True
    )
    line, grown_kb = done.stdout.splitlines()
    assert said in line
    assert "expected at most 64 megapixels" in line
    assert line.endswith("[IMAGE_TOO_BIG]")
    assert int(grown_kb) < 20_000


def test_a_camera_may_give_less_than_a_file() -> None:
    data = encoded(".jpg", np.zeros((4097, 4096, 3), np.uint8))
    assert decode_image(data, "file").shape == (4097, 4096, 3)
    with pytest.raises(InputError) as caught:
        decode_image(data, "camera", largest_pixels=LARGEST_CAMERA_PIXELS)
    assert caught.value.reason is Reason.IMAGE_TOO_BIG
    assert "at most 16 megapixels" in str(caught.value)


def test_a_file_that_no_picture_can_fill_is_not_even_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError) as caught:
        read_image(tmp_path / "huge.png")
    assert caught.value.reason is Reason.IMAGE_TOO_BIG


def test_what_is_not_known_is_not_decoded() -> None:
    hdr = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\n\x80\x80\x80\x80"
    with pytest.raises(InputError, match="JPEG, PNG"):
        decode_image(hdr, "hdr")


# 16 bits, other maxima, transparency


def gray(data: bytes) -> list[int]:
    pixels = decode_image(data, "picture")
    assert (pixels == pixels[:, :, :1]).all()
    found: list[int] = pixels[0, :, 0].tolist()
    return found


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
def test_16_bits_become_their_high_byte(suffix: str) -> None:
    values = np.array([[0, 255, 256, 20_000, 65_535]], np.uint16)
    assert gray(encoded(suffix, values)) == [0, 0, 1, 78, 255]


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
def test_8_bits_in_a_16_bit_file_are_not_black(suffix: str) -> None:
    assert gray(encoded(suffix, np.array([[0, 1, 200, 255]], np.uint16))) == [0, 1, 200, 255]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"P5 4 1 4095\n" + struct.pack(">4H", 0, 1000, 4095, 16), [0, 62, 255, 0]),
        (b"P5 4 1 100\n" + bytes([0, 50, 100, 16]), [0, 127, 255, 40]),
        (b"P2 4 1 100\n0 50 100 16\n", [0, 127, 255, 40]),
        (b"P2 4 1 4095\n0 1000 4095 16\n", [0, 62, 255, 0]),
        (b"P5 2 1 1000\n" + struct.pack(">2H", 1000, 5000), [255, 255]),
        (
            b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 1\nMAXVAL 4095\nTUPLTYPE GRAYSCALE\nENDHDR\n"
            + struct.pack(">2H", 0, 4095),
            [0, 255],
        ),
    ],
    ids=["12 bits", "below 8 bits", "in text", "12 bits in text", "above its maximum", "pam"],
)
def test_a_stated_maximum_is_full_brightness(data: bytes, expected: list[int]) -> None:
    assert gray(data) == expected


@settings(max_examples=50, deadline=None)
@given(
    values=st.lists(st.integers(0, 65_535), min_size=1, max_size=40),
    maximum=st.integers(1, 65_534),
)
def test_scaling_to_8_bits_is_integer_division(values: list[int], maximum: int) -> None:
    samples = np.minimum(np.array(values), maximum)
    data = samples.astype(">u2" if maximum > 255 else "u1").tobytes()
    expected = [value * 255 // maximum for value in samples.tolist()]
    assert gray(f"P5 {len(values)} 1 {maximum}\n".encode() + data) == expected


def test_black_on_transparent_is_black_on_white() -> None:
    pixels = np.zeros((1, 4, 4), np.uint8)
    pixels[0, :, 3] = (0, 255, 128, 1)
    assert gray(encoded(".png", pixels)) == [255, 0, 127, 254]
    assert gray(encoded(".webp", pixels, cv2.IMWRITE_WEBP_QUALITY, 101)) == [255, 0, 127, 254]
    assert gray(encoded(".png", pixels.astype(np.uint16) * 257)) == [255, 0, 127, 254]
    palette = made_png(2, 1, 8, 3, b"\0\0\1", PLTE=bytes(6), tRNS=bytes([0, 255]))
    assert gray(palette) == [255, 0]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 255)] * 4), min_size=1, max_size=600))
def test_colours_are_laid_on_white_to_the_nearest_integer(colours: list[tuple[int, int, int, int]]) -> None:
    pixels = np.array(colours, np.uint8).reshape(-1, 1, 4)
    wide = pixels.astype(np.int64)
    alpha = wide[:, :, 3:]
    expected = (2 * (wide[:, :, :3] * alpha + 255 * (255 - alpha)) + 255) // 510
    np.testing.assert_array_equal(decode_image(encoded(".png", pixels), "picture"), expected)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".bmp", ".tiff"])
def test_an_opaque_picture_is_what_opencv_makes_of_it(suffix: str) -> None:
    pixels = picture(40, 30, 4)
    pixels[:, :, 3] = 255
    for shown in (pixels, pixels[:, :, :3]):
        data = encoded(suffix, shown)
        plain = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(decode_image(data, "picture"), plain)


def test_a_jpeg_that_is_damaged_inside_is_no_picture_and_nothing_is_written(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(InputError, match="camera is damaged") as caught:
        decode_image(out_of_step_jpeg(), "camera")
    assert caught.value.reason is Reason.IMAGE_UNREADABLE
    pixels, whole = decode_picture(out_of_step_jpeg(), "camera")
    assert pixels.shape == (96, 128, 3) and not whole
    assert capfd.readouterr().err == ""


def _between(data: bytes, marker: bytes, more: bytes) -> bytes:
    at = data.index(marker)
    return data[:at] + more + data[at:]


@pytest.mark.parametrize(
    "odd",
    [
        lambda data: data[:11] + b"\x02" + data[12:],
        lambda data: data[:-2] + bytes(30) + data[-2:],
        lambda data: data + b"anything",
        lambda data: _between(data, b"\xff\xc0", b"\xff\xee\x00\x0eAdobe\x00\x64\0\0\0\0\x09"),
        lambda data: data.replace(b"\x11\x03\x11\x00\x3f\x00", b"\x11\x03\x11\x00\x00\x00"),
    ],
    ids=["JFIF revision", "filled up", "behind its end", "Adobe's transform", "parameters of progression"],
)
def test_a_jpeg_that_is_only_odd_is_decoded_and_nothing_is_written(
    odd: Callable[[bytes], bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    data = encoded(".jpg", picture(64, 48))
    np.testing.assert_array_equal(decode_image(odd(data), "camera"), decode_image(data, "camera"))
    assert odd(data) != data
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("data", [b"nonsense", zlib.compress(bytes(1000))], ids=["no data", "too little"])
def test_what_libpng_says_is_not_written(data: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    head = encoded(".png", picture(64, 48))[:33]
    profile = png_chunk(b"iCCP", b"bad\0\0" + zlib.compress(b"x"))
    with pytest.raises(InputError):
        decode_image(head + profile + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b""), "picture")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("kind", ["png", "webp"])
def test_a_transparent_picture_is_turned_as_an_opaque_one(kind: str, orientation: int) -> None:
    """By EXIF; cameras held upright write it."""
    exif = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHHI", 274, 3, 1, orientation, 0, 0)
    clear = picture(24, 16, 4)
    clear[:, :, :3], clear[:, :, 3] = clear[:, :, :3] // 2 * 2, 255
    opaque = with_exif(kind, clear, exif)
    clear[0, 0, 3] = 254
    found, expected = decode_image(with_exif(kind, clear, exif), "clear"), decode_image(opaque, "opaque")
    assert found.shape == expected.shape == ((24, 16, 3) if 5 <= orientation <= 8 else (16, 24, 3))
    assert np.count_nonzero((found != expected).any(axis=2)) <= 1


def with_exif(kind: str, pixels: npt.NDArray[np.uint8], exif: bytes) -> bytes:
    """The picture, without loss, with these EXIF data."""
    height, width = pixels.shape[:2]
    if kind == "png":
        data = encoded(".png", pixels)
        return data[:33] + png_chunk(b"eXIf", exif) + data[33:]
    coded = encoded(".webp", pixels, cv2.IMWRITE_WEBP_QUALITY, 101)[12:]
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    head = b"VP8X" + struct.pack("<IB3x", 10, 0x18) + size
    body = b"WEBP" + head + coded + b"EXIF" + struct.pack("<I", len(exif)) + exif
    return b"RIFF" + struct.pack("<I", len(body)) + body
