"""Still images: one file, or a folder of them as a stream."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import InputError, LinkError, Reason, disk_error
from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import NS_PER_S, Frame, Gap, Item, Notice
from galago_edge.sources.address import IMAGE_SUFFIXES
from galago_edge.sources.opencv import import_cv2

DEFAULT_RATE = Fraction(5)
"""Frames per second of a folder whose ``fps`` is not given."""

_PNG = b"\x89PNG\r\n\x1a\n"


def frame_ns(index: int, rate: Fraction) -> int:
    """Return the stream time of a frame, in integer nanoseconds (floor).

    >>> frame_ns(30000, Fraction(30000, 1001))
    1001000000000
    """
    return index * rate.denominator * NS_PER_S // rate.numerator


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Return the image as BGR, shape ``(height, width, 3)``.

    Raises:
        InputError: IMAGE_UNREADABLE.
        LinkError: SOURCE_MISSING, or IO when the disk fails.
        DeviceError: EXTRA_MISSING.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise LinkError(Reason.SOURCE_MISSING, f"{path} does not exist", hint="check the path") from None
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    return decode_image(data, str(path))


def decode_image(data: bytes, name: str) -> npt.NDArray[np.uint8]:
    """Return an encoded image as BGR, shape ``(height, width, 3)``. ``name`` is for messages.

    Raises:
        InputError: IMAGE_UNREADABLE.
        DeviceError: EXTRA_MISSING.
    """
    cv2 = import_cv2("reading images")
    if not data:
        raise _unreadable(name, "is empty")
    if data.startswith(_PNG):
        _check_png(data, name)
    try:
        pixels: npt.NDArray[np.uint8] | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:  # absurd dimensions
        raise _unreadable(name, f"cannot be decoded ({str(error.err)[:80]})") from None
    if pixels is None:
        raise _unreadable(name, "is not an image, is damaged or is cut off")
    return pixels


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
        f"{name} {what}; expected a whole PNG, JPEG or other image that OpenCV reads",
        hint="replace the file or leave it out",
    )


class ImageFolder:
    """The images of a folder in the order of their names, at a declared rate."""

    modality: Modality = "camera"
    live = False

    def __init__(self, folder: Path, rate: Fraction | None = None) -> None:
        """Open ``folder``.

        Raises:
            InputError: IMAGE_UNREADABLE; it holds no image.
            LinkError: It cannot be listed.
            DeviceError: EXTRA_MISSING.
        """
        import_cv2("reading images")
        self._rate = rate or DEFAULT_RATE
        self._name = folder.resolve().name
        try:
            self._paths = sorted(
                (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES),
                key=lambda path: path.name,
            )
        except OSError as error:
            raise disk_error(error, f"list {folder}") from error
        if not self._paths:
            raise InputError(
                Reason.IMAGE_UNREADABLE,
                f"{folder} holds no image; expected {' '.join(sorted(IMAGE_SUFFIXES))}",
                hint="name the folder that holds the images themselves",
            )
        self._stopped = False
        self._unreadable = 0

    def description(self) -> dict[str, Any]:
        """Return name, rate and number of images."""
        return {"kind": "folder", "name": self._name, "fps": str(self._rate), "images": len(self._paths)}

    def conversion(self) -> None:
        """Return None: images are taken as they are."""
        return

    def __iter__(self) -> Generator[Item, None, None]:
        """Yield a frame for each image, a gap for each that cannot be read."""
        first: InputError | None = None
        for index, path in enumerate(self._paths):
            if self._stopped:
                return
            start_ns, end_ns = frame_ns(index, self._rate), frame_ns(index + 1, self._rate)
            try:
                pixels = read_image(path)
            except InputError as error:
                self._unreadable += 1
                first = first or error
                yield Notice("unreadable", index, start_ns, {"file": path.name, "reason": str(error.reason)})
                yield Gap(start_ns, end_ns, "unreadable")
            else:
                yield Frame(pixels, index, start_ns)
        if first is not None:
            raise InputError(
                first.reason,
                f"{self._unreadable} of {len(self._paths)} images cannot be read; the first: {first}",
                hint=first.hint,
            )

    def summary(self) -> dict[str, Any]:
        """Return how many images could not be read."""
        return {"images": len(self._paths), "unreadable": self._unreadable}

    def stop(self) -> None:
        """End after the current image."""
        self._stopped = True
