"""How a stream's view of a camera is written: behind the ``?`` of an address, and in ``galago.toml``.

What it does to a picture, and which pixels it means: :mod:`galago_edge.sources.picture_view`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from typing import Any

import msgspec
from msgspec import UNSET

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.settings import ViewSettings, ViewTable
from galago_edge.sources.address_options import OptionReader

UNITS = 10_000
"""Of width or height: coordinates are integers of these."""
RECTANGLE = 4
"""Numbers of a rectangle; more are the corners of a polygon."""
_QUARTERS = (0, 90, 180, 270)
_FEWEST = 6
_SHAPE = "left, top, right, bottom, or x, y of three or more corners"

Corners = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PictureView:
    """What is done to every picture; by itself nothing."""

    rotate: int = 0
    """Degrees clockwise."""
    region: Corners = ()
    """What is kept, everything when empty; in ten-thousandths."""
    masks: tuple[Corners, ...] = ()
    """What is blacked out."""

    def __bool__(self) -> bool:
        """Tell whether there is anything to do."""
        return self != PictureView()

    def description(self) -> dict[str, Any]:
        """Return what is done, for the stream's first record."""
        region = {"region": fractions(self.region)} if self.region else {}
        masks = {"mask": [fractions(mask) for mask in self.masks]} if self.masks else {}
        return ({"rotate": self.rotate} if self.rotate else {}) | region | masks


def read_rotation(text: str) -> int:
    """Read ``rotate`` of an address.

    Raises:
        ValueError: Not one of the four quarters.
    """
    if text not in map(str, _QUARTERS):
        raise ValueError("expected 0, 90, 180 or 270")
    return int(text)


def read_corners(text: str) -> Corners:
    """Read ``region`` of an address: ``0.1,0.2,0.9,0.8``.

    Raises:
        ValueError: No corners.
    """
    return _corners(text.split(","))


def read_masks(text: str) -> tuple[Corners, ...]:
    """Read ``mask`` of an address: as ``region``, several separated by ``;``.

    Raises:
        ValueError: No corners.
    """
    return tuple(read_corners(part) for part in text.split(";"))


AS_IT_IS = ViewSettings()
"""Says nothing."""
VIEW_OPTIONS: dict[str, OptionReader] = {"rotate": read_rotation, "region": read_corners, "mask": read_masks}
"""What may stand behind the ``?`` of a recording of a camera."""


def view_of(options: Mapping[str, Any], *tables: ViewTable) -> PictureView:
    """Return the view that an address's options and these tables say; each table counts before those before.

    Raises:
        CallerError: CONFIG_BAD; what stands in a table are no corners.
    """
    view = PictureView(options.get("rotate", 0), options.get("region", ()), options.get("mask", ()))
    for table in tables:
        try:
            view = dataclasses.replace(view, **_changes(table))
        except ValueError as error:
            raise CallerError(Reason.CONFIG_BAD, str(error), hint="see docs/sources.md") from None
    return view


def _changes(table: ViewTable) -> dict[str, Any]:
    """Return what a table says.

    Raises:
        ValueError: No corners.
    """
    changes: dict[str, Any] = {} if table.rotate is UNSET else {"rotate": table.rotate}
    for key, field, shapes in (
        ("region", "region", () if not table.region else (table.region,)),
        ("mask", "masks", table.mask or ()),
    ):
        try:
            corners = tuple(map(_corners, shapes))
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
        if getattr(table, key) is not UNSET:
            changes[field] = corners if key == "mask" else sum(corners, ())
    return changes


def stated_view(*tables: ViewTable) -> dict[str, Any]:
    """Return what the tables say of the view, as they say it; what a later one says counts."""
    return {
        key: value
        for table in tables
        for key in ("rotate", "region", "mask")
        if (value := getattr(table, key)) is not UNSET
    }


def view_settings(rotate: Any, region: Any, mask: Any) -> ViewSettings:
    """Return as a table what a program gives; None for what it does not say.

    Raises:
        ValueError: It is nothing of the kind.
    """
    given: dict[str, Any] = {}
    for name, value, expected in (
        ("rotate", rotate, "0, 90, 180 or 270"),
        ("region", region, f"{_SHAPE}, each from 0 to 1"),
        ("mask", mask, f"a list of shapes such as [[0, 0, 0.5, 0.5]], of each {_SHAPE}, each from 0 to 1"),
    ):
        if value is None:
            continue
        try:
            table = msgspec.convert({name: _plain(value)}, ViewSettings)
        except msgspec.ValidationError:
            raise ValueError(f"{name} is {value!r}, expected {expected}") from None
        _changes(table)
        given[name] = getattr(table, name)
    return ViewSettings(**given)


def _plain(value: Any) -> Any:
    """Return a value without NumPy, tuples or other sequences."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        return value
    return [_plain(one) for one in value]


def _corners(numbers: Iterable[Any]) -> Corners:
    """Return coordinates in units.

    Raises:
        ValueError: Not between 0 and 1, too many decimals, not the corners of anything.
    """
    corners = tuple(map(_units, numbers))
    if len(corners) != RECTANGLE and (len(corners) < _FEWEST or len(corners) % 2):
        raise ValueError(f"met {len(corners)} numbers, expected {_SHAPE}")
    if len(corners) == RECTANGLE and not (corners[0] < corners[2] and corners[1] < corners[3]):
        raise ValueError("expected left,top,right,bottom with left below right and top below bottom")
    if len(corners) > RECTANGLE and not _has_area(corners):
        raise ValueError("its corners lie on one line, or it goes back the way it came: nothing is inside")
    return corners


def _has_area(corners: Corners) -> bool:
    points = list(zip(corners[0::2], corners[1::2], strict=True))
    (x0, y0), (x1, y1) = points[0], next((point for point in points if point != points[0]), points[0])
    flat = all((x - x0) * (y1 - y0) == (y - y0) * (x1 - x0) for x, y in points)
    edges = Counter(frozenset(edge) for edge in zip(points, points[1:] + points[:1], strict=True))
    return not flat and any(count % 2 for edge, count in edges.items() if len(edge) > 1)


def _units(number: Any) -> int:
    try:
        units = Decimal(str(number).strip()) * UNITS
    except DecimalException:  # 1e400000000 too
        raise ValueError(f"{str(number)[:40]!r} is no number") from None
    if not units.is_finite() or not 0 <= units <= UNITS or units != units.to_integral_value():
        raise ValueError(f"{str(number)[:40]!r} is no fraction from 0 to 1 with at most four decimals")
    return int(units)


def fractions(corners: Sequence[int]) -> list[float]:
    """Return coordinates as they are written."""
    return [corner / UNITS for corner in corners]
