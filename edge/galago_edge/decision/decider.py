"""Scores become events: smoothing, hysteresis, minimum count and refractory time.

For every label, at every window ``t`` with Q16 score ``s[t]``:

1. Smoothed score: the mean of ``s[t-n+1] .. s[t]`` with ``n = smoothing_windows``. Until ``n`` windows
   have been seen since the start or the last gap there is none: the label is in warm-up, and off.
2. An off label turns on when the smoothed score is at least ``on``; an on label turns off when it is
   below ``off``.
3. Once the label has been on for ``min_count`` windows in a row, and ``refractory_ms`` of stream time lie
   between the end of its last event and the end of this window, it fires. It fires once per on-period.
   When only the refractory time is missing, it fires as soon as that has passed.

Nothing is rounded on the way: the sum of ``n`` scores is compared with ``n`` times the threshold, both
integers. No float sum can drift, no wall clock is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.manifest import Label
from galago_edge.contract.streams import Span
from galago_edge.decision.activation import ONE, to_q16

_NS_PER_MS = 1_000_000
_NEVER = np.iinfo(np.int64).max
_ALWAYS = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class _Decided:
    """What a label did at one window."""

    label: str
    index: int
    """Position of the label in the model's output."""

    score_q16: int
    """Smoothed score of that window, rounded half up; 65536 is 1.0."""

    span: Span
    """From the start of the first window of the on-period to the end of that window."""

    @property
    def score(self) -> float:
        """Smoothed score between 0 and 1; the division is exact."""
        return self.score_q16 / ONE


class Fired(_Decided):
    """A label became an event; score and span end with the deciding window."""

    __slots__ = ()


class Ended(_Decided):
    """A label that had fired turned off, or its stream had a gap; both end with the last window seen."""

    __slots__ = ()


class Decider:
    """The decisions of one stream, all labels at once.

    A step costs the same whatever the scores are, plus a little for each label that changes. Memory is
    8 bytes for each label and each window of the longest smoothing.
    """

    def __init__(self, labels: Sequence[Label]) -> None:
        """Prepare for scores in the order of ``labels``.

        Raises:
            CallerError: CONFIG_BAD; a label's ``off`` is above its ``on``.
        """
        _refuse_crossed_thresholds(labels)
        self._names = [label.name for label in labels]
        policies = [label.policy for label in labels]
        count = len(labels)
        self._lengths = _integers(policy.smoothing_windows for policy in policies)
        self._doubled = 2 * self._lengths
        self._on_sums = _integers(to_q16(policy.on) for policy in policies) * self._lengths
        self._off_sums = _integers(to_q16(policy.off) for policy in policies) * self._lengths
        self._on_sums[[label.background for label in labels]] = _NEVER
        self._min_counts = _integers(policy.min_count for policy in policies)
        self._refractory_ns = _integers(policy.refractory_ms * _NS_PER_MS for policy in policies)
        self._groups = _groups(self._lengths)
        self._first_ready = min(
            (label.policy.smoothing_windows for label in labels if not label.background), default=_NEVER
        )
        self._due_ns = np.full(count, _ALWAYS)  # survives a gap: stream time goes on
        self._due_window = np.zeros(count, np.int64)
        self._history = np.zeros((max(self._lengths.tolist()), count), np.int64)
        self._sums = np.zeros(count, np.int64)
        self._delta = np.zeros(count, np.int64)
        self._bars = np.full(count, _NEVER)  # the sum that keeps or turns a label on; out of reach in warm-up
        self._is_on = np.zeros(count, np.bool_)
        self._now_on = np.zeros(count, np.bool_)
        self._pending: set[int] = set()  # labels that are on and have not fired yet
        self._starts: dict[int, Span] = {}  # first window of the on-period of each label that is on
        self._last = Span(0, 0, 0, 0)
        self._seen = 0

    @property
    def warm_up(self) -> bool:
        """True while too few windows have been seen for any label to be decided."""
        return self._seen < self._first_ready

    @property
    def restarted(self) -> bool:
        """True when the last window was the first since the start or the last gap."""
        return self._seen == 1

    @property
    def active(self) -> bool:
        """True while any label is on, whether it has fired or not."""
        return bool(self._starts)

    def smoothed(self) -> npt.NDArray[np.int64]:
        """Return the Q16 smoothed scores, rounded half up, shape ``(labels,)``; too low in warm-up."""
        scores: npt.NDArray[np.int64] = (2 * self._sums + self._lengths) // self._doubled
        return scores

    def on(self) -> npt.NDArray[np.bool_]:
        """Return which labels are on, shape ``(labels,)``, as a copy."""
        return self._is_on.copy()

    def step(self, scores_q16: npt.NDArray[np.int64], span: Span) -> list[Fired | Ended]:
        """Take the scores of the next window; return what ended, then what fired, each in label order.

        Args:
            scores_q16: Shape ``(labels,)``, each 0 to 65536.
            span: What the window covers. ``end_ns`` must not go back.
        """
        if scores_q16.shape != self._sums.shape:
            raise ValueError(f"scores have shape {scores_q16.shape}, expected {self._sums.shape}")
        history, depth = self._history, len(self._history)
        row = self._seen % depth
        for length, members in self._groups:
            np.subtract(scores_q16, history[(row - length) % depth], out=self._delta, where=members)
        self._sums += self._delta
        history[row] = scores_q16
        self._seen += 1
        self._last = span
        if self._seen <= depth:
            self._leave_warm_up()
        np.greater_equal(self._sums, self._bars, out=self._now_on)
        found: list[Fired | Ended] = []
        if self._now_on.tobytes() != self._is_on.tobytes():  # several times faster than any array compare
            found += self._turn(span)
        if self._pending:
            found += self._fire(span)
        return found

    def reset(self) -> list[Ended]:
        """Start again after a gap: warm-up, and what was on ends. Refractory times go on."""
        ended = [self._ended(index) for index in sorted(self._starts.keys() - self._pending)]
        self._history.fill(0)
        self._sums.fill(0)
        self._bars.fill(_NEVER)
        self._is_on.fill(False)
        self._pending.clear()
        self._starts.clear()
        self._seen = 0
        return ended

    def _leave_warm_up(self) -> None:
        for length, members in self._groups:
            if length == self._seen:
                np.copyto(self._bars, self._on_sums, where=members)

    def _turn(self, span: Span) -> list[Ended]:
        """Take over which labels are on; return those that ended after they had fired."""
        ended = []
        for index in np.flatnonzero(self._now_on != self._is_on).tolist():
            if self._now_on[index]:
                self._starts[index] = span
                self._bars[index] = self._off_sums[index]
                self._pending.add(index)
                self._due_window[index] = self._seen + self._min_counts[index] - 1
            else:
                if index not in self._pending:
                    ended.append(self._ended(index))
                del self._starts[index]
                self._bars[index] = self._on_sums[index]
                self._pending.discard(index)
        self._is_on[:] = self._now_on
        return ended

    def _fire(self, span: Span) -> list[Fired]:
        """Return the labels whose count and refractory time are complete with this window."""
        pending = np.array(sorted(self._pending))
        due = (self._due_window[pending] <= self._seen) & (self._due_ns[pending] <= span.end_ns)
        fired = []
        for index in pending[due].tolist():
            self._pending.remove(index)
            self._due_ns[index] = span.end_ns + self._refractory_ns[index]
            fired.append(Fired(self._names[index], index, self._smoothed(index), self._period(index)))
        return fired

    def _ended(self, index: int) -> Ended:
        return Ended(self._names[index], index, self._smoothed(index), self._period(index))

    def _period(self, index: int) -> Span:
        start = self._starts[index]
        return Span(start.start_index, self._last.end_index, start.start_ns, self._last.end_ns)

    def _smoothed(self, index: int) -> int:
        length = int(self._lengths[index])
        return (2 * int(self._sums[index]) + length) // (2 * length)


def _refuse_crossed_thresholds(labels: Sequence[Label]) -> None:
    for label in labels:
        on, off = label.policy.on, label.policy.off
        if off > on:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"label {label.name}: off is {off}, expected at most {on}, which is its on",
                hint="lower off or raise on",
            )


def _integers(values: Iterable[int]) -> npt.NDArray[np.int64]:
    return np.array([*values], np.int64)


def _groups(lengths: npt.NDArray[np.int64]) -> list[tuple[int, npt.NDArray[np.bool_] | bool]]:
    """Return the smoothing lengths that occur, each with the labels that use it (True: all of them)."""
    distinct = sorted(set(lengths.tolist()))
    if len(distinct) == 1:
        return [(distinct[0], True)]
    return [(length, lengths == length) for length in distinct]
