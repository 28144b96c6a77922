"""The mel filterbank: which bands a bin of the spectrum counts in, and how much, as integers.

Two scales. ``htk``: mel = 2595 log10(1 + f / 700) (O'Shaughnessy 1987), triangles of height one. ``slaney``:
linear up to 1000 Hz, three mel in 200 Hz, and 27 mel in every factor of 6.4 above (Slaney 1998, Auditory
Toolbox), triangles of equal area: a wide band is lower than the narrowest one, which has height one. Edges
are equally spaced in mel from ``fmin_hz`` to ``fmax_hz``.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.manifest import AudioPreprocess

BANK_BITS = 12
"""Fraction bits of the filterbank's weights."""

_WHOLE = 1 << BANK_BITS
_OUTSIDE = -1
_BREAK_HZ, _BREAK_MEL = Decimal(1000), Decimal(15)  # Slaney's scale bends here
_MEL_PER_FACTOR, _FACTOR = Decimal(27), Decimal("6.4")


def bank_columns(spec: AudioPreprocess) -> int:
    """Return 2 for ``logmel/1``, whose neighbouring triangles add up to one, and 3 for ``logmel/2``."""
    return 2 if spec.version == "logmel/1" else 3


def build_bank(spec: AudioPreprocess, n: int) -> npt.NDArray[np.int16]:
    """Return the filterbank for a transform of length n, shape ``(n / 2 + 1, bank_columns)``.

    One row a bin: the band i in whose rising slope it lies, its weight there in ``BANK_BITS``, and, in the
    third column, its weight in band i - 1; without that column this is the rest, up to one. Row
    ``(-1, 0, 0)``: outside every band. Computed in the caller's decimal context.

    Raises:
        CallerError: CONFIG_BAD; a band is so narrow that it would hear nothing.
    """
    slaney = spec.mel_scale == "slaney"
    edges = _slaney_edges(spec) if slaney else _htk_edges(spec)
    heights = _equal_areas(edges) if slaney else [Decimal(1)] * spec.mel_bands
    heights = [Decimal(1), *heights, Decimal(1)]  # a band more at each end, which nobody reads
    bank = np.full((n // 2 + 1, 3), (_OUTSIDE, 0, 0), dtype=np.int16)
    sums = [0] * (spec.mel_bands + 1)
    band = 0
    for k in range(n // 2 + 1):
        hz = Decimal(k) * spec.sample_rate_hz / n
        while band <= spec.mel_bands and hz >= edges[band + 1]:
            band += 1
        if hz < edges[0] or band > spec.mel_bands:
            continue
        rise = (hz - edges[band]) / (edges[band + 1] - edges[band])
        bank[k] = band, _weight(rise * heights[band + 1]), _weight((1 - rise) * heights[band])
        weight = _weight(rise)
        sums[band] += weight
        if band:
            sums[band - 1] += _WHOLE - weight
    _check_bands(spec, n, edges, sums)
    return np.ascontiguousarray(bank[:, : bank_columns(spec)])


def dense_bank(bank: npt.NDArray[np.int16], mel_bands: int) -> npt.NDArray[np.int64]:
    """Return the weights of :func:`build_bank` as a matrix, shape ``(n / 2 + 1, mel_bands)``."""
    dense = np.zeros((len(bank), mel_bands + 2), dtype=np.int64)  # a band more at each end
    inside = np.flatnonzero(bank[:, 0] >= 0)
    band, rising = bank[inside, :2].astype(np.int64).T
    dense[inside, band + 1] = rising
    dense[inside, band] = bank[inside, 2] if bank.shape[1] == 3 else _WHOLE - rising
    return dense[:, 1:-1]


def _weight(share: Decimal) -> int:
    return int((share * _WHOLE).to_integral_value())


def _htk_edges(spec: AudioPreprocess) -> list[Decimal]:
    """Return the edges of all bands. Equal steps in mel are equal ratios of (f + 700 Hz)."""
    first, last = Decimal(spec.fmin_hz) + 700, Decimal(spec.fmax_hz) + 700
    ratio = (last / first) ** (Decimal(1) / (spec.mel_bands + 1))
    return [first * ratio**i - 700 for i in range(spec.mel_bands + 1)] + [last - 700]


def _slaney_edges(spec: AudioPreprocess) -> list[Decimal]:
    first, last = Decimal(spec.fmin_hz), Decimal(spec.fmax_hz)
    low, high = _slaney_mel(first), _slaney_mel(last)
    step = (high - low) / (spec.mel_bands + 1)
    return [first, *(_slaney_hz(low + step * i) for i in range(1, spec.mel_bands + 1)), last]


def _slaney_mel(hz: Decimal) -> Decimal:
    if hz < _BREAK_HZ:
        return hz * 3 / 200
    return _BREAK_MEL + (hz / _BREAK_HZ).ln() * _MEL_PER_FACTOR / _FACTOR.ln()


def _slaney_hz(mel: Decimal) -> Decimal:
    if mel < _BREAK_MEL:
        return mel * 200 / 3
    return _BREAK_HZ * ((mel - _BREAK_MEL) * _FACTOR.ln() / _MEL_PER_FACTOR).exp()


def _equal_areas(edges: list[Decimal]) -> list[Decimal]:
    """Return heights with which all triangles have one area, the largest one."""
    widths = [last - first for first, last in zip(edges[:-2], edges[2:], strict=True)]
    return [min(widths) / width for width in widths]


def _check_bands(spec: AudioPreprocess, n: int, edges: list[Decimal], sums: list[int]) -> None:
    """Refuse a band that gets less than half a bin: it would report silence for ever."""
    for band in range(spec.mel_bands):
        if sums[band] < _WHOLE // 2:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"mel band {band} of {spec.mel_bands}, {edges[band]:.0f} to {edges[band + 2]:.0f} Hz, is too "
                f"narrow for frames of {spec.frame_samples} samples, whose spectrum has a bin every "
                f"{spec.sample_rate_hz / n:.0f} Hz",
                hint="use fewer mel_bands, longer frames or a higher fmin_hz",
            )
