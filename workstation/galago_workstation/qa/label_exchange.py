"""Labels from and to other programs, by the name of their format."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.known_names import known_names
from galago_workstation.files import refuse_existing, write_bytes
from galago_workstation.output_kinds import EXPORTED_LABELS
from galago_workstation.qa.label_file import read_bounded
from galago_workstation.qa.label_formats.subject import LabelSubject
from galago_workstation.qa.label_rows import LabelRow, truth_list
from galago_workstation.qa.replayed import TruthList

FORMATS = {
    "audacity": "label track as text, in seconds",
    "cvat": "CVAT XML 1.1 for video or images, frames from 0",
    "label-studio": "Label Studio JSON, seconds or frames from 1",
    "raven": "Raven selection table, in seconds",
    "sed": "DCASE and sed_eval table, in seconds",
}
"""Name and content of each format."""


@dataclass(frozen=True, slots=True)
class ImportedLabels:
    """What another program's file says of a recording."""

    truth: TruthList
    left_out: dict[str, int]
    """What was not taken over, and how often."""


def import_labels(
    path: Path,
    kind: str,
    subject: LabelSubject,
    *,
    duration_ns: int | None = None,
    confirmed: bool = False,
) -> ImportedLabels:
    """Read another program's file of labels. ``duration_ns`` and ``confirmed``: see :func:`truth_list`.

    Raises:
        CallerError: USAGE; there is no such format.
        InputError: DATA_BAD; one line that says where, what was met and what was expected.
        LinkError: The file cannot be read.
    """
    found = _module(kind).read(read_bounded(path), subject)
    truth = truth_list(found.rows, name=subject.name, duration_ns=duration_ns, confirmed=confirmed)
    return ImportedLabels(truth, found.left_out)


def export_labels(
    rows: Sequence[LabelRow], path: Path, kind: str, subject: LabelSubject, *, replace: bool = False
) -> None:
    """Write labels for another program, by start, in one step.

    Raises:
        CallerError: EXISTS; the file is there and ``replace`` is false. USAGE; there is no such format, or
            it has frame numbers and nobody knows the time table.
        LinkError: NO_SPACE, READ_ONLY or IO; what was there before is untouched.
    """
    content: bytes = _module(kind).write(rows, subject)
    refuse_existing(path, EXPORTED_LABELS, replace=replace)
    write_bytes(path, content)


def _module(kind: str) -> Any:
    if kind not in FORMATS:
        raise CallerError(Reason.USAGE, f"no format is called {kind!r}", hint=known_names(kind, FORMATS))
    return importlib.import_module(f"galago_workstation.qa.label_formats.{kind.replace('-', '_')}")
