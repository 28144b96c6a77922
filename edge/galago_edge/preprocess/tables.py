"""The frontend's tables: the only numbers in it that come from real-valued formulas.

They are computed with ``decimal`` at 60 digits and rounded once, so that every computer builds
the same integers whatever its libm or SIMD units; the hash of their bytes is part of the
preprocessing fingerprint. Everything else is derived from them by integer arithmetic
(:mod:`galago_edge.preprocess.matrices`).
"""

from __future__ import annotations

import decimal
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from msgspec import UnsetType

from galago_edge.contract.errors import BundleError, CallerError, Reason
from galago_edge.contract.manifest import AudioPreprocess
from galago_edge.preprocess.filterbank import BANK_BITS, bank_columns, build_bank, dense_bank

TABLE_BITS = 30
"""Fraction bits of the window and the cosines."""

CODES_PER_DB = 2
LEVEL_BITS = 9
"""Significant bits of a level: few enough that a look-up by a sum's leading bits is exact."""

ZERO_DB_CODE = 108
"""Code of a full-scale sine at a bin's centre, seen alone by a filter's peak.

The codes then reach from -118 dB, about what rounding to 16 bits leaves in the narrowest bands, to
+9.5 dB, just over a full-scale square wave with the neighbouring bins that a filter adds to its
peak."""

_POWER_SPARE_BITS = 2
"""By so much the proof of the sums overestimates them: it adds the largest real and imaginary parts."""

_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
_DIGITS = 60
_TABLES = {"window": np.int32, "cosine": np.int32, "bank": np.int16, "levels": np.int64}


def fft_length(frame_samples: int) -> int:
    """Return the length of the Fourier transform: the next power of two.

    >>> fft_length(480), fft_length(512)
    (512, 512)
    """
    return 1 << (frame_samples - 1).bit_length()


def magnitude_bits(frame_samples: int) -> int:
    """Return the fraction bits that a spectral magnitude keeps, in sample units.

    Four bits put its rounding 35 dB below what 16-bit samples themselves leave there. Long frames
    sum more of that noise and need fewer.
    """
    return 4 if frame_samples <= 1024 else 2


def spectrum_bits(spec: AudioPreprocess, bank: npt.NDArray[np.int16]) -> int:
    """Return the fraction bits in which real and imaginary part of a bin count, in sample units.

    A magnitude keeps :func:`magnitude_bits`. A power takes twice as many bits as its root, so of those the
    lowest are dropped (the result is negative then) until the sum of the widest band stays below 2^53:
    for 400 samples and 32 bands up to 3800 Hz, what is dropped lies 106 dB below a full-scale sine.
    """
    if spec.spectrum != "power":
        return magnitude_bits(spec.frame_samples)
    widest = int(dense_bank(bank, spec.mel_bands).sum(axis=0).max())
    largest = (1 << 30) * (spec.frame_samples // 2 + 1) ** 2 * widest  # no bin passes the window's sum
    return (53 - _POWER_SPARE_BITS - largest.bit_length()) // 2


@dataclass(frozen=True, slots=True, eq=False)
class FrontendTables:
    """What the log-mel frontend of one specification computes with."""

    window: npt.NDArray[np.int32]
    """Shape ``(frame_samples,)``: periodic Hann window in ``TABLE_BITS``."""

    cosine: npt.NDArray[np.int32]
    """Shape ``(n,)``: cos(2 pi k / n) in ``TABLE_BITS``, n the length of the transform."""

    bank: npt.NDArray[np.int16]
    """See :func:`build_bank`."""

    levels: npt.NDArray[np.int64]
    """Shape ``(255,)``, ascending: the smallest filter sums with the codes -127 to 127."""

    @classmethod
    def build(cls, spec: AudioPreprocess) -> Self:
        """Compute the tables of ``spec``.

        Raises:
            CallerError: CONFIG_BAD; the band limits are out of order or above half the sample rate,
                or a band is so narrow that it would hear nothing.
        """
        _check_limits(spec)
        with decimal.localcontext(decimal.Context(prec=_DIGITS)):
            n = fft_length(spec.frame_samples)
            window = [(1 - c) / 2 for c in _cosines(spec.frame_samples)]
            bank = build_bank(spec, n)
            return cls(
                window=_fixed(window, TABLE_BITS),
                cosine=_fixed(list(_cosines(n)), TABLE_BITS),
                bank=bank,
                levels=_levels(spec, bank),
            )

    @classmethod
    def from_files(cls, spec: AudioPreprocess, files: Mapping[str, bytes]) -> Self:
        """Read what :meth:`files` wrote for the same ``spec``.

        Raises:
            BundleError: PREPROCESS_MISMATCH; a table is missing, unreadable, of another shape or type,
                or holds a value that no table of this kind has.
        """
        shapes: dict[str, tuple[int, ...]] = {
            "window": (spec.frame_samples,),
            "cosine": (fft_length(spec.frame_samples),),
            "bank": (fft_length(spec.frame_samples) // 2 + 1, bank_columns(spec)),
            "levels": (255,),
        }
        arrays = {name: _read(files, name, shape) for name, shape in shapes.items()}
        one = 1 << TABLE_BITS
        _check_range("window", arrays["window"], 0, one)
        _check_range("cosine", arrays["cosine"], -one, one)
        _check_range("bank", arrays["bank"][:, 0], -1, spec.mel_bands)
        _check_range("bank", arrays["bank"][:, 1:], 0, 1 << BANK_BITS)
        _check_range("levels", arrays["levels"], 0, 1 << 53)
        _check_range("levels", np.diff(arrays["levels"]), 0, 1 << 53)
        return cls(**arrays)

    def files(self) -> dict[str, bytes]:
        """Return the tables as ``.npy`` files, by name; the same tables always give the same bytes."""
        return {f"{name}.npy": _npy(getattr(self, name)) for name in _TABLES}

    @property
    def sha256(self) -> str:
        """Hash of all tables, names included, 64 hexadecimal digits."""
        digest = hashlib.sha256()
        for name, data in self.files().items():
            digest.update(f"{name} {len(data)}\n".encode())
            digest.update(data)
        return digest.hexdigest()


@lru_cache(maxsize=16)
def built_tables(spec: AudioPreprocess) -> FrontendTables:
    """Return :meth:`FrontendTables.build`, once for each specification."""
    return FrontendTables.build(spec)


def floor_code(spec: AudioPreprocess) -> int:
    """Return the lowest code that a band can have, -128 or more."""
    if spec.version == "logmel/1":
        return -128
    assert not isinstance(spec.floor_db, UnsetType)
    return max(-128, round(CODES_PER_DB * spec.floor_db) + ZERO_DB_CODE)


def _check_limits(spec: AudioPreprocess) -> None:
    if not spec.fmin_hz < spec.fmax_hz <= spec.sample_rate_hz / 2:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"mel bands from {spec.fmin_hz:g} to {spec.fmax_hz:g} Hz do not fit a sample rate of "
            f"{spec.sample_rate_hz} Hz",
            hint=f"choose fmin_hz < fmax_hz <= {spec.sample_rate_hz / 2:g}",
        )


def _cosines(period: int) -> Iterator[Decimal]:
    """Yield cos(2 pi k / period) for k = 0 .. period - 1.

    The recurrence cos((k + 1) a) = 2 cos(a) cos(k a) - cos((k - 1) a) loses about k^2 units of the last
    of 60 digits: nothing that a table of 30 bits could see.
    """
    step = _cosine(2 * _PI / period)
    before, now = step, Decimal(1)
    for _ in range(period):
        yield now
        before, now = now, 2 * step * now - before


def _cosine(angle: Decimal) -> Decimal:
    """Return the cosine of a small angle (its Taylor series)."""
    term = total = Decimal(1)
    for k in range(1, 100, 2):
        term = -term * angle * angle / (k * (k + 1))
        total += term
    return total


def _fixed(values: list[Decimal], bits: int) -> npt.NDArray[np.int32]:
    scale = 1 << bits
    return np.array([int((value * scale).to_integral_value()) for value in values], dtype=np.int32)


def _levels(spec: AudioPreprocess, bank: npt.NDArray[np.int16]) -> npt.NDArray[np.int64]:
    """Return the filter sums at which the code changes: half way, in dB, between two codes.

    A sine of amplitude 2^15 at a bin's centre has the magnitude 2^15 * (sum of the window) / 2, and a
    periodic Hann window sums to half its length. Ten times the magnitude is 20 dB, ten
    times the power 10 dB.
    """
    power = spec.spectrum == "power"
    magnitude = Decimal(2) ** (15 + spectrum_bits(spec, bank)) * spec.frame_samples / 4
    full_scale = (magnitude * magnitude if power else magnitude) * (1 << BANK_BITS)
    per_decade = 10 if power else 20  # decibels
    step = Decimal(10) ** (Decimal(1) / (per_decade * CODES_PER_DB))
    half = Decimal(10) ** (Decimal(1) / (2 * per_decade * CODES_PER_DB))
    sums = [full_scale / half * step ** (code - ZERO_DB_CODE) for code in range(-127, 128)]
    return np.array([_leading_bits(max(1, int(s)), LEVEL_BITS) for s in sums], dtype=np.int64)


def _leading_bits(value: int, bits: int) -> int:
    """Round to ``bits`` significant bits, halves upwards.

    >>> _leading_bits(1027, 9), _leading_bits(1025, 9)
    (1028, 1024)
    """
    shift = max(0, value.bit_length() - bits)
    return (value + (1 << shift >> 1)) >> shift << shift


def _npy(array: npt.NDArray[Any]) -> bytes:
    """Return the array as a little-endian ``.npy`` file of format 1.0."""
    data = array.astype(array.dtype.newbyteorder("<"))
    return _npy_header(data.dtype, data.shape) + data.tobytes()


def _npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return what comes before the data. numpy itself pads it differently from version to version."""
    text = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(10 + len(text) + 1) % 64) + "\n"  # the data begin at a multiple of 64 bytes
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def _read(files: Mapping[str, bytes], name: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return a table from exactly the bytes that :func:`_npy` gives for an array of this shape."""
    if (data := files.get(f"{name}.npy")) is None:
        raise _mismatch(f"{name}.npy is missing")
    dtype = np.dtype(_TABLES[name]).newbyteorder("<")
    header = _npy_header(dtype, shape)
    size = dtype.itemsize * int(np.prod(shape))
    if not data.startswith(header) or len(data) != len(header) + size:
        raise _mismatch(f"{name}.npy of {len(data)} bytes is not a .npy file of {dtype.name} {shape}")
    return np.frombuffer(data, dtype, offset=len(header)).astype(_TABLES[name]).reshape(shape)


def _check_range(name: str, values: npt.NDArray[Any], low: int, high: int) -> None:
    if values.min() < low or values.max() > high:
        raise _mismatch(
            f"{name}.npy holds values from {values.min()} to {values.max()}, expected {low} to {high}"
        )


def _mismatch(what: str) -> BundleError:
    return BundleError(
        Reason.PREPROCESS_MISMATCH,
        f"frontend table {what}",
        hint="build the bundle again; its tables are not those of its specification",
    )
