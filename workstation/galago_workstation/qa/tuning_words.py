"""What tuning found: a table for people, data for programs, POLICY.toml, and what is too little in one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from galago_workstation.packing.policy_file import write_policies
from galago_workstation.qa.exact_intervals import poisson_interval, share_interval
from galago_workstation.qa.judged_corpus import JudgedCorpus, MatchRule, check_one_bundle
from galago_workstation.qa.redecision import GateDoubt, gate_doubt
from galago_workstation.qa.replayed import Replayed
from galago_workstation.qa.tuning import Promise, TunedLabel, TuneGoal, TuneSpace, tune
from galago_workstation.qa.why import with_policy

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
    rule: MatchRule | None = None,
    space: TuneSpace | None = None,
) -> TuneReport:
    """Tune several labels, each on its own; without names every label that can become an event.

    Raises:
        InputError: LABELS_MISMATCH, the replays are of several bundles, or it has no such label; DATA_BAD,
            no scores, or with names given nothing to learn from.
    """
    from galago_edge.contract.errors import InputError

    check_one_bundle(recordings)
    names = list(labels) or [label.name for label in recordings[0].labels if not label.background]
    tuned, doubts, lacking, skipped = [], [], [], []
    unlabelled = 0
    for name in names:
        corpus = JudgedCorpus(recordings, name, rule or MatchRule())
        unlabelled = corpus.unlabelled
        try:
            found = tune(corpus, goal, space)
        except InputError as error:
            if labels:
                raise
            skipped.append(f"{name}: {error}")
            continue
        doubt = _doubt(corpus, found)
        if doubt.doubtful > MOST_DOUBTFUL * max(doubt.windows, 1):
            found = _without_promise(found)
        tuned.append(found)
        doubts.append(doubt)
        lacking.append(tuple(_lacking(found, goal, doubt)))
    return TuneReport(
        bundle=recordings[0].bundle,
        goal=goal,
        labels=tuple(tuned),
        doubts=tuple(doubts),
        lacking=tuple(lacking),
        skipped=tuple(skipped),
        unlabelled=unlabelled,
    )


def policy_toml(report: TuneReport) -> bytes:
    """Return the POLICY.toml that ``galago bundle repolicy`` takes."""
    comments = ["made by galago qa tune"]
    for one in report.labels:
        told = one.promise
        words = "nothing is promised" if told is None else f"promised {_promise_words(told)}"
        comments.append(f"{one.label}: {words}")
    policies = {one.label: one.policy for one in report.labels}
    return write_policies(
        policies, bundle=report.bundle, comments=[line.replace("\n", " ") for line in comments]
    )


def tune_lines(report: TuneReport) -> list[str]:
    """Return the table and every remark, one line each."""
    lines = [
        f"{'label':<20} {'on':>6} {'off':>6} {'mean':>4} {'count':>5} {'rest ms':>7} "
        f"{'recall':>20} {'false a day':>22} {'delay p50 p95 s':>16}"
    ]
    for one in report.labels:
        policy = one.policy
        lines.append(
            f"{one.label:<20} {policy.on:>6g} {policy.off:>6g} {policy.smoothing_windows:>4} "
            f"{policy.min_count:>5} {policy.refractory_ms:>7} {_recall(one.promise):>20} "
            f"{_false(one.promise):>22} {_delays(one):>16}"
        )
    lines.append("promised for other recordings: out of fold, with exact 95 % intervals")
    for one, doubt, lacking in zip(report.labels, report.doubts, report.lacking, strict=True):
        lines.append(f"{one.label}: as it is now {_promise_words(one.before)}; {one.tried} policies tried")
        lines += [f"{one.label}: {sentence}" for sentence in lacking]
        if doubt.doubtful:
            lines.append(
                f"{one.label}: {doubt.doubtful} of {doubt.windows} windows, at {doubt.places} places, have "
                f"scores that the activity gate hid from this policy; {doubt.events} events rest on them"
            )
    lines += [f"not tuned: {sentence}" for sentence in report.skipped]
    if report.unlabelled:
        lines.append(f"{report.unlabelled} recordings are not labelled and were left out")
    return lines


def tune_data(report: TuneReport) -> dict[str, Any]:
    """Return everything for programs."""
    return {
        "bundle": report.bundle,
        "goal": {
            "false_per_day": report.goal.false_per_day,
            "folds": report.goal.folds,
            "group_by": report.goal.group_by,
        },
        "labels": [
            {
                "label": one.label,
                "policy": msgspec.to_builtins(one.policy),
                "margin": one.margin,
                "within_budget": one.within_budget,
                "promise": None if one.promise is None else promise_data(one.promise),
                "seen": promise_data(one.seen),
                "before": promise_data(one.before),
                "delay_ns": {
                    name: value for name, value in zip(("p50", "p95"), _quantiles(one), strict=True)
                },
                "curve": [{"budget": point.budget} | promise_data(point.promise) for point in one.curve],
                "tried": one.tried,
                "groups": one.groups,
                "gate": {name: getattr(doubt, name) for name in GateDoubt.__slots__},
                "lacking": list(lacking),
            }
            for one, doubt, lacking in zip(report.labels, report.doubts, report.lacking, strict=True)
        ],
        "skipped": list(report.skipped),
        "unlabelled": report.unlabelled,
    }


def promise_data(promise: Promise) -> dict[str, Any]:
    """Return counts, rates and intervals."""
    return {
        "found": promise.found,
        "truths": promise.truths,
        "false": promise.false,
        "days": round(promise.days, 9),
        "recall": promise.recall if promise.truths else None,
        "recall_interval": list(promise.recall_interval),
        "false_per_day": promise.false_per_day if promise.days else None,
        "false_interval": list(promise.false_interval),
    }


def _doubt(corpus: JudgedCorpus, found: TunedLabel) -> GateDoubt:
    """Return what a gate hides of the new policy, over all recordings."""
    each = [gate_doubt(one, with_policy(one.labels, found.label, found.policy)) for one in corpus.recordings]
    counts = {
        name: sum(getattr(one, name) for one in each) for name in GateDoubt.__slots__ if name != "gated"
    }
    return GateDoubt(gated=any(one.gated for one in each), **counts)


def _without_promise(found: TunedLabel) -> TunedLabel:
    import dataclasses

    return dataclasses.replace(found, promise=None, curve=())


def _lacking(found: TunedLabel, goal: TuneGoal, doubt: GateDoubt) -> Iterator[str]:
    """Yield what is too little, and what would be needed."""
    if doubt.doubtful > MOST_DOUBTFUL * max(doubt.windows, 1):
        share = 100 * doubt.doubtful / doubt.windows
        yield (
            f"nothing is promised: {share:.1f} % of the windows could have been run or skipped otherwise by "
            f"the activity gate; replay the corpus with this policy"
        )
    elif found.promise is None:
        yield "nothing is promised: all recordings are one group, 2 are needed and 5 are better"
    elif found.groups < _FEW_GROUPS:
        yield f"{found.groups} groups of recordings only: what differs from one to the next is hardly seen"
    if not found.within_budget:
        yield (
            f"no policy keeps {goal.false_per_day:g} false alarms a day on these recordings: this one has "
            f"{found.seen.false_per_day:.2f}, with the fewest"
        )
    shown = poisson_interval(0)[1] / goal.false_per_day if goal.false_per_day > 0 else float("inf")
    if found.seen.days < shown:
        yield (
            f"{found.seen.days:.2f} watched days cannot show {goal.false_per_day:g} false alarms a day even "
            f"without a single one: {shown:.2f} days are needed"
        )
    if (needed := _truths_needed(found.seen)) > found.seen.truths:
        yield (
            f"{found.seen.truths} true events give recall an interval wider than "
            f"{100 * _WIDEST_RECALL:.0f} points: about {needed} are needed"
        )


def _truths_needed(seen: Promise) -> int:
    """Return how many true events give recall, as it was seen, an interval that is narrow enough."""
    for truths in range(1, 1_000):
        low, high = share_interval(round(seen.recall * truths), truths)
        if high - low <= _WIDEST_RECALL:
            return truths
    return 1_000


def _quantiles(one: TunedLabel) -> tuple[int | None, int | None]:
    """Return the median delay of what was found, and its 95th percentile."""
    if not len(one.delays_ns):
        return None, None
    middle, late = np.quantile(one.delays_ns, (0.5, 0.95), method="inverted_cdf").tolist()
    return int(middle), int(late)


def _delays(one: TunedLabel) -> str:
    middle, late = _quantiles(one)
    return "-" if middle is None or late is None else f"{middle / 1e9:.2f} {late / 1e9:.2f}"


def _recall(promise: Promise | None) -> str:
    if promise is None:
        return "-"
    low, high = promise.recall_interval
    return f"{promise.recall:.3f} ({low:.2f} to {high:.2f})"


def _false(promise: Promise | None) -> str:
    if promise is None:
        return "-"
    low, high = promise.false_interval
    return f"{promise.false_per_day:.2f} ({low:.2f} to {high:.2f})"


def _promise_words(promise: Promise) -> str:
    return (
        f"recall {_recall(promise)}, {_false(promise)} false alarms a day "
        f"({promise.found} of {promise.truths} found, {promise.false} false in {promise.days:.2f} days)"
    )
