"""What tuning found: a table for people, data for programs, and POLICY.toml."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from galago_workstation.packing.policy_file import write_policies
from galago_workstation.qa.redecision import GateDoubt
from galago_workstation.qa.report_words import TWO_SIDED, hours_text, label_text
from galago_workstation.qa.tune_report import TuneReport
from galago_workstation.qa.tuning import Promise, TunedLabel


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
            f"{label_text(one.label):<20} {policy.on:>6g} {policy.off:>6g} {policy.smoothing_windows:>4} "
            f"{policy.min_count:>5} {policy.refractory_ms:>7} {_recall(one.promise):>20} "
            f"{_false(one.promise):>22} {_delays(one):>16}"
        )
    lines.append(f"promised for other recordings: out of fold, with exact intervals, {TWO_SIDED}")
    for one, doubt, lacking in zip(report.labels, report.doubts, report.lacking, strict=True):
        name = label_text(one.label)
        lines.append(f"{name}: as it is now {_promise_words(one.before)}; {one.tried} policies tried")
        lines += [f"{name}: {sentence}" for sentence in lacking]
        if doubt.doubtful:
            lines.append(
                f"{name}: {doubt.doubtful} of {doubt.windows} windows, at {doubt.places} places, have "
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
            "sureness": report.goal.sureness,
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
                "delay_ns": dict(zip(("p50", "p95"), _quantiles(one), strict=True)),
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
        f"({promise.found} of {promise.truths} found, {promise.false} false in "
        f"{hours_text(24 * promise.days)})"
    )
