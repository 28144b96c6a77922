"""When a window is worth the model: motion in a picture, loudness of a sound. Integers only.

A sensor looks at every window before preprocessing and model do, and says whether the gate is open for
it. What it says depends on pixels, samples and stream time alone, so a replay skips the same windows.

``motion/1``, for every frame that is a window:

1. The picture is a grid of 32 x 24 cells with 4 x 4 pixels each, spread evenly: the pixel of row ``i`` of
   96 lies in line ``(2 i + 1) height // 192``, columns likewise with 128 and 256. A cell's level is the sum
   of B, G and R of its 16 pixels, that is 48 times its mean gray level.
2. A cell has changed when its level is at least ``48 step`` away from its background. ``cells`` changed
   ones or more are motion. The first frame after the start or a gap is motion too: nobody knows yet.
3. The background is the first frame's levels, and then comes nearer to each frame's by the share
   ``min(dt, 8 s) / 8 s`` of their difference, ``dt`` being the stream time since the last one: in fixed
   point with 13 bits behind the point, the share with 16, both rounded down.

``level/1``, for every window: those of its samples that no earlier window measured are cut into stretches of
one hop, counted back from the window's end; what is left over belongs to the first one. A stretch is loud
when the mean of its squared samples is at least that of ``open_dbfs``; 0 dBFS is a mean square of 32768
squared.

Either gate is open for a window that ends at most ``hold_ms`` of stream time after the last motion or loud
stretch, and for as long as a label is on (``galago_edge.pipeline.DecidingStream`` sees to that): an event is
never cut off because what it is about stands still.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from galago_edge.contract.manifest import Gate, LevelGate, MotionGate
from galago_edge.contract.streams import check_pixels

Pixels = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.int16]

GRID_COLUMNS, GRID_ROWS = 32, 24
_PER_SIDE = 4  # pixels of a cell, across and down
_VALUES = 3 * _PER_SIDE**2  # B, G and R of each
_ADAPT_NS = 8_000_000_000
_SHARE_BITS = 16
_FRACTION_BITS = 13

_FULL_SCALE = 32_768
_LEVEL_BITS = 16
_EXACT = decimal.Context(prec=50, rounding=decimal.ROUND_HALF_EVEN, traps=[])
_DOT_SAMPLES = 1 << 20  # squares are at most 2**30, so a float64 holds the sum of so many exactly
SILENCE_DBFS = -120.0
"""Shown for digital silence, whose level has no logarithm."""

_NS_PER_MS = 1_000_000


class _Sensor:
    """What both have in common: the time of the last motion or loud sound, and how long it counts."""

    def __init__(self, hold_ms: int) -> None:
        self._hold_ns = hold_ms * _NS_PER_MS
        self._until_ns: int | None = None

    def open_at(self, ns: int) -> bool:
        """Tell whether the gate is open for a window that ends at this stream time."""
        return self._until_ns is not None and ns <= self._until_ns

    def _triggered(self, ns: int) -> None:
        self._until_ns = ns + self._hold_ns


class MotionSensor(_Sensor):
    """Sees whether something moves. One camera's; used by one thread at a time."""

    kind = "motion"

    def __init__(self, gate: MotionGate) -> None:
        """Prepare for the first frame."""
        super().__init__(gate.hold_ms)
        self.changed = 0
        """Cells that the last frame changed; all of them in the first one."""
        self._step = (gate.step * _VALUES) << _FRACTION_BITS
        self._cells = gate.cells
        self._shape: tuple[int, ...] = ()
        self._places = np.empty((0, 0), np.intp)
        self._background: npt.NDArray[np.int64] | None = None
        self._ns = 0

    @property
    def level(self) -> float:
        """Changed cells."""
        return float(self.changed)

    @property
    def threshold(self) -> float:
        """Changed cells that open the gate."""
        return float(self._cells)

    def look(self, pixels: Pixels, ns: int) -> None:
        """Compare a frame with the background, which then comes nearer to it.

        Args:
            pixels: uint8, shape ``(height, width, 3)``, BGR, of any size; it may change.
            ns: Stream time of the frame.

        Raises:
            InputError: SOURCE_MISMATCH; ``pixels`` is something else.
        """
        if pixels.shape != self._shape or pixels.dtype != np.uint8:
            self._spread(pixels)
        values = pixels.reshape(-1).take(self._places)
        # 48 values of at most 255 fit 16 bits, in which numpy adds five times as fast
        levels = np.add.reduce(values, axis=0, dtype=np.uint16).astype(np.int64)
        levels <<= _FRACTION_BITS
        elapsed, self._ns = ns - self._ns, ns
        background = self._background
        if background is None:
            self._background = levels
            self.changed = GRID_COLUMNS * GRID_ROWS
            self._triggered(ns)
            return
        levels -= background
        self.changed = int(np.count_nonzero(np.abs(levels) >= self._step))
        if self.changed >= self._cells:
            self._triggered(ns)
        share = (min(max(elapsed, 0), _ADAPT_NS) << _SHARE_BITS) // _ADAPT_NS
        levels *= share
        levels >>= _SHARE_BITS
        background += levels

    def reset(self) -> None:
        """Forget the background, after a gap: the next frame begins a new one."""
        self._background = None

    def _spread(self, pixels: Pixels) -> None:
        """Lay the grid over frames of another size."""
        check_pixels(pixels)
        height, width, _ = pixels.shape
        rows = _places(GRID_ROWS, height)[:, :, None, None, None]
        columns = _places(GRID_COLUMNS, width)[:, :, None]
        # (row of cells, line in it, column of cells, pixel in it, channel) -> (value, cell): the sum over
        # the first axis then adds whole rows
        places = (rows * width + columns) * 3 + np.arange(3)
        self._places = np.ascontiguousarray(places.transpose(1, 3, 4, 0, 2).reshape(_VALUES, -1))
        self._shape = pixels.shape


class LevelSensor(_Sensor):
    """Hears whether it is loud. One microphone's; used by one thread at a time."""

    kind = "level"

    def __init__(self, gate: LevelGate) -> None:
        """Compute the threshold."""
        super().__init__(gate.hold_ms)
        self.threshold = gate.open_dbfs
        self._mean_square = threshold_of(gate.open_dbfs)
        self._newest = (0, 1)  # sum of squares, samples

    @property
    def level(self) -> float:
        """Level of the newest stretch in dBFS, to a tenth."""
        return dbfs(*self._newest)

    def hear(self, stretch: Iterable[Samples], ns: int) -> None:
        """Measure one stretch.

        Args:
            stretch: Its samples, in as many int16 arrays as they happen to lie in; at least one sample.
            ns: Stream time of its end.
        """
        energy = samples = 0
        for part in stretch:
            energy += sum_of_squares(part)
            samples += len(part)
        self._newest = (energy, samples)
        if energy << _LEVEL_BITS >= self._mean_square * samples:
            self._triggered(ns)

    def reset(self) -> None:
        """Do nothing: a level needs no past, and stream time goes on behind a gap."""


Sensor = MotionSensor | LevelSensor


def sensor_of(gate: Gate) -> Sensor:
    """Return the sensor of a gate's kind."""
    return MotionSensor(gate) if isinstance(gate, MotionGate) else LevelSensor(gate)


def sum_of_squares(samples: Samples) -> int:
    """Return the exact sum of the squared int16 samples, shape ``(n,)``."""
    total = 0
    for start in range(0, len(samples), _DOT_SAMPLES):
        part = samples[start : start + _DOT_SAMPLES].astype(np.float64)
        total += int(part @ part)
    return total


def threshold_of(level_dbfs: float) -> int:
    """Return the mean square of a level in dBFS, times 65536, as the nearest integer.

    >>> threshold_of(0.0) == 32768**2 << 16
    True
    """
    tenth = _EXACT.divide(decimal.Decimal(level_dbfs), 10)
    mean_square = _EXACT.multiply(_EXACT.power(10, tenth), _FULL_SCALE**2 << _LEVEL_BITS)
    return int(_EXACT.to_integral_value(mean_square))


def dbfs(energy: int, samples: int) -> float:
    """Return the level in dBFS, to a tenth, of so many samples whose squares sum up to ``energy``.

    >>> dbfs(100 * 16384**2, 100)
    -6.0
    """
    if not energy:
        return SILENCE_DBFS
    share = _EXACT.divide(decimal.Decimal(energy), samples * _FULL_SCALE**2)
    return max(SILENCE_DBFS, round(float(10 * _EXACT.log10(share)), 1))


def _places(cells: int, size: int) -> npt.NDArray[np.intp]:
    """Return the line or column of each of the cells' pixels; shape ``(cells, 4)``."""
    count = cells * _PER_SIDE
    places = (2 * np.arange(count, dtype=np.intp) + 1) * size // (2 * count)
    return places.reshape(cells, _PER_SIDE)
