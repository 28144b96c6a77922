"""Raven's selection tables: text with tabs and a line of column names, times in seconds.

A selection has a line for each view (waveform, spectrogram) in which it was made, with one number: it counts
once. Source: Raven Pro's user manual, "Selection tables".
"""

from __future__ import annotations

from collections.abc import Sequence

from galago_edge.contract.count_words import count_of
from galago_workstation.qa.label_file import text_lines
from galago_workstation.qa.label_formats.decimal_seconds import seconds_of
from galago_workstation.qa.label_formats.sed import same_file
from galago_workstation.qa.label_formats.subject import ForeignLabels, LabelSubject
from galago_workstation.qa.label_rows import LabelRow, marked, unmarked

_START, _END, _NUMBER = "begin time (s)", "end time (s)", "selection"
_FILE = "begin file"
_LABELS = ("annotation", "label", "species", "type", "class", "tag", "tags", "notes")
"""Raven has no fixed column for what a selection is: the first of these that is there."""


def read(data: bytes, subject: LabelSubject) -> ForeignLabels:
    """Return the selections.

    Raises:
        InputError: DATA_BAD; a column is missing, a line is none, or the table is about other recordings.
    """
    lines = text_lines(data, name=subject.name)
    number, head = next(lines, (1, ""))
    names = [cell.strip().lower() for cell in head.split("\t")]
    wanted = (subject.column.lower(),) if subject.column else _LABELS
    label = next((name for name in wanted if name in names), None)
    missing = [name for name in (_START, _END) if name not in names]
    if missing or label is None:
        what = f"has no column {missing[0] if missing else ' or '.join(wanted)!r}"
        raise subject.refused(f"line {number}", what, hint="--label-column NAME says which has the labels")
    found, seen, files = ForeignLabels(), set(), set()
    for number, line in lines:
        where, cells = f"line {number}", dict(zip(names, line.split("\t"), strict=False))
        if not all(cells.get(name, "").strip() for name in (_START, _END, label)):
            raise subject.refused(where, f"has no {_START}, {_END} or {label}, expected all three")
        file = cells.get(_FILE, "").strip()
        if file and subject.recording is not None and not same_file(file, subject.recording):
            raise subject.refused(where, f"is about {file!r}, expected {subject.recording!r}")
        files.add(file)
        key = (cells.get(_NUMBER, where).strip(), cells[_START].strip(), cells[_END].strip(), cells[label])
        if key in seen:
            found.leave_out("second view of a selection")
            continue
        seen.add(key)
        found.rows.append(unmarked(subject.timed(where, cells[_START], cells[_END], cells[label])))
    if len(files) > 1:
        about = count_of(len(files), "recording")
        what = f"is about {about}, whose times go on one behind the other; expected one"
        raise subject.refused("", what, hint="open one recording in Raven and save its table")
    return found


def write(rows: Sequence[LabelRow], subject: LabelSubject) -> bytes:
    """Return a selection table, all in the view of the waveform."""
    lines = ["Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tAnnotation"]
    for number, row in enumerate(rows, 1):
        times = f"{seconds_of(row.start_ns, decimals=9)}\t{seconds_of(row.end_ns, decimals=9)}"
        lines.append(f"{number}\tWaveform 1\t1\t{times}\t{marked(row)}")
    return ("\n".join(lines) + "\n").encode()
