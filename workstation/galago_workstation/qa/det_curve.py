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

import msgspec
import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.known_names import known_names
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.decision import ONE, to_q16
from galago_workstation.qa.judged_corpus import JudgedCorpus
from galago_workstation.qa.judged_recording import deciding
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.redecision import is_gated
from galago_workstation.qa.replayed import Replayed
from galago_workstation.qa.valid_time import NS_PER_HOUR

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
        replays: By one bundle, with stored scores; those that nobody has labelled are left out.
        name: The label's.
        rule: When an event counts for a truth.
        most_points: When more thresholds change anything, so many of them, evenly spread; None: all.

    Raises:
        CallerError: TARGET_UNKNOWN; there is no such label.
        InputError: DATA_BAD; a replay was stored without scores.
    """
    label = _label(replays, name)
    length = label.policy.smoothing_windows
    corpus = JudgedCorpus(replays, name, rule)
    distance = to_q16(label.policy.on) - to_q16(label.policy.off)
    steps = _thresholds(corpus.track.sums(length), length, distance)
    chosen = steps
    if most_points is not None and len(steps) > most_points:
        chosen = steps[np.unique(np.linspace(0, len(steps) - 1, most_points).round().astype(np.int64))]
    # from the lowest on, as LabelTrack likes it; the policy's own comes last
    policies = [
        _with_thresholds(label.policy, on, distance) for on in (*chosen.tolist(), to_q16(label.policy.on))
    ]
    watched = corpus.watched(length)
    truths = int(watched.truths.sum())
    points = []
    for policy, periods in zip(policies, corpus.track.under(policies), strict=True):
        counts = corpus.judge(periods.events())
        missed, false = truths - int(counts.found.sum()), int(counts.false.sum())
        points.append(DetPoint(on=policy.on, off=policy.off, missed=missed, false=false))
    return DetCurve(
        label=name,
        truths=truths,
        hours=int(watched.valid_ns.sum()) / NS_PER_HOUR,
        points=tuple(points[:-1]),
        thresholds=len(steps),
        policy=points[-1],
        gated=sum(is_gated(one) for one in corpus.recordings),
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


def _thresholds(sums: npt.NDArray[np.int32], length: int, distance: int) -> npt.NDArray[np.int64]:
    """Return the values of ``on`` at which a smoothed score is no longer on, or now off; and 0."""
    met = np.unique(sums).astype(np.int64)
    over = met[met >= 0] // length + 1
    steps = np.unique(np.concatenate([[0], over, over + distance]))
    return steps[steps <= ONE]


def _with_thresholds(policy: LabelPolicy, on_q16: int, distance: int) -> LabelPolicy:
    return msgspec.structs.replace(policy, on=on_q16 / ONE, off=max(0, on_q16 - distance) / ONE)
