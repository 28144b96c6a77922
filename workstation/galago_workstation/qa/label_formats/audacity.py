"""Audacity's label track as text: ``start<TAB>end<TAB>label`` in seconds with 6 decimals.

A line that begins with a backslash holds the frequencies of the label before it. A label without a length
has its start as its end. Source: Audacity's manual, "Importing and Exporting Labels".
"""

from __future__ import annotations

from galago_workstation.qa.label_file import text_lines
from galago_workstation.qa.label_formats.decimal_seconds import seconds_of
from galago_workstation.qa.label_formats.subject import ForeignLabels, LabelSubject
from galago_workstation.qa.label_rows import LabelRow
from galago_workstation.qa.replayed import IGNORED, TruthList


def read(data: bytes, subject: LabelSubject) -> ForeignLabels:
    """Return the labels of a label track.

    Raises:
        InputError: DATA_BAD; a line is none.
    """
    found = ForeignLabels()
    for number, line in text_lines(data, name=subject.name):
        where = f"line {number}"
        if line.startswith("\\"):
            if not found.rows:
                raise subject.refused(where, "frequencies stand before the first label")
            found.leave_out("range of frequencies")
            continue
        parts = line.split("\t", 2)
        if len(parts) != 3:
            what = f"has {len(parts)} columns, expected start, end and label with tabs between them"
            raise subject.refused(where, what)
        found.rows.append(subject.timed(where, *parts))
    return found


def write(truth: TruthList, subject: LabelSubject) -> bytes:
    """Return a label track. Times that are no whole microseconds have more than 6 decimals."""
    return "".join(
        f"{seconds_of(row.start_ns)}\t{seconds_of(row.end_ns)}\t{row.label}\n" for row in in_order(truth)
    ).encode()


def in_order(truth: TruthList) -> list[LabelRow]:
    """Return the truth as rows by start, stretches to be ignored among them."""
    rows = [LabelRow("", event.start_ns, event.end_ns, event.label) for event in truth.events]
    rows += [LabelRow("", start, end, IGNORED) for start, end in truth.ignored]
    return sorted(rows, key=lambda row: (row.start_ns, row.end_ns, row.label))
