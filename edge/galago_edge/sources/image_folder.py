"""A folder of still images as a stream."""

from __future__ import annotations

from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import Any

from galago_edge.contract.errors import InputError, Reason, disk_error
from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import NS_PER_S, Frame, Gap, Item, Notice
from galago_edge.sources.address import IMAGE_SUFFIXES
from galago_edge.sources.opencv import import_cv2
from galago_edge.sources.still_image import read_image

DEFAULT_RATE = Fraction(5)
"""Frames per second of a folder whose ``fps`` is not given."""


def frame_ns(index: int, rate: Fraction) -> int:
    """Return the stream time of a frame, in integer nanoseconds (floor).

    >>> frame_ns(30000, Fraction(30000, 1001))
    1001000000000
    """
    return index * rate.denominator * NS_PER_S // rate.numerator


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
