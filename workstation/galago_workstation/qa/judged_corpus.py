"""What became of one label's truths and events over many labelled recordings at once: counts alone.

Made to judge thousands of policies in seconds: all recordings stand one behind the other in one
:class:`~galago_edge.decision.label_track.LabelTrack`. What is judged comes from
:mod:`~galago_workstation.qa.judged_recording`, and the counts are those of its :func:`judge`, which tests
compare with these: how many truths are found does not depend on which of the largest matchings is taken, and
an event is false if and only if it is decided in no truth's time and in sight of nothing that is ignored.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from galago_edge.decision.label_track import Integers, LabelTrack
from galago_workstation.qa.judged_recording import Grounds, grounds_of
from galago_workstation.qa.matching import MatchingRule, matched
from galago_workstation.qa.redecision import track_of
from galago_workstation.qa.replayed import Replayed
from galago_workstation.qa.stretches import united
from galago_workstation.qa.valid_time import decidable, watched_time

NS_PER_DAY = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class WatchedTruths:
    """What a policy with some length of smoothing could find, and for how long; shapes ``(recordings,)``."""

    truths: Integers
    """Those to be found or missed."""
    valid_ns: Integers

    @property
    def days(self) -> npt.NDArray[np.float64]:
        """Valid time."""
        return self.valid_ns / NS_PER_DAY


@dataclass(frozen=True, slots=True)
class JudgedCounts:
    """What became of one policy's events; shapes ``(recordings,)``."""

    found: Integers
    """Truths that an event was found for."""
    false: Integers
    """False alarms and cross-triggers."""


@dataclass(frozen=True, slots=True)
class FoundAside:
    """What the events that belong to truths are like, beside how many truths they found."""

    delays_ns: Integers
    """How soon each truth is found, from onset to decision, ascending; shape ``(found,)``."""
    repeats: int
    """Further events within the time of a truth that was found: no false alarms, but told again."""


class JudgedCorpus:
    """Labelled recordings, ready to judge one label's events by the numbers of their windows."""

    def __init__(self, recordings: Sequence[Replayed], label: str, rule: MatchingRule) -> None:
        """Take the recordings that somebody has labelled; the others are counted in ``unlabelled``.

        Raises:
            InputError: DATA_BAD, a replay has no scores; LABELS_MISMATCH, the bundle has no such label, or
                not that of a truth.
        """
        self.label = label
        self.recordings = [one for one in recordings if one.truth is not None]
        self.unlabelled = len(recordings) - len(self.recordings)
        self.track, self._firsts = LabelTrack.joined([track_of(one, label) for one in self.recordings])
        self._grounds = [grounds_of(one, rule) for one in self.recordings]
        self._watched: dict[int, WatchedTruths] = {}
        windows, harmless = self._moved()
        windows = windows[np.lexsort((windows[:, 2], windows[:, 1]))]
        alone = _alone(windows[:, 1:])
        self._alone, self._shared = windows[alone], windows[~alone]
        self._sharing = _union(self._shared[:, 1:])
        self._harmless = _union(harmless)

    def watched(self, smoothing_windows: int) -> WatchedTruths:
        """Return what a policy with this smoothing could find at all: warm-up takes its part."""
        if (known := self._watched.get(smoothing_windows)) is None:
            truths, valid_ns = [], []
            for one, grounds in zip(self.recordings, self._grounds, strict=True):
                could = decidable(one, smoothing_windows)
                windows = (grounds.rule.window(truth) for truth in grounds.not_ignored(self.label))
                truths.append(sum(could.reaches(*window) for window in windows))
                valid_ns.append(watched_time(one, smoothing_windows, grounds.ignored).valid_ns)
            known = WatchedTruths(np.array(truths, np.int64), np.array(valid_ns, np.int64))
            self._watched[smoothing_windows] = known
        return known

    def judge(self, windows: Integers) -> JudgedCounts:
        """Judge events by the numbers of their windows in ``track``, ascending.

        They must be decided by a policy of the label: a truth in whose time there is no decision is not
        among the truths of :meth:`watched`, and no event can be there.
        """
        at_ns = self.track.end_ns[windows]
        false = windows[~_inside(at_ns, self._harmless)]
        in_recording = np.searchsorted(self._firsts, false, "right") - 1
        count = len(self.recordings)
        return JudgedCounts(
            found=np.bincount(self._found(at_ns), minlength=count),
            false=np.bincount(in_recording, minlength=count),
        )

    def aside(self, windows: Integers) -> FoundAside:
        """Return delays and repeats of such events, as in a score.

        Of all largest matchings that of :func:`~galago_workstation.qa.matching.matched` counts.
        """
        delays: list[int] = []
        repeats = 0
        bounds = np.searchsorted(windows, self._firsts)
        for number, (one, grounds) in enumerate(zip(self.recordings, self._grounds, strict=True)):
            truths = grounds.not_ignored(self.label)
            mine = windows[bounds[number] : bounds[number + 1]] - self._firsts[number]
            if not truths or not len(mine) or one.scores is None:
                continue
            at_ns = one.scores.span[mine, 3]
            times = at_ns.tolist()
            onsets = [truth.start_ns for truth in truths]
            pairs = matched([grounds.rule.window(truth) for truth in truths], onsets, times)
            delays += [times[event] - onsets[truth] for truth, event in pairs.items()]
            reach = np.array([grounds.rule.reach(truths[place]) for place in pairs], np.int64).reshape(-1, 2)
            told = ((reach[:, :1] <= at_ns) & (at_ns <= reach[:, 1:])).any(axis=0)
            repeats += int(np.count_nonzero(told)) - len(pairs)  # what found a truth is within its time, too
        return FoundAside(np.sort(np.array(delays, np.int64)), repeats)

    def _found(self, at_ns: Integers) -> Integers:
        """Return the recording of each truth that is found.

        Those whose window overlaps no other one, nearly all, are found when there is any event in it.
        """
        first = np.searchsorted(at_ns, self._alone[:, 1])
        found: Integers = self._alone[np.searchsorted(at_ns, self._alone[:, 2], "right") > first, 0]
        if len(self._shared):
            others = self._found_of_shared(at_ns[_inside(at_ns, self._sharing)])
            found = np.concatenate((found, np.array(others, np.int64)))
        return found

    def _found_of_shared(self, at_ns: Integers) -> list[int]:
        """Serve the open truth whose window ends first with each event in turn (Glover 1967)."""
        rows = cast("list[tuple[int, int, int]]", self._shared.tolist())
        found, opened, upcoming = list[int](), list[tuple[int, int]](), 0
        for moment in at_ns.tolist():
            while upcoming < len(rows) and rows[upcoming][1] <= moment:
                recording, _, last = rows[upcoming]
                heapq.heappush(opened, (last, recording))
                upcoming += 1
            while opened and opened[0][0] < moment:
                heapq.heappop(opened)
            if opened:
                found.append(heapq.heappop(opened)[1])
        return found

    def _moved(self) -> tuple[Integers, Integers]:
        """Return windows of truths (recording, first, last) and where nothing is false, in joined time.

        Shapes ``(truths, 3)`` and ``(stretches, 2)``, both ends included; as far as there are decisions.
        """
        windows, harmless = [], []
        for number, (one, grounds) in enumerate(zip(self.recordings, self._grounds, strict=True)):
            begin, stop = self._firsts[number : number + 2].tolist()
            if begin == stop or one.scores is None:
                continue
            first, last = one.scores.span[[0, -1], 3].tolist()
            moved = int(self.track.end_ns[begin]) - first
            for truth in grounds.not_ignored(self.label):
                low, high = grounds.rule.window(truth)
                if low <= last and high >= first:
                    windows.append((number, max(low, first) + moved, min(high, last) + moved))
            harmless += [
                (max(low, first) + moved, min(high, last) + moved)
                for low, high in _harmless(grounds, self.label)
                if low <= last and high >= first
            ]
        return np.array(windows, np.int64).reshape(-1, 3), np.array(harmless, np.int64).reshape(-1, 2)


def _harmless(grounds: Grounds, label: str) -> Iterator[tuple[int, int]]:
    """Yield where no event of a label is false, both ends included: in its truths' time, or ignored."""
    for one in grounds.truths:
        if one.truth.label == label:
            yield grounds.rule.reach(one.truth)
    yield from grounds.ignored


def _alone(closed: Integers) -> npt.NDArray[np.bool_]:
    """Tell which closed intervals, shape ``(n, 2)``, by their start, overlap no other one."""
    alone = np.ones(len(closed), np.bool_)
    meets = closed[1:, 0] <= np.maximum.accumulate(closed[:-1, 1])
    alone[1:] &= ~meets
    alone[:-1] &= ~meets
    return alone


def _union(closed: Integers) -> Integers:
    """Return closed intervals, shape ``(n, 2)``, as half-open ones in order, none touching another."""
    return np.array(united((start, end + 1) for start, end in closed.tolist()), np.int64).reshape(-1, 2)


def _inside(at_ns: Integers, stretches: Integers) -> npt.NDArray[np.bool_]:
    """Tell which moments lie in half-open stretches that do not overlap and ascend."""
    if not len(stretches):
        return np.zeros(len(at_ns), np.bool_)
    place = np.searchsorted(stretches[:, 0], at_ns, "right") - 1
    inside: npt.NDArray[np.bool_] = (place >= 0) & (at_ns < stretches[np.maximum(place, 0), 1])
    return inside
