"""What became of every truth and of every event of one recording.

========= =============================================================================================
found     a truth that has an event of its own, and that event
missed    a truth without one
unwatched a truth during whose whole time nothing could be decided: a gap, warm-up. Neither found nor missed
repeat    a further event of the label within the time of a truth that was found; no false alarm
late      an event within the time of a truth that nothing found, behind the bound on delays; no false alarm
cross     a cross-trigger: an event within the time of a truth of another label
false     a false alarm: any other event
ignored   a truth that touches a stretch to be ignored, and an event that belongs to it or is decided within
          sight of such a stretch: not judged
========= =============================================================================================

Truths of a background label are remarks: nothing can find them.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from galago_edge.contract.errors import CallerError, InputError, Reason
from galago_edge.contract.manifest import Label
from galago_edge.contract.records import EventRecord
from galago_workstation.qa.label_rows import refuse_unknown
from galago_workstation.qa.matching import AppliedRule, MatchingRule, matched
from galago_workstation.qa.replayed import Replayed, Stretch, Truth
from galago_workstation.qa.stretches import united
from galago_workstation.qa.valid_time import WatchedTime, decidable, watched_time

EventFate = Literal["found", "repeat", "late", "cross", "false", "ignored"]
TruthFate = Literal["found", "missed", "unwatched", "ignored"]


@dataclass(frozen=True, slots=True)
class JudgedTruth:
    """A truth and what became of it."""

    truth: Truth
    fate: TruthFate
    event: EventRecord | None = None
    """The one that found it."""

    @property
    def delay_ns(self) -> int | None:
        """Stream time from the onset to the decision; None unless found. Negative where ``pre`` allows it."""
        return None if self.event is None else self.event.end_ns - self.truth.start_ns


@dataclass(frozen=True, slots=True)
class JudgedEvent:
    """An event and what became of it."""

    event: EventRecord
    fate: EventFate
    truth: Truth | None = None
    """What it found, repeated, came late for, or was triggered by."""


@dataclass(frozen=True, slots=True)
class Grounds:
    """What of a recording is judged, before any event is looked at."""

    rule: AppliedRule
    truths: tuple[JudgedTruth, ...]
    """All of labels that can be found, in order; those to be judged are ``missed`` for the time being."""
    ignored: tuple[Stretch, ...]
    """As far as decisions see them, united."""

    def judged(self, label: str) -> list[int]:
        """Return the places in ``truths`` of those of a label that can be found or missed."""
        return [
            place
            for place, one in enumerate(self.truths)
            if one.fate == "missed" and one.truth.label == label
        ]

    def not_ignored(self, label: str) -> list[Truth]:
        """Return the truths of a label that can be found or missed, if they were watched."""
        fates: tuple[TruthFate, ...] = ("missed", "unwatched")
        return [one.truth for one in self.truths if one.fate in fates and one.truth.label == label]

    def is_ignored(self, at_ns: int) -> bool:
        """Tell whether a decision at this moment is not judged."""
        number = bisect.bisect_right(self.ignored, at_ns, key=lambda stretch: stretch[0]) - 1
        return number >= 0 and at_ns <= self.ignored[number][1]


@dataclass(frozen=True, slots=True)
class JudgedRecording:
    """A recording, its truths and its events, and the time in which they were looked for."""

    replayed: Replayed
    grounds: Grounds
    truths: tuple[JudgedTruth, ...]
    events: tuple[JudgedEvent, ...]
    watched: WatchedTime
    """For the label that is decided soonest: the time in which any event could come."""
    watched_by_label: dict[str, WatchedTime]


def grounds_of(replayed: Replayed, rule: MatchingRule) -> Grounds:
    """Return what is judged of a recording that somebody has labelled.

    Raises:
        InputError: LABELS_MISMATCH; a truth has a label that the bundle does not have.
        CallerError: USAGE; it has no labels, or nobody knows the hop.
    """
    if replayed.truth is None:
        raise CallerError(
            Reason.USAGE, f"{replayed.recording} has no labels", hint="label it, or leave it out"
        )
    refuse_unknown(replayed.truth, replayed.labels, name=f"labels of {replayed.recording}")
    applied = rule.applied(replayed)
    ignored = tuple(united((start, end + applied.post_ns) for start, end in replayed.truth.ignored))
    lengths = {label.name: label.policy.smoothing_windows for label in deciding(replayed.labels)}
    could = {length: decidable(replayed, length) for length in set(lengths.values())}
    truths = []
    for truth in replayed.truth.events:
        if truth.label not in lengths:
            continue
        fate: TruthFate = "missed"
        if _touches(truth, replayed.truth.ignored):
            fate = "ignored"
        elif not could[lengths[truth.label]].reaches(*applied.window(truth)):
            fate = "unwatched"
        truths.append(JudgedTruth(truth, fate))
    return Grounds(applied, tuple(truths), ignored)


def deciding(labels: Sequence[Label]) -> list[Label]:
    """Return the labels that can become events."""
    return [label for label in labels if not label.background]


def refuse_mixed(replays: Sequence[Replayed]) -> None:
    """Refuse replays that cannot be judged together.

    Raises:
        CallerError: USAGE; there is none, or they are of several bundles, or of several overrides.
        InputError: DATA_BAD; a recording is there twice.
    """
    if not replays:
        raise CallerError(Reason.USAGE, "there is no stored replay", hint="replay a corpus first")
    first = replays[0]
    seen: dict[str, str] = {}
    for replayed in replays:
        if replayed.bundle != first.bundle or replayed.labels != first.labels:
            what = "another bundle" if replayed.bundle != first.bundle else "other overrides of the policy"
            raise CallerError(
                Reason.USAGE,
                f"{replayed.recording} was decided by {what} than {first.recording}, expected one for all",
                hint="judge each bundle by itself; galago qa diff compares two",
            )
        if replayed.sha256 in seen:
            text = (
                f"{replayed.recording} is the same recording as {seen[replayed.sha256]}, expected each once"
            )
            raise InputError(Reason.DATA_BAD, text, hint="leave one of them out")
        seen[replayed.sha256] = replayed.recording


def judge(replayed: Replayed, rule: MatchingRule) -> JudgedRecording:
    """Match the events of a recording to its truths.

    Raises:
        CallerError: See :func:`grounds_of`.
    """
    grounds = grounds_of(replayed, rule)
    finder: dict[int, int] = {}
    for label in deciding(replayed.labels):
        places = grounds.judged(label.name)
        truths = [grounds.truths[place].truth for place in places]
        events = [place for place, event in enumerate(replayed.events) if event.label == label.name]
        pairs = matched(
            [grounds.rule.window(truth) for truth in truths],
            [truth.start_ns for truth in truths],
            [replayed.events[event].end_ns for event in events],
        )
        finder |= {places[truth]: events[event] for truth, event in pairs.items()}
    times = {
        label.name: watched_time(replayed, label.policy.smoothing_windows, grounds.ignored)
        for label in deciding(replayed.labels)
    }
    judged = tuple(
        JudgedTruth(one.truth, "found", replayed.events[finder[place]]) if place in finder else one
        for place, one in enumerate(grounds.truths)
    )
    found = {event: judged[truth].truth for truth, event in finder.items()}
    return JudgedRecording(
        replayed,
        grounds,
        judged,
        tuple(_fates(replayed.events, found, judged, grounds)),
        max(times.values(), key=lambda time: time.valid_ns + time.ignored_ns, default=WatchedTime()),
        times,
    )


def _fates(
    events: Sequence[EventRecord],
    found: Mapping[int, Truth],
    truths: Sequence[JudgedTruth],
    grounds: Grounds,
) -> Iterator[JudgedEvent]:
    """Yield what became of each event; ``found``: what an event found, by the event's place."""
    reach = np.array([grounds.rule.reach(one.truth) for one in truths], np.int64).reshape(-1, 2)
    for place, event in enumerate(events):
        if place in found:
            yield JudgedEvent(event, "found", found[place])
            continue
        holding = (reach[:, 0] <= event.end_ns) & (event.end_ns <= reach[:, 1])
        yield _fate(event, [truths[number] for number in np.flatnonzero(holding).tolist()], grounds)


def _fate(event: EventRecord, inside: Sequence[JudgedTruth], grounds: Grounds) -> JudgedEvent:
    """Return what became of an event that found nothing, decided in the time of the truths ``inside``."""
    own = [one for one in inside if one.truth.label == event.label]
    fates: tuple[tuple[TruthFate, EventFate], ...] = (("found", "repeat"), ("missed", "late"))
    for of_truth, fate in fates:
        if one := next((one for one in own if one.fate == of_truth), None):
            return JudgedEvent(event, fate, one.truth)
    if grounds.is_ignored(event.end_ns) or own:
        return JudgedEvent(event, "ignored", own[0].truth if own else None)
    if inside:
        return JudgedEvent(event, "cross", inside[0].truth)
    return JudgedEvent(event, "false")


def _touches(truth: Truth, ignored: Sequence[Stretch]) -> bool:
    end = max(truth.end_ns, truth.start_ns + 1)
    return any(start < end and truth.start_ns < behind for start, behind in ignored)
