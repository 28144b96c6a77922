"""Of policies that are equally good on what was recorded: nearest to the present one, and with the most room.

What the figures do not tell apart was perhaps chosen on purpose: how soon a label may be told again, how long
it must last. So of equal policies those with the refractory time nearest to the present one are kept, of
these those with the nearest minimum count, and of these those with the nearest smoothing.

A threshold at the edge of what works finds everything that was recorded and is the first to miss, or to cry
wolf, on what was not. So of those that are left the longest run of neighbouring thresholds is taken,
everything else the same, and of this run the present ``on``, if it lies in the middle half, else the middle.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from galago_edge.contract.manifest import LabelPolicy
from galago_edge.decision.label_track import Integers
from galago_workstation.qa.tune_space import TuneSpace, off_share


class Plateaus:
    """Runs of neighbouring ``on`` among policies of a grid.

    Args:
        policies: All of the grid that were tried.
        space: The grid; without a present policy nothing is nearest.
    """

    def __init__(self, policies: Sequence[LabelPolicy], space: TuneSpace) -> None:
        shares = np.asarray(space.off_shares)
        self._place = np.searchsorted(np.array(sorted(space.on)), [policy.on for policy in policies])
        others = np.array(
            [
                (
                    policy.smoothing_windows,
                    policy.min_count,
                    policy.refractory_ms,
                    int(np.argmin(np.abs(shares - off_share(policy)))),
                )
                for policy in policies
            ]
        )
        self._family = np.unique(others, axis=0, return_inverse=True)[1].reshape(-1)
        self._present = -1
        """Place of the present ``on``."""
        self._same_off = np.zeros(len(policies), np.bool_)
        self._apart: list[Integers] = []
        """How far from the present policy each one is, the weightiest first; shapes ``(policies,)``."""
        if (now := space.present) is not None:
            self._present = sorted(space.on).index(now.on)
            self._same_off = others[:, 3] == int(np.argmin(np.abs(shares - off_share(now))))
            present = (now.smoothing_windows, now.min_count, now.refractory_ms)
            self._apart = [np.abs(others[:, field] - present[field]) for field in (2, 1, 0)]

    def choose(self, best: Integers) -> int:
        """Return one of the policies with the numbers ``best``, shape ``(n,)``: see above.

        Of runs of equal length that with the present share of ``off``, then the shortest smoothing, then the
        smallest count.
        """
        for apart in self._apart:
            best = best[apart[best] == apart[best].min()]
        order = best[np.lexsort((self._place[best], self._family[best]))]
        family, place = self._family[order], self._place[order]
        ends = np.flatnonzero((np.diff(family) != 0) | (np.diff(place) != 1)) + 1
        starts = np.concatenate(([0], ends))
        lengths = np.diff(np.concatenate((starts, [len(order)])))
        longest = int(np.argmax(2 * lengths + self._same_off[order[starts]]))
        start, length = int(starts[longest]), int(lengths[longest])
        return int(order[start + self._within(int(place[start]), length)])

    def _within(self, first: int, length: int) -> int:
        """Return which of a run's thresholds, the first of them at the place ``first`` of the grid."""
        middle, present = (length - 1) // 2, self._present - first
        room = min(middle, -(-(length - 1) // 4))  # to both sides
        return present if room <= present <= length - 1 - room else middle
