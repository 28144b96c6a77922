"""What a command may write over: a former output of the same kind, told by its first bytes, and nothing else.

A name says nothing: a recording can be called ``events.jsonl``, and ``--out`` is easily given another file.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from galago_edge.contract.errors import CallerError, Reason, disk_error

_HEAD_BYTES = 65_536
"""So much is looked at: a policy has some lines of comment for each label."""


@dataclass(frozen=True, slots=True)
class OutputKind:
    """One kind of file that commands write."""

    what: str
    """In words, for messages: ``records``."""
    begins: re.Pattern[bytes]
    """Matches the beginning of every file of this kind, and of no other that Galago reads or writes."""


EVENTS = OutputKind("records as JSON lines", re.compile(rb'\{"v":'))
VERDICT_JSON = OutputKind("a verdict on faults", re.compile(rb'\{\s*"faults":'))
JUNIT = OutputKind(
    "a JUnit report of Galago",  # host.junit_document; other programs' begin alike
    re.compile(rb'(<\?xml[^>]*\?>\s*)?<testsuites>\s*<testsuite name="[^"]*" package="galago\.qa"'),
)


def refuse_other_kind(path: Path | None, kind: OutputKind) -> None:
    """Refuse to write over a file that is no former output of this kind.

    What is not there or empty passes; so does what is no regular file, which is another's to judge
    (``commands.output_places``).

    Raises:
        CallerError: EXISTS.
        LinkError: The file is there and cannot be read.
    """
    if path is None:
        return
    try:
        if not path.is_file():
            return
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    if size and not kind.begins.match(head):
        raise CallerError(
            Reason.EXISTS,
            f"{path} exists and is something else, expected a new file or {kind.what}; nothing was written",
            hint="choose another name, or move the file away",
        )
