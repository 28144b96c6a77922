"""How many more hours of recordings a gate needs until it is decided, if they are like those so far.

What the future brings is drawn many times (fixed seed): for each drawn future first the true frequency of
each kind, from what was seen (gamma, Jeffreys' prior: half an observation of each kind; none where the unit
is a recording, which is the Bayesian bootstrap), then the counts of the coming hours (Poisson). The promise
is the least number of hours within which ``SUFFICES`` of the drawn futures are decided, either way, by
someone who looks on the way too. It is a forecast, not a guarantee: it suffices about that often when later
recordings are like the earlier ones.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from galago_workstation.qa.e_process import Tally, log_wealth

SUFFICES = 0.8
"""Share of the drawn futures that are decided within the promised hours."""
MOST_TIMES = 256
"""The forecast looks ahead this many times the hours that there are."""
_FUTURES, _SEED, _PER_DOUBLING = 200, 12, 3
_FIRST = -4  # doublings of the hours so far

Floats = npt.NDArray[np.float64]


def hours_ahead(
    tally: Tally, bound: float, wrong_pass: float, wrong_fail: float, *, futures: int = _FUTURES
) -> Floats:
    """Return the promised hours, shape of ``tally.hours``; infinite where the forecast does not reach so far.

    NaN where nothing was seen yet, so that nothing can be forecast.
    """
    counts = np.atleast_2d(np.asarray(tally.counts, np.float64))
    hours = np.atleast_1d(np.asarray(tally.hours, np.float64))
    looks = hours * _times()[:, None]  # (looks, tallies)
    seen, tallies = np.zeros((len(looks), len(hours))), len(hours)
    random = np.random.default_rng(_SEED)
    steps = np.diff(looks, axis=0, prepend=0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(hours > 0, 1.0 / hours, 0.0)
    for _ in range(futures):
        rates = random.standard_gamma(counts + tally.prior) * scale[:, None]
        to_come = np.cumsum(random.poisson(steps[:, :, None] * rates), axis=0)
        future = Tally(tally.per, tally.values, counts + to_come, hours + looks, tally.low, tally.high)
        decided = (log_wealth(future, bound, "holds") >= -np.log(wrong_pass)) | (
            log_wealth(future, bound, "broken") >= -np.log(wrong_fail)
        )
        seen += np.logical_or.accumulate(decided, axis=0)
    enough = seen >= SUFFICES * futures
    first = np.where(enough.any(axis=0), enough.argmax(axis=0), -1)
    found = np.where(first >= 0, looks[first, np.arange(tallies)], np.inf)
    nothing = (hours <= 0) | (False if tally.per == "hour" else counts.sum(axis=-1) == 0)
    found = np.where(nothing, np.nan, found)
    return np.asarray(found.reshape(np.shape(tally.hours)), np.float64)


def _times() -> Floats:
    """Looks ahead, as multiples of the hours so far: three in each doubling."""
    last = int(np.log2(MOST_TIMES)) * _PER_DOUBLING
    return np.asarray(2.0 ** (np.arange(_FIRST * _PER_DOUBLING, last + 1) / _PER_DOUBLING), np.float64)
