"""Events of one label over many labelled recordings at once: how many were found, how many are false alarms.

Made to judge thousands of policies in seconds: all recordings stand one behind the other in one
:class:`~galago_edge.decision.label_track.LabelTrack`. The rule, with ``[onset, offset]`` of a true event:

* An event counts for a true one of the same label when it is decided (``end_ns``) from ``onset - before`` to
  ``offset + after``. Each true event takes one event at most, and each event one true one; as many as
  possible are found (intervals: the one that ends first is served first, which is a maximum matching).
* With a bound on the delay only events up to ``onset + most_delay`` find; later ones are late, not false.
* A further event within the interval of a true one is a repeat, not a false alarm; one outside of all is one.
* Nothing is judged in ignored stretches. Neither these nor gaps are watched time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import InputError, Reason
from galago_edge.decision.label_track import Integers, LabelTrack
from galago_workstation.qa.redecision import track_of
from galago_workstation.qa.replayed import Replayed, Stretch

NS_PER_DAY = 86_400_000_000_000
_NEVER_NS = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class MatchRule:
    """When an event counts for a true one."""

    before_ns: int = 0
    after_ns: int | None = None
    """None: one window and one hop, as long as the model can still see what is over."""
    most_delay_ns: int | None = None
    """From onset to decision; None: no bound but ``after_ns``."""


@dataclass(frozen=True, slots=True)
class JudgedCounts:
    """What became of one policy's events; shapes ``(recordings,)``."""

    found: Integers
    """True events that an event was found for."""
    false: Integers
    """Events that are none."""
    delays_ns: Integers
    """From onset to decision of what was found, shape ``(found,)``; before the onset it is negative."""


class JudgedCorpus:
    """Labelled recordings, ready to judge one label's events by the numbers of their windows."""

    def __init__(self, recordings: Sequence[Replayed], label: str, rule: MatchRule) -> None:
        """Take the recordings that somebody has labelled; the others are counted in ``unlabelled``.

        Raises:
            InputError: DATA_BAD, a replay has no scores; LABELS_MISMATCH, no such label.
        """
        self.label = label
        self.rule = rule
        self.recordings = [one for one in recordings if one.truth is not None]
        self.unlabelled = len(recordings) - len(self.recordings)
        self.track, self._firsts = LabelTrack.joined([track_of(one, label) for one in self.recordings])
        self.days = np.array([watched_ns(one) / NS_PER_DAY for one in self.recordings])
        """Time that was watched and is judged, in days; shape ``(recordings,)``."""
        self._ends = self.track.end_ns
        intervals, self._ignored = self._moved(label)
        order = np.lexsort((intervals[:, 2], intervals[:, 1]))
        self._true = intervals[order]
        self.truths = np.bincount(self._true[:, 0], minlength=len(self.recordings))
        """True events of the label, shape ``(recordings,)``."""
        self._within = _union(self._true[:, 1:3])
        self._alone = _alone(self._true[:, 1:3])
        self._shared = _union(self._true[~self._alone, 1:3])

    def judge(self, windows: Integers) -> JudgedCounts:
        """Judge events by the numbers of their windows in ``track``, ascending."""
        at_ns = self._ends[windows]
        judged = ~_inside(at_ns, self._ignored)
        windows, at_ns = windows[judged], at_ns[judged]
        false = windows[~_inside(at_ns, self._within)]
        count = len(self.recordings)
        in_recording = np.searchsorted(self._firsts, false, "right") - 1
        place, delays_ns = self._match(at_ns)
        return JudgedCounts(
            found=np.bincount(self._true[place, 0], minlength=count),
            false=np.bincount(in_recording, minlength=count),
            delays_ns=delays_ns,
        )

    def _match(self, at_ns: Integers) -> tuple[Integers, Integers]:
        """Return which true events were found, by their numbers, and the delay of each.

        Those whose interval overlaps no other one, nearly all, are matched together.
        """
        true, alone = self._true, np.flatnonzero(self._alone)
        first = np.searchsorted(at_ns, true[alone, 1])  # of several events that of the best delay
        first_ns = np.append(at_ns, _NEVER_NS)[first]
        in_time = first_ns <= true[alone, 4]
        found, found_ns = alone[in_time], first_ns[in_time]
        if len(self._shared):
            others, others_ns = self._match_overlapping(at_ns[_inside(at_ns, self._shared)])
            found, found_ns = np.concatenate((found, others)), np.concatenate((found_ns, others_ns))
        return found, found_ns - true[found, 3]

    def _match_overlapping(self, at_ns: Integers) -> tuple[Integers, Integers]:
        """Serve the open true event that ends first with each event in turn (Glover 1967)."""
        import heapq

        places = np.flatnonzero(~self._alone).tolist()
        begins, ends = self._true[~self._alone, 1].tolist(), self._true[~self._alone, 4].tolist()
        found, moments, opened, upcoming = [], [], list[tuple[int, int]](), 0
        for moment in at_ns.tolist():
            while upcoming < len(places) and begins[upcoming] <= moment:
                heapq.heappush(opened, (ends[upcoming], places[upcoming]))
                upcoming += 1
            while opened and opened[0][0] < moment:
                heapq.heappop(opened)
            if opened:
                found.append(heapq.heappop(opened)[1])
                moments.append(moment)
        return np.array(found, np.int64), np.array(moments, np.int64)

    def _moved(self, label: str) -> tuple[Integers, Integers]:
        """Return true events (recording, from, to, onset, found until) and ignored stretches, in joined time.

        Shapes ``(truths, 5)`` and ``(stretches, 2)``. True events that touch an ignored stretch are left out.
        """
        rows, ignored = [], []
        for number, one in enumerate(self.recordings):
            first, stop = self._firsts[number], self._firsts[number + 1]
            if one.truth is None or one.scores is None or first == stop:
                continue
            offset = int(self._ends[first]) - int(one.scores.span[0, 3])
            after = self.rule.after_ns if self.rule.after_ns is not None else one.receptive_ns + _hop(one)
            delay = self.rule.most_delay_ns if self.rule.most_delay_ns is not None else _NEVER_NS >> 1
            for true in one.truth.events:
                if true.label == label and not _touches(true.start_ns, true.end_ns, one.truth.ignored):
                    start, until = true.start_ns + offset, true.end_ns + after + offset
                    begin = start - self.rule.before_ns
                    rows.append((number, begin, until, start, min(until, start + delay)))
            ignored += [(begin + offset, end + offset - 1) for begin, end in one.truth.ignored if end > begin]
        return np.array(rows, np.int64).reshape(-1, 5), np.array(ignored, np.int64).reshape(-1, 2)


def watched_ns(one: Replayed) -> int:
    """Return how much of a recording is judged: its time without gaps and ignored stretches."""
    ignored = () if one.truth is None else one.truth.ignored
    out = _merged((*((gap.from_ns, gap.to_ns) for gap in one.gaps), *ignored))
    return one.duration_ns - sum(max(0, min(end, one.duration_ns) - max(start, 0)) for start, end in out)


def check_one_bundle(recordings: Sequence[Replayed]) -> None:
    """Refuse replays of several bundles, or of one with other overrides in between.

    Raises:
        InputError: DATA_BAD, there is no recording; LABELS_MISMATCH.
    """
    if not recordings:
        raise InputError(Reason.DATA_BAD, "there is no stored replay", hint="replay a corpus first")
    first = recordings[0]
    for one in recordings[1:]:
        if one.bundle != first.bundle or one.labels != first.labels:
            raise InputError(
                Reason.LABELS_MISMATCH,
                f"{one.recording} was replayed with the bundle {one.bundle[:12]} and its overrides, "
                f"{first.recording} with {first.bundle[:12]} and others",
                hint="replay all recordings with one bundle and one set of overrides",
            )


def _hop(one: Replayed) -> int:
    """Return the usual time from one window's end to the next."""
    if one.scores is None or len(one.scores.span) < 2:
        return 0
    return int(np.median(np.diff(one.scores.span[:, 3])))


def _touches(start: int, end: int, stretches: Iterable[Stretch]) -> bool:
    return any(start < stop and max(end, start + 1) > begin for begin, stop in stretches)


def _merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    merged: list[Stretch] = []
    for start, end in sorted(stretches):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _alone(closed: Integers) -> npt.NDArray[np.bool_]:
    """Tell which closed intervals, shape ``(n, 2)``, by their start, overlap no other one."""
    alone = np.ones(len(closed), np.bool_)
    meets = closed[1:, 0] <= np.maximum.accumulate(closed[:-1, 1])
    alone[1:] &= ~meets
    alone[:-1] &= ~meets
    return alone


def _union(closed: Integers) -> Integers:
    """Return closed intervals, shape ``(n, 2)``, joined where they overlap."""
    joined = _merged((int(start), int(end)) for start, end in closed.tolist())
    return np.array(joined, np.int64).reshape(-1, 2)


def _inside(at_ns: Integers, intervals: Integers) -> npt.NDArray[np.bool_]:
    """Tell which moments lie in closed intervals that do not overlap and ascend."""
    if not len(intervals):
        return np.zeros(len(at_ns), np.bool_)
    place = np.searchsorted(intervals[:, 0], at_ns, "right") - 1
    inside: npt.NDArray[np.bool_] = (place >= 0) & (at_ns <= intervals[np.maximum(place, 0), 1])
    return inside
