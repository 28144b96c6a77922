"""Missed against false alarms per hour over all thresholds, from stored scores and without the model.

For one label ``on`` is swept over every value in Q16 at which anything changes. ``off`` follows it: its
distance to ``on`` is kept as in the label's policy, and it is never below 0. Smoothing, minimum count and
refractory time are those of the policy. Each point is what :class:`galago_edge.decision.Decider` would have
decided with it, exactly, but for an activity gate: it stays open while a label is on, so with another
threshold other windows would have been skipped (:mod:`galago_workstation.qa.redecision`).

Martin, Doddington, Kamm, Ordowski, Przybocki 1997, The DET curve in assessment of detection task performance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.known_names import known_names
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.decision import ONE, to_q16
from galago_workstation.qa.judged_recording import Grounds, deciding, grounds_of
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.redecision import is_gated, track_of
from galago_workstation.qa.replayed import Replayed
from galago_workstation.qa.stretches import united
from galago_workstation.qa.valid_time import NS_PER_HOUR, watched_time

MOST_POINTS = 1000


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
    gated: int = 0
    """Recordings whose windows an activity gate may have skipped: there other thresholds are not exact."""

    def best(self, per_hour: float) -> DetPoint | None:
        """Return the point with the fewest missed within so many false alarms per hour; None without any."""
        within = [point for point in self.points if point.false <= per_hour * self.hours]
        return min(within, key=lambda point: (point.missed, point.false, -point.on), default=None)


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
        CallerError: TARGET_UNKNOWN; there is no such label. USAGE; a recording has no labels.
        InputError: DATA_BAD; a replay was stored without scores.
    """
    label = _label(replays, name)
    length = label.policy.smoothing_windows
    grounds = [grounds_of(replayed, rule) for replayed in replays]
    tracks = [track_of(replayed, name) for replayed in replays]
    sights = [_Sight.of(ground, name) for ground in grounds]
    distance = to_q16(label.policy.on) - to_q16(label.policy.off)
    steps = _thresholds([track.sums(length) for track in tracks], length, distance)
    chosen = steps
    if most_points is not None and len(steps) > most_points:
        chosen = steps[np.unique(np.linspace(0, len(steps) - 1, most_points).round().astype(np.int64))]
    # from the lowest on, as LabelTrack likes it; the policy's own comes last
    policies = [
        _with_thresholds(label.policy, on, distance) for on in (*chosen.tolist(), to_q16(label.policy.on))
    ]
    counts = np.zeros((len(policies), 2), np.int64)
    for track, sight in zip(tracks, sights, strict=True):
        for number, periods in enumerate(track.under(policies)):
            counts[number] += sight.count(track.end_ns[periods.events()])
    points = [
        DetPoint(on=policy.on, off=policy.off, missed=missed, false=false)
        for policy, (missed, false) in zip(policies, counts.tolist(), strict=True)
    ]
    valid = sum(
        watched_time(replayed, length, ground.ignored).valid_ns
        for replayed, ground in zip(replays, grounds, strict=True)
    )
    return DetCurve(
        label=name,
        truths=sum(len(sight.windows) for sight in sights),
        hours=valid / NS_PER_HOUR,
        points=tuple(points[:-1]),
        thresholds=len(steps),
        policy=points[-1],
        gated=sum(is_gated(replayed) for replayed in replays),
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


def _thresholds(sums: Sequence[npt.NDArray[np.int32]], length: int, distance: int) -> npt.NDArray[np.int64]:
    """Return the values of ``on`` at which a smoothed score is no longer on, or now off; and 0."""
    met = np.unique(np.concatenate(sums)).astype(np.int64)
    over = met[met >= 0] // length + 1
    steps = np.unique(np.concatenate([[0], over, over + distance]))
    return steps[steps <= ONE]


def _with_thresholds(policy: LabelPolicy, on_q16: int, distance: int) -> LabelPolicy:
    return msgspec.structs.replace(policy, on=on_q16 / ONE, off=max(0, on_q16 - distance) / ONE)


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
