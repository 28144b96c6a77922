"""How long after its onset a truth is found; a miss is a delay that nobody has seen the end of.

Estimator: Kaplan and Meier 1958, with every miss right-censored behind the latest delay that the matching
rule admits for any truth. Censoring times that lie behind all delays make it the plain empirical
distribution over all truths, the missed ones included: the quantile p is the least delay within which at
least the share p of all truths was found, and there is none when fewer were. A miss is never taken for one
that would have been found like the others, which censoring at its own end would do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

NS_PER_S = 1_000_000_000


class DelayEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """Delays of the truths of one label, in seconds from onset to decision. None: fewer were found."""

    truths: int
    found: int
    p50_s: float | None = None
    p90_s: float | None = None
    p95_s: float | None = None
    max_s: float | None = None
    """Of those that were found."""


def delay_estimate(delays_ns: Sequence[int], missed: int) -> DelayEstimate:
    """Return the quantiles over the truths that were found with these delays and those that were missed."""
    ordered, count = sorted(delays_ns), len(delays_ns) + missed
    return DelayEstimate(
        truths=count,
        found=len(ordered),
        p50_s=_quantile(ordered, count, 50),
        p90_s=_quantile(ordered, count, 90),
        p95_s=_quantile(ordered, count, 95),
        max_s=ordered[-1] / NS_PER_S if ordered else None,
    )


def _quantile(ordered: Sequence[int], count: int, percent: int) -> float | None:
    place = max(1, math.ceil(percent * count / 100))
    return ordered[place - 1] / NS_PER_S if count and place <= len(ordered) else None
