"""What a camera sees, as few integers: signs and heights of edges. The same on every CPU.

1. *Samples.* The green value of 122 x 162 pixels, spread evenly over the picture (row ``i`` is line
   ``(2 i + 1) height // 244``, columns likewise), in fixed point with 5 bits behind the point. Over time
   they follow the pictures: by 1/4 of the difference at one look a second, 1/2 from two seconds on, all of it
   from four, so that noise, rain and passers-by fade.
2. *Cells.* Sums of 2 x 2 samples: 61 x 81, in 1/128 of a gray level.
3. *Edges.* The differences of each cell and the one below it, and the one to the right of it: 2 x 60 x 80.
   An edge's sign is 0 when its size is below a quarter of the mean size in its tile or below 1.5 gray levels.
4. *Heights.* The difference to the right over a short way (one sample) and a long one (three cells), in the
   new picture alone: a blur takes the short ones away first.
5. *Tiles.* 6 x 8 of them, each with 10 x 10 cells.
6. *Noise.* How far differences between neighbours are from what they were, in the mean of the middle tile.

Sums over tiles are matrix products of float32 whose every partial sum is an integer below 2**24: exact in
any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.streams import NS_PER_S

Int16s = npt.NDArray[np.int16]
Int32s = npt.NDArray[np.int32]
Signs = npt.NDArray[np.int8]

TILE_ROWS, TILE_COLUMNS = 6, 8
TILE_SIDE = 10
ROWS, COLUMNS = TILE_ROWS * TILE_SIDE, TILE_COLUMNS * TILE_SIDE
LEVEL = 128
"""One gray level of a cell."""
FAINT = LEVEL * 3 // 2
"""Edges below it are not seen."""
EDGES_PER_TILE = 2 * TILE_SIDE**2
_LONG = 3
"""Cells between the two ends of a long edge."""

_CELLS = (ROWS + 1, COLUMNS + 1)
_SAMPLE_BITS = 5
_PACES = ((4 * NS_PER_S, 0), (2 * NS_PER_S, 1))
_SLOWEST = 2
_MOST_AVERAGED = ((2 * NS_PER_S, 3), (0, 4))
"""While something is suspicious: up to the mean of 8 pictures, or of 16 when they come quickly."""
_NOISE_PER_EDGE = 42
_COLOR_STEP = 61
"""Of the samples, one in so many is compared in all its colours."""
_COLORLESS = 3
"""Levels between the colours of a picture in infrared, at most, in the mean: its own compression."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What is known of one picture."""

    samples: Int16s
    """In 1/32 gray levels; shape ``(2, 2, ROWS + 1, COLUMNS + 1)``: lower, right, row, column."""
    fresh: Int16s
    """Those of the new picture alone."""
    signs: Signs
    """-1, 0 or 1; shape ``(2, ROWS, COLUMNS)``: to the cell below, to the cell on the right."""
    noise: int | None
    """In 1/3200 gray levels; None when there is no picture before it."""
    structure: Int32s
    """Mean size of an edge, in 1/128 gray levels; shape ``(TILE_ROWS, TILE_COLUMNS)``."""
    bright: Int32s
    """Mean level, in 1/128 gray levels; the same shape."""
    colorless: bool
    """Whether the picture has no colour, as in infrared."""


class ViewSampler:
    """Follows the pictures of one camera, all of one size. Used by one thread at a time."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Lay the samples over pictures of this shape, ``(height, width, 3)``."""
        height, width, channels = shape
        rows, columns = _places(_CELLS[0], height), _places(_CELLS[1], width)
        # the four samples of the cells lie in four planes, so that all sums run along the memory
        self._green = (rows[:, None, :, None] * width + columns[None, :, None, :]) * channels + 1
        few = self._green.reshape(-1)[::_COLOR_STEP]
        self._colors = np.stack([few, few - 1, few + 1])
        self._samples: Int16s | None = None

    def forget(self) -> None:
        """Begin anew with the next picture."""
        self._samples = None

    def look(
        self, pixels: npt.NDArray[np.uint8], passed_ns: int, *, judged: bool = True, averaged: int = 0
    ) -> View | None:
        """Return what is seen, with what was seen before it; None when it is not ``judged``.

        Args:
            pixels: uint8, BGR, of the shape that was given.
            passed_ns: Stream time since the last look.
            judged: Whether anybody wants to know; else the samples follow the picture, which costs less.
            averaged: For how many looks something has been suspicious: the samples are about their mean.
        """
        flat = pixels.reshape(-1)
        fresh = flat.take(self._green).astype(np.int16)
        fresh <<= _SAMPLE_BITS
        noise = None
        if self._samples is None:
            self._samples = fresh.copy()
        else:
            pace = next((bits for least, bits in _PACES if passed_ns >= least), _SLOWEST)
            if averaged > 1:
                most = next(bits for least, bits in _MOST_AVERAGED if passed_ns >= least)
                pace = max(pace, min(averaged.bit_length() - 1, most))
            change = fresh - self._samples
            if judged:
                noise = middle(cell_sums(np.abs(change[0, 1] - change[0, 0])))
            change >>= pace
            self._samples += change
        if not judged:
            return None
        others = flat.take(self._colors).astype(np.int16)
        colors = int(np.abs(others[1:] - others[0]).sum())
        return view_of(self._samples, fresh, noise, colors <= 2 * _COLORLESS * others.shape[1])


def _places(cells: int, size: int) -> npt.NDArray[np.intp]:
    """Return the line or column of each cell's two samples; shape ``(2, cells)``."""
    places = (2 * np.arange(2 * cells, dtype=np.intp) + 1) * size // (4 * cells)
    return places.reshape(cells, 2).T


def view_of(samples: Int16s, fresh: Int16s, noise: int | None = None, colorless: bool = False) -> View:
    """Return what these samples show; shape as ``View.samples``."""
    cells = cells_of(samples)
    corner = cells[:-1, :-1]
    edges = np.empty((2, ROWS, COLUMNS), np.int16)
    np.subtract(cells[1:, :-1], corner, out=edges[0])
    np.subtract(cells[:-1, 1:], corner, out=edges[1])
    structure = sums_of_both(np.abs(edges)) // EDGES_PER_TILE
    least = np.maximum(structure >> 2, FAINT).astype(np.int16)
    limit = least.repeat(TILE_SIDE, axis=1).repeat(TILE_SIDE, axis=0)
    signs = (edges > limit).view(np.int8) - (edges < -limit).view(np.int8)
    bright = cell_sums(cells) // TILE_SIDE**2
    return View(samples, fresh, signs, noise, structure, bright, colorless)


def cells_of(samples: Int16s) -> Int16s:
    """Return the cells of these samples, in 1/128 gray levels; shape ``(ROWS + 1, COLUMNS + 1)``."""
    (upper_left, upper_right), (lower_left, lower_right) = samples
    cells: Int16s = upper_left + upper_right
    cells += lower_left
    cells += lower_right  # at most 4 * 255 << 5, which fits 16 bits
    return cells


def heights_of(samples: Int16s) -> Int16s:
    """Return how high edges to the right are over a short and a long way, in quarters of a gray level.

    Shape ``(2, ROWS, COLUMNS)``; 0 where the long way leads out of the picture.
    """
    left, right = samples[0] + samples[1]
    cells = left + right
    heights = np.zeros((2, ROWS, COLUMNS), np.int16)
    np.subtract(right[:-1, :-1], left[:-1, :-1], out=heights[0])
    heights[0] >>= _SAMPLE_BITS - 1
    long = heights[1, :, : 1 - _LONG]
    np.subtract(cells[:-1, _LONG:], cells[:-1, :-_LONG], out=long)
    long >>= _SAMPLE_BITS
    return heights


def only_noise(view: View) -> bool:
    """Tell whether the edges of the new picture are no higher than its noise makes them.

    Noise of deviation ``d`` gray levels, independent between samples, makes edges of ``72 d`` in the mean, in
    1/128 levels, and a ``View.noise`` of ``3620 d`` to ``5110 d``: 50 to 71 times as much.
    """
    if view.noise is None:
        return False
    cells = cells_of(view.fresh)
    edges = np.abs(cells[:-1, 1:] - cells[:-1, :-1])
    edges = np.pad(edges, ((0, 1), (0, 1)))
    sizes = np.sort(cell_sums(edges), axis=None)
    # all but the highest quarter of the tiles
    return bool(int(sizes[len(sizes) * 3 // 4]) * _NOISE_PER_EDGE <= view.noise * TILE_SIDE**2)


def middle(values: npt.NDArray[Any]) -> int:
    """Return the value in the middle of all, the upper of two."""
    ordered = np.sort(values, axis=None)
    return int(ordered[len(ordered) // 2])


_ADD_ROWS = np.eye(TILE_ROWS, dtype=np.float32).repeat(TILE_SIDE, axis=1)
_ADD_CELL_ROWS = np.pad(_ADD_ROWS, ((0, 0), (0, 1)))
_ADD_ROWS_TWICE = np.hstack([_ADD_ROWS, _ADD_ROWS])
_ADD_ROWS_EACH = np.eye(2 * TILE_ROWS, dtype=np.float32).repeat(TILE_SIDE, axis=1)
_ADD_COLUMNS = np.eye(TILE_COLUMNS, dtype=np.float32).repeat(TILE_SIDE, axis=0)
_ADD_CELL_COLUMNS = np.pad(_ADD_COLUMNS, ((0, 1), (0, 0)))


def cell_sums(values: npt.NDArray[Any]) -> Int32s:
    """Return the sum of each tile, shape ``(TILE_ROWS, TILE_COLUMNS)``, without the last row and column.

    ``values``: integers of any type, shape ``(ROWS + 1, COLUMNS + 1)``; a tile's sum up to less than 2**24.
    """
    found: Int32s = (_ADD_CELL_ROWS @ values.astype(np.float32) @ _ADD_CELL_COLUMNS).astype(np.int32)
    return found


def sums_of_both(values: npt.NDArray[Any]) -> Int32s:
    """Return the sum of each tile over both planes.

    ``values``: integers of any type, shape ``(2, ROWS, COLUMNS)``; a tile's sum up to less than 2**24.
    """
    return _tiles(_ADD_ROWS_TWICE, values.reshape(2 * ROWS, COLUMNS))


def sums_of_each(values: npt.NDArray[Any]) -> Int32s:
    """Return the sums of each plane's tiles; both shapes have the two planes first."""
    return _tiles(_ADD_ROWS_EACH, values.reshape(2 * ROWS, COLUMNS)).reshape(2, TILE_ROWS, TILE_COLUMNS)


def _tiles(add_rows: npt.NDArray[np.float32], values: npt.NDArray[Any]) -> Int32s:
    found: Int32s = (add_rows @ values.astype(np.float32) @ _ADD_COLUMNS).astype(np.int32)
    return found
