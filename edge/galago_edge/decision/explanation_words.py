"""An explanation in words: one line of what decided, one for each change that would have given the event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from galago_edge.contract.count_words import count_of
from galago_edge.decision.explanation import DecidedBy, Explanation
from galago_edge.decision.policy_proposals import PolicyProposal

_LEAST_SCORE = 0.0001
"""The step in which thresholds are proposed: nothing is below it but 0."""
When = Callable[[int], str]
"""Returns how a stream time is written."""


def stream_seconds(ns: int) -> str:
    """Return stream time as people read it.

    >>> stream_seconds(12_400_000_000)
    '12.4 s'
    """
    return f"{round(ns / 1e9, 3):g} s" if ns < 3_600_000_000_000 else f"{ns / 1e9:.1f} s"


def reason_words(found: Explanation, when: When = stream_seconds) -> str:
    """Return one sentence about what decided, with its numbers."""
    words = _WORDS[found.cause](dict(found.facts), found, when)
    if found.override_decided:
        words += "; this device's override decided it: by the manifest it would have been the other way"
    return words


def proposal_words(one: PolicyProposal, when: When = stream_seconds) -> str:
    """Return what to change, and when the event would have come.

    >>> from galago_edge.contract.manifest import LabelPolicy
    >>> proposal_words(PolicyProposal("min_count", 3, 2, LabelPolicy(), 4_000_000_000))
    'min_count 2 instead of 3: an event at 4 s'
    """
    change = f"{one.field} {_value(one.new)} instead of {_value(one.old)}"
    if one.field == "on" and one.policy.off == one.new:
        change += f", and off {_value(one.new)}"
    return f"{change}: an event at {when(one.event_ns)}"


def no_change_words(found: Explanation) -> str:
    """Return that no change would have given an event; of the model itself what it said at best."""
    words = "no change of one part of the policy would have given an event"
    best = found.facts.get("best_window")
    if not isinstance(best, float | int):
        return words
    if best < _LEAST_SCORE:
        return f"{words}: the model itself never answered, its best score there is {best:.4f}"
    return f"{words}: the model's best score there, before smoothing, is {_score(best)}"


def explanation_data(found: Explanation, changes: Sequence[PolicyProposal]) -> dict[str, Any]:
    """Return an explanation for programs."""
    return {
        "label": found.label,
        "from_ns": found.from_ns,
        "to_ns": found.to_ns,
        "cause": str(found.cause),
        "override_decided": found.override_decided,
        "facts": dict(found.facts),
        "policy": policy_data(found),
        "changes": [
            {
                "field": one.field,
                "old": one.old,
                "new": one.new,
                "off": one.policy.off,
                "size": round(one.size, 4),
                "event_ns": one.event_ns,
            }
            for one in changes
        ],
    }


def policy_data(found: Explanation) -> dict[str, Any]:
    """Return the policy that decided."""
    return {name: getattr(found.policy, name) for name in found.policy.__struct_fields__}


def _value(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _windows(count: int) -> str:
    return count_of(count, "window")


def _score(value: Any) -> str:
    return f"{value:.2f}" if round(value, 2) == round(value, 4) else f"{value:.4f}"


def _given(facts: dict[str, Any], found: Explanation, when: When) -> str:
    return (
        f"there was an event at {when(facts['event_ns'])}: on since {when(facts['on_ns'])}, smoothed up to "
        f"{_score(facts['score'])}, on is {_score(found.policy.on)}"
    )


def _late(facts: dict[str, Any], found: Explanation, when: When) -> str:
    words = (
        f"on since {when(facts['on_ns'])}, an event only at {when(facts['event_ns'])}: "
        f"min_count is {facts['needed_windows']}"
    )
    if facts.get("due_ns", 0) > facts["on_ns"]:
        words += f", and the refractory time of the event at {when(facts['before_ns'])} ended at "
        words += when(facts["due_ns"])
    return words


def _background(facts: dict[str, Any], found: Explanation, when: When) -> str:
    return f"{found.label} is a background label, which never becomes an event"


def _outside(facts: dict[str, Any], found: Explanation, when: When) -> str:
    return (
        f"no window ends from {when(found.from_ns)} to {when(found.to_ns)}: the stream was not decided there"
    )


def _gap(facts: dict[str, Any], found: Explanation, when: When) -> str:
    return (
        f"nobody watched: a gap from {when(facts['gap_from_ns'])} to {when(facts['gap_to_ns'])} "
        f"({facts['gap_cause']})"
    )


def _gate(facts: dict[str, Any], found: Explanation, when: When) -> str:
    return (
        f"the activity gate was closed for all {_windows(facts['windows'])}: the model was not run, and its "
        f"scores are not known"
    )


def _warm_up(facts: dict[str, Any], found: Explanation, when: When) -> str:
    return (
        f"warm-up: {_windows(facts['windows_seen'])} since the start or a gap (first one at "
        f"{when(facts['since_ns'])}), smoothing needs {facts['needed_windows']}; their mean was up to "
        f"{_score(facts['mean_so_far'])}, on is {_score(found.policy.on)}"
    )


def _threshold(facts: dict[str, Any], found: Explanation, when: When) -> str:
    words = (
        f"smoothed {_score(facts['score'])} at {when(facts['peak_ns'])}, on is {_score(facts['on'])}: "
        f"{_score(facts['short'])} short; from there it would have been on for "
        f"{_windows(facts['held_windows'])}, {facts['needed_windows']} needed"
    )
    if facts["skipped_in_mean"]:
        words += f"; the gate skipped {facts['skipped_in_mean']} of the windows in that mean, they count as 0"
    return words


def _count(facts: dict[str, Any], found: Explanation, when: When) -> str:
    return (
        f"on for {_windows(facts['on_windows'])} from {when(facts['on_ns'])} (smoothed up to "
        f"{_score(facts['score'])}), {facts['needed_windows']} in a row are needed"
    )


def _refractory(facts: dict[str, Any], found: Explanation, when: When) -> str:
    return (
        f"on from {when(facts['on_ns'])} for {_windows(facts['on_windows'])}, within the refractory time of "
        f"the event at {when(facts['before_ns'])}, which ended at {when(facts['due_ns'])} "
        f"({facts['refractory_ms']} ms)"
    )


def _still_on(facts: dict[str, Any], found: Explanation, when: When) -> str:
    return (
        f"still on since {when(facts['on_ns'])}, with its event at {when(facts['event_ns'])}, and a label "
        f"fires once per on-period: smoothed never fell below off {_score(facts['off'])}, "
        f"its lowest was {_score(facts['lowest'])}"
    )


_WORDS: dict[DecidedBy, Callable[[dict[str, Any], Explanation, When], str]] = {
    DecidedBy.GIVEN: _given,
    DecidedBy.LATE: _late,
    DecidedBy.BACKGROUND: _background,
    DecidedBy.OUTSIDE: _outside,
    DecidedBy.GAP: _gap,
    DecidedBy.GATE: _gate,
    DecidedBy.WARM_UP: _warm_up,
    DecidedBy.THRESHOLD: _threshold,
    DecidedBy.COUNT: _count,
    DecidedBy.REFRACTORY: _refractory,
    DecidedBy.STILL_ON: _still_on,
}
