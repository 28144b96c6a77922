"""What a recording holds, ``truth.json`` and the labels of QA; and the files that lie beside it."""

from __future__ import annotations

import errno
from importlib import resources
from pathlib import Path
from typing import Literal

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import InputError, Reason, disk_error
from galago_edge.contract.modality import Modality
from galago_workstation.qa.label_file import labels_path, write_labels
from galago_workstation.qa.replayed import Truth, TruthList

TRUTH_FILE = "truth.json"
CORPUS, GATES, WORSE = "corpus.toml", "gates.toml", "worse.toml"
"""The recording as a corpus of QA, what a new bundle must not break, and policies that break it."""


class TrueEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that happens in a recording. All times are stream time in integer nanoseconds."""

    label: str
    onset_ns: int
    """When it begins to be seen or heard."""
    complete_ns: int
    """When it has shown all that one needs to tell it: card wholly in view, alarm pattern once complete."""
    offset_ns: int
    """When it has gone."""
    deadline_ns: int
    """An event decided later does not count as found."""
    about: dict[str, str | int | float] = {}
    """How it was made, for the reader: scan number, signal-to-noise ratio ..."""


class DemoTruth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that happens in one recording."""

    v: Literal[1] = 1
    modality: Modality
    recording: str
    """File name beside ``truth.json``."""
    seed: int
    duration_ns: int
    events: tuple[TrueEvent, ...]


def write_truth(truth: DemoTruth, folder: Path) -> None:
    """Write ``folder/truth.json``."""
    (folder / TRUTH_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(truth), indent=1) + b"\n")


def read_truth(folder: Path) -> DemoTruth:
    """Read ``folder/truth.json``.

    Raises:
        InputError: DATA_BAD; the file is not one that :func:`write_truth` wrote.
        LinkError: The file cannot be read.
    """
    path = folder / TRUTH_FILE
    try:
        return from_json(path.read_bytes(), type=DemoTruth)
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    except msgspec.DecodeError as error:
        raise InputError(
            Reason.DATA_BAD, f"{path}: {error}", hint="make it again with galago demo-data"
        ) from None


def write_configs(name: str, truth: DemoTruth, folder: Path) -> None:
    """Put the training configuration ``NAME.toml`` beside the data, and what QA needs.

    Raises:
        LinkError: The disk is full or read-only.
    """
    configs = resources.files("galago_workstation.demo") / "configs"
    for source, target in (
        (f"{name}.toml", f"{name}.toml"),
        (f"{name}-worse.toml", WORSE),
        ("gates.toml", GATES),
    ):
        (folder / target).write_bytes((configs / source).read_bytes())
    (folder / CORPUS).write_text(f'[[recording]]\npath = "{truth.recording}"\n', encoding="utf-8")
    there = tuple(Truth(one.onset_ns, one.offset_ns, one.label) for one in truth.events)
    write_labels(labels_path(folder / truth.recording), TruthList(there))


def require_written(path: Path, complete: bool) -> None:
    """Raise the OSError that a library swallowed when ``path`` is not ``complete``."""
    if not complete:
        raise OSError(errno.ENOSPC, "the file is incomplete (is the disk full?)", str(path))
