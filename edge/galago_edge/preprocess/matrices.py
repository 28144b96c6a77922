"""The frontend as three matrix products of integers, small enough to be exact in float64.

A frame of n = N1 * N2 windowed samples v (zeros behind its end) is transformed in two steps (Cooley and
Tukey 1965; n = N2 n1 + n2, k = k1 + N1 k2):

1. ``Z[k1, n2] = sum over n1 of v[n] e^(-2 pi i n1 k1 / N1)``, one real product. Because v is real,
   k1 = 0 .. N1/2 suffices, and Z is real at both ends: those two share the place of one complex value.
2. ``X[k] = sum over n2 of e^(-2 pi i n2 k / n) Z[k mod N1, n2]``, one real product for every k1, in which
   bins whose k mod N1 lies above N1/2 take the conjugate of Z.

Then ``sum over k of weight[band, k] |X[k]|``, or of ``weight[band, k] |X[k]|^2``. v, Z and |X| or its square
are rounded to the fraction bits below; all other factors are integers or integers times a power of two, and
the sum of the absolute values of the terms stays below 2^53 for every possible input: no order of summation,
no fused multiply-add and no number of threads can change a result. :func:`build_matrices` checks that.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import BundleError, Reason
from galago_edge.contract.manifest import AudioPreprocess
from galago_edge.preprocess.filterbank import dense_bank
from galago_edge.preprocess.tables import (
    LEVEL_BITS,
    TABLE_BITS,
    FrontendTables,
    built_tables,
    floor_code,
    spectrum_bits,
)

EXACT = 1 << 53
"""Integers up to here, and their sums, are exact in float64."""

LEADING_SHIFT = 53 - LEVEL_BITS
"""What is not a leading bit of a float64."""

_SAMPLE_BITS = 8
"""Fraction bits of windowed samples v."""

_FACTOR_BITS = 20
"""Fraction bits of the sines and cosines of both steps."""

_HALFWAY_BITS = 6
"""Fraction bits of Z."""

_FULL_SCALE = 1 << 15  # the largest absolute value of an int16

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class BandGroup:
    """Neighbouring mel bands and the bins that they need."""

    bands: slice
    bins: slice
    weights: Floats
    """Shape ``(bins, bands)``."""


@dataclass(frozen=True, slots=True, eq=False)
class FrontendMatrices:
    """Everything that a frame is multiplied with."""

    window: Floats
    """Shape ``(rows, N2)``: samples times this, rounded, are v with ``_SAMPLE_BITS`` fraction bits. The last
    of the rows may reach behind the frame's end; the window is zero there."""

    first: Floats
    """Shape ``(N1, rows)``: step 1; its results, rounded, are Z with ``_HALFWAY_BITS`` fraction bits."""

    second: Floats
    """Shape ``(N1 / 2, 2 N2, 2 N2)``: step 2 for every k1; its results, N2 real parts and then N2 imaginary
    ones, are X with ``spectrum_bits`` fraction bits, not rounded yet."""

    groups: tuple[BandGroup, ...]
    """The filterbank; its bins are in the order (row of step 2, k1)."""

    codes: npt.NDArray[np.int8]
    """The code of a filter sum, by the leading bits of its float64 form less ``first_code``."""

    first_code: int

    power: bool
    """Whether bins count with their power; else with their magnitude."""

    largest_sums: tuple[int, int, int]
    """What no sum of absolute values in the three products can pass, in units of its own last bit."""


def split(n: int) -> tuple[int, int]:
    """Return N1 and N2 with N1 * N2 = n and the fewest multiplications, about n (N1 + 2 N2).

    >>> split(512), split(1024)
    ((32, 16), (32, 32))
    """
    n1: int = 1 << (n.bit_length() // 2)
    return n1, n // n1


def bin_order(n: int) -> Integers:
    """Return the bin at every (row of step 2, k1), shape ``(N2, N1 / 2)``.

    Row i holds the bins from i N1/2 up to (i + 1) N1/2: even rows upwards in k1, odd rows downwards from
    the next multiple of N1, through the conjugate. k1 = 0 shares its place with k1 = N1/2, to which its odd
    rows belong. No band has a weight at bin 0 or n/2, and bin n/2 is left out.
    """
    n1, n2 = split(n)
    half = n1 // 2
    row, k1 = np.indices((n2, half))
    order: Integers = half * row + np.where(row % 2 == 0, k1, half - k1)
    order[:, 0] = half * row[:, 0]
    return order


@lru_cache(maxsize=16)
def built_matrices(spec: AudioPreprocess) -> FrontendMatrices:
    """Return the matrices of the specification's own tables, once for each specification."""
    return build_matrices(spec, built_tables(spec))


def build_matrices(spec: AudioPreprocess, tables: FrontendTables) -> FrontendMatrices:
    """Derive the matrices by integer arithmetic and prove that products with them are exact.

    Raises:
        BundleError: PREPROCESS_MISMATCH; with these tables a sum could reach 2^53, or a band is empty.
    """
    factors = split(len(tables.cosine))
    keep = spectrum_bits(spec, tables.bank)
    power = spec.spectrum == "power"
    window = _window(tables, factors)
    first = _first(tables, factors, len(window))
    second = _second(tables, factors)
    weights = _weights(spec, tables)
    largest = _largest_sums(window, first, second, weights, keep, power=power)
    if max(largest) >= EXACT:
        raise _mismatch(f"give sums up to {max(largest)}, expected less than 2^53")
    if not weights.any(axis=0).all():
        raise _mismatch("leave a mel band without any bin")
    first_code, codes = _codes(tables.levels, floor_code(spec))
    return FrontendMatrices(
        window=window.astype(np.float64) * 2.0 ** (_SAMPLE_BITS - TABLE_BITS),
        first=first.astype(np.float64, order="C") * 2.0 ** (_HALFWAY_BITS - _SAMPLE_BITS - _FACTOR_BITS),
        second=second.astype(np.float64, order="C") * 2.0 ** (keep - _HALFWAY_BITS - _FACTOR_BITS),
        groups=_groups(weights),
        codes=codes,
        first_code=first_code,
        power=power,
        largest_sums=largest,
    )


def _window(tables: FrontendTables, factors: tuple[int, int]) -> Integers:
    """Return the window in rows of N2 samples, with zeros behind its end."""
    rows = -(-len(tables.window) // factors[1])
    window = np.zeros(rows * factors[1], dtype=np.int64)
    window[: len(tables.window)] = tables.window
    return window.reshape(rows, factors[1])


def _first(tables: FrontendTables, factors: tuple[int, int], rows: int) -> Integers:
    """Return step 1; its outputs are k1 = 0, k1 = N1/2, then real and imaginary part of k1 = 1, 2, ..."""
    n1, n2 = factors
    k1 = np.repeat(np.arange(n1 // 2), 2)
    k1[1] = n1 // 2
    imaginary = np.tile([0, 1], n1 // 2)
    imaginary[1] = 0
    turn = n2 * np.outer(k1, np.arange(rows)) + n1 * n2 // 4 * imaginary[:, None]  # -sin(a) = cos(a + pi/2)
    return _round_shift(tables.cosine.astype(np.int64)[turn % (n1 * n2)], TABLE_BITS - _FACTOR_BITS)


def _second(tables: FrontendTables, factors: tuple[int, int]) -> Integers:
    n1, n2 = factors
    n = n1 * n2
    table = _round_shift(tables.cosine.astype(np.int64), TABLE_BITS - _FACTOR_BITS)
    bins = bin_order(n).T[:, :, None]  # (k1, row, 1)
    turn = bins * np.arange(n2)
    cos, sin = table[turn % n], table[(turn - n // 4) % n]
    conjugate = np.where(np.arange(n2) % 2, -1, 1)[None, :, None]
    result = np.empty((n1 // 2, 2, n2, 2, n2), dtype=np.int64)  # (k1, part, row, part of Z, n2)
    result[:, 0, :, 0], result[:, 0, :, 1] = cos, conjugate * sin
    result[:, 1, :, 0], result[:, 1, :, 1] = -sin, conjugate * cos
    # k1 = 0: both parts of Z are real spectra of their own, one for even rows and one for odd ones
    own = np.arange(n2) % 2
    for part_of_z in (0, 1):
        uses = (own == part_of_z)[:, None]
        result[0, 0, :, part_of_z] = np.where(uses, cos[0], 0)
        result[0, 1, :, part_of_z] = np.where(uses, -sin[0], 0)
    return result.reshape(n1 // 2, 2 * n2, 2 * n2)


def _weights(spec: AudioPreprocess, tables: FrontendTables) -> Integers:
    """Return the filterbank, shape ``(n / 2, mel_bands)``, in the order of step 2."""
    return dense_bank(tables.bank, spec.mel_bands)[bin_order(len(tables.cosine)).ravel()]


def _groups(weights: Integers) -> tuple[BandGroup, ...]:
    """Cut the filterbank in two, so that low bands are not multiplied with high bins and the reverse."""
    bands = weights.shape[1]
    parts = (slice(0, bands // 2), slice(bands // 2, bands)) if bands > 1 else (slice(0, bands),)
    return tuple(_group(weights, part) for part in parts)


def _group(weights: Integers, bands: slice) -> BandGroup:
    used = np.flatnonzero(weights[:, bands].any(axis=1))
    bins = slice(int(used[0]), int(used[-1]) + 1)
    return BandGroup(bands, bins, np.ascontiguousarray(weights[bins, bands], dtype=np.float64))


def _codes(levels: Integers, lowest: int) -> tuple[int, npt.NDArray[np.int8]]:
    """Return the look-up table of the codes and the leading bits of its first entry.

    The leading bits of a float64 (exponent and first ``LEVEL_BITS - 1`` bits of the fraction) grow with the
    number. Levels have no further bits, so numbers with equal leading bits reach the same levels. The
    entries begin just below the lowest level and end at the highest one. No code is below ``lowest``.
    """
    edges = levels.astype(np.float64).view(np.int64) >> LEADING_SHIFT
    start, stop = int(edges[0]) - 1, int(edges[-1]) + 1
    reached = np.searchsorted(edges, np.arange(start, stop), side="right")
    return start, np.maximum(reached - 128, lowest).astype(np.int8)


def _largest_sums(
    window: Integers, first: Integers, second: Integers, weights: Integers, keep: int, *, power: bool
) -> tuple[int, int, int]:
    """Return the largest possible sum of absolute values in each of the three products."""
    samples = (_FULL_SCALE * window >> (TABLE_BITS - _SAMPLE_BITS)) + 1
    one = np.abs(first) @ samples  # (N1, N2)
    halfway = (one >> (_SAMPLE_BITS + _FACTOR_BITS - _HALFWAY_BITS)) + 1
    k1, both = second.shape[:2]
    two = (np.abs(second) @ halfway.reshape(k1, both, 1))[:, :, 0]  # (k1, row of step 2)
    parts = (two >> (_HALFWAY_BITS + _FACTOR_BITS - keep)).reshape(k1, 2, both // 2) + 1
    if power:
        # Python's integers: with the tables of a damaged bundle this may pass 2^63
        parts = parts.astype(object) ** 2
        weights = weights.astype(object)
    strength = (parts[:, 0] + parts[:, 1]).T.ravel() + 1  # |X| <= |re| + |im|
    three = weights.T @ strength
    return int(one.max()), int(two.max()), int(three.max())


def _round_shift(values: Integers, bits: int) -> Integers:
    """Divide by 2^bits, rounding to the nearest, halves upwards."""
    result: Integers = (values + (1 << (bits - 1))) >> bits
    return result


def _mismatch(what: str) -> BundleError:
    return BundleError(
        Reason.PREPROCESS_MISMATCH,
        f"frontend tables {what}",
        hint="build the bundle again; its tables are not those of its specification",
    )
