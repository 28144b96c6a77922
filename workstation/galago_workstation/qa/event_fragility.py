"""Whether an event is firm, or might be another if the model's outputs were off by a few steps.

From the scores of one replay follow the lowest and the highest that every smoothed score can be when no
output is further off than so many steps. Where a threshold lies between the two, it is open whether the label
was on. An event is fragile when

* that is so for one of the windows that decided it, or for the one before or behind them;
* or the label need not have turned off since its last event, and fires once while it is on;
* or it lies in the refractory time of a fragile event, whose moment moves it.

Any other event must be there again, at most one window away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galago_edge.contract.manifest import Label
from galago_edge.decision import ONE, to_q16
from galago_edge.decision.label_track import LabelTrack
from galago_workstation.qa.exactness_tiers import OutputSteps
from galago_workstation.qa.redecision import index_of, scores_of
from galago_workstation.qa.replayed import Replayed

_NS_PER_MS = 1_000_000
_Sums = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class EventPlace:
    """One event of a label: when it began and when it was decided, in nanoseconds of stream time."""

    start_ns: int
    end_ns: int


class LabelMargin:
    """What can be said of the events of one label in one replay."""

    def __init__(self, replayed: Replayed, label: Label, steps: OutputSteps, off_by: int) -> None:
        """Take the scores; no output is off by more than ``off_by`` steps.

        Raises:
            InputError: DATA_BAD or LABELS_MISMATCH; no scores, or no such label.
        """
        scores, policy = scores_of(replayed), label.policy
        column = np.ascontiguousarray(scores.q16[:, index_of(replayed, label.name)])
        self._start_ns, self._end_ns = scores.span[:, 2], scores.span[:, 3]
        low, high = (
            LabelTrack(bound, self._end_ns, scores.restart).sums(policy.smoothing_windows)
            for bound in steps.bounds(column, off_by)
        )
        self._length, self._low, self._high = policy.smoothing_windows, low, high
        self._off = to_q16(policy.off) * policy.smoothing_windows
        self._refractory_ns = policy.refractory_ms * _NS_PER_MS
        self._open = _between(to_q16(policy.on) * policy.smoothing_windows, low, high)
        self._open |= _between(self._off, low, high)

    def fragile(self, event: EventPlace, before: EventPlace | None, *, before_fragile: bool) -> bool:
        """Tell whether an event is fragile; ``before`` is the label's last one, in either replay."""
        first = int(np.searchsorted(self._start_ns, event.start_ns))
        last = int(np.searchsorted(self._end_ns, event.end_ns, "right"))
        if bool(self._open[max(first - 1, 0) : last + 1].any()):
            return True
        if before is None:
            return False
        since = int(np.searchsorted(self._end_ns, before.end_ns, "right"))
        if since < first and not bool((self._high[since:first] < self._off).any()):
            return True
        return before_fragile and event.end_ns - before.end_ns <= self._refractory_ns + self._hop_ns(last)

    def allows(self, end_ns: int, score: float) -> bool:
        """Tell whether the smoothed score of the window that ends then can be ``score``."""
        window = int(np.searchsorted(self._end_ns, end_ns))
        if window == len(self._end_ns) or self._end_ns[window] != end_ns:
            return False
        total = score * ONE * self._length
        # the score is rounded to a Q16 number, and that to six digits
        return bool(self._low[window] - self._length <= total <= self._high[window] + self._length)

    def _hop_ns(self, window: int) -> int:
        at = min(window, len(self._end_ns) - 1)
        return int(self._end_ns[at] - self._end_ns[max(at - 1, 0)]) if at >= 0 else 0


def _between(threshold: int, low: _Sums, high: _Sums) -> npt.NDArray[np.bool_]:
    return np.asarray((low < threshold) & (threshold <= high) & (low >= 0))  # below 0: warm-up


def fragile_of(margin: LabelMargin, asked: Sequence[EventPlace], others: Sequence[EventPlace]) -> list[bool]:
    """Return which of the events asked about are fragile; ``others`` are those that both replays have.

    An event that no step explains says nothing about the next one.
    """
    found: dict[EventPlace, bool] = {}
    before: EventPlace | None = None
    for event in sorted({*asked, *others}, key=lambda one: (one.end_ns, one.start_ns)):
        before_fragile = before is not None and found[before]
        found[event] = margin.fragile(event, before, before_fragile=before_fragile)
        if found[event] or event not in asked:
            before = event
    return [found[event] for event in asked]
