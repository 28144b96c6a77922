"""One line of labels as any format gives it, and the rules that make a list of truths of many."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from galago_edge.contract.errors import CallerError, InputError, Reason
from galago_edge.contract.known_names import known_names
from galago_edge.contract.manifest import Label
from galago_workstation.qa.replayed import IGNORED, Truth, TruthList
from galago_workstation.qa.stretches import united

LATEST_NS = 2**53 - 1
"""104 days. Every time below it is the same number in every program that keeps times as 64-bit floats."""

_LABEL = re.compile(r"\S([^\n]*\S)?\Z")
_LONGEST_LABEL = 64
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


def refusal(name: str, where: str, what: str, *, hint: str = HINT) -> InputError:
    """Return the one line about a file of labels: where, what was met and what was expected."""
    place = f"{name}, {where}" if where else name
    return InputError(Reason.DATA_BAD, f"{place}: {what}", hint=hint)


def truth_list(rows: Iterable[LabelRow], *, name: str, duration_ns: int | None = None) -> TruthList:
    """Return what the rows say, sorted; stretches to be ignored may overlap and are united.

    Args:
        rows: In any order.
        name: The file's, for messages.
        duration_ns: Where the recording ends; None: nobody knows, and nothing is behind it.

    Raises:
        InputError: DATA_BAD; a label or a time that cannot be, an end before its start or behind the
            recording's, or two events of one label that overlap.
    """
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
        CallerError: LABELS_MISMATCH; with the first such label and those there are.
    """
    known = {label.name for label in labels}
    for event in truth.events:
        if event.label not in known:
            raise CallerError(
                Reason.LABELS_MISMATCH,
                f"{name}: label {event.label!r} at {event.start_ns} ns is none of the bundle's",
                hint=f"{known_names(event.label, known)}; what is not to be judged is labelled {IGNORED}",
            )


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
    if end - row.slack_ns <= duration_ns and start <= duration_ns:
        return LabelRow(row.where, start, duration_ns, row.label)
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
