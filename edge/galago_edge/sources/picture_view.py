"""What a stream sees of a camera's pictures: turned upright, cut to a region, blacked out in part.

First a picture is turned, by 90, 180 or 270 degrees clockwise. Then its region is cut out, and last the masks
are blacked out. Coordinates are fractions of the turned picture's width and height, to four decimals: two
corners of a rectangle (``left, top, right, bottom``), or the corners of a polygon (``x, y`` of each). A pixel
is inside when its centre is, counted in integers: with an odd number of edges to its right (even-odd rule). A
centre on a left or upper edge is inside, on a right or lower one it is not. What is kept of a polygon is the
smallest rectangle that holds its pixels, black outside of it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.streams import Frame
from galago_edge.sources.view_options import RECTANGLE, UNITS, Corners, PictureView, fractions

_ROWS = 64
"""Rows that are looked at side by side: a polygon over a large picture takes little memory."""

Inside = npt.NDArray[np.bool_]


class PictureViewer:
    """Applies one view to pictures, whose size may change. Used by one thread."""

    def __init__(self, view: PictureView) -> None:
        self._view = view
        self._size = (0, 0)
        self._rows = self._columns = slice(0)
        self._black: Inside | None = None

    def frame(self, frame: Frame) -> Frame:
        """Return the frame as the stream sees it; what the camera itself sent shows more and is left out.

        Raises:
            InputError: SOURCE_MISMATCH; no pixel of so small a picture lies inside the region, or a mask.
        """
        return Frame(self.apply(frame.pixels), frame.index, frame.captured_ns)

    def apply(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return a picture of its own: uint8, shape ``(height, width, 3)``, of the size that is kept.

        Raises:
            InputError: SOURCE_MISMATCH; as :meth:`frame`.
        """
        turned = np.rot90(pixels, -self._view.rotate // 90)
        if self._size != turned.shape[:2]:
            self._plan(turned.shape[0], turned.shape[1])
        seen = turned[self._rows, self._columns].copy()
        if self._black is not None:
            seen[self._black] = 0
        return seen

    def _plan(self, height: int, width: int) -> None:
        """Work out for pictures of this size what is kept and what is black."""
        region = self._view.region
        kept = inside_polygon(region, height, width) if region else np.ones((height, width), np.bool_)
        rows, columns = np.flatnonzero(kept.any(axis=1)), np.flatnonzero(kept.any(axis=0))
        if not len(rows):
            raise _holds_none("region", region, height, width)
        self._rows = slice(int(rows[0]), int(rows[-1]) + 1)
        self._columns = slice(int(columns[0]), int(columns[-1]) + 1)
        black = ~kept
        for mask in self._view.masks:
            hidden = inside_polygon(mask, height, width)
            if not hidden.any():  # whoever wrote it relies on it
                raise _holds_none("mask", mask, height, width)
            black |= hidden
        black = black[self._rows, self._columns]
        self._black = black if black.any() else None
        self._size = (height, width)


def _holds_none(what: str, corners: Corners, height: int, width: int) -> InputError:
    return InputError(
        Reason.SOURCE_MISMATCH,
        f"{what} {fractions(corners)} holds no pixel of a picture of {width} x {height}",
        hint=f"make the {what} larger",
    )


def inside_polygon(corners: Corners, height: int, width: int) -> Inside:
    """Return which pixels of a picture are inside; bool, shape ``(height, width)``.

    Everything is counted in units of which a pixel has ``2 * UNITS`` a side, so that all is integer.
    """
    if len(corners) == RECTANGLE:
        left, top, right, bottom = corners
        corners = (left, top, right, top, right, bottom, left, bottom)
    xs = [2 * width * x for x in corners[0::2]]
    ys = [2 * height * y for y in corners[1::2]]
    inside = np.zeros((height, width), np.bool_)
    centre_x = (2 * np.arange(width, dtype=np.int64) + 1) * UNITS
    for first in range(0, height, _ROWS):
        part = inside[first : first + _ROWS]
        centre_y = ((2 * np.arange(first, first + len(part), dtype=np.int64) + 1) * UNITS)[:, None]
        for x1, y1, x2, y2 in zip(xs, ys, xs[1:] + xs[:1], ys[1:] + ys[:1], strict=True):
            if y1 > y2:
                x1, y1, x2, y2 = x2, y2, x1, y1
            # an edge to the right of the centre; below 2^63 for pictures of up to 65,536 a side
            is_right = (centre_x - x1) * (y2 - y1) < (centre_y - y1) * (x2 - x1)
            part ^= (y1 <= centre_y) & (centre_y < y2) & is_right
    return inside
