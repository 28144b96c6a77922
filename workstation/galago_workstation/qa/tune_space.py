"""The policies that tuning tries: a grid, and in it the policy that is there now.

Somebody may have chosen a value on purpose that no grid has, such as a refractory time of a minute: tuning
must be able to leave it as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from galago_edge.contract.manifest import LabelPolicy

_SAME_SHARE = 1e-4
"""``off`` has four decimals in the grid: shares closer than that are one."""


@dataclass(frozen=True, slots=True)
class TuneSpace:
    """The policies that are tried: every combination."""

    on: tuple[float, ...] = (*(round(0.04 + 0.02 * step, 2) for step in range(48)), 0.99, 0.995, 0.998)
    off_shares: tuple[float, ...] = (1.0, 0.75, 0.5)
    """``off`` as a share of ``on``."""
    smoothing: tuple[int, ...] = (1, 2, 3, 5, 8, 12, 20)
    counts: tuple[int, ...] = (1, 2, 3, 5)
    refractory_ms: tuple[int, ...] = (1_000, 3_000, 10_000)
    present: LabelPolicy | None = None
    """The policy of the bundle, whose values are in the grid; see :meth:`around`."""

    def around(self, present: LabelPolicy) -> TuneSpace:
        """Return the grid with the values of ``present``, each combined with every other one."""
        share = off_share(present)
        known = any(abs(share - one) < _SAME_SHARE for one in self.off_shares)
        return dataclasses.replace(
            self,
            on=tuple(sorted({*self.on, present.on})),
            off_shares=self.off_shares if known else (*self.off_shares, share),
            smoothing=tuple(sorted({*self.smoothing, present.smoothing_windows})),
            counts=tuple(sorted({*self.counts, present.min_count})),
            refractory_ms=tuple(sorted({*self.refractory_ms, present.refractory_ms})),
            present=present,
        )

    def groups(self) -> Iterator[list[LabelPolicy]]:
        """Yield the policies of one smoothing and one pair of thresholds at a time, the strictest first.

        In the order in which they are decided fastest: rising ``off``, then rising ``on``.
        """
        pairs = sorted({(self._off(on, share), on) for on in self.on for share in self.off_shares})
        inner = sorted(product(self.counts, self.refractory_ms), reverse=True)
        for length, (off, on) in product(sorted(self.smoothing), pairs):
            yield [
                LabelPolicy(on=on, off=off, smoothing_windows=length, min_count=count, refractory_ms=rest)
                for count, rest in inner
            ]

    def _off(self, on: float, share: float) -> float:
        now = self.present
        if now is not None and on == now.on and abs(share - off_share(now)) < _SAME_SHARE:
            return now.off  # as it stands there, with all its decimals
        return round(on * share, 4)


def off_share(policy: LabelPolicy) -> float:
    """Return ``off`` as a share of ``on``, 0 to 1; 1 where both are 0."""
    return policy.off / policy.on if policy.on else 1.0
