"""Exact confidence intervals for counts and shares (two-sided, each side at most half of ``1 - level``).

Both are exact where events are independent. Where recordings differ by more than chance, they are told so by
a ``dispersion`` above 1: so many times larger is the variance, so many times fewer events stand behind it.
"""

from __future__ import annotations

Interval = tuple[float, float]


def poisson_interval(count: int, level: float = 0.95, *, dispersion: float = 1.0) -> Interval:
    """Return the exact interval of a Poisson mean after ``count`` events (Garwood 1936).

    ``low = chi2(a/2, 2n) / 2`` and ``high = chi2(1 - a/2, 2n + 2) / 2``.

    >>> tuple(round(bound, 3) for bound in poisson_interval(0))
    (0.0, 3.689)
    >>> tuple(round(bound, 3) for bound in poisson_interval(3))
    (0.619, 8.767)
    """
    from scipy.stats import chi2

    tail = (1 - level) / 2
    fewer = count / dispersion
    low = float(chi2.ppf(tail, 2 * fewer)) / 2 if count else 0.0
    return dispersion * low, dispersion * float(chi2.ppf(1 - tail, 2 * fewer + 2)) / 2


def share_interval(found: int, of: int, level: float = 0.95, *, dispersion: float = 1.0) -> Interval:
    """Return the exact interval of a share (Clopper and Pearson 1934); 0 to 1 of nothing.

    >>> tuple(round(bound, 3) for bound in share_interval(9, 10))
    (0.555, 0.997)
    """
    from scipy.stats import beta

    if not of:
        return 0.0, 1.0
    tail = (1 - level) / 2
    hits, misses = found / dispersion, (of - found) / dispersion
    low = float(beta.ppf(tail, hits, misses + 1)) if found else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, misses)) if found < of else 1.0
    return low, high
