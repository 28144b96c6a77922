"""Resampling by an exact polyphase filter: the same samples on every CPU, in any chunks.

Output ``k`` lies at the time ``k / rate_hz``; input sample j at ``j / source_hz``. With the reduced ratio
``L / M = rate_hz / source_hz``::

    out[k] = (sum over j of h[k M - j L] x[j] + 2^29) >> 30, saturating

h is a sinc windowed by a Kaiser window, in integers of 30 fraction bits; outside of the recording x is zero.
Every coefficient and every sample is an integer and every sum of absolute values stays far below 2^53, so
float64 products are exact whatever the order of summation, the BLAS, its threads or its SIMD units.

The coefficients are computed when a ratio is first used, by additions, multiplications and divisions of
single float64 values alone, which IEEE 754 rounds everywhere alike (no libm, no sums); a test holds the
hashes of the usual ratios.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from math import gcd

import numpy as np
import numpy.typing as npt

NAME = "polyphase/1"
"""Version of the design: any other coefficient or rounding needs another name."""

_FRACTION_BITS = 30
_HALF = 80
"""The filter reaches over so many samples of the lower rate to each side."""
_CUTOFF = (956, 1000)
"""Middle of the transition, as a fraction of the lower rate's half."""
_BETA = 11.25
"""Of the Kaiser window: 111 dB (Kaiser 1974: beta = 0.1102 (A - 8.7))."""
_BESSEL_TERMS = 40
_MOST_COEFFICIENTS = 1 << 19
"""4 MiB of float64: every pair of usual rates has fewer, 16,000 from 47,999 Hz has not."""
_LOW, _HIGH = -32768, 32767

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def ratio(source_hz: int, rate_hz: int) -> tuple[int, int]:
    """Return L and M: so many samples come out for so many that go in.

    >>> ratio(44_100, 16_000)
    (160, 441)
    """
    common = gcd(source_hz, rate_hz)
    return rate_hz // common, source_hz // common


def is_exact(source_hz: int, rate_hz: int) -> bool:
    """Tell whether the filter for these rates is small enough to be used.

    >>> is_exact(192_000, 11_025), is_exact(47_999, 16_000)
    (True, False)
    """
    up, down = ratio(source_hz, rate_hz)
    return 2 * _HALF * max(up, down) + 1 <= _MOST_COEFFICIENTS


@lru_cache(maxsize=16)
def coefficients(up: int, down: int) -> Integers:
    """Return h, shape ``(2 c + 1,)``, symmetric around index ``c = 80 max(up, down)``.

    Each phase, every ``up``-th coefficient, sums to exactly 2^30: what is constant stays what it is.
    """
    longest = max(up, down)
    centre = _HALF * longest
    distance = np.abs(np.arange(-centre, centre + 1, dtype=np.int64))
    sinc = _sinc(distance * _CUTOFF[0], longest * _CUTOFF[1])
    real = sinc * _kaiser(distance, centre + 1)
    taps: Integers = np.rint(real * float(1 << 40)).astype(np.int64)
    for phase in range(up):
        own = taps[phase::up]
        scaled = np.rint(own * (float(1 << _FRACTION_BITS) / float(own.sum()))).astype(np.int64)
        scaled[int(scaled.argmax())] += (1 << _FRACTION_BITS) - int(scaled.sum())
        taps[phase::up] = scaled
    taps.flags.writeable = False
    return taps


def coefficients_sha256(up: int, down: int) -> str:
    """Return the hash of :func:`coefficients` as little-endian int64."""
    return hashlib.sha256(coefficients(up, down).astype("<i8").tobytes()).hexdigest()


class PolyphaseResampler:
    """Resamples one recording, chunk by chunk."""

    def __init__(self, source_hz: int, rate_hz: int) -> None:
        """Begin a recording; :func:`is_exact` must hold."""
        self._up, self._down = ratio(source_hz, rate_hz)
        self._plan = _plan(self._up, self._down)
        self._taken = 0
        self._given = 0
        self._held: Floats = np.zeros(self._plan.before)  # from ``before`` samples before the next group on

    @property
    def name(self) -> str:
        """What the record of a conversion calls it."""
        return f"{NAME} {self._up}/{self._down}"

    def convert(self, samples: npt.NDArray[np.int16], *, last: bool = False) -> npt.NDArray[np.int16]:
        """Return the samples that are ready; ``last`` gives the rest. Shapes ``(n,)`` and ``(m,)``.

        All together are ``n L / M`` samples, rounded to the nearest integer, halves upwards.
        """
        plan = self._plan
        self._taken += len(samples)
        parts = [self._held, samples.astype(np.float64)]
        total = (2 * self._taken * self._up + self._down) // (2 * self._down)
        if last:
            groups = -(-(total - self._given) // plan.outputs)
            needed = plan.reach + (groups - 1) * plan.inputs
            have = len(self._held) + len(samples)
            parts.append(np.zeros(max(0, needed - have)))
        held = np.concatenate(parts)
        ready = max(0, (len(held) - plan.reach) // plan.inputs + 1)
        result = plan.apply(held, ready)
        if last:
            result = result[: total - self._given]
        self._given += len(result)
        self._held = held[ready * plan.inputs :]
        return result


@dataclass(frozen=True, slots=True, eq=False)
class _Band:
    """Neighbouring outputs of a group and the inputs that they need."""

    first_input: int
    """Counted from the beginning of what is held."""
    outputs: slice
    weights: Floats
    """Shape ``(inputs, outputs)``."""


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """How a group of outputs, one or more whole periods of the ratio, is computed."""

    inputs: int
    outputs: int
    before: int
    """Inputs before its first one that a group needs."""
    reach: int
    """Inputs that a group needs, those before included."""
    bands: tuple[_Band, ...]

    def apply(self, held: Floats, groups: int) -> npt.NDArray[np.int16]:
        """Return the outputs of so many groups, shape ``(groups * outputs,)``."""
        sums = np.empty((groups, self.outputs))
        if groups:
            step = held.strides[0]
            for band in self.bands:
                rows = np.lib.stride_tricks.as_strided(
                    held[band.first_input :],
                    (groups, len(band.weights)),
                    (self.inputs * step, step),
                    writeable=False,
                )
                sums[:, band.outputs] = np.ascontiguousarray(rows) @ band.weights
        sums += float(1 << (_FRACTION_BITS - 1))
        sums *= 1.0 / (1 << _FRACTION_BITS)
        return np.floor(sums, out=sums).clip(_LOW, _HIGH).astype(np.int16).reshape(-1)


@lru_cache(maxsize=16)
def _plan(up: int, down: int) -> _Plan:
    taps = coefficients(up, down)
    centre = len(taps) // 2
    per_output = 2 * centre // up + 1
    periods = max(1, per_output // 2 // down)
    outputs, inputs = periods * up, periods * down
    before = centre // up
    width = max(1, per_output // 2 * up // down)  # outputs of a band
    bands: list[_Band] = []
    for start in range(0, outputs, width):
        stop = min(start + width, outputs)
        low = -((centre - start * down) // up)
        high = ((stop - 1) * down + centre) // up
        positions = centre + np.arange(start, stop) * down - np.arange(low, high + 1)[:, None] * up
        inside = (positions >= 0) & (positions < len(taps))
        weights = np.where(inside, taps[positions.clip(0, len(taps) - 1)], 0).astype(np.float64)
        bands.append(_Band(low + before, slice(start, stop), weights))
    reach = max(band.first_input + len(band.weights) for band in bands)
    return _Plan(inputs, outputs, before, reach, tuple(bands))


def _sinc(numerator: Integers, denominator: int) -> Floats:
    """Return sin(pi x) / (pi x) of x = numerator / denominator, numerator >= 0."""
    turn = numerator % (2 * denominator)
    sign = np.where(turn < denominator, 1.0, -1.0)
    turn %= denominator
    angle = np.minimum(turn, denominator - turn) / float(denominator) * np.pi  # 0 to pi / 2
    square = angle * angle
    series = np.ones_like(angle)
    for k in range(24, 0, -2):  # Taylor's series of sin(a) / a
        series = 1.0 - square / float(k * (k + 1)) * series
    x = np.where(numerator == 0, 1.0, numerator / float(denominator) * np.pi)
    return np.where(numerator == 0, 1.0, sign * angle * series / x)


def _kaiser(distance: Integers, end: int) -> Floats:
    """Return the Kaiser window at ``distance`` from its middle, not normalized; it ends at ``end``."""
    t = distance / float(end)
    quarter = (1.0 - t * t) * (_BETA * _BETA / 4.0)
    series = np.ones_like(quarter)
    for k in range(_BESSEL_TERMS, 0, -1):  # I0(b) = sum of (b^2 / 4)^k / k!^2
        series = 1.0 + quarter / float(k * k) * series
    return series / float(series.max())
