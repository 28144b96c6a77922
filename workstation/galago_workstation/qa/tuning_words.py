"""What tuning found: a table for people, data for programs, and POLICY.toml."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from galago_edge.contract.count_words import count_of, noun_of
from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.manifest import LabelPolicy
from galago_workstation.packing.policy_file import write_policies
from galago_workstation.qa.judged_corpus import FoundAside
from galago_workstation.qa.redecision import GateDoubt
from galago_workstation.qa.report_words import TWO_SIDED, hours_text, label_text
from galago_workstation.qa.tune_report import TuneReport
from galago_workstation.qa.tuning import Promise, TunedLabel


def policy_toml(report: TuneReport) -> bytes:
    """Return the POLICY.toml that ``galago bundle repolicy`` takes, with what is promised and what lacks."""
    comments = ["made by galago qa tune"]
    for one, lacking in zip(report.labels, report.lacking, strict=True):
        told = one.promise
        words = "nothing is promised" if told is None else f"promised {_promise_words(told)}"
        comments += [f"{one.label}: {sentence}" for sentence in (words, *lacking)]
    policies = {one.label: one.policy for one in report.labels}
    return write_policies(
        policies, bundle=report.bundle, comments=[line.replace("\n", " ") for line in comments]
    )


def nothing_found(report: TuneReport) -> InputError | None:
    """Return why the policies should not be used at all: one of them finds nothing."""
    deaf = [one.label for one in report.labels if one.finds_nothing]
    if not deaf:
        return None
    able = " ".join(f"--label {one.label!r}" for one in report.labels if not one.finds_nothing)
    return InputError(
        Reason.DATA_BAD,
        f"no policy is written: the one proposed for {', '.join(map(repr, deaf))} finds nothing",
        hint="allow more with --false-per-day, or label more recordings"
        + (f"; tune the others alone with {able}" if able else "")
        + "; --allow-nothing-found writes it all the same",
    )


def tune_lines(report: TuneReport) -> list[str]:
    """Return the table and every remark, one line each."""
    lines = [
        f"{'label':<20} {'on':>6} {'off':>6} {'mean':>4} {'count':>5} {'rest ms':>7} "
        f"{'recall':>20} {'false a day':>22} {'repeats a day':>13} {'delay p50 p95 s':>16}"
    ]
    for one in report.labels:
        lines.append(_row(label_text(one.label), one.policy, one.promise, one.seen, one.aside))
        lines.append(_row("  as it is now", one.present, one.before, one.before, one.aside_before))
    lines.append(
        "promised for other recordings: recall and false alarms, out of fold, with exact intervals, "
        f"{TWO_SIDED}; repeats, delays and what is now are of these recordings"
    )
    for one, doubt, lacking in zip(report.labels, report.doubts, report.lacking, strict=True):
        lines.append(
            f"{label_text(one.label)}: as it is now {_promise_words(one.before)}; "
            f"{count_of(one.tried, 'policy', 'policies')} tried"
        )
        if one.policy == one.present:
            lines.append(f"{label_text(one.label)}: nothing better was found, the policy stays as it is")
        if (more := one.aside.repeats - one.aside_before.repeats) > 0:
            told = count_of(more, "more repeat")
            lines.append(f"{label_text(one.label)}: {told} than now: {_repeats_words(one)}")
        lines += [f"{label_text(one.label)}: {sentence}" for sentence in lacking]
        if doubt.doubtful:
            lines.append(f"{label_text(one.label)}: {_hidden_words(doubt)}")
    lines += [f"not tuned: {sentence}" for sentence in report.skipped]
    if report.unlabelled:
        are, were = (noun_of(report.unlabelled, *one) for one in (("is", "are"), ("was", "were")))
        lines.append(f"{count_of(report.unlabelled, 'recording')} {are} not labelled and {were} left out")
    return lines


def _hidden_words(doubt: GateDoubt) -> str:
    have, rest = noun_of(doubt.doubtful, "has", "have"), noun_of(doubt.events, "rests", "rest")
    windows, places = count_of(doubt.windows, "window"), count_of(doubt.places, "place")
    return (
        f"{doubt.doubtful} of {windows}, at {places}, {have} scores that the activity gate hid from this "
        f"policy; {count_of(doubt.events, 'event')} {rest} on them"
    )


def _row(name: str, policy: LabelPolicy, told: Promise | None, seen: Promise, aside: FoundAside) -> str:
    """Return one line of the table; repeats a day are over the watched time of ``seen``."""
    repeats = f"{aside.repeats / seen.days:.2f}" if seen.days else "-"
    return (
        f"{name:<20} {policy.on:>6g} {policy.off:>6g} {policy.smoothing_windows:>4} {policy.min_count:>5} "
        f"{policy.refractory_ms:>7} {_recall(told):>20} {_false(told):>22} {repeats:>13} {_delays(aside):>16}"
    )


def _repeats_words(one: TunedLabel) -> str:
    then, now = one.policy.refractory_ms, one.present.refractory_ms
    counts = f"{one.aside.repeats} for {one.aside_before.repeats}"
    why = f" with {then} ms of refractory time for {now}" if then < now else ""
    return f"{counts}{why}; a repeat tells again what was told already"


def tune_data(report: TuneReport) -> dict[str, Any]:
    """Return everything for programs."""
    return {
        "bundle": report.bundle,
        "goal": {
            "false_per_day": report.goal.false_per_day,
            "folds": report.goal.folds,
            "sureness": report.goal.sureness,
            "group_by": report.goal.group_by,
        },
        "labels": [
            {
                "label": one.label,
                "policy": msgspec.to_builtins(one.policy),
                "present": msgspec.to_builtins(one.present),
                "margin": one.margin,
                "within_budget": one.within_budget,
                "promise": None if one.promise is None else promise_data(one.promise),
                "finds_nothing": one.finds_nothing,
                "seen": promise_data(one.seen) | {"repeats": one.aside.repeats},
                "before": promise_data(one.before)
                | {"repeats": one.aside_before.repeats, "delay_ns": _delay_data(one.aside_before)},
                "delay_ns": _delay_data(one.aside),
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
        "found_dispersion": round(promise.found_dispersion, 4),
        "false_dispersion": round(promise.false_dispersion, 4),
    }


def _delay_data(aside: FoundAside) -> dict[str, int | None]:
    return dict(zip(("p50", "p95"), _quantiles(aside), strict=True))


def _quantiles(aside: FoundAside) -> tuple[int | None, int | None]:
    """Return the median delay of what was found, and its 95th percentile."""
    if not len(aside.delays_ns):
        return None, None
    middle, late = np.quantile(aside.delays_ns, (0.5, 0.95), method="inverted_cdf").tolist()
    return int(middle), int(late)


def _delays(aside: FoundAside) -> str:
    middle, late = _quantiles(aside)
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
        f"({promise.found} of {promise.truths} found, {promise.false} false in "
        f"{hours_text(24 * promise.days)})"
    )
