"""Where the edges that a camera knows have gone, when they are no longer where they were.

Correlations are matrix products of float32 whose every partial sum is an integer below 2**24: exact in any
order. A search takes some milliseconds, so it is for a camera that is in doubt already.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galago_edge.sources.view_picture import COLUMNS, ROWS, TILE_SIDE, Signs

_FAR = TILE_SIDE + TILE_SIDE // 2
"""The whole picture is sought up to so many cells away, a good sixth of its width."""
_NEAR = TILE_SIDE // 2 + 2
_BLOCK = 2 * TILE_SIDE
_SEEN_OF_10 = 4
"""Of the weight that is known, so much must still be in the picture for a match."""
_MATCH = 450
_BETTER = 200
"""A match is at least so good, in thousandths, and so much better than where it was."""


@dataclass(frozen=True, slots=True)
class Shift:
    """What a search found."""

    rows: int
    columns: int
    """Where most of the known edges have gone, in cells; both 0 when they have not, or nobody knows."""
    matched: int
    """Thousandths of the lost blocks that lie somewhere near; 1000 when the whole picture is shifted."""

    @property
    def moved(self) -> bool:
        """Whether what was lost lies elsewhere."""
        return self.matched >= 500


def find_shift(signs: Signs, weights: Signs) -> Shift:
    """Search the known edges in what is seen now.

    Args:
        signs: What is seen, -1, 0, 1; shape ``(2, ROWS, COLUMNS)``.
        weights: What is known, -127 to 127; the same shape.
    """
    seen, known = signs.astype(np.float32), weights.astype(np.float32)
    quality = _whole(seen, known)
    best = int(quality.argmax())
    rows, columns = best // quality.shape[1] - _FAR, best % quality.shape[1] - _FAR
    at_home = int(quality[_FAR, _FAR])
    if max(abs(rows), abs(columns)) > 0 and quality.flat[best] >= max(_MATCH, at_home + _BETTER):
        return Shift(rows, columns, 1_000)
    return _by_blocks(seen, known)


def _whole(seen: npt.NDArray[np.float32], known: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Return the match for each shift of the whole picture, in thousandths; both sides ``2 * _FAR + 1``."""
    reach = range(-_FAR, _FAR + 1)
    sums = np.empty((len(reach), len(reach)), np.int64)
    weights = np.zeros((ROWS + 1, COLUMNS + 1), np.int64)
    weights[1:, 1:] = np.abs(known).sum(axis=0).cumsum(axis=0).cumsum(axis=1)
    inside = np.empty_like(sums)
    for column, dx in enumerate(reach):
        left, right = max(0, -dx), min(COLUMNS, COLUMNS - dx)
        # of the known picture's columns left to right, row by row against every row of what is seen
        products = (
            known[0, :, left:right] @ seen[0, :, left + dx : right + dx].T
            + known[1, :, left:right] @ seen[1, :, left + dx : right + dx].T
        )
        strip = weights[:, right] - weights[:, left]
        for row, dy in enumerate(reach):
            sums[row, column] = int(np.trace(products, offset=dy, dtype=np.float64))
            inside[row, column] = strip[min(ROWS, ROWS - dy)] - strip[max(0, -dy)]
    enough = inside * 10 >= _SEEN_OF_10 * max(1, int(weights[-1, -1]))
    quality: npt.NDArray[np.int64] = np.where(enough, 1_000 * sums // np.maximum(inside, 1), 0)
    return quality


def _by_blocks(seen: npt.NDArray[np.float32], known: npt.NDArray[np.float32]) -> Shift:
    """Search each block by itself: a camera that was turned moves its parts in different directions."""
    margin = ((0, 0), (_NEAR, _NEAR), (_NEAR, _NEAR))
    wide = np.pad(seen, margin)
    there = np.pad(np.ones((1, ROWS, COLUMNS), np.float32), margin)
    side = _BLOCK + 2 * _NEAR
    lost, shifts = 0, []
    for top in range(0, ROWS, _BLOCK):
        for left in range(0, COLUMNS, _BLOCK):
            block = known[:, top : top + _BLOCK, left : left + _BLOCK]
            size = np.abs(block).sum(axis=0, keepdims=True)
            if not _heavy(total := int(size.sum())):
                continue
            window = np.s_[:, top : top + side, left : left + side]
            sums, inside = _slide(wide[window], block), _slide(there[window], size)
            quality = np.where(inside * 10 >= 6 * total, 1_000 * sums // np.maximum(inside, 1), 0)
            at_home = int(quality[_NEAR, _NEAR])
            if at_home >= _MATCH:
                continue
            lost += 1
            best = int(quality.argmax())
            if quality.flat[best] >= max(_MATCH, at_home + _BETTER):
                shifts.append((best // quality.shape[1] - _NEAR, best % quality.shape[1] - _NEAR))
    if len(shifts) < 2:
        return Shift(0, 0, 0)
    middle = sorted(shifts, key=lambda shift: shift[0] ** 2 + shift[1] ** 2)[len(shifts) // 2]
    return Shift(*middle, 1_000 * len(shifts) // lost)


def _heavy(total: int) -> bool:
    """Tell whether a block knows enough to be found again: some 40 edges."""
    return total >= 40 * 100


def _slide(window: npt.NDArray[np.float32], block: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Return the sum of products for each place of ``block`` in ``window``; shape ``(places, places)``."""
    places = window.shape[-1] - _BLOCK + 1
    parts = np.lib.stride_tricks.sliding_window_view(window, (_BLOCK, _BLOCK), axis=(1, 2))
    rows = parts.transpose(1, 2, 0, 3, 4).reshape(places * places, -1)
    found: npt.NDArray[np.int64] = (rows @ block.reshape(-1)).astype(np.int64).reshape(places, places)
    return found
