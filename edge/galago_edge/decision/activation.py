"""Softmax and sigmoid of int8 logits as integers that are the same on every machine.

An int8 output code ``q`` stands for the logit ``scale * (q - zero_point)``. There are only 256
codes, so every exponential that can ever be needed is computed once, with decimal arithmetic
(whose ``exp`` is correctly rounded, unlike the C library's), and looked up afterwards. Scores
are Q16: 65536 stands for 1.0.
"""

from __future__ import annotations

import decimal
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

ONE = 1 << 16
"""The Q16 integer that stands for a probability of 1."""

_EXP_BITS = 32
"""Bits of the softmax table: the score of the winner of 10,000 labels is off by less than 0.1 Q16 steps,
and 10,000 labels times 2**48 still fit an int64."""

_EXACT = decimal.Context(
    prec=50, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, rounding=decimal.ROUND_HALF_EVEN, traps=[]
)
"""Without traps exponentials underflow to 0 and overflow to infinity, which is what both functions need."""


def to_q16(probability: float) -> int:
    """Return the nearest Q16 integer; ties go to even.

    >>> to_q16(0.7)
    45875
    """
    return round(probability * ONE)  # the product is exact: a power of two only moves the exponent


class Activation:
    """How the logits of one model become scores."""

    def __init__(
        self, kind: Literal["softmax", "sigmoid"], scale: float, zero_point: int, temperature: float = 1.0
    ) -> None:
        """Make the table for the output tensor's ``scale`` and ``zero_point``.

        ``temperature`` divides the logits: above 1 it makes the scores less sure of themselves.
        """
        if not 0 < scale < float("inf") or not 0 < temperature < float("inf"):
            raise ValueError(f"scale {scale} and temperature {temperature} must be positive and finite")
        self.kind = kind
        step = _EXACT.divide(decimal.Decimal(scale), decimal.Decimal(temperature))
        if kind == "softmax":
            self._table = _softmax_table(step)
        elif kind == "sigmoid":
            self._table = _sigmoid_table(step, zero_point)
        else:
            raise ValueError(f"unknown activation {kind!r}")

    def scores(self, logits: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
        """Return the Q16 score of each of the ``(..., labels)`` int8 output codes, as a new int64 array.

        Softmax scores are each rounded half up on their own, so their sum may miss 65536 by a few.
        """
        if logits.dtype != np.int8:
            raise ValueError(f"logits are {logits.dtype}, expected int8")
        codes = logits.view(np.uint8)
        if self.kind == "softmax":
            # uint8 arithmetic wraps, so this is the true distance 0..255 to the largest code
            codes = np.maximum.reduce(logits, axis=-1, keepdims=True).view(np.uint8) - codes
        powers: npt.NDArray[np.int64] = self._table.take(codes)
        if self.kind == "sigmoid":
            return powers
        total = np.add.reduce(powers, axis=-1, keepdims=True) >> 16
        powers += total >> 1
        powers //= total
        return powers


@lru_cache(maxsize=4)  # 256 exact exponentials take longer than replaying a short recording
def _softmax_table(step: decimal.Decimal) -> npt.NDArray[np.int64]:
    """Return ``exp(-step * distance)`` for the 256 distances to the largest code, times 2**32; read only.

    The entries are shifted left by a further 16 bits: divided by the sum they are Q16.
    """
    entries = (_scaled(_EXACT.exp(_EXACT.multiply(-step, distance)), _EXP_BITS) for distance in range(256))
    return _read_only([entry << 16 for entry in entries])


@lru_cache(maxsize=4)
def _sigmoid_table(step: decimal.Decimal, zero_point: int) -> npt.NDArray[np.int64]:
    """Return ``1 / (1 + exp(-logit))`` in Q16 for each code, ordered by its uint8 bit pattern; read only."""
    codes = [*range(128), *range(-128, 0)]
    entries = []
    for code in codes:
        power = _EXACT.exp(_EXACT.multiply(-step, code - zero_point))
        entries.append(_scaled(_EXACT.divide(decimal.Decimal(1), _EXACT.add(power, 1)), 16))
    return _read_only(entries)


def _read_only(entries: list[int]) -> npt.NDArray[np.int64]:
    table = np.array(entries, np.int64)
    table.flags.writeable = False  # everybody who asks gets the same one
    return table


def _scaled(value: decimal.Decimal, bits: int) -> int:
    """Return ``value * 2**bits`` as the nearest integer, ties to even."""
    return int(_EXACT.to_integral_value(_EXACT.multiply(value, 1 << bits)))
