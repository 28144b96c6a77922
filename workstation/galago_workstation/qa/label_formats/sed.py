"""The tables of the DCASE challenges and of sed_eval: ``onset<TAB>offset<TAB>event_label`` in seconds.

With or without a line of column names, and with or without a column ``filename``; that column, or the only
order of four columns without names, says which recording a line is about. Source: sed_eval's
``io.load_event_list``, the task descriptions of DCASE task 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from galago_edge.contract.count_words import count_of
from galago_workstation.qa.label_file import text_lines
from galago_workstation.qa.label_formats.decimal_seconds import ns_of, seconds_of
from galago_workstation.qa.label_formats.subject import ForeignLabels, LabelSubject
from galago_workstation.qa.label_rows import LabelRow, marked, unmarked

_NAMES = {
    "filename": ("filename", "file", "audio_filename"),
    "onset": ("onset", "event_onset"),
    "offset": ("offset", "event_offset"),
    "label": ("event_label", "label"),
}
_TIMED = ("onset", "offset", "label")


def read(data: bytes, subject: LabelSubject) -> ForeignLabels:
    """Return the labels of the table that are about the recording.

    Raises:
        InputError: DATA_BAD; a line is none, or the table is about other recordings.
    """
    found, files = ForeignLabels(), set()
    columns: dict[str, int] | None = None
    for number, line in text_lines(data, name=subject.name):
        where, cells = f"line {number}", [cell.strip() for cell in line.split("\t")]
        if columns is None:
            named = _columns(cells, subject)
            columns = named or _unnamed(cells, subject, where)
            if named:
                continue
        file = cells[columns["filename"]] if columns.get("filename", len(cells)) < len(cells) else ""
        files.add(file)
        # DCASE lists a recording without events by its name alone, or with empty columns
        if file and not any(cell for cell in cells if cell != file):
            continue
        if len(cells) <= max(columns[name] for name in _TIMED):
            raise subject.refused(
                where, f"has {count_of(len(cells), 'column')}, expected {max(columns.values()) + 1}"
            )
        if subject.recording is not None and file and not same_file(file, subject.recording):
            found.leave_out("event of another recording")
            continue
        row = subject.timed(where, *(cells[columns[name]] for name in _TIMED))
        found.rows.append(unmarked(row))
    _refuse_others(files, subject)
    return found


def write(rows: Sequence[LabelRow], subject: LabelSubject) -> bytes:
    """Return a table: DCASE's with names of columns when the recording's name is known, else sed_eval's.

    sed_eval takes names of columns for data where there are three alone.
    """
    file = [subject.recording] if subject.recording is not None else []
    lines = [["filename", "onset", "offset", "event_label"]] if file else []
    for row in rows:
        times = [seconds_of(ns, decimals=3) for ns in (row.start_ns, row.end_ns)]
        lines.append([*file, *times, marked(row)])
    return "".join("\t".join(line) + "\n" for line in lines).encode()


def same_file(told: str, recording: str) -> bool:
    """Tell whether a path, of whatever system, ends with the recording's file name.

    >>> same_file("D:\\\\audio\\\\porch.wav", "porch.wav")
    True
    """
    return PurePosixPath(told.replace("\\", "/")).name == recording


def _columns(cells: Sequence[str], subject: LabelSubject) -> dict[str, int] | None:
    lower = [cell.lower() for cell in cells]
    names = _NAMES | ({"label": (subject.column.lower(),)} if subject.column else {})
    found = {
        key: lower.index(name) for key, known in names.items() for name in reversed(known) if name in lower
    }
    return found if found.keys() >= set(_TIMED) else None


def _unnamed(cells: Sequence[str], subject: LabelSubject, where: str) -> dict[str, int]:
    """Return which column is what where the first line is data already: as sed_eval tells it."""
    if len(cells) >= 3 and _is_number(cells[0]) and _is_number(cells[1]):
        return {"onset": 0, "offset": 1, "label": 2}
    if len(cells) >= 4 and _is_number(cells[1]) and _is_number(cells[2]):
        return {"filename": 0, "onset": 1, "offset": 2, "label": 3}
    what = f"{' '.join(cells)[:60]!r}, expected the columns onset, offset, event_label with tabs between them"
    raise subject.refused(where, what)


def _is_number(text: str) -> bool:
    try:
        ns_of(text)
    except ValueError:
        return False
    return True


def _refuse_others(files: set[str], subject: LabelSubject) -> None:
    recording = subject.recording
    ours = recording is None or not files or "" in files or any(same_file(file, recording) for file in files)
    if not ours:
        others = " and other recordings" if len(files) > 1 else ""
        what = f"is about {min(files)!r}{others}, expected {recording!r}"
        raise subject.refused("", what, hint="give the recording that it is about")
    if recording is None and len(files) > 1:
        what = f"is about {count_of(len(files), 'recording')}, expected one"
        raise subject.refused("", what, hint="give the recording: --recording")
