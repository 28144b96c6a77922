"""A folder of still images as a stream."""

from __future__ import annotations

import os
import statistics
from collections.abc import Generator, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from galago_edge.contract.errors import InputError, Reason, disk_error
from galago_edge.contract.modality import Modality
from galago_edge.contract.printable import on_one_line
from galago_edge.contract.streams import NS_PER_S, Frame, Gap, Item, Notice
from galago_edge.sources.address import IMAGE_SUFFIXES
from galago_edge.sources.opencv import import_cv2
from galago_edge.sources.picture_order import PictureOrder, natural_key, order_pictures
from galago_edge.sources.picture_times import TIMES_NAME, read_times
from galago_edge.sources.recording_damage import DamagedError
from galago_edge.sources.still_image import read_picture

DEFAULT_RATE = Fraction(5)
"""Frames per second of a folder whose ``fps`` is not given."""
_LONG_INTERVALS = 3
"""Times that are further apart than so many usual intervals have a gap between them."""
_NAMED_STRAYS = 20


def frame_ns(index: int, rate: Fraction) -> int:
    """Return the stream time of a frame, in integer nanoseconds (floor).

    >>> frame_ns(30000, Fraction(30000, 1001))
    1001000000000
    """
    return index * rate.denominator * NS_PER_S // rate.numerator


class ImageFolder:
    """The images of a folder in the natural order of their names, at a declared rate or at stated times.

    Missing numbers are gaps, what does not fit the numbering is named and left out
    (:func:`galago_edge.sources.picture_order.order_pictures`). A ``times.csv`` beside them says when each was
    taken (:mod:`galago_edge.sources.picture_times`), unless a rate is given.
    """

    modality: Modality = "camera"
    live = False

    def __init__(self, folder: Path, rate: Fraction | None = None) -> None:
        """Open ``folder``; ``rate`` counts, and not its ``times.csv``.

        Raises:
            InputError: IMAGE_UNREADABLE; it holds no image. TIMES_BAD.
            LinkError: It cannot be listed.
            DeviceError: EXTRA_MISSING.
        """
        import_cv2("reading images")
        self._folder = folder
        self._rate = rate or DEFAULT_RATE
        self._name = on_one_line(folder.resolve().name)
        names, others = _listed(folder)
        timed = (folder / TIMES_NAME).is_file()
        self._overruled = timed and rate is not None
        self._clock: _Clock
        if timed and rate is None:
            times = read_times(folder / TIMES_NAME, names)
            left_out = tuple(sorted(names - set(times)))
            self._order = PictureOrder(tuple(times), tuple(range(len(times))), left_out)
            self._clock = _Stated(list(times.values()))
        else:
            self._order = order_pictures(names)
            self._clock = _Regular(self._order.indexes, self._rate)
        self._strays = [on_one_line(name) for name in sorted((*self._order.strays, *others), key=natural_key)]
        if not self._order.names:
            raise InputError(
                Reason.IMAGE_UNREADABLE,
                f"{folder} holds no image; expected {' '.join(sorted(IMAGE_SUFFIXES))}",
                hint="name the folder that holds the images themselves",
            )
        self._stopped = False
        self._unreadable = 0

    def description(self) -> dict[str, Any]:
        """Return name, rate (or that times are stated) and number of images."""
        return {"kind": "folder", "name": self._name} | self._clock.description() | {"images": self._count}

    def conversion(self) -> None:
        """Return None: images are taken as they are."""
        return

    def __iter__(self) -> Generator[Item, None, None]:
        """Yield a frame for each image, a gap for each that cannot be read and for missing numbers."""
        first: InputError | None = None
        yield from self._notices()
        for place, (name, index) in enumerate(zip(self._order.names, self._order.indexes, strict=True)):
            if self._stopped:
                return
            start_ns, end_ns, hole = self._clock.at(place)
            if hole is not None:
                yield hole
            try:
                pixels, encoded = read_picture(self._folder / name)
            except InputError as error:
                self._unreadable += 1
                first = first or error
                detail = {"file": on_one_line(name), "reason": str(error.reason)}
                yield Notice("unreadable", index, start_ns, detail)
                yield Gap(start_ns, end_ns, "unreadable")
            else:
                yield Frame(pixels, index, start_ns, encoded)
        if first is not None:
            raise DamagedError(
                first.reason,
                f"{self._unreadable} of {self._count} images cannot be read; the first: {first}",
                hint=first.hint,
            )

    def summary(self) -> dict[str, Any]:
        """Return how many images could not be read, are missing, and did not fit."""
        missing, strays = self._order.missing, len(self._strays)
        counts = {"images": self._count, "unreadable": self._unreadable}
        return counts | ({"missing": missing} if missing else {}) | ({"strays": strays} if strays else {})

    def stop(self) -> None:
        """End after the current image."""
        self._stopped = True

    @property
    def _count(self) -> int:
        return len(self._order.names)

    def _notices(self) -> Iterator[Notice]:
        if self._overruled:
            yield Notice("rate", 0, 0, {"stated": TIMES_NAME, "used": str(self._rate)})
        if (offset_ns := self._clock.offset_ns) != 0:
            yield Notice("offset", 0, 0, {"offset_ns": offset_ns})
        if self._order.doubt is not None:
            yield Notice("not_numbered", 0, 0, dict(self._order.doubt))
        if self._strays:
            named = self._strays[:_NAMED_STRAYS]
            yield Notice("stray_files", 0, 0, {"files": named, "count": len(self._strays)})


def _listed(folder: Path) -> tuple[set[str], list[str]]:
    """Return the names of the pictures, and of what is called like one but is no file."""
    names: set[str] = set()
    others: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if Path(entry.name).suffix.lower() in IMAGE_SUFFIXES:
                    if entry.is_file():
                        names.add(entry.name)
                    else:  # a pipe would make the replay wait for ever
                        others.append(entry.name)
    except OSError as error:
        raise disk_error(error, f"list {folder}") from error
    return names, sorted(others)


class _Regular:
    """Pictures at a rate; where numbers are missing nobody watched."""

    offset_ns = 0

    def __init__(self, indexes: tuple[int, ...], rate: Fraction) -> None:
        self._indexes, self._rate = indexes, rate

    def description(self) -> dict[str, Any]:
        return {"fps": str(self._rate)}

    def at(self, place: int) -> tuple[int, int, Gap | None]:
        """Return beginning and end of a picture's time, and the gap before it."""
        index = self._indexes[place]
        expected = self._indexes[place - 1] + 1 if place else 0
        start_ns = frame_ns(index, self._rate)
        hole = Gap(frame_ns(expected, self._rate), start_ns, "missing") if index > expected else None
        return start_ns, frame_ns(index + 1, self._rate), hole


class _Stated:
    """Pictures at the times of ``times.csv``, counted from the first."""

    def __init__(self, times_ns: list[int]) -> None:
        self.offset_ns = times_ns[0]
        self._times_ns = [at_ns - self.offset_ns for at_ns in times_ns]
        intervals = [later - earlier for earlier, later in pairwise(times_ns)]
        self._usual_ns = statistics.median_low(intervals) if intervals else frame_ns(1, DEFAULT_RATE)

    def description(self) -> dict[str, Any]:
        return {"times": TIMES_NAME}

    def at(self, place: int) -> tuple[int, int, Gap | None]:
        """Return beginning and end of a picture's time, and the gap before it."""
        start_ns = self._times_ns[place]
        hole = Gap(self._end_ns(place - 1), start_ns, "missing") if place and self._long(place) else None
        return start_ns, self._end_ns(place), hole

    def _long(self, place: int) -> bool:
        return self._times_ns[place] - self._times_ns[place - 1] > _LONG_INTERVALS * self._usual_ns

    def _end_ns(self, place: int) -> int:
        after = place + 1
        if after == len(self._times_ns) or self._long(after):
            return self._times_ns[place] + self._usual_ns
        return self._times_ns[after]


_Clock = _Regular | _Stated
