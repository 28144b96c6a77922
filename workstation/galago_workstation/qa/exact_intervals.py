"""Exact intervals of counts, rates and shares, and how long one must watch to claim something.

Two-sided, each side at most half of ``1 - level``. They are exact where events are independent. Where
recordings differ by more than chance, they are told so by a ``dispersion`` above 1: so many times larger is
the variance, so many times fewer events stand behind it.

SciPy's functions of ``scipy.special`` are used: ``scipy.stats`` takes a second to import.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

HOURS_PER_DAY = 24
CONFIDENCE = 0.95
Interval = tuple[float, float]


class RateEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """So many in so much time, and what rate that may stand for."""

    count: int
    hours: float
    per_hour: float | None = None
    """None when nothing was watched."""
    per_day: float | None = None
    low_per_hour: float | None = None
    high_per_hour: float | None = None
    """Of the two-sided 95 % interval; when nothing was counted, the one-sided 95 % bound, 3.0 / hours."""
    sides: Literal[1, 2] = 2
    """Of the interval: 1 when nothing was counted."""


class ShareEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """So many of so many, and what share that may stand for."""

    count: int
    of: int
    share: float | None = None
    """None of nothing."""
    low: float | None = None
    high: float | None = None
    """Of the two-sided 95 % interval."""


class RateClaim(msgspec.Struct, frozen=True, kw_only=True):
    """Whether so few false alarms per hour may be claimed after so many valid hours."""

    per_hour: float
    """What is claimed: less than this."""
    bound_per_hour: float | None
    """One-sided 95 % upper bound of what was seen; None when nothing was watched."""
    supported: bool
    hours: float
    needed_hours: float
    """With so many as were counted, and no more, the claim can be made after this many valid hours."""
    least_hours: float
    """Without a single one: nobody can claim it on less."""


def poisson_interval(count: int, level: float = CONFIDENCE, *, dispersion: float = 1.0) -> Interval:
    """Return the exact interval of a Poisson mean after ``count`` events.

    ``chi2(a / 2, 2 n) / 2`` to ``chi2(1 - a / 2, 2 n + 2) / 2`` (Garwood 1936, Fiducial limits for the
    Poisson distribution).

    >>> tuple(round(bound, 3) for bound in poisson_interval(0))
    (0.0, 3.689)
    >>> tuple(round(bound, 3) for bound in poisson_interval(3))
    (0.619, 8.767)
    """
    tail = (1 - level) / 2
    fewer = count / dispersion
    low = _half_chi2(tail, fewer) if count else 0.0
    return dispersion * low, dispersion * _half_chi2(1 - tail, fewer + 1)


def share_interval(found: int, of: int, level: float = CONFIDENCE, *, dispersion: float = 1.0) -> Interval:
    """Return the exact interval of a share (Clopper and Pearson 1934); 0 to 1 of nothing.

    >>> tuple(round(bound, 3) for bound in share_interval(9, 10))
    (0.555, 0.997)
    """
    from scipy.special import betaincinv

    if not of:
        return 0.0, 1.0
    tail = (1 - level) / 2
    hits, misses = found / dispersion, (of - found) / dispersion
    low = float(betaincinv(hits, misses + 1, tail)) if found else 0.0
    high = float(betaincinv(hits + 1, misses, 1 - tail)) if found < of else 1.0
    return low, high


def rate_estimate(count: int, hours: float) -> RateEstimate:
    """Return the rate with its exact interval; none counted: 0 to ``-ln(0.05) / T``, which is 3.0 / T."""
    if hours <= 0:
        return RateEstimate(count=count, hours=0.0)
    low, high = poisson_interval(count)
    return RateEstimate(
        count=count,
        hours=hours,
        per_hour=count / hours,
        per_day=HOURS_PER_DAY * count / hours,
        low_per_hour=low / hours,
        high_per_hour=high / hours if count else upper_bound(0, hours),
        sides=2 if count else 1,
    )


def share_estimate(count: int, of: int) -> ShareEstimate:
    """Return the share with its exact interval."""
    if of == 0:
        return ShareEstimate(count=0, of=0)
    low, high = share_interval(count, of)
    return ShareEstimate(count=count, of=of, share=count / of, low=low, high=high)


def upper_bound(count: int, hours: float) -> float:
    """Return the one-sided 95 % upper bound of a Poisson rate per hour.

    >>> round(upper_bound(0, 5.5), 3), round(upper_bound(0, 24), 3)
    (0.545, 0.125)
    """
    return hours_needed(1.0, count) / hours


def hours_needed(per_hour: float, count: int = 0) -> float:
    """Return after how many valid hours with ``count`` events the rate is below ``per_hour`` with 95 %.

    ``chi2(0.95, 2 n + 2) / 2 r``; for none ``-ln(0.05) / r``.

    >>> round(hours_needed(0.5), 2)
    5.99
    """
    if count == 0:
        return -math.log(1 - CONFIDENCE) / per_hour
    return _half_chi2(CONFIDENCE, count + 1) / per_hour


def rate_claim(per_hour: float, count: int, hours: float) -> RateClaim:
    """Return whether "less than ``per_hour``" holds with 95 % after ``count`` events in ``hours``."""
    bound = upper_bound(count, hours) if hours > 0 else None
    return RateClaim(
        per_hour=per_hour,
        bound_per_hour=bound,
        supported=bound is not None and bound < per_hour,
        hours=hours,
        needed_hours=hours_needed(per_hour, count),
        least_hours=hours_needed(per_hour),
    )


def _half_chi2(probability: float, events: float) -> float:
    """Return half the quantile of chi2 with twice as many degrees of freedom, which is gamma's."""
    from scipy.special import gammaincinv

    return float(gammaincinv(events, probability))
