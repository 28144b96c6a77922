"""A score for people: lines of tables for a terminal, and Markdown."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from galago_edge.contract.count_words import count_of, noun_of
from galago_edge.contract.printable import on_one_line
from galago_workstation.qa.corpus_score import MISSED, NOTHING, CorpusScore, GroupScore
from galago_workstation.qa.exact_intervals import RateClaim, RateEstimate, ShareEstimate
from galago_workstation.qa.label_score import ALL, LabelScore
from galago_workstation.qa.report_words import (
    ONE_SIDED,
    TWO_SIDED,
    duration_text,
    hours_text,
    label_text,
    unlabelled_text,
    unwatched_text,
)
from galago_workstation.qa.valid_time import WatchedTime

_HEAD = (
    *("", "truths", "found", "95 %", "missed", "repeats", "cross", "false", "per hour", "95 %"),
    *("p50 s", "p90 s", "p95 s", "max s"),
)
_GROUP_HEAD = ("", "recordings", "valid", "truths", "found", "missed", "false", "per hour", "95 %", "p90 s")
Table = tuple[str, Sequence[str], list[Sequence[str]]]
"""Title, names of columns, rows."""


def tables(score: CorpusScore) -> list[Table]:
    """Return the tables of a score, each with its title."""
    overall = score.overall
    found: list[Table] = [
        ("Labels", _HEAD, [_label_row(one) for one in (*overall.labels, overall.total)]),
        ("Time", ("", "length"), [*_time_rows(overall.watched)]),
        (
            "What was there, down, and what was said, across",
            ("", *map(_row_name, score.confusion.told)),
            [
                (_row_name(name), *map(str, row))
                for name, row in zip(score.confusion.truths, score.confusion.counts, strict=True)
            ],
        ),
    ]
    for tag, values in score.by_tag.items():
        rows = [_group_row(value or "(without)", group) for value, group in values.items()]
        found.append((f"By {tag}", _GROUP_HEAD, rows))
    rows = [_group_row(name, group) for name, group in score.by_recording.items()]
    found.append(("By recording", _GROUP_HEAD, rows))
    measures = [*_measure_rows(score)]
    if measures:
        found.append(("Segments of 1 s, and windows", ("", ""), measures))
    return found


def statements(score: CorpusScore) -> list[str]:
    """Return the sentences without which no figure means anything."""
    overall, rule = score.overall, score.rule
    refractory = ", ".join(f"{label_text(label)} {ms / 1000:g} s" for label, ms in rule.refractory_ms.items())
    post = f"{rule.post_ns_least / 1e9:g}"
    if rule.post_ns_most != rule.post_ns_least:
        post += f" to {rule.post_ns_most / 1e9:g}"
    said = [
        f"Rule: {rule.text} ({post} s). Refractory: {refractory}.",
        f"{count_of(overall.recordings, 'recording')}, {overall.without_events} of them without events;"
        f" {duration_text(overall.watched.valid_ns)} valid,"
        f" {duration_text(overall.watched.not_watched_ns)} not watched.",
        f"Intervals are {TWO_SIDED}; where nothing was counted (<), the bound is {ONE_SIDED}.",
        *score.losses.lines(),
    ]
    if score.unlabelled:
        said.append(unlabelled_text(score.unlabelled))
    if rule.most_delay_ns is not None:
        late = overall.total.late
        said.append(
            f"Late: {count_of(late, 'event')}, no false alarms, in the time of truths that count as missed."
        )
    unwatched = overall.total.unwatched
    if unwatched:
        said.append(unwatched_text(unwatched))
    ignored = overall.total.ignored_truths, overall.total.ignored_events
    if any(ignored):
        told = f"{count_of(ignored[0], 'truth')} and {count_of(ignored[1], 'event')}"
        said.append(f"Not judged: {told} in stretches to be ignored.")
    said += [
        f"{_row_name(one.label)}: {_claim(one.claim)}"
        for one in (*overall.labels, overall.total)
        if one.claim is not None
    ]
    return said


def terminal_lines(score: CorpusScore, width: int = 160) -> list[str]:
    """Return the score as lines for a terminal of this width."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False)
    with console.capture() as captured:
        for title, head, rows in tables(score):
            table = RichTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
            for number, name in enumerate(head):
                table.add_column(Text(on_one_line(name)), justify="left" if number == 0 else "right")
            for row in rows:
                table.add_row(*(Text(on_one_line(cell)) for cell in row))
            console.print(table)
    return [*statements(score), "", *(line.rstrip() for line in captured.get().splitlines())]


def markdown(score: CorpusScore) -> str:
    """Return the score as Markdown."""
    parts = [f"# Score of bundle {score.bundle[:12]}", *statements(score)]
    for title, head, rows in tables(score):
        lines = [_md_row(head), _md_row(["---", *["---:"] * (len(head) - 1)]), *map(_md_row, rows)]
        parts += [f"## {title}", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def _md_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(_plain(cell) for cell in cells) + " |"


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is, whatever a label is called."""
    return "".join(f"\\{char}" if char in "\\|`*_[]<>#" else char for char in on_one_line(text))


def _row_name(label: str) -> str:
    """Return how a row or column of a label is called; those that are no labels are in brackets."""
    return label if label in (ALL, NOTHING, MISSED) else label_text(label)


def _label_row(one: LabelScore) -> Sequence[str]:
    delay = one.delay
    return (
        *(
            _row_name(one.label),
            str(one.found.of),
            _share(one.found),
            _share_range(one.found),
            str(one.missed),
        ),
        *(str(one.repeats), str(one.cross_triggers), str(one.false_alarms)),
        *(_rate(one.false_rate), _rate_range(one.false_rate)),
        *(_seconds(value) for value in (delay.p50_s, delay.p90_s, delay.p95_s, delay.max_s)),
    )


def _group_row(name: str, group: GroupScore) -> Sequence[str]:
    total = group.total
    return (
        *(name, str(group.recordings), duration_text(group.watched.valid_ns), str(total.found.of)),
        *(_share(total.found), str(total.missed), str(total.false_rate.count)),
        *(_rate(total.false_rate), _rate_range(total.false_rate), _seconds(total.delay.p90_s)),
    )


def _time_rows(watched: WatchedTime) -> Iterable[Sequence[str]]:
    names = ("duration", "truncated", "gap", "warm_up", "undecided", "ignored", "valid")
    return [(name.replace("_", "-"), duration_text(getattr(watched, f"{name}_ns"))) for name in names]


def _measure_rows(score: CorpusScore) -> Iterable[Sequence[str]]:
    segments, windows = score.segments, score.windows
    if segments.counts.segments:
        yield "segments", f"{segments.counts.segments} ({segments.counts.left_out} left out)"
        yield "segment error rate", _number(segments.error_rate)
        yield "segment F1, micro and macro", f"{_number(segments.f1_micro)}, {_number(segments.f1_macro)}"
    if windows.windows or windows.left_out:
        yield "windows", f"{windows.windows} ({sum(windows.left_out.values())} left out)"
    for why, count in windows.left_out.items():
        yield f"windows that {why}", str(count)
    if windows.windows:
        yield "window accuracy, macro F1", f"{_number(windows.accuracy)}, {_number(windows.f1_macro)}"
    if (found := windows.calibration) is not None:
        yield f"ECE, MCE ({found.bins} bins)", f"{found.ece:.4f}, {found.mce:.4f}"
        yield "Brier, NLL", f"{found.brier:.4f}, {found.nll:.4f}"


def _claim(claim: RateClaim) -> str:
    wanted = f"less than {claim.per_hour:g} {noun_of(claim.per_hour, 'false alarm')} per hour"
    if claim.supported:
        return (
            f"{wanted} is shown: at most {claim.bound_per_hour:.3g} ({ONE_SIDED}) after"
            f" {hours_text(claim.hours)}"
        )
    bound = (
        "nothing was watched"
        if claim.bound_per_hour is None
        else f"up to {claim.bound_per_hour:.3g} is possible ({ONE_SIDED})"
    )
    return (
        f"{wanted} is not shown after {hours_text(claim.hours)}: {bound};"
        f" needs {hours_text(claim.needed_hours)} without a further one"
        f" ({hours_text(claim.least_hours)} without any at all)"
    )


def _share(share: ShareEstimate) -> str:
    return "-" if share.share is None else f"{100 * share.share:.1f} %"


def _share_range(share: ShareEstimate) -> str:
    return "-" if share.low is None or share.high is None else f"{100 * share.low:.1f}-{100 * share.high:.1f}"


def _rate(rate: RateEstimate) -> str:
    return _number(rate.per_hour, "{:.3g}")


def _rate_range(rate: RateEstimate) -> str:
    if rate.high_per_hour is None or rate.low_per_hour is None:
        return "-"
    return (
        f"< {rate.high_per_hour:.3g}"
        if not rate.count
        else f"{rate.low_per_hour:.3g}-{rate.high_per_hour:.3g}"
    )


def _seconds(value: float | None) -> str:
    return _number(value, "{:.2f}")


def _number(value: float | None, form: str = "{:.4f}") -> str:
    return "-" if value is None else form.format(value)
