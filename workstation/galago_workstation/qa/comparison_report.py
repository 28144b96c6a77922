"""A comparison of two bundles as people and programs read it: tables, Markdown, JSON."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from galago_edge.contract.count_words import count_of, noun_of
from galago_edge.contract.printable import on_one_line, printable
from galago_edge.contract.streams import NS_PER_S
from galago_workstation.files import write_bytes, write_json
from galago_workstation.qa.event_diff import EventChange
from galago_workstation.qa.junit_report import Inconclusive, figure_text, judged_text, junit_xml
from galago_workstation.qa.release_verdict import GateVerdict, ReleaseVerdict, Stance
from galago_workstation.qa.replay_comparison import BundleComparison
from galago_workstation.qa.report_words import TWO_SIDED, hours_text, label_text

SHOWN = 50
"""Changes that a table shows; JSON has all."""
_CHANGES = ("change", "recording", "at", "label", "truth", "what")
GATES = ("gate", "verdict", "OLD", "NEW", "between", "judged", "time", "why")
RIGHT = (
    "label",
    "there",
    "both found",
    "only OLD",
    "only NEW",
    "neither",
    "lost share",
    "won share",
    "by chance",
)
Rows = list[tuple[str, ...]]


def stream_time(ns: int) -> str:
    """Return stream time as hours, minutes, seconds.

    >>> stream_time(3_723_450_000_000)
    '1:02:03.450'
    """
    ms = (ns + 500_000) // 1_000_000
    return f"{ms // 3_600_000}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"


def change_text(change: EventChange) -> str:
    """Return what became of one event, in words."""
    if change.old is None or change.new is None:
        event = change.old or change.new
        assert event is not None
        words = f"score {event.score:.3f}"
        if change.same_truth_ns is not None:
            other = "gained" if change.new is None else "lost"
            words += f"; of the same truth as the one {other} at {stream_time(change.same_truth_ns)}"
        return words
    parts = [f"{change.shift_ns / NS_PER_S:+.3f} s"] if change.shift_ns else []
    if change.score_change:
        parts.append(f"score {change.old.score:.3f} -> {change.new.score:.3f}")
    return ", ".join(parts)


def summary_lines(found: BundleComparison) -> list[str]:
    """Return what can be said in lines: what was compared, events, windows, what was left out."""
    counts = found.diff.counts
    times = sorted({ns / NS_PER_S for ns in found.diff.tolerance_ns.values()})
    tolerance = f"{times[0]:g} s" if len(times) == 1 else f"{times[0]:g} to {times[-1]:g} s"
    lines = [
        f"OLD {found.old[:12]}, NEW {found.new[:12]}: {count_of(found.recordings, 'recording')},"
        f" {hours_text(found.hours)}, labels {', '.join(map(label_text, found.labels))}",
        f"events: {counts['same']} same, {counts['lost']} lost, {counts['gained']} gained, {counts['moved']}"
        f" moved ({found.diff.moved_only} with the same score), {counts['rescored']} rescored"
        f" (one event if within {tolerance})",
    ]
    if pairs := found.diff.of_same_truths:
        lines.append(
            f"events: {pairs} lost and {pairs} gained are of the same {noun_of(pairs, 'truth')}, which both"
            " bundles found, further apart than one event may move"
        )
    windows = found.windows
    if windows.compared:
        between = windows.flip_interval
        interval = (
            f", {TWO_SIDED} over recordings {_percent(between[0])} to {_percent(between[1])}"
            if between
            else ""
        )
        lines.append(
            f"windows: {windows.compared} compared, agreement {_percent(1 - windows.flip_rate)},"
            f" {count_of(windows.flips, 'flip')} ({_percent(windows.flip_rate)}{interval}),"
            f" {windows.confident} of them sure on both sides; scores differ by {windows.mean:.4f},"
            f" at most {windows.largest:.4f}"
        )
    if windows.uncompared:
        lines.append(
            f"windows: {windows.uncompared} not compared: in one bundle only, or its gate was closed"
        )
    if windows.without_scores:
        bare = count_of(windows.without_scores, "recording")
        lines.append(f"windows: {bare} without scores (a baseline has none)")
    if found.verdict is not None:
        low, high = 100 * found.verdict.wrong_fail, 100 * found.verdict.wrong_pass
        lines.append(
            f"between: at every look the true figure is below in at most {low:g} %, and above in at most"
            f" {high:g} % (two one-sided bounds)"
        )
    return [*lines, *found.notes, *found.left_out, *found.losses.lines()]


def gate_rows(verdict: ReleaseVerdict) -> Rows:
    """Return a row for each gate, in the order of ``GATES``."""
    return [
        (
            gate.evidence.gate.name,
            gate.stance.value,
            figure_text(gate.evidence, gate.evidence.old),
            figure_text(gate.evidence, gate.evidence.new),
            _between(gate),
            judged_text(gate.evidence),
            hours_text(float(gate.evidence.tally.hours)),
            "; ".join([gate.why, *gate.evidence.notes]),
        )
        for gate in verdict.gates
    ]


def _between(gate: GateVerdict) -> str:
    """Return the limits of what is compared with the bound; of a delay, that is the share that is later."""
    if gate.limits is None:
        return ""
    if gate.evidence.tally.per == "hour":
        return f"{gate.limits[0]:.3g} to {gate.limits[1]:.3g} /h"
    late = "late: " * (gate.evidence.gate.rule.measure == "delay")
    return f"{late}{100 * gate.limits[0]:.1f} to {100 * gate.limits[1]:.1f} %"


def change_rows(found: BundleComparison) -> Rows:
    """Return a row for each event that is not the same."""
    return [
        (
            each.kind,
            each.recording,
            stream_time(each.at_ns),
            label_text(each.label),
            each.truth,
            change_text(each),
        )
        for each in found.diff.changes
    ]


def right_rows(found: BundleComparison) -> Rows:
    """Return who found what was there: all together, then each label."""
    return [
        (
            label_text(each.label) if each.label else "all",
            *(str(count) for count in (each.there, each.both, each.only_old, each.only_new, each.neither)),
            *(_percent(share) for share in (each.negative_flips, each.positive_flips)),
            f"{each.chance:.3f}",
        )
        for each in found.right
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def verdict_line(found: BundleComparison) -> str:
    """Return the last line: the verdict, or that there is none."""
    verdict = found.verdict
    if verdict is None:
        return "no gates, so no verdict"
    return (
        f"{verdict.stance.value}: {verdict.why} (at every look: wrong pass at most"
        f" {100 * verdict.wrong_pass:g} %,"
        f" wrong fail at most {100 * verdict.wrong_fail:g} %)"
    )


def _tables(found: BundleComparison) -> list[tuple[str, Sequence[str], Rows, int]]:
    changes = change_rows(found)
    more = max(0, len(changes) - SHOWN)
    tables: list[tuple[str, Sequence[str], Rows, int]] = [("Events", _CHANGES, changes[:SHOWN], more)]
    tables.append(("What was there", RIGHT, right_rows(found), 0))
    if found.verdict is not None:
        tables.append(("Gates", GATES, gate_rows(found.verdict), 0))
    return [table for table in tables if table[2]]


def table_lines(found: BundleComparison, *, width: int = 160, colour: bool = False) -> list[str]:
    """Return everything as lines for a terminal of ``width`` columns; texts from outside are fit for it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    lines = [on_one_line(line) for line in summary_lines(found)]
    styles = {"pass": "green", "fail": "red", "inconclusive": "yellow", "lost": "red", "gained": "cyan"}
    for title, heads, rows, more in _tables(found):
        table = Table(box=None, padding=(0, 2, 0, 0), title=title, title_justify="left")
        for head in heads:
            table.add_column(head, overflow="fold")
        for row in rows:
            table.add_row(*(Text(on_one_line(cell), style=styles.get(cell, "")) for cell in row))
        text = io.StringIO()
        colours: Literal["standard"] | None = "standard" if colour else None
        Console(file=text, width=width, force_terminal=colour, color_system=colours).print(table)
        lines += ["", *(line.rstrip() for line in text.getvalue().splitlines())]
        lines += [f"and {more} more, all in JSON"] * bool(more)
    return [*lines, "", on_one_line(verdict_line(found))]


def markdown(found: BundleComparison) -> str:
    """Return everything as Markdown, as a CI shows it beside a change."""
    lines = [f"## {_cell(verdict_line(found))}", ""]
    lines += [f"- {_cell(line)}" for line in summary_lines(found)]
    for title, heads, rows, more in reversed(_tables(found)):
        lines += ["", f"### {title}", "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
        lines += [f"| {' | '.join(map(_cell, row))} |" for row in rows]
        lines += ["", f"And {more} more, all in JSON."] * bool(more)
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Return text that makes no markup of its own."""
    text = on_one_line(text)
    for sign in "\\|`*_<[]":
        text = text.replace(sign, f"\\{sign}" if sign != "<" else "&lt;")
    return text


def as_data(found: BundleComparison) -> dict[str, Any]:
    """Return everything as data: integer ns, shares from 0 to 1; null where there is no number."""
    diff, windows = found.diff, found.windows
    data: dict[str, Any] = {
        "schema": "galago.diff/1",
        "old": found.old,
        "new": found.new,
        "recordings": found.recordings,
        "hours": round(found.hours, 6),
        "labels": found.labels,
        "left_out": [printable(line) for line in found.left_out],
        "notes": [printable(line) for line in found.notes],
        "losses": msgspec.to_builtins(found.losses),
        "tolerance_ns": {printable(name): ns for name, ns in diff.tolerance_ns.items()},
        "events": diff.counts,
        "lost_and_gained_of_same_truths": diff.of_same_truths,
        "changes": [
            {
                "kind": each.kind, "recording": printable(each.recording), "label": each.label,
                "at_ns": each.at_ns, "shift_ns": each.shift_ns, "old_score": each.old and each.old.score,
                "new_score": each.new and each.new.score, "truth": each.truth or None,
                "old_truth": each.old_truth or None, "new_truth": each.new_truth or None,
                "same_truth_at_ns": each.same_truth_ns,
            }
            for each in diff.changes
        ],
        "windows": {
            "compared": windows.compared, "uncompared": windows.uncompared, "flips": windows.flips,
            "flip_rate": windows.flip_rate, "flip_interval": windows.flip_interval,
            "confident": windows.confident, "largest": windows.largest, "mean": windows.mean,
            "recordings_without_scores": windows.without_scores,
        },
        "truth": [
            {
                "label": each.label or None, "there": each.there, "both": each.both,
                "only_old": each.only_old, "only_new": each.only_new, "neither": each.neither,
                "nfr": each.negative_flips, "pfr": each.positive_flips, "chance": each.chance,
            }
            for each in found.right
        ],
        "verdict": None if found.verdict is None else _verdict_data(found.verdict),
        "exit": found.exit_code,
    }  # fmt: skip
    return data


def _verdict_data(verdict: ReleaseVerdict) -> dict[str, Any]:
    return {
        "verdict": verdict.stance.value,
        "why": verdict.why,
        "wrong_pass": verdict.wrong_pass,
        "wrong_fail": verdict.wrong_fail,
        "evidence_broken": _number(verdict.broken),
        "gates": [
            {
                "gate": gate.evidence.gate.name, "measure": gate.evidence.gate.rule.measure,
                "label": gate.evidence.gate.label or None, "tags": gate.evidence.gate.tags,
                "verdict": gate.stance.value, "why": gate.why,
                "bound": dict([gate.evidence.gate.rule.bound]),
                "old": _number(gate.evidence.old), "new": _number(gate.evidence.new),
                "compared_with": gate.evidence.bound,
                "between": gate.limits and [_number(each) for each in gate.limits],
                "evidence_holds": _number(gate.holds), "evidence_broken": _number(gate.broken),
                "unit": gate.evidence.gate.rule.unit, "judged": gate.evidence.units,
                "against": gate.evidence.count, "things": gate.evidence.things,
                "against_by_recording": {printable(key): hits for key, hits in gate.evidence.hits.items()},
                "recordings": gate.evidence.recordings, "hours": float(gate.evidence.tally.hours),
                "more_hours": None if gate.more_hours is None else _number(gate.more_hours),
                "notes": gate.evidence.notes,
            }
            for gate in verdict.gates
        ],
    }  # fmt: skip


def _number(value: float) -> float | str | None:
    """JSON has no infinity: it is said in a word."""
    return (
        None
        if math.isnan(value)
        else value
        if math.isfinite(value)
        else "infinite"
        if value > 0
        else "-infinite"
    )


def write_reports(
    found: BundleComparison,
    *,
    at: datetime,
    junit: Path | None = None,
    markdown_file: Path | None = None,
    json_file: Path | None = None,
    inconclusive: Inconclusive = "error",
) -> None:
    """Write the files that are asked for; each is the old one or the new one, never a part.

    ``at``: a datetime with its zone, for JUnit, which wants one. JUnit is of gates: without any it is a suite
    without tests, which most CIs take for an error.

    Raises:
        LinkError: The disk refuses.
    """  # fmt: skip
    if junit is not None:
        empty = ReleaseVerdict((), Stance.INCONCLUSIVE, 0.0, 0.05, 0.05, "no gates")
        write_bytes(
            junit, junit_xml(found.verdict or empty, at=at, inconclusive=inconclusive, losses=found.losses)
        )
    if markdown_file is not None:
        write_bytes(markdown_file, markdown(found).encode())
    if json_file is not None:
        write_json(json_file, as_data(found))


def show_comparison(found: BundleComparison, *, as_json: bool = False) -> int:
    """Print a comparison and return the command's exit code: 0 pass or no gates, 1 fail, 7 inconclusive."""
    import shutil
    import sys

    from galago_edge.commands.cli import say_json, write

    if as_json:
        say_json(msgspec.json.format(msgspec.json.encode(as_data(found)), indent=2).decode())
        return found.exit_code
    colour = sys.stdout.isatty()
    for line in table_lines(found, width=shutil.get_terminal_size((160, 24)).columns, colour=colour):
        write(line)  # made fit for a terminal already, and the colours are ours
    return found.exit_code
