"""Why a replayed recording gave an event or none, and what the smallest change of policy would cost.

The explanation itself is the device's: :mod:`galago_edge.decision.explanation`. Here it is given a stored
replay, and every change it proposes is tried on a whole corpus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from galago_edge.contract.count_words import count_of, noun_of
from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.streams import Gap
from galago_edge.decision.explanation import Explanation, LabelHeard, explain
from galago_edge.decision.explanation_words import (
    explanation_data,
    no_change_words,
    proposal_words,
    reason_words,
)
from galago_edge.decision.policy_proposals import PolicyProposal, proposals
from galago_workstation.qa.judged_corpus import JudgedCorpus, WatchedTruths
from galago_workstation.qa.judged_recording import refuse_mixed
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.redecision import gate_doubt, index_of, scores_of, track_of, with_policy
from galago_workstation.qa.replayed import Replayed
from galago_workstation.qa.report_words import label_text


@dataclass(frozen=True, slots=True)
class CorpusCost:
    """What a change of one label's policy does to labelled recordings."""

    recordings: int
    truths: int
    """That the new policy could find: with more smoothing it may not be ready for all of them."""
    found: int
    false: int
    """Both by the policy as it is."""
    found_more: int
    """Negative: fewer."""
    false_more: int
    false_more_per_day: float
    doubtful: int
    """Windows whose scores are not known under the new policy, because of the activity gate."""


@dataclass(frozen=True, slots=True)
class ReplayedWhy:
    """The whole answer."""

    recording: str
    at_ns: int
    found: Explanation
    changes: tuple[PolicyProposal, ...]
    """The smallest first."""
    costs: tuple[CorpusCost | None, ...]
    """Of each change; None without a labelled corpus."""
    read_to_ns: int
    """Up to which the recording could be read."""


def why_replayed(
    replayed: Replayed,
    label: str,
    at_ns: int,
    *,
    within_ns: int = 2_000_000_000,
    corpus: Sequence[Replayed] = (),
    rule: MatchingRule | None = None,
) -> ReplayedWhy:
    """Return why there was an event within ``within_ns`` of ``at_ns``, or none.

    ``corpus``: replays of the same bundle on which every change is tried; those without labels are left out.

    Raises:
        InputError: DATA_BAD, no scores are stored; LABELS_MISMATCH, no such label.
        CallerError: The corpus cannot be judged, see :class:`JudgedCorpus`; USAGE, it is of another bundle,
            or the recording, or what can be read of it, ends before that time.
    """
    heard = heard_of(replayed, label)
    _refuse_behind_the_end(replayed, at_ns, within_ns)
    found = explain(heard, at_ns - within_ns, at_ns + within_ns)
    changes = proposals(heard, found)
    costs: tuple[CorpusCost | None, ...] = (None,) * len(changes)
    if changes and any(one.truth is not None for one in corpus):
        refuse_mixed(corpus)
        _refuse_other_bundle(replayed, corpus[0])
        judged = JudgedCorpus(corpus, label, rule or MatchingRule())
        costs = tuple(cost_of(judged, heard.label.policy, one.policy) for one in changes)
    return ReplayedWhy(replayed.recording, at_ns, found, changes, costs, replayed.read_to_ns)


def _refuse_behind_the_end(replayed: Replayed, at_ns: int, within_ns: int) -> None:
    """Refuse a question about a time of which nothing was heard or seen."""
    end_ns = replayed.read_to_ns
    if at_ns - within_ns <= end_ns:
        return
    end, hint = f"ends at {_seconds(end_ns)}", f"give a time up to {_seconds(end_ns)}"
    if replayed.loss is not None:
        end = f"can be read up to {_seconds(end_ns)} ({replayed.loss.reason})"
        hint += "; what is behind it can be asked about when it was copied or recorded again"
    raise CallerError(
        Reason.USAGE, f"{_seconds(at_ns)} is behind the end of {replayed.recording}, which {end}", hint=hint
    )


def _seconds(ns: int) -> str:
    return f"{ns / 1e9:.9g} s"


def _refuse_other_bundle(replayed: Replayed, one: Replayed) -> None:
    if replayed.bundle != one.bundle:
        raise CallerError(
            Reason.USAGE,
            f"{one.recording} of the corpus was decided by the bundle {one.bundle[:12]}, "
            f"{replayed.recording} by {replayed.bundle[:12]}, expected one for all",
            hint="replay the corpus with the bundle of the recording",
        )


def heard_of(replayed: Replayed, label: str) -> LabelHeard:
    """Return what one label's policy had before it in a stored replay.

    Raises:
        InputError: DATA_BAD, no scores are stored; LABELS_MISMATCH, no such label.
    """
    decided = replayed.labels[index_of(replayed, label)]
    gaps = tuple(Gap(gap.from_ns, gap.to_ns, gap.cause) for gap in replayed.gaps)
    scores = scores_of(replayed)
    by_manifest = manifest_policy(replayed, decided)
    return LabelHeard(decided, track_of(replayed, label), scores.skipped, gaps, by_manifest)


def manifest_policy(replayed: Replayed, label: Label) -> LabelPolicy | None:
    """Return what the manifest says where the replay was made with overrides; None where nothing differs."""
    for state in replayed.states:
        if (state.subject, state.state) == ("stream", "started"):
            differs = state.detail.get("overrides", {})
            told = differs.get(label.name, {}) if isinstance(differs, Mapping) else {}
            values = {key: value["manifest"] for key, value in told.items() if isinstance(value, Mapping)}
            return msgspec.structs.replace(label.policy, **values) if values else None
    return None


def cost_of(judged: JudgedCorpus, old: LabelPolicy, new: LabelPolicy) -> CorpusCost:
    """Return what another policy of the corpus' label does to it."""
    before, after = (judged.judge(judged.track.on_periods(one).events()) for one in (old, new))
    watched = judged.watched(new.smoothing_windows)
    found, false = int(before.found.sum()), int(before.false.sum())
    false_after = int(after.false.sum())
    per_day = _per_day(false_after, watched) - _per_day(false, judged.watched(old.smoothing_windows))
    return CorpusCost(
        recordings=len(judged.recordings),
        truths=int(watched.truths.sum()),
        found=found,
        false=false,
        found_more=int(after.found.sum()) - found,
        false_more=false_after - false,
        false_more_per_day=per_day,
        doubtful=sum(
            gate_doubt(one, with_policy(one.labels, judged.label, new)).doubtful for one in judged.recordings
        ),
    )


def _per_day(count: int, watched: WatchedTruths) -> float:
    days = float(watched.days.sum())
    return count / days if days else 0.0


def why_lines(told: ReplayedWhy) -> list[str]:
    """Return the answer for people, one line each."""
    lines = [
        f"{told.recording}, {label_text(told.found.label)}, {told.at_ns / 1e9:g} s: {told.found.cause}",
        reason_words(told.found),
    ]
    if told.at_ns > told.read_to_ns:
        lines.append(
            f"{_seconds(told.at_ns)} is behind the end: it can be read up to {_seconds(told.read_to_ns)}"
        )
    for number, (change, cost) in enumerate(zip(told.changes, told.costs, strict=True)):
        line = f"{'smallest change' if number == 0 else 'or'}: {proposal_words(change)}"
        lines.append(line if cost is None else f"{line}; {_cost_words(cost)}")
    if not told.changes and told.found.cause != "given":
        lines.append(no_change_words(told.found))
    return lines


def why_data(told: ReplayedWhy) -> dict[str, Any]:
    """Return the answer for programs."""
    data: dict[str, Any] = {"recording": told.recording, "at_ns": told.at_ns, "read_to_ns": told.read_to_ns}
    data |= explanation_data(told.found, told.changes)
    for change, cost in zip(data["changes"], told.costs, strict=True):
        if cost is not None:
            change["cost"] = {name: getattr(cost, name) for name in CorpusCost.__slots__}
    return data


def _cost_words(cost: CorpusCost) -> str:
    alarms = noun_of(cost.false_more, "false alarm")
    words = (
        f"on {count_of(cost.recordings, 'labelled recording')} {cost.false_more:+d} {alarms} "
        f"({cost.false_more_per_day:+.2f} a day), {cost.found_more:+d} of {cost.truths} found"
    )
    if cost.doubtful:
        are = noun_of(cost.doubtful, "is", "are")
        words += f"; {count_of(cost.doubtful, 'window')} {are} in doubt because of the activity gate"
    return words
