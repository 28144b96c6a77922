"""What a command may write over or go on with: a former output of the same kind, told by its bytes alone.

A name says nothing: a recording can be called ``events.jsonl``, and ``--out`` is easily given another file.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from galago_edge.contract.errors import CallerError, Reason, disk_error
from galago_edge.contract.records import RECORD_KINDS

_HEAD_BYTES = 65_536
"""So much is looked at: a policy has some lines of comment for each label."""
_LINE_BYTES = 1 << 20
"""A record has some hundred bytes; a line that is longer than this is none (``api.record_reader``)."""
_BEGIN = b'{"v":1,"kind":"'
_RECORD = re.compile(
    b"|".join(re.escape(_BEGIN) + kind.encode() + b'"' for kind in RECORD_KINDS)
    + rb'|\{"v":(?!1,)[0-9]+,"kind":"'  # of another version, whose kinds nobody here knows
)
_BLANK = b"\0\r\n"
"""Some file systems fill with zeros what they had promised before a power cut and not yet written."""


@dataclass(frozen=True, slots=True)
class OutputKind:
    """One kind of file that commands write."""

    what: str
    """In words, for messages: ``records``."""
    begins: re.Pattern[bytes]
    """Matches the beginning of every file of this kind, and of no other that Galago reads or writes."""


EVENTS = OutputKind("records as JSON lines", _RECORD)
VERDICT_JSON = OutputKind("a verdict on faults", re.compile(rb'\{\s*"faults":'))


def junit_kind(suite: str) -> OutputKind:
    """Return the JUnit reports of one suite (``host.junit_document``): another command's are another's.

    ``suite``: its name, of characters that XML writes as they are.
    """
    name = re.escape(suite.encode())
    begins = rb'(<\?xml[^>]*\?>\s*)?<testsuites>\s*<testsuite name="%s" package="galago\.qa"' % name
    return OutputKind(f"a JUnit report of {suite}", re.compile(begins))


def refuse_other_kind(path: Path | None, kind: OutputKind) -> None:
    """Refuse to write over a file that is no former output of this kind.

    What is not there or empty passes; so does what is no regular file, which is another's to judge
    (``commands.output_places``).

    Raises:
        CallerError: EXISTS.
        LinkError: The file is there and cannot be read.
    """
    ends = _ends_of(path, tail_bytes=0)
    if ends is not None and not kind.begins.match(ends.head):
        raise _something_else(ends.path, kind)


def refuse_link(path: Path) -> None:
    """Refuse a link as an output: what is written takes the place of the name, and what the link leads to
    would stay as it was.

    Raises:
        CallerError: EXISTS.
    """
    if path.is_symlink():
        raise CallerError(
            Reason.EXISTS,
            f"{path} is a link, expected a new name or a former output; nothing was written",
            hint="give the name of what it leads to, or remove the link",
        )


def refuse_other_log(path: Path | None) -> None:
    """Refuse to append records to a file that holds anything else, or more than records.

    Its first and its last line are looked at, whatever its size: each must begin as a record of a known kind,
    or be what a power cut leaves of one, its beginning, however short: a device must go on with its log.
    Zeros around them do not count. What :func:`refuse_other_kind` does not judge passes here, too.

    Raises:
        CallerError: EXISTS.
        LinkError: The file is there and cannot be read.
    """
    ends = _ends_of(path, tail_bytes=_LINE_BYTES)
    if ends is None:
        return
    first = ends.head.lstrip(_BLANK).partition(b"\n")[0]
    last = ends.tail.rstrip(_BLANK).rpartition(b"\n")[2].lstrip(_BLANK)
    if not (_begins_record(first) and (_begins_record(last) or not last)):
        raise _something_else(ends.path, EVENTS)


def _begins_record(line: bytes) -> bool:
    begun = line.rstrip(_BLANK)
    if _RECORD.match(begun):
        return True
    torn = (_BEGIN + kind.encode() + b'"' for kind in RECORD_KINDS)
    return bool(begun) and any(whole.startswith(begun) for whole in torn)


@dataclass(frozen=True, slots=True)
class _Ends:
    """The beginning and the end of a file that is not empty."""

    path: Path
    size: int
    head: bytes
    tail: bytes


def _ends_of(path: Path | None, *, tail_bytes: int) -> _Ends | None:
    """Return them; None for what is not there, empty, or no regular file."""
    if path is None:
        return None
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - tail_bytes))
            tail = file.read(tail_bytes)
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    return _Ends(path, size, head, tail) if size else None


def _something_else(path: Path, kind: OutputKind) -> CallerError:
    return CallerError(
        Reason.EXISTS,
        f"{path} exists and is something else, expected a new file or {kind.what}; nothing was written",
        hint="choose another name, or move the file away",
    )
