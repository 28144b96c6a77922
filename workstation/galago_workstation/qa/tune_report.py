"""Every label's policy at once, what is too little to promise, and what an activity gate hides."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from galago_edge.contract.count_words import count_of, noun_of
from galago_edge.contract.errors import CallerError, InputError, Reason
from galago_edge.contract.known_names import known_names
from galago_workstation.qa.exact_intervals import poisson_interval, share_interval
from galago_workstation.qa.judged_corpus import JudgedCorpus
from galago_workstation.qa.judged_recording import deciding, refuse_mixed
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.redecision import GateDoubt, gate_doubt, with_policy
from galago_workstation.qa.replayed import Replayed
from galago_workstation.qa.report_words import TWO_SIDED, hours_text, label_text
from galago_workstation.qa.tune_space import TuneSpace
from galago_workstation.qa.tuning import Promise, TunedLabel, TuneGoal, tune

MOST_DOUBTFUL = 0.01
"""Share of windows whose scores a gate may have hidden; with more nothing is promised."""
_WIDEST_RECALL = 0.3
"""Width of the interval of recall above which more true events are asked for."""
_FEW_GROUPS = 5


@dataclass(frozen=True, slots=True)
class TuneReport:
    """Every label's policy, and what is to be said about them."""

    bundle: str
    goal: TuneGoal
    labels: tuple[TunedLabel, ...]
    doubts: tuple[GateDoubt, ...]
    """Of each label, over all recordings."""
    lacking: tuple[tuple[str, ...], ...]
    """What is too little, of each label; a sentence each, with what would be needed."""
    skipped: tuple[str, ...]
    """Labels that were not tuned, and why; a sentence each."""
    unlabelled: int
    """Recordings that nobody has labelled: left out."""


def tune_labels(
    recordings: Sequence[Replayed],
    labels: Sequence[str],
    goal: TuneGoal,
    *,
    rule: MatchingRule | None = None,
    space: TuneSpace | None = None,
) -> TuneReport:
    """Tune several labels, each on its own; without names every label that can become an event.

    Raises:
        InputError: LABELS_MISMATCH, there is no such label, or not that of a truth; DATA_BAD, no scores, a
            recording that is there twice, or nothing to learn from: for a label that is named, or for any.
        CallerError: USAGE, the replays are of several bundles. CONFIG_BAD; no recording has the tag to group
            by.
    """
    refuse_mixed(recordings)
    untagged = _untagged(recordings, goal.group_by)
    names = list(labels) or [label.name for label in deciding(recordings[0].labels)]
    tuned, doubts, lacking, skipped = [], [], [], []
    unlabelled = 0
    fault: InputError | None = None
    for name in names:
        corpus = JudgedCorpus(recordings, name, rule or MatchingRule())
        unlabelled = corpus.unlabelled
        try:
            found = tune(corpus, goal, space)
        except InputError as error:
            if labels:
                raise
            skipped.append(f"{label_text(name)}: {error}")
            fault = error
            continue
        doubt = _doubt(corpus, found)
        if doubt.doubtful > MOST_DOUBTFUL * max(doubt.windows, 1):
            found = dataclasses.replace(found, promise=None, curve=())
        tuned.append(found)
        doubts.append(doubt)
        lacking.append((*untagged, *_lacking(found, goal, doubt)))
    if not tuned and fault is not None:
        raise fault
    return TuneReport(
        bundle=recordings[0].bundle,
        goal=goal,
        labels=tuple(tuned),
        doubts=tuple(doubts),
        lacking=tuple(lacking),
        skipped=tuple(skipped),
        unlabelled=unlabelled,
    )


def _untagged(recordings: Sequence[Replayed], tag: str | None) -> tuple[str, ...]:
    """Return what is to be said of recordings that have no value of the tag to group by.

    Raises:
        CallerError: CONFIG_BAD; none has one.
    """
    without = 0 if tag is None else sum(tag not in one.tags for one in recordings)
    if tag is None or not without:
        return ()
    if without == len(recordings):
        known = known_names(tag, {name for one in recordings for name in one.tags})
        hint = "correct --group-by, or leave it out; tags stand in the list of the corpus"
        raise CallerError(Reason.CONFIG_BAD, f"no recording has the tag {tag!r}; {known}", hint=hint)
    have = noun_of(without, "has", "have")
    all_of_them = count_of(len(recordings), "recording")
    return (f"{without} of {all_of_them} {have} no tag {tag!r}: each is a group of its own",)


def _doubt(corpus: JudgedCorpus, found: TunedLabel) -> GateDoubt:
    """Return what a gate hides of the new policy, over all recordings."""
    each = [gate_doubt(one, with_policy(one.labels, found.label, found.policy)) for one in corpus.recordings]
    counts = {
        name: sum(getattr(one, name) for one in each) for name in GateDoubt.__slots__ if name != "gated"
    }
    return GateDoubt(gated=any(one.gated for one in each), **counts)


def _lacking(found: TunedLabel, goal: TuneGoal, doubt: GateDoubt) -> Iterator[str]:
    """Yield what is too little, and what would be needed; first of all that nothing is found."""
    if found.finds_nothing:
        told = found.promise if found.seen.found and found.promise is not None else found.seen
        where = "on these recordings" if told is found.seen else "on recordings that the choice had not seen"
        yield (
            f"this policy finds nothing, 0 of {told.truths} {where}: allow more than "
            f"{_alarms(goal.false_per_day)}, or record more of it"
        )
    if doubt.doubtful > MOST_DOUBTFUL * max(doubt.windows, 1):
        share = 100 * doubt.doubtful / doubt.windows
        yield (
            f"nothing is promised: {share:.1f} % of the windows could have been run or skipped otherwise by "
            f"the activity gate; make the bundle with galago bundle repolicy and replay the corpus with it"
        )
    elif found.promise is None:
        yield "nothing is promised: all recordings are one group, 2 are needed and 5 are better"
    elif found.groups < _FEW_GROUPS:
        yield f"{found.groups} groups of recordings only: what differs from one to the next is hardly seen"
    if not found.within_budget:
        yield (
            f"no policy keeps {_alarms(goal.false_per_day)} on these recordings: this one has "
            f"{found.seen.false_per_day:.2f}, with the fewest"
        )
    promised = found.promise
    if found.within_budget and promised is not None and promised.false_per_day > goal.false_per_day:
        yield (
            f"the budget of {_alarms(goal.false_per_day)} is kept on these recordings, but on "
            f"others {promised.false_per_day:.2f} are to be expected: record more hours and places"
        )
    shown = poisson_interval(0)[1] / goal.false_per_day if goal.false_per_day > 0 else float("inf")
    if math.isinf(shown):
        yield "no time, however long, can show a budget of 0 false alarms a day"
    elif found.seen.days < shown:
        yield (
            f"{hours_text(24 * found.seen.days)} of watched time cannot show {_alarms(goal.false_per_day)} "
            f"({TWO_SIDED}), even without a single one: "
            f"{hours_text(24 * shown)} are needed"
        )
    if (enough := _truths_needed(found.seen)) > found.seen.truths:
        give = noun_of(found.seen.truths, "gives", "give")
        yield (
            f"{count_of(found.seen.truths, 'true event')} {give} recall an interval wider than "
            f"{100 * _WIDEST_RECALL:.0f} points ({TWO_SIDED}): about {enough} are needed"
        )


def _alarms(per_day: float) -> str:
    return f"{per_day:g} {noun_of(per_day, 'false alarm')} a day"


def _truths_needed(seen: Promise) -> int:
    """Return how many true events give recall, as it was seen, an interval that is narrow enough."""
    for truths in range(1, 1_000):
        low, high = share_interval(round(seen.recall * truths), truths)
        if high - low <= _WIDEST_RECALL:
            return truths
    return 1_000
