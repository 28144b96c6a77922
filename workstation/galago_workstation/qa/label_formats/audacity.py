"""Audacity's label track as text: ``start<TAB>end<TAB>label`` in seconds with 6 decimals.

A line that begins with a backslash holds the frequencies of the label before it. A label without a length
has its start as its end. Source: Audacity's manual, "Importing and Exporting Labels".
"""

from __future__ import annotations

from collections.abc import Sequence

from galago_edge.contract.count_words import count_of
from galago_workstation.qa.label_file import text_lines
from galago_workstation.qa.label_formats.decimal_seconds import seconds_of
from galago_workstation.qa.label_formats.subject import ForeignLabels, LabelSubject
from galago_workstation.qa.label_rows import LabelRow, marked, unmarked


def read(data: bytes, subject: LabelSubject) -> ForeignLabels:
    """Return the labels of a label track.

    Raises:
        InputError: DATA_BAD; a line is none, or its label has a tab in it: no other table could hold that.
    """
    found = ForeignLabels()
    for number, line in text_lines(data, name=subject.name):
        where = f"line {number}"
        if line.startswith("\\"):
            if not found.rows:
                raise subject.refused(where, "frequencies stand before the first label")
            found.leave_out("range of frequencies")
            continue
        parts = line.split("\t")
        if len(parts) != 3:
            what = (
                f"has {count_of(len(parts), 'column')}, expected start, end and label with tabs between them"
            )
            raise subject.refused(where, what)
        found.rows.append(unmarked(subject.timed(where, *parts)))
    return found


def write(rows: Sequence[LabelRow], subject: LabelSubject) -> bytes:
    """Return a label track. Times that are no whole microseconds have more than 6 decimals."""
    return "".join(
        f"{seconds_of(row.start_ns)}\t{seconds_of(row.end_ns)}\t{marked(row)}\n" for row in rows
    ).encode()
