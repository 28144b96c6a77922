"""``*.labels.tsv``: what is really in a recording, in integer nanoseconds.

::

    # galago.labels/1
    # recording sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    start_ns	end_ns	label
    3000000000	5200000000	smoke
    9000000000	9500000000	(ignore)

Lines that begin with ``#`` are remarks, but for these two. Both may be missing in a file made by hand; the
line with the names of the columns may not, for it says the unit.

A fourth column, ``proposed``, holds the score of what a bundle proposes: such a line is no truth until a
person has emptied the column.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import CallerError, InputError, Reason, disk_error
from galago_workstation.files import refuse_existing, write_bytes
from galago_workstation.output_kinds import LABELS
from galago_workstation.qa.label_rows import HINT, LabelRow, refusal, truth_list
from galago_workstation.qa.replayed import IGNORED, TruthList

LABELS_SUFFIX = ".labels.tsv"
"""Behind the whole name of a recording: ``night.wav.labels.tsv``."""
SCHEMA = "galago.labels/1"
MOST_BYTES = 1 << 26
"""64 MiB. What is larger is another kind of file."""
MOST_LABELS = 200_000
"""Of one recording: more than two in each second of a day. All judging takes time for each of them."""

_COLUMNS = "start_ns\tend_ns\tlabel"
_PROPOSED_COLUMNS = f"{_COLUMNS}\tproposed"
_NAMED_COLUMNS = "start_ns, end_ns, label, and of proposals a fourth, proposed, with tabs between them"
_SCORE = re.compile(r"[01]\.[0-9]{1,6}\Z")
_RECORDING = re.compile(r"#\s*recording\s+sha256\s+(\S+)\s*\Z")
_SCHEMA = re.compile(r"#\s*(galago\.labels/\S*)\s*\Z")
_WHOLE = re.compile(r"-?[0-9]{1,19}\Z")


@dataclass(frozen=True, slots=True)
class LabelFile:
    """What a file of labels says."""

    truth: TruthList
    sha256: str | None = None
    """Of the recording that it is about; None when it does not say."""
    unsorted: int = 0
    """Lines that begin before the line above them. Order has no meaning, so they count all the same."""


def labels_path(recording: Path) -> Path:
    """Return where the labels of a recording lie: beside it, its whole name with the suffix behind it.

    >>> str(labels_path(Path("night/porch.wav")))
    'night/porch.wav.labels.tsv'
    """
    return recording.with_name(recording.name + LABELS_SUFFIX)


def is_label_file(path: Path) -> bool:
    """Tell whether labels lie there; False when nothing does.

    Raises:
        InputError: DATA_BAD; a folder, a pipe, a device or a link that leads nowhere has the name of labels:
            not labelled is something else.
    """
    if path.is_file():
        return True
    if not os.path.lexists(path):
        return False
    if path.is_dir():
        met = "is a folder"
    else:
        met = "is a pipe or a device" if path.exists() else "is a link that leads nowhere"
    raise refusal(
        str(path), "", f"{met}, expected a file of labels", hint="put the labels there, or remove it"
    )


def read_bounded(path: Path) -> bytes:
    """Return the content of a file of labels in any format.

    Raises:
        InputError: DATA_BAD; it is larger than 64 MiB.
        LinkError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    if len(data) > MOST_BYTES:
        raise refusal(str(path), "", f"is larger than {MOST_BYTES >> 20} MiB, expected a file of labels")
    return data


def read_labels(
    path: Path, *, sha256: str | None = None, duration_ns: int | None = None, confirmed: bool = False
) -> LabelFile:
    """Read a file of labels.

    Args:
        path: The file.
        sha256: Of the recording that it should be about; None: not checked.
        duration_ns: Where that recording ends; None: not checked.
        confirmed: A person has gone through all proposals in it: those that are left are true.

    Raises:
        InputError: DATA_BAD; it is about another recording, or a line is not as it must be: see
            :func:`parse_labels`.
        LinkError: The file cannot be read.
    """
    data = read_bounded(path)
    found = parse_labels(data, name=str(path), duration_ns=duration_ns, confirmed=confirmed)
    if sha256 is not None and found.sha256 is not None and found.sha256 != sha256:
        raise InputError(
            Reason.DATA_BAD,
            f"{path} is about the recording with the SHA-256 {found.sha256[:16]}…, expected this one's, "
            f"{sha256[:16]}…",
            hint="give the labels of this recording; if these are, take the line # recording out of them",
        )
    return found


def parse_labels(
    data: bytes, *, name: str, duration_ns: int | None = None, confirmed: bool = False
) -> LabelFile:
    """Return what the bytes of a file of labels say. For the other arguments see :func:`truth_list`.

    Raises:
        InputError: DATA_BAD; no UTF-8, another version, no line with the columns, a line that is none, or
            what :func:`truth_list` refuses.
    """
    sha256, rows, columns = None, [], ""
    for number, line in text_lines(data, name=name):
        where = f"line {number}"
        if line.startswith("#"):
            sha256 = _remark(line, name, where, sha256)
        elif not columns:
            if line not in (_COLUMNS, _PROPOSED_COLUMNS):
                what = f"met {line[:60]!r}, expected the names of the columns: {_NAMED_COLUMNS}"
                hint = "files of other programs are read by galago qa labels import"
                raise refusal(name, where, what, hint=hint)
            columns = line
        elif columns == _COLUMNS:
            rows.append(_row(line, name, where))
        else:
            rows.append(_perhaps_proposed(line, name, where))
    if not columns:
        raise refusal(name, "", f"met no line with the names of the columns, expected {_NAMED_COLUMNS}")
    if columns == _PROPOSED_COLUMNS and not rows and not confirmed:
        what = "is of a bundle that proposed nothing, and nobody has confirmed that nothing is there"
        raise refusal(name, "", what, hint="galago qa labels confirm, when it is so: docs/qa-labels.md")
    if len(rows) > MOST_LABELS:
        raise refusal(name, "", f"holds {len(rows)} labels, expected at most {MOST_LABELS} of one recording")
    unsorted = sum(after.start_ns < before.start_ns for before, after in itertools.pairwise(rows))
    truth = truth_list(rows, name=name, duration_ns=duration_ns, confirmed=confirmed)
    return LabelFile(truth, sha256, unsorted)


def text_lines(data: bytes, *, name: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines that are not blank; line ends of every system, with or without BOM.

    Raises:
        InputError: DATA_BAD; a line is no UTF-8.
    """
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            line = raw.removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            hint = "save it as UTF-8"
            raise refusal(name, f"line {number}", "is no UTF-8 text", hint=hint) from None
        if line.strip():
            yield number, line


def format_labels(truth: TruthList, *, sha256: str | None = None) -> bytes:
    """Return the file that says this; the same truth gives the same bytes.

    Raises:
        CallerError: DATA_BAD; a truth that no file can hold, such as a label with a line end.
    """
    rows = [(event.start_ns, event.end_ns, event.label) for event in truth.events]
    rows += [(start, end, IGNORED) for start, end in truth.ignored]
    try:
        again = truth_list(
            (LabelRow(f"event {number}", *row) for number, row in enumerate(rows, 1)), name="these labels"
        )
    except InputError as error:
        raise CallerError(error.reason, str(error), hint=error.hint) from None
    if again.ignored != truth.ignored:
        rows = rows[: len(truth.events)] + [(start, end, IGNORED) for start, end in again.ignored]
    head = [f"# {SCHEMA}", *([f"# recording sha256 {sha256}"] if sha256 else []), _COLUMNS]
    lines = (f"{start}\t{end}\t{label}" for start, end, label in sorted(rows))
    return "\n".join([*head, *lines, ""]).encode()


def format_proposals(rows: Sequence[LabelRow], *, sha256: str, bundle: str) -> bytes:
    """Return the file with what a bundle proposes, by start; no line of it is a truth yet."""
    head = [
        f"# {SCHEMA}",
        f"# recording sha256 {sha256}",
        f"# proposed by bundle {bundle}: empty the last column of what is right, correct or remove the rest",
        _PROPOSED_COLUMNS,
    ]
    lines = (f"{row.start_ns}\t{row.end_ns}\t{row.label}\t{row.score:.4f}" for row in rows)
    return "\n".join([*head, *lines, ""]).encode()


def write_labels(path: Path, truth: TruthList, *, sha256: str | None = None, replace: bool = False) -> None:
    """Write a file of labels in one step.

    Raises:
        CallerError: EXISTS; there is one already, and ``replace`` is false: somebody's work is in it.
            DATA_BAD: see :func:`format_labels`.
        LinkError: NO_SPACE, READ_ONLY or IO; what was there before is untouched.
    """
    content = format_labels(truth, sha256=sha256)
    refuse_existing(path, LABELS, replace=replace)
    write_bytes(path, content)


def _remark(line: str, name: str, where: str, sha256: str | None) -> str | None:
    """Return the recording's hash, the one known so far when this remark does not say it."""
    if (schema := _SCHEMA.match(line)) and schema[1] != SCHEMA:
        hint = "read it with the version of Galago that wrote it"
        raise refusal(name, where, f"format {schema[1]}, expected {SCHEMA}", hint=hint)
    if not (said := _RECORDING.match(line)):
        return sha256
    found = said[1].lower()
    if not re.fullmatch(r"[0-9a-f]{64}", found):
        hint = "correct the line, or take it out: then nothing says which recording it is"
        met = f"met the SHA-256 {said[1][:70]!r}, expected 64 hexadecimal digits"
        raise refusal(name, where, met, hint=hint)
    if sha256 is not None and found != sha256:
        raise refusal(name, where, "names a second recording, expected one")
    return found


def _perhaps_proposed(line: str, name: str, where: str) -> LabelRow:
    """Return the row of a line with the fourth column, which is empty for what a person has confirmed."""
    if line.count("\t") < 3:  # an editor takes blanks off the ends of lines
        return _row(line, name, where)
    rest, _, told = line.rpartition("\t")
    row, told = _row(rest, name, where), told.strip()
    if told and not _SCORE.match(told):
        what = f"the fourth column, proposed, is {told[:40]!r}, expected the score of a proposal, 0.0 to 1.0"
        raise refusal(name, where, f"{what}, or nothing where a person has confirmed it")
    return replace(row, proposed=bool(told), score=float(told or 1))


def _row(line: str, name: str, where: str) -> LabelRow:
    parts = line.split("\t", 2)  # a label may hold tabs
    if len(parts) != 3:
        met = f"has {count_of(len(parts), 'column')}"
        raise refusal(name, where, f"{met}, expected start_ns, end_ns, label with tabs between them")
    for text, what in zip(parts, ("start_ns", "end_ns"), strict=False):
        if not _WHOLE.match(text):
            hint = "seconds and frame numbers are read by galago qa labels import" if text else HINT
            raise refusal(name, where, f"{what} is {text[:40]!r}, expected whole nanoseconds", hint=hint)
    return LabelRow(where, int(parts[0]), int(parts[1]), parts[2])
