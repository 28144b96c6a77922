"""Missed against false alarms per hour over all thresholds, from stored scores and without the model.

For one label ``on`` is swept over every value in Q16 at which anything changes. ``off`` follows it: its
distance to ``on`` is kept as in the label's policy, and it is never below 0. Smoothing, minimum count and
refractory time are those of the policy. Each point is what :class:`galago_edge.decision.Decider` would
have decided with it, exactly; here it is found from the windows at which a threshold is crossed, in
integers as there.

Martin, Doddington, Kamm, Ordowski, Przybocki 1997, The DET curve in assessment of detection task
performance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.known_names import known_names
from galago_edge.contract.manifest import Label
from galago_edge.decision import ONE, to_q16
from galago_workstation.qa.judged_recording import Grounds, deciding, grounds_of
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.replayed import Replayed
from galago_workstation.qa.stretches import united
from galago_workstation.qa.valid_time import NS_PER_HOUR, watched_time

MOST_POINTS = 1000
NS_PER_MS = 1_000_000


class DetPoint(msgspec.Struct, frozen=True, kw_only=True):
    """What a label would have done with one threshold."""

    on: float
    off: float
    missed: int
    false: int
    """False alarms and cross-triggers."""


class DetCurve(msgspec.Struct, frozen=True, kw_only=True):
    """All that one label could do by its threshold alone."""

    label: str
    truths: int
    hours: float
    """Valid ones."""
    points: tuple[DetPoint, ...]
    """By ``on``. Between two neighbours nothing changes, unless there are more thresholds than points."""
    thresholds: int
    """At which anything changes."""
    policy: DetPoint
    """With the thresholds of the bundle."""

    def best(self, per_hour: float) -> DetPoint | None:
        """Return the point with the fewest missed within so many false alarms per hour; None without any."""
        within = [point for point in self.points if point.false <= per_hour * self.hours]
        return min(within, key=lambda point: (point.missed, point.false, -point.on), default=None)


@dataclass(frozen=True, slots=True)
class SmoothedScores:
    """One label's smoothed scores of a recording. A row of -1 stands before the first window of each run."""

    sums: npt.NDArray[np.int64]
    """Shape ``(n,)``: Q16 times the number of windows; -1 in warm-up, below every threshold."""
    end_ns: npt.NDArray[np.int64]
    """Shape ``(n,)``, never falling."""
    label: Label


def smoothed_scores(replayed: Replayed, label: Label) -> SmoothedScores:
    """Return the smoothed scores of a label.

    Raises:
        CallerError: USAGE; the scores of the recording were not stored.
    """
    stored = replayed.scores
    if stored is None:
        text = f"{replayed.recording}: there are no stored scores, which a curve over thresholds needs"
        raise CallerError(Reason.USAGE, text, hint="replay with scores")
    column = [known.name for known in replayed.labels].index(label.name)
    length = label.policy.smoothing_windows
    totals = np.concatenate([[0], np.cumsum(stored.q16[:, column], dtype=np.int64)])
    edges = np.flatnonzero(stored.restart)
    begins = np.repeat(edges, np.diff(np.append(edges, len(stored.span))))  # where each window's run begins
    number = np.arange(len(stored.span))
    ready = number - begins + 1 >= length
    sums = np.full(len(number), -1, np.int64)
    sums[ready] = totals[number[ready] + 1] - totals[number[ready] + 1 - length]
    ends = stored.span[:, 3].astype(np.int64)
    return SmoothedScores(np.insert(sums, edges, -1), np.insert(ends, edges, ends[edges]), label)


def fired_ns(scores: SmoothedScores, on_q16: int, off_q16: int) -> npt.NDArray[np.int64]:
    """Return when the label would have become an event: the ends of the deciding windows, in order.

    Args:
        scores: The label's.
        on_q16: Threshold at or above which it turns on, 0 to 65536.
        off_q16: Threshold below which it turns off; at most ``on_q16``.
    """
    policy = scores.label.policy
    length = policy.smoothing_windows
    ups = np.flatnonzero(scores.sums >= on_q16 * length)
    if not len(ups):
        return np.zeros(0, np.int64)
    downs = np.flatnonzero(scores.sums < off_q16 * length)
    behind = np.searchsorted(downs, ups)  # the next window in which it is off, by number among those
    first = np.append(True, behind[1:] != behind[:-1])
    stops = np.append(downs, len(scores.sums))[behind[first]]
    fires = ups[first] + policy.min_count - 1
    lasting = fires < stops
    fires, stops = fires[lasting], stops[lasting]
    times = scores.end_ns[fires]
    refractory_ns = policy.refractory_ms * NS_PER_MS
    if not refractory_ns or (np.diff(times) >= refractory_ns).all():
        return times
    found, due_ns = [], np.iinfo(np.int64).min
    for at_ns, stop in zip(times.tolist(), stops.tolist(), strict=True):
        if at_ns < due_ns:  # it fires as soon as that has passed, if it is still on then
            at = int(np.searchsorted(scores.end_ns, due_ns)) if scores.end_ns[stop - 1] >= due_ns else stop
            if at >= stop:
                continue
            at_ns = int(scores.end_ns[at])
        found.append(at_ns)
        due_ns = at_ns + refractory_ns
    return np.array(found, np.int64)


def det_curve(
    replays: Sequence[Replayed], name: str, rule: MatchingRule, *, most_points: int | None = MOST_POINTS
) -> DetCurve:
    """Return the curve of one label over labelled recordings.

    Args:
        replays: By one bundle, with truth and stored scores.
        name: The label's.
        rule: When an event counts for a truth.
        most_points: When more thresholds change anything, so many of them, evenly spread; None: all.

    Raises:
        CallerError: TARGET_UNKNOWN; there is no such label. USAGE; scores or labels are missing.
    """
    label = _label(replays, name)
    grounds = [grounds_of(replayed, rule) for replayed in replays]
    scores = [smoothed_scores(replayed, label) for replayed in replays]
    sights = [_Sight.of(ground, name) for ground in grounds]
    distance = to_q16(label.policy.on) - to_q16(label.policy.off)
    steps = _thresholds(scores, distance)
    chosen = steps
    if most_points is not None and len(steps) > most_points:
        chosen = steps[np.unique(np.linspace(0, len(steps) - 1, most_points).round().astype(np.int64))]

    def point(on_q16: int) -> DetPoint:
        off_q16 = max(0, on_q16 - distance)
        missed = false = 0
        for one, sight in zip(scores, sights, strict=True):
            counts = sight.count(fired_ns(one, on_q16, off_q16))
            missed, false = missed + counts[0], false + counts[1]
        return DetPoint(on=on_q16 / ONE, off=off_q16 / ONE, missed=missed, false=false)

    length = label.policy.smoothing_windows
    valid = sum(
        watched_time(replayed, length, ground.ignored).valid_ns
        for replayed, ground in zip(replays, grounds, strict=True)
    )
    return DetCurve(
        label=name,
        truths=sum(len(sight.windows) for sight in sights),
        hours=valid / NS_PER_HOUR,
        points=tuple(point(on_q16) for on_q16 in chosen.tolist()),
        thresholds=len(steps),
        policy=point(to_q16(label.policy.on)),
    )


def _label(replays: Sequence[Replayed], name: str) -> Label:
    known = deciding(replays[0].labels) if replays else []
    found = next((label for label in known if label.name == name), None)
    if found is None:
        names = [label.name for label in known]
        raise CallerError(
            Reason.TARGET_UNKNOWN, f"no label {name!r} can become an event", hint=known_names(name, names)
        )
    return found


def _thresholds(scores: Sequence[SmoothedScores], distance: int) -> npt.NDArray[np.int64]:
    """Return the values of ``on`` at which a smoothed score is no longer on, or now off; and 0."""
    sums = np.unique(np.concatenate([one.sums for one in scores]))
    length = scores[0].label.policy.smoothing_windows
    over = sums[sums >= 0] // length + 1
    steps = np.unique(np.concatenate([[0], over, over + distance]))
    return steps[steps <= ONE]


@dataclass(frozen=True, slots=True)
class _Sight:
    """What a recording's events of one label are counted against: the same as in ``judged_recording``.

    How many are matched, repeated and false does not depend on which largest matching is taken.
    """

    windows: npt.NDArray[np.int64]
    """Shape ``(n, 2)``: first and last decision time of the truths to be judged, by the last."""
    apart: bool
    """No two of these overlap, so each is found when there is any event in it."""
    harmless: npt.NDArray[np.int64]
    """Shape ``(n, 2)``: half-open stretches, in order, in which no event is false."""

    @classmethod
    def of(cls, grounds: Grounds, name: str) -> _Sight:
        windows = np.array(
            sorted((grounds.rule.window(truth) for truth in grounds.judged(name)), key=lambda one: one[::-1]),
            np.int64,
        ).reshape(-1, 2)
        own = [grounds.rule.window(one.truth) for one in grounds.truths if one.truth.label == name]
        harmless = united((start, end + 1) for start, end in (*own, *grounds.ignored))  # ends are included
        apart = bool((windows[1:, 0] > windows[:-1, 1]).all())
        return cls(windows, apart, np.array(harmless, np.int64).reshape(-1, 2))

    def count(self, times: npt.NDArray[np.int64]) -> tuple[int, int]:
        """Return how many truths are missed, and how many events are false. ``times``: shape ``(n,)``."""
        number = np.searchsorted(self.harmless[:, 0], times, side="right") - 1
        inside = number >= 0
        inside[inside] = times[inside] < self.harmless[number[inside], 1]
        return len(self.windows) - self._found(times), int(np.count_nonzero(~inside))

    def _found(self, times: npt.NDArray[np.int64]) -> int:
        begin = np.searchsorted(times, self.windows[:, 0])
        end = np.searchsorted(times, self.windows[:, 1], side="right")
        if self.apart:
            return int(np.count_nonzero(end > begin))
        # the truth that ends first takes the first event that is left, which leaves the others the most
        used: set[int] = set()
        for first, behind in zip(begin.tolist(), end.tolist(), strict=True):
            free = next((event for event in range(first, behind) if event not in used), None)
            if free is not None:
                used.add(free)
        return len(used)


def with_thresholds(label: Label, on: float, off: float) -> Label:
    """Return the label with other thresholds: what a point of its curve means as a policy."""
    policy = msgspec.structs.replace(label.policy, on=on, off=off)
    return msgspec.structs.replace(label, policy=policy)
