"""One line of labels as any format gives it, and the rules that make a list of truths of many."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.known_names import known_names
from galago_edge.contract.manifest import Label
from galago_workstation.qa.replayed import IGNORED, Truth, TruthList
from galago_workstation.qa.stretches import united

LATEST_NS = 2**53 - 1
"""104 days. Every time below it is the same number in every program that keeps times as 64-bit floats."""
END_SLACK_NS = 1_000_000
"""At another rate a recording may end a sample earlier: what lies so little behind its end is cut off."""

_LABEL = re.compile(r"\S([^\n]*\S)?\Z")
_LONGEST_LABEL = 64
_MARK = re.compile(r" \(proposed ([01]\.[0-9]{1,6})\)\Z")
HINT = "correct the line and try again; docs/qa-labels.md has the rules"


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One thing that somebody marked."""

    where: str
    """Where it stands, for messages: ``line 3``."""
    start_ns: int
    end_ns: int
    """Half-open; equal to ``start_ns`` for a moment."""
    label: str
    slack_ns: int = 0
    """By how much rounding in its file may have moved ``end_ns``; such a bit behind the end is cut off."""
    proposed: bool = False
    """A bundle says so, and no person has confirmed it: no truth."""
    score: float = 1.0
    """Of a proposal, as far as the file says."""


def label_text(label: str) -> str:
    """Return a label as it stands in sentences and tables: one without a letter looks like a count.

    >>> label_text("smoke"), label_text("7")
    ('smoke', '"7"')
    """
    return label if any(char.isalpha() for char in label) else f'"{label}"'


def refusal(name: str, where: str, what: str, *, hint: str = HINT) -> InputError:
    """Return the one line about a file of labels: where, what was met and what was expected."""
    place = f"{name}, {where}" if where else name
    return InputError(Reason.DATA_BAD, f"{place}: {what}", hint=hint)


def rows_of(truth: TruthList) -> list[LabelRow]:
    """Return the truth as rows by start, stretches to be ignored among them."""
    rows = [LabelRow("", event.start_ns, event.end_ns, event.label) for event in truth.events]
    rows += [LabelRow("", start, end, IGNORED) for start, end in truth.ignored]
    return sorted(rows, key=lambda row: (row.start_ns, row.end_ns, row.label))


def marked(row: LabelRow) -> str:
    """Return the label for a program that shows a text and no more: a proposal says so itself.

    >>> marked(LabelRow("", 0, 1, "smoke", proposed=True, score=0.834))
    'smoke (proposed 0.83)'
    """
    return f"{row.label} (proposed {row.score:.2f})" if row.proposed else row.label


def unmarked(row: LabelRow) -> LabelRow:
    """Return the row of such a text: the reverse of :func:`marked`."""
    if (found := _MARK.search(row.label)) is None:
        return row
    return replace(row, label=row.label[: found.start()], proposed=True, score=float(found[1]))


def truth_list(
    rows: Iterable[LabelRow], *, name: str, duration_ns: int | None = None, confirmed: bool = False
) -> TruthList:
    """Return what the rows say, sorted; stretches to be ignored may overlap and are united.

    Args:
        rows: In any order.
        name: The file's, for messages.
        duration_ns: Where the recording ends; None: nobody knows, and nothing is behind it.
        confirmed: A person has gone through all proposals: those that are left are true.

    Raises:
        InputError: DATA_BAD; a label or a time that cannot be, an end before its start or behind the
            recording's, two events of one label that overlap, or a proposal that nobody has confirmed.
    """
    rows = list(rows)
    if not confirmed:
        _refuse_proposals(rows, name)
    checked = sorted(
        (_checked(row, name, duration_ns) for row in rows), key=lambda row: (row.start_ns, row.end_ns)
    )
    events = [row for row in checked if row.label != IGNORED]
    _refuse_overlaps(events, name)
    truths = sorted(
        (Truth(row.start_ns, row.end_ns, row.label) for row in events),
        key=lambda truth: (truth.start_ns, truth.end_ns, truth.label),
    )
    ignored = united((row.start_ns, row.end_ns) for row in checked if row.label == IGNORED)
    return TruthList(tuple(truths), tuple(ignored))


def refuse_unknown(truth: TruthList, labels: Sequence[Label], *, name: str) -> None:
    """Refuse a truth whose label the bundle does not have: it would count as missed for ever.

    Raises:
        InputError: LABELS_MISMATCH; with the first such label and those there are.
    """
    known = {label.name for label in labels}
    for event in truth.events:
        if event.label not in known:
            raise InputError(
                Reason.LABELS_MISMATCH,
                f"{name}: label {event.label!r} at {event.start_ns} ns is none of the bundle's",
                hint=f"{known_names(event.label, known)}; what is not to be judged is labelled {IGNORED}",
            )


def _refuse_proposals(rows: Sequence[LabelRow], name: str) -> None:
    proposed = [row for row in rows if row.proposed]
    if proposed:
        first, count = proposed[0], len(proposed)
        met = f"{first.label} at {first.start_ns} ns is a proposal that nobody has confirmed, one of {count}"
        hint = "galago qa labels confirm, or import --confirmed, when they are right: docs/qa-labels.md"
        raise refusal(name, first.where, met, hint=hint)


def _checked(row: LabelRow, name: str, duration_ns: int | None) -> LabelRow:
    start, end = row.start_ns, row.end_ns
    if not _LABEL.match(row.label) or len(row.label) > _LONGEST_LABEL:
        met = f"the label is {row.label[:_LONGEST_LABEL]!r}"
        expected = f"expected 1 to {_LONGEST_LABEL} characters without blanks at the ends"
        raise refusal(name, row.where, f"{met}, {expected}")
    if start < 0:
        raise refusal(name, row.where, f"{row.label} starts at {start} ns, expected 0 or later")
    if end < start:
        raise refusal(name, row.where, f"{row.label} ends at {end} ns, before it starts at {start} ns")
    if end > LATEST_NS:
        raise refusal(name, row.where, f"{row.label} ends at {end} ns, expected at most {LATEST_NS} ns")
    if row.label == IGNORED and start == end:
        raise refusal(
            name, row.where, f"{IGNORED} at {start} ns has no length, expected an end after its start"
        )
    if duration_ns is None or end <= duration_ns:
        return row
    if end - max(row.slack_ns, END_SLACK_NS) <= duration_ns and start <= duration_ns:
        return replace(row, end_ns=duration_ns)
    raise refusal(
        name,
        row.where,
        f"{row.label} ends at {end} ns, behind the recording's end at {duration_ns} ns",
        hint="is it of another recording, or in another unit?",
    )


def _refuse_overlaps(events: Sequence[LabelRow], name: str) -> None:
    """Refuse two events of one label at once: nobody could say which of them an event has found."""
    by_label: dict[str, list[LabelRow]] = {}
    for row in events:
        by_label.setdefault(row.label, []).append(row)
    for label, rows in by_label.items():
        for before, row in itertools.pairwise(rows):
            same = (before.start_ns, before.end_ns) == (row.start_ns, row.end_ns)
            if row.start_ns < before.end_ns or same:
                what = f"{label} from {row.start_ns} ns overlaps the one of {before.where}, which ends at"
                raise refusal(
                    name,
                    row.where,
                    f"{what} {before.end_ns} ns; expected one after the other",
                    hint="make one event of them, or let the second start where the first ends",
                )
