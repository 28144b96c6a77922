"""Evidence that may be looked at as often as one likes: bets against "the gate is broken" or "it holds".

Whoever bets against a true claim cannot expect to win: the wealth of a fair or losing game that began with
1 ever reaches ``1/a`` with probability ``a`` at most, whenever one looks and stops (Ville, "Étude critique
de la notion de collectif", 1939). A wealth of 20 is therefore evidence at 5 %, today and after every further
hour. Such a wealth is an e-process; here are two kinds, which depend on counts only and not on the order.

**Means** of things with values in ``[low, high]`` (missed: 0 or 1; missed by NEW less missed by OLD: -1, 0
or 1). Against "the mean is at least b": wealth is multiplied by ``1 + t (b - x)`` for each ``x``, with
``0 < t <= 1 / (high - b)``: never negative, and of expectation 1 at most where the claim is true
(Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86, 2024).

**Rates** of alarms with marks ``v`` over ``T`` hours. Against "``sum v * rate(v)`` is at least b per hour":
the product of ``1 - t v`` over the alarms, times ``exp(t b T)``, with ``0 < t <= 1 / max v``. It is the same
game in continuous time: the stochastic exponential of the compensated counts, whose expectation grows by
``t (b - sum v * rate(v)) <= 0``. One mark 1 is the likelihood ratio of Poisson processes with rates
``b (1 - t')`` and ``b``; marks 1 (only NEW) and -1 (only OLD) test the difference of two paired rates without
knowing either (Lindon and Kallus, "Anytime-Valid Continuous-Time Confidence Processes for Inhomogeneous
Poisson Processes", 2024, for the theory; the counting process may change its rate).

Neither the chances nor the rates need be the same for all: with means or rates that differ from thing to
thing and from hour to hour, what is tested is their mean over what was seen so far (``prod (1 + t (b - p_i))
<= (1 + t (b - mean p))^n`` for any p; for rates it is an equation). That is a claim about these recordings.
A claim about others like them takes whole recordings as units.

How much to stake is not known before: wealth is the mean over many ``t``, with fixed weights, which is an
e-process again (method of mixtures, Robbins 1970; here on a grid).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Claim = Literal["holds", "broken"]
"""What the evidence is for. ``holds``: against a mean or rate at or above the bound."""

_STEPS = 24
_SHARES: Floats = 2.0 ** (-np.arange(_STEPS) / 2.0)
"""Stakes, as shares of the largest one: 1, 0.71, 0.5 ... 0.00035."""
_LOG_WEIGHTS: Floats = np.log((1.0 / (np.arange(_STEPS) + 2.0)) / np.sum(1.0 / (np.arange(_STEPS) + 2.0)))
"""Of the stakes, in sum 1: large ones weigh more, for they decide while there is little data."""
_LARGEST_RISE = 16.0
"""Largest stake where nothing limits it: against a rate of ``b``, for one of ``17 b``."""
_RUIN = -1e12
"""Logarithm of 0, so that 0 times it is 0."""


@dataclass(frozen=True, slots=True)
class Tally:
    """All that an e-process needs to know of what was seen."""

    per: Literal["unit", "hour"]
    """``unit``: the mean over units is bounded; ``hour``: the sum of marks an hour."""
    values: Floats
    """Shape ``(kinds,)``: value of each kind of unit, mark of each kind of alarm."""
    counts: Floats
    """Shape ``(..., kinds)``: how many of each kind were seen."""
    hours: Floats
    """Shape ``(...)``: over how many hours."""
    low: float = 0.0
    """Smallest value that there can be."""
    high: float = 1.0
    """Largest value that there can be."""
    prior: float = 0.5
    """For forecasts alone: what each kind counts before anything is seen; 0 where it is one recording."""

    @property
    def estimate(self) -> Floats:
        """Mean value of a unit, or sum of marks an hour; shape ``(...)``, NaN where nothing was seen."""
        sums = self.counts @ self.values
        size = self.counts.sum(axis=-1) if self.per == "unit" else self.hours
        with np.errstate(invalid="ignore", divide="ignore"):
            estimate: Floats = np.asarray(sums / size, np.float64)
        return estimate


def log_wealth(tally: Tally, bound: float, claim: Claim) -> Floats:
    """Return the logarithm of the evidence for ``claim``, shape ``(...)``; at 0 there is none.

    The mean over stakes of: ``product over kinds (1 + t x)^count * exp(t * drift * hours)`` with
    ``x = bound - v`` for a mean and ``-v`` for a rate, signs turned for ``broken``.
    """
    sign = 1.0 if claim == "holds" else -1.0
    gains = sign * ((bound - tally.values) if tally.per == "unit" else -tally.values)
    ends = (tally.low, tally.high)
    worst = min(sign * ((bound - end) if tally.per == "unit" else -end) for end in ends)
    stakes = _SHARES * (_LARGEST_RISE / max(abs(bound), 1e-9) if worst >= 0.0 and tally.per == "unit"
                        else _LARGEST_RISE if worst >= 0.0 else -1.0 / worst)  # fmt: skip
    factors = 1.0 + np.outer(gains, stakes)
    logs = np.where(factors > 1e-12, np.log(np.maximum(factors, 1e-12)), _RUIN)
    exponents = tally.counts @ logs + _LOG_WEIGHTS
    if tally.per == "hour":
        exponents = exponents + sign * bound * np.multiply.outer(tally.hours, stakes)
    top = exponents.max(axis=-1, keepdims=True)
    wealth: Floats = (top + np.log(np.exp(exponents - top).sum(axis=-1, keepdims=True)))[..., 0]
    return wealth


def limits(tally: Tally, wrong_low: float, wrong_high: float) -> tuple[float, float]:
    """Return between which bounds the true figure lies: a confidence sequence, valid at every look.

    Below the first with probability ``wrong_low`` at most, above the second with ``wrong_high``. The second
    is the smallest bound for which the evidence that it holds suffices, the first the largest for which the
    evidence that it is broken does. For one tally without leading shape.
    """
    estimate = float(tally.estimate)
    if np.isnan(estimate):
        return (tally.low, tally.high) if tally.per == "unit" else (-np.inf if tally.low < 0 else 0.0, np.inf)
    below, above = float(tally.low), float(tally.high)
    if tally.per == "hour":
        spread = (
            64.0 * (1.0 + float(tally.counts.sum())) * max(abs(tally.low), tally.high) / float(tally.hours)
        )
        below, above = (estimate - spread if tally.low < 0 else 0.0), estimate + spread
    return (
        -_reached(tally, "broken", wrong_low, -estimate, -below),
        _reached(tally, "holds", wrong_high, estimate, above),
    )


def _reached(tally: Tally, claim: Claim, wrong: float, begin: float, end: float) -> float:
    """Smallest bound from ``begin`` on for which the evidence suffices; for ``broken`` with its sign turned.

    The evidence for ``holds`` never falls with the bound, that for ``broken`` never rises.
    """
    sign = 1.0 if claim == "holds" else -1.0
    for _ in range(60):
        middle = (begin + end) / 2.0
        if middle in (begin, end):
            break
        if float(log_wealth(tally, sign * middle, claim)) >= -np.log(wrong):
            end = middle
        else:
            begin = middle
    return end
