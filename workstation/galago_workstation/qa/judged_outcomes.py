"""The score's matching rule, as a comparison of two bundles asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from galago_edge.contract.errors import CallerError
from galago_workstation.qa.judged_recording import judge
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.replayed import Replayed
from galago_workstation.qa.truth_outcomes import OutcomesOf, RecordingOutcomes, TruthOutcome


def outcomes_by(rule: MatchingRule) -> OutcomesOf:
    """Return what became of truths and events by the rule of ``galago qa score``.

    Cross-triggers are false alarms; what is ignored, unwatched or a repeat is none of the three. Truths of a
    label that the bundle does not have are left out, which the comparison says.
    """

    def outcomes(replayed: Replayed) -> RecordingOutcomes:
        found = judge(known_truth(replayed), rule)
        return RecordingOutcomes(
            tuple(
                TruthOutcome(one.truth, one.event) for one in found.truths if one.fate in ("found", "missed")
            ),
            tuple(one.event for one in found.events if one.fate in ("cross", "false")),
            found.watched.valid_ns,
        )

    return outcomes


def known_truth(replayed: Replayed) -> Replayed:
    """Return the replay without truths of labels that its bundle does not have."""
    if replayed.truth is None:
        return replayed
    names = {label.name for label in replayed.labels}
    events = tuple(one for one in replayed.truth.events if one.label in names)
    return replace(replayed, truth=replace(replayed.truth, events=events))


def common_rule(rule: MatchingRule, replays: Sequence[Replayed]) -> MatchingRule:
    """Return the rule with one ``post`` for all ``replays``: the longest that one of them asks for.

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
    return MatchingRule(pre_ns=rule.pre_ns, post_ns=longest)
