"""A golden: what a bundle said to a small corpus, stage by stage, in one file that is committed and reviewed.

JSON, one line for each stage, event and row of outputs, recordings by name, so that a change shows as few
lines. Of pictures, samples and tensors it holds hashes alone, with marks that say where in the recording they
part; the model's int8 outputs and the events are there in full, for machines that are not exact. The hashes
of these two are those of the stages, so that a damaged or half-merged file is found when it is read.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from galago_edge.contract.count_words import count_of
from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import CallerError, InputError, LinkError, Reason, disk_error
from galago_edge.contract.manifest import Natural, Sha256
from galago_edge.pipeline.stage_hashes import STAGES
from galago_edge.pipeline.stage_marks import StageMarks
from galago_workstation.files import write_bytes
from galago_workstation.qa.baseline import BaselineEvent
from galago_workstation.qa.replay_environment import ReplayEnvironment

SCHEMA: Literal["galago.golden/1"] = "galago.golden/1"
MARKS = 64
"""At most so many marks of a stage are kept for each recording."""
_FAMILY = SCHEMA.partition("/")[0]
_ROW_BYTES = 96
"""About so many outputs stand in one line."""
_DEPTH = 4
"""Levels that have a line for each element; what lies deeper stands in one."""
_Text = Annotated[str, msgspec.Meta(min_length=1)]


class GoldenEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One time at which the golden was recorded."""

    at: _Text
    """Date and time in UTC."""
    by: _Text
    why: _Text
    what: _Text
    """What was different from before, in words."""
    bundle: Sha256
    environment: Sha256
    """Fingerprint."""


class GoldenRecording(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the bundle said to one recording."""

    recording: _Text
    query: str
    """Options of its address, in alphabetical order."""
    sha256: Sha256
    duration_ns: Natural
    windows: Natural
    failure: str | None
    """Reason code of what ended it early; None: it was decided to its end."""
    stages: dict[str, Sha256]
    """By ``galago_edge.pipeline.stage_hashes.STAGES``."""
    marks: dict[str, str]
    """By stage: ``galago_edge.pipeline.stage_marks``."""
    skipped: tuple[tuple[Natural, Natural], ...]
    """Windows that the gate skipped, by number: from, and before which."""
    events: tuple[BaselineEvent, ...]
    logits: tuple[bytes, ...]
    """The model's int8 outputs, run by run; the rows of this list only break lines."""

    @property
    def key(self) -> tuple[str, str]:
        """What makes it that recording, whatever it is called."""
        return self.sha256, self.query

    def outputs(self, labels: int) -> npt.NDArray[np.int8]:
        """Return the int8 outputs, shape ``(runs, labels)``."""
        return np.frombuffer(b"".join(self.logits), np.int8).reshape(-1, labels)

    def runs(self) -> npt.NDArray[np.int64]:
        """Return the window of each run of the model, shape ``(runs,)``."""
        ran = np.ones(self.windows, np.bool_)
        for begin, end in self.skipped:
            ran[begin:end] = False
        return np.flatnonzero(ran)


class GoldenFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    schema: Literal["galago.golden/1"] = SCHEMA
    bundle: Sha256
    bundle_name: _Text
    """For people: name and version."""
    labels: Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1)]
    environment: ReplayEnvironment
    history: Annotated[tuple[GoldenEntry, ...], msgspec.Meta(min_length=1)]
    """Oldest first."""
    recordings: Annotated[tuple[GoldenRecording, ...], msgspec.Meta(min_length=1)]


def rows_of(outputs: npt.NDArray[np.int8]) -> tuple[bytes, ...]:
    """Return int8 outputs of shape ``(runs, labels)`` as rows of whole runs."""
    runs, labels = outputs.shape
    at_once = max(1, _ROW_BYTES // labels)
    return tuple(outputs[begin : begin + at_once].tobytes() for begin in range(0, runs, at_once))


def encode_golden(golden: GoldenFile) -> bytes:
    """Return the file's bytes; the same golden gives the same."""
    return _laid_out(msgspec.to_builtins(golden), _DEPTH, "").encode() + b"\n"


def _laid_out(value: Any, depth: int, indent: str) -> str:
    if not depth or not value or not isinstance(value, dict | list | tuple):
        return msgspec.json.encode(value).decode()
    inner = indent + "  "
    if isinstance(value, dict):
        texts = [f'"{key}": {_laid_out(one, depth - 1, inner)}' for key, one in value.items()]
        first, last = "{}"
    else:
        texts = [_laid_out(one, depth - 1, inner) for one in value]
        first, last = "[]"
    return f"{first}\n" + ",\n".join(inner + text for text in texts) + f"\n{indent}{last}"


def write_golden(path: Path, golden: GoldenFile) -> None:
    """Write the file, whole or not at all, in place of one that is there.

    Raises:
        LinkError: The disk refuses.
    """
    write_bytes(path, encode_golden(golden))


def check_new(path: Path) -> None:
    """Refuse to record over anything, or where nothing can be.

    Raises:
        CallerError: EXISTS.
        LinkError: SOURCE_MISSING; its folder does not exist.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise LinkError(
            Reason.SOURCE_MISSING,
            f"{path} cannot be written: {folder} is no folder",
            hint="make the folder first, or choose another name",
        )
    if path.exists() or path.is_symlink():
        raise CallerError(
            Reason.EXISTS,
            f"{path} exists, and a golden is not written over in passing",
            hint="choose another name, or record it again with its reason: galago qa golden rerecord",
        )


def read_golden(path: Path) -> GoldenFile:
    """Read a golden.

    Raises:
        InputError: DATA_BAD; it is none, of another version, or damaged.
        LinkError: It cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    try:
        _check_version(path, from_json(content, type=_AnyVersion).schema)
        found = from_json(content, type=GoldenFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _bad(f"{path} is no golden, or damaged: {error}") from None
    if fault := _fault(found):
        raise _bad(f"{path} is damaged: {fault}")
    return found


class _AnyVersion(msgspec.Struct):
    schema: str


def _check_version(path: Path, schema: str) -> None:
    family, _, version = schema.partition("/")
    if family == _FAMILY and schema != SCHEMA:
        raise InputError(
            Reason.DATA_BAD,
            f"{path} is a golden of version {version[:20]}, this Galago reads {SCHEMA.partition('/')[2]}",
            hint="use the version of Galago that wrote it, or a newer one",
        )


def _bad(text: str) -> InputError:
    return InputError(
        Reason.DATA_BAD, text, hint="bring the committed file back, or record it: galago qa golden record"
    )


def _fault(golden: GoldenFile) -> str:
    """Return what contradicts itself in a golden; empty when nothing does."""
    twice = [key for key, count in Counter(one.key for one in golden.recordings).items() if count > 1]
    if twice:
        return f"the recording {twice[0][0][:16]}… is in it twice"
    for one in golden.recordings:
        if fault := _recording_fault(one, len(golden.labels)):
            return f"{one.recording}: {fault}"
    return ""


def _recording_fault(one: GoldenRecording, labels: int) -> str:
    if tuple(one.stages) != STAGES or tuple(one.marks) != STAGES:
        return f"expected hashes and marks of the stages {', '.join(STAGES)}"
    try:
        for text in one.marks.values():
            StageMarks.parsed(text)
    except ValueError as error:
        return str(error)
    if any(end > one.windows or begin >= end for begin, end in one.skipped):
        return "skipped windows that are none"
    outputs = b"".join(one.logits)
    if hashlib.sha256(outputs).hexdigest() != one.stages["logits"]:
        return "its outputs are not those of their hash"
    if len(outputs) != len(one.runs()) * labels:
        return f"{count_of(len(outputs), 'output')}, expected {count_of(len(one.runs()), 'run')} of {labels}"
    if events_sha256(one.events) != one.stages["events"]:
        return "its events are not those of their hash"
    return ""


def events_sha256(events: Sequence[BaselineEvent]) -> str:
    """Return the hash of the stage ``events``, as :mod:`galago_edge.pipeline.stage_hashes` takes it."""
    digest = hashlib.sha256()
    for one in events:
        words = (one.label, one.score, one.start_index, one.end_index, one.start_ns, one.end_ns)
        digest.update((" ".join(map(str, words)) + "\n").encode())
    return digest.hexdigest()
