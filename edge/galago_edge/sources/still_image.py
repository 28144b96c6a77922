"""Still images, decoded to 8-bit BGR: those of folders, of ``galago classify``, of training, and of cameras.

Nothing is decoded before its header was read (:mod:`galago_edge.sources.picture_header`). 8-bit pictures are
what OpenCV makes of them. What it would make black is converted here, in integers:

* A sample of a known maximum (PNM) becomes ``min(255, sample * 255 // maximum)``.
* A sample of 16 bits becomes its high byte; in a picture whose samples are all below 256, which holds 8-bit
  values in a wider file, its low byte.
* A colour ``c`` of opacity ``a`` is laid on white: ``(c * a + 255 * (255 - a) + 127) // 255``.

A JPEG whose data is damaged half-way is no picture, although a decoder makes something of it
(:mod:`galago_edge.sources.decoder_warnings`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import InputError, LinkError, Reason, disk_error
from galago_edge.host.small_file import NotPlainError, TooLongError, read_small
from galago_edge.sources.decoder_warnings import watched_decoding, watched_jpeg
from galago_edge.sources.opencv import import_cv2
from galago_edge.sources.picture_header import (
    LARGEST_FILE_PIXELS,
    PICTURE_FORMATS,
    PictureHeader,
    checked_header,
)

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG_BEGIN, _JPEG_SCAN, _JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
_LARGEST_BYTES = 8 * LARGEST_FILE_PIXELS
"""Of a file: four channels of 16 bits, not compressed at all."""
_ROWS = 256
"""Rows that are laid on white at a time, so that it takes little memory."""

Pixels = npt.NDArray[np.uint8]


def read_image(path: Path, *, largest_pixels: int = LARGEST_FILE_PIXELS) -> Pixels:
    """Return the image as BGR, shape ``(height, width, 3)``.

    Raises:
        InputError: IMAGE_UNREADABLE, IMAGE_TOO_BIG.
        LinkError: SOURCE_MISSING, or IO when the disk fails.
        DeviceError: EXTRA_MISSING.
    """
    return read_picture(path, largest_pixels=largest_pixels)[0]


def read_picture(path: Path, *, largest_pixels: int = LARGEST_FILE_PIXELS) -> tuple[Pixels, bytes | None]:
    """Return the image as BGR, and the file's bytes where it is a JPEG.

    Raises:
        InputError: IMAGE_UNREADABLE, IMAGE_TOO_BIG.
        LinkError: SOURCE_MISSING, or IO when the disk fails.
        DeviceError: EXTRA_MISSING.
    """
    try:
        data = read_small(path, _LARGEST_BYTES)
    except NotPlainError:
        raise _unreadable(str(path), "is a pipe or a device") from None
    except TooLongError:
        raise InputError(
            Reason.IMAGE_TOO_BIG,
            f"{path} is larger than the {_LARGEST_BYTES >> 20} MiB that a picture may have",
            hint="make it smaller, or leave it out",
        ) from None
    except FileNotFoundError:
        raise LinkError(Reason.SOURCE_MISSING, f"{path} does not exist", hint="check the path") from None
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    pixels = decode_image(data, str(path), largest_pixels=largest_pixels)
    return pixels, data if data.startswith(_JPEG_BEGIN) else None


def decode_image(data: bytes, name: str, *, largest_pixels: int = LARGEST_FILE_PIXELS) -> Pixels:
    """Return an encoded image as BGR, shape ``(height, width, 3)``. ``name`` is for messages.

    Raises:
        InputError: IMAGE_TOO_BIG, before anything is decoded; IMAGE_UNREADABLE.
        DeviceError: EXTRA_MISSING.
    """
    pixels, whole = decode_picture(data, name, largest_pixels=largest_pixels)
    if not whole:
        # an EXIF thumbnail ends, too, but before the picture's own data begins
        cut_off = data.rfind(_JPEG_END) < data.rfind(_JPEG_SCAN)
        what = "is cut off" if cut_off else "is damaged (its data makes no sense half-way)"
        raise _unreadable(name, what)
    return pixels


def decode_picture(
    data: bytes, name: str, *, largest_pixels: int = LARGEST_FILE_PIXELS
) -> tuple[Pixels, bool]:
    """Return an encoded image as BGR, and whether that can be relied on: not what a decoder patched up.

    Raises:
        InputError: IMAGE_TOO_BIG, before anything is decoded; IMAGE_UNREADABLE, when nothing can be.
        DeviceError: EXTRA_MISSING.
    """
    cv2 = import_cv2("reading images")
    if not data:
        raise _unreadable(name, "is empty")
    header = checked_header(data, name, largest_pixels)
    if header is None:
        raise _unreadable(name, "is not an image, is damaged or is cut off")
    if header.format == "png":
        _check_png(data, name)
    try:
        if header.format == "jpeg":
            pixels, whole = watched_jpeg(
                data, lambda jpeg: _decoded(cv2, jpeg, header), lambda jpeg: _is_decodable(cv2, jpeg)
            )
        else:
            pixels, whole = watched_decoding(lambda: _decoded(cv2, data, header))
    except cv2.error as error:
        raise _unreadable(name, f"cannot be decoded ({str(error.err)[:80]})") from None
    if pixels is None:
        raise _unreadable(name, "is not an image, is damaged or is cut off")
    return pixels, whole


def _decoded(cv2: Any, data: bytes, header: PictureHeader) -> Pixels | None:
    encoded = np.frombuffer(data, np.uint8)
    if header.alpha and (shown := _laid_on_white(cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED))) is not None:
        return np.ascontiguousarray(_TURNED.get(header.orientation, _as_it_is)(shown))
    if header.maximum > 255:
        deep: npt.NDArray[Any] | None = cv2.imdecode(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        if deep is None or deep.dtype == np.uint16:
            return None if deep is None else _narrowed(deep, header.maximum)
    pixels: Pixels | None = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    if pixels is not None and header.maximum < 255 and not header.text:
        return _scaled(pixels, header.maximum)
    return pixels


def _is_decodable(cv2: Any, jpeg: bytes) -> bool:
    """Go through all coded data of a JPEG: grey, and an eighth of its size, in a quarter of the time."""
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8) is not None


def _as_it_is(pixels: Pixels) -> Pixels:
    return pixels


_TURNED: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: np.rot90(pixels),
}
"""By EXIF's orientation. OpenCV turns all pictures but those whose transparency it is asked for."""


def _laid_on_white(picture: npt.NDArray[Any] | None) -> Pixels | None:
    """Return a picture of four channels without its transparency; None when it has none."""
    if picture is None or picture.ndim != 3 or picture.shape[2] != 4:
        return None
    if picture.dtype == np.uint16:
        opacity = _narrowed(picture[:, :, 3:], 65_535)
        colours = _narrowed(picture[:, :, :3], 65_535)
    elif picture.dtype == np.uint8:
        colours, opacity = picture[:, :, :3], picture[:, :, 3:]
    else:
        return None
    if bool((opacity == 255).all()):
        return None
    shown = np.empty(colours.shape, np.uint8)
    for row in range(0, len(colours), _ROWS):
        part = slice(row, row + _ROWS)
        alpha = opacity[part].astype(np.uint16)
        white = np.uint16(255) * (np.uint16(255) - alpha)
        shown[part] = (colours[part] * alpha + white + np.uint16(127)) // 255  # below 65536
    return shown


def _narrowed(deep: npt.NDArray[np.uint16], maximum: int) -> Pixels:
    """Return 16-bit samples as 8 bits."""
    if maximum < 65_535:
        return _scaled(deep, maximum)
    if not deep.size or int(deep.max()) < 256:
        return deep.astype(np.uint8)
    return (deep >> 8).astype(np.uint8)


def _scaled(samples: npt.NDArray[np.uint16] | Pixels, maximum: int) -> Pixels:
    table = np.minimum(255, np.arange(int(np.iinfo(samples.dtype).max) + 1) * 255 // maximum).astype(np.uint8)
    scaled: Pixels = table[samples]
    return scaled


def _check_png(data: bytes, name: str) -> None:
    """Walk the chunks and their checksums: libpng would write its finding to standard error itself."""
    at = len(_PNG)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            break
        if zlib.crc32(data[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise _unreadable(name, "is damaged (a checksum does not match)")
        if kind == b"IEND":
            return
        at = end + 4
    raise _unreadable(name, "is cut off")


def _unreadable(name: str, what: str) -> InputError:
    return InputError(
        Reason.IMAGE_UNREADABLE,
        f"{name} {what}; expected a whole picture ({PICTURE_FORMATS})",
        hint="replace the file or leave it out",
    )
