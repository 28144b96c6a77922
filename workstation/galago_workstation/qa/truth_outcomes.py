"""What became of each thing that was really there, and of what was said besides: as a comparison asks.

By the rule of ``galago qa score``: :mod:`galago_workstation.qa.judged_recording` judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from galago_edge.contract.errors import CallerError
from galago_edge.contract.records import EventRecord
from galago_workstation.qa.judged_recording import judge
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.replayed import Replayed, Truth


@dataclass(frozen=True, slots=True)
class TruthOutcome:
    """One thing that was really there, and the event that found it."""

    truth: Truth
    event: EventRecord | None

    @property
    def found(self) -> bool:
        """Whether an event found it."""
        return self.event is not None

    @property
    def delay_ns(self) -> int | None:
        """From its start to the decision, in stream time; None when missed."""
        return None if self.event is None else self.event.end_ns - self.truth.start_ns


@dataclass(frozen=True, slots=True)
class RecordingOutcomes:
    """All of one recording."""

    outcomes: tuple[TruthOutcome, ...]
    """In the order of the truth list: two bundles on one recording can be compared one by one."""
    false_alarms: tuple[EventRecord, ...]
    """Events of nothing that was there, cross-triggers included, repeats not. By time."""
    unwatched: tuple[Truth, ...]
    """Neither found nor missed: nothing could be decided there."""
    valid_ns: int
    """Stream time that was watched and is judged, of the label that is decided soonest."""
    valid_ns_by_label: Mapping[str, int]


def outcomes(replayed: Replayed, rule: MatchingRule) -> RecordingOutcomes:
    """Return what became of truths and events.

    Cross-triggers are false alarms; what is ignored, unwatched, late or a repeat is none of the three. Truths
    of a label that the bundle does not have are left out, which the comparison says.

    Raises:
        CallerError: USAGE; nobody has labelled the recording, or nobody knows the hop.
    """
    found = judge(known_truth(replayed), rule)
    return RecordingOutcomes(
        tuple(TruthOutcome(one.truth, one.event) for one in found.truths if one.fate in ("found", "missed")),
        tuple(one.event for one in found.events if one.fate in ("cross", "false")),
        tuple(one.truth for one in found.truths if one.fate == "unwatched"),
        found.watched.valid_ns,
        {label: watched.valid_ns for label, watched in found.watched_by_label.items()},
    )


def known_truth(replayed: Replayed) -> Replayed:
    """Return the replay without truths of labels that its bundle does not have."""
    if replayed.truth is None:
        return replayed
    names = {label.name for label in replayed.labels}
    events = tuple(one for one in replayed.truth.events if one.label in names)
    return replace(replayed, truth=replace(replayed.truth, events=events))


def common_rule(rule: MatchingRule, replays: Sequence[Replayed]) -> MatchingRule:
    """Return the rule with one ``post`` for all replays of a recording: the longest that one asks for.

    A bundle must not be better because its window is longer, and a baseline does not tell its hop.

    Raises:
        CallerError: USAGE; nobody knows the hop.
    """
    if rule.post_ns is not None:
        return rule
    longest: int | None = None
    fault: CallerError | None = None
    for one in replays:
        try:
            post_ns = rule.applied(one).post_ns
        except CallerError as error:
            fault = error
            continue
        longest = post_ns if longest is None else max(longest, post_ns)
    if longest is None and fault is not None:
        raise fault
    return msgspec.structs.replace(rule, post_ns=longest)
