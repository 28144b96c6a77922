"""How far two bundles agree on the windows of the same recordings: needs scores, no labels.

Agreement and flip rate are about the best label (argmax) of the labels that both have. Windows overlap, so
they are not independent: the interval of the flip rate comes from drawing whole recordings (paired bootstrap
with a fixed seed), and there is none with fewer than two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galago_workstation.qa.event_diff import ReplayPair
from galago_workstation.qa.replayed import Replayed, WindowScores

CONFIDENT = 0.8
"""Score from which a bundle is sure of its label."""
_DRAWS, _SEED, _ONE = 2_000, 12, 65_536

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class WindowAgreement:
    """What the windows say that both bundles have scores for."""

    compared: int
    uncompared: int
    """Windows of one bundle that the other does not have, or that either did not run: its gate was closed."""
    flips: int
    """Windows for which the best label differs."""
    flip_interval: tuple[float, float] | None
    """95 % interval of the flip rate over recordings; None with fewer than two."""
    confident: int
    """Flips at which both were sure: both best scores at least ``CONFIDENT``."""
    largest: float
    """Largest difference of one score."""
    mean: float
    """Mean difference of a score, over all windows and labels."""
    without_scores: int
    """Recordings that were replayed without scores, or come from a baseline."""

    @property
    def flip_rate(self) -> float:
        """Share of the compared windows; 0 when there are none."""
        return self.flips / self.compared if self.compared else 0.0


def window_agreement(pairs: Sequence[ReplayPair]) -> WindowAgreement:
    """Compare the scores of two bundles window by window, before smoothing; windows with equal spans."""
    counts = np.zeros((len(pairs), 3), np.int64)  # compared, flips, confident
    uncompared = without = cells = total = largest = 0
    for row, pair in enumerate(pairs):
        if pair.old.scores is None or pair.new.scores is None:
            without += 1
            continue
        olds, news, missing = _common_windows(pair.old.scores, pair.new.scores)
        uncompared += missing
        old, new = _common_columns(pair, pair.old.scores.q16[olds], pair.new.scores.q16[news])
        if not old.size:
            continue
        flipped = old.argmax(axis=1) != new.argmax(axis=1)
        sure = np.minimum(old.max(axis=1), new.max(axis=1)) >= round(CONFIDENT * _ONE)
        counts[row] = len(old), flipped.sum(), (flipped & sure).sum()
        apart = np.abs(old - new)
        largest, total, cells = max(largest, int(apart.max())), total + int(apart.sum()), cells + apart.size
    compared, flips, confident = (int(each) for each in counts.sum(axis=0))
    return WindowAgreement(
        compared, uncompared, flips, _interval(counts[:, 1], counts[:, 0]), confident,
        largest / _ONE, total / cells / _ONE if cells else 0.0, without,
    )  # fmt: skip


def _common_windows(
    old: WindowScores, new: WindowScores
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], int]:
    """Rows of windows with equal spans that both ran, and how many windows of either have no such partner."""
    keys = [{tuple(row): index for index, row in enumerate(each.span[:, 2:].tolist())} for each in (old, new)]
    both = [key for key in keys[0] if key in keys[1]]
    rows = [(keys[0][key], keys[1][key]) for key in both]
    rows = [(mine, other) for mine, other in rows if not (old.skipped[mine] or new.skipped[other])]
    missing = len(keys[0]) + len(keys[1]) - len(both) - len(rows)
    found = np.array(rows, np.intp).reshape(-1, 2)
    return found[:, 0], found[:, 1], missing


def _common_columns(
    pair: ReplayPair, old: npt.NDArray[np.int32], new: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    names = [_names(pair.old), _names(pair.new)]
    both = [name for name in names[0] if name in names[1]]
    return (
        old[:, [names[0].index(name) for name in both]].astype(np.int64),
        new[:, [names[1].index(name) for name in both]].astype(np.int64),
    )


def _names(replayed: Replayed) -> list[str]:
    return [label.name for label in replayed.labels]


def _interval(hits: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> tuple[float, float] | None:
    known = sizes > 0
    if known.sum() < 2:
        return None
    hits, sizes = hits[known], sizes[known]
    drawn = np.random.default_rng(_SEED).integers(0, len(hits), (_DRAWS, len(hits)))
    low, high = np.quantile(hits[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), [0.025, 0.975])
    return float(low), float(high)
