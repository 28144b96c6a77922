"""Of policies that are equally good on what was recorded, the one with the most room to both sides.

A threshold at the edge of what works finds everything that was recorded and is the first to miss, or to cry
wolf, on what was not. So of equal policies the longest run of neighbouring thresholds is taken, everything
else the same, and of this run the middle.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from galago_edge.contract.manifest import LabelPolicy
from galago_edge.decision.label_track import Integers


class Plateaus:
    """Runs of neighbouring ``on`` among policies of a grid.

    Args:
        policies: All of the grid that were tried.
        on: The thresholds of the grid, rising.
        off_shares: ``off`` as a share of ``on``, in the grid.
    """

    def __init__(
        self, policies: Sequence[LabelPolicy], on: Sequence[float], off_shares: Sequence[float]
    ) -> None:
        shares = np.asarray(off_shares)
        self._place = np.searchsorted(np.asarray(on), [policy.on for policy in policies])
        others = [
            (
                policy.smoothing_windows,
                policy.min_count,
                policy.refractory_ms,
                int(np.argmin(np.abs(shares - policy.off / policy.on))),
            )
            for policy in policies
        ]
        self._family = np.unique(np.array(others), axis=0, return_inverse=True)[1].reshape(-1)

    def middle(self, best: Integers) -> int:
        """Return one of the policies with the numbers ``best``, shape ``(n,)``: see above.

        Of runs of equal length that with the shortest smoothing, then the smallest count.
        """
        order = best[np.lexsort((self._place[best], self._family[best]))]
        family, place = self._family[order], self._place[order]
        ends = np.flatnonzero((np.diff(family) != 0) | (np.diff(place) != 1)) + 1
        starts = np.concatenate(([0], ends))
        lengths = np.diff(np.concatenate((starts, [len(order)])))
        longest = int(np.argmax(lengths))
        return int(order[starts[longest] + (lengths[longest] - 1) // 2])
