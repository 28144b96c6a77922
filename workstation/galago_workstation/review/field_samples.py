"""What a folder of field samples holds: files, and what the device noted of each of them."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

import msgspec

from galago_edge.contract.count_words import count_of
from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import GalagoError, InputError, Reason, disk_error
from galago_edge.contract.printable import printable
from galago_edge.host.small_file import NotPlainError, TooLongError, read_small
from galago_edge.recording.sample_layout import CONTEXT
from galago_edge.sources.address import AUDIO_SUFFIXES, IMAGE_SUFFIXES
from galago_workstation.data.class_folders import file_sha256
from galago_workstation.data.sample_manifest import manifest_rows
from galago_workstation.files import named_path

TABLES = (".csv", ".jsonl", ".ndjson")
_NOTE_LIMIT_BYTES = 1 << 20
_UP = 3
"""So far above a sample its device's notes may lie: people sort samples into folders of their own."""
_HOUR_DIGITS = 11
"""Of ``20261122T11``, with which the name of a device's sample begins."""


class DeviceNote(msgspec.Struct, frozen=True, kw_only=True):
    """What the device wrote beside a sample (docs/samples.md), as far as a person wants to know it."""

    label: str = ""
    trigger: str = ""
    device: str = ""
    stream: str = ""
    scores: dict[str, float] = {}
    context: tuple[str, ...] = ()
    """Files beside the note: pictures before and after it, or the sound around it."""
    wall_ns: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0


@dataclass(frozen=True, slots=True)
class FieldSample:
    """One picture or clip, and what came with it."""

    path: Path
    id: str
    """Path below the folder, or below the table's folder, made printable."""
    sha256: str
    said: str = ""
    """The label that it came with: its folder's or the table's; empty for none."""
    group: str = ""
    """What must stay in one part: the table's, or one hour of one stream of one device."""
    note: DeviceNote | None = None
    context: tuple[Path, ...] = ()


@dataclass(slots=True)
class FieldSamples:
    """What was found, and what was left out and why."""

    sounds: bool
    samples: list[FieldSample] = field(default_factory=list)
    copies: int = 0
    """Files of the same content as one that is there."""
    failed: dict[str, GalagoError] = field(default_factory=dict)
    """What cannot be read, by its id."""
    strays: Counter[str] = field(default_factory=Counter)
    """Files that are no samples of this kind, by suffix."""
    bad_notes: int = 0
    """Notes of devices that cannot be read: their samples are there."""

    def drop(self, sample: FieldSample, error: GalagoError) -> None:
        """Leave out what turned out to be unreadable."""
        self.samples.remove(sample)
        self.failed[sample.id] = error

    def left_out(self) -> Iterator[str]:
        """Yield what is not shown and why, a line each."""
        if self.failed:
            first = next(iter(self.failed.values()))
            yield f"left out, cannot be read: {len(self.failed)}, the first: {first}"
        if self.copies:
            yield f"left out as copies of others: {self.copies}"
        if self.strays:
            kinds = ", ".join(f"{suffix or 'no suffix'} {n}" for suffix, n in sorted(self.strays.items()))
            kind = "sounds" if self.sounds else "pictures"
            yield f"left out, no {kind}: {count_of(sum(self.strays.values()), 'file')} ({kinds})"
        if self.bad_notes:
            yield f"notes of devices that cannot be read: {self.bad_notes}; their samples are shown without"


def find_field_samples(place: Path, *, sounds: bool | None) -> FieldSamples:
    """Return the samples in a folder, as a device's sampler or somebody leaves them, or of a table.

    Names that begin with a dot are skipped, links to folders are not followed. A file in a sub-folder has
    that folder's name as its label, which may be the device's answer or somebody's.

    Args:
        place: A folder, or a table of samples (CSV or JSON lines), whose labels may be empty.
        sounds: Whether they are sounds; None: what most of the files are.

    Raises:
        InputError: DATA_BAD; it is no folder and no table, a row is wrong, or no sample is there.
        LinkError: It cannot be read.
    """
    if place.is_dir():
        files = [(path, _folder_label(path, place), "") for path in _walk(place)]
        root = place
    elif place.is_file() and place.suffix.lower() in TABLES:
        root = place.parent
        files = [
            (named_path(root, row.path), row.label, row.group)
            for _, row in manifest_rows(place, labelled=False)
        ]
    else:
        raise InputError(
            Reason.DATA_BAD,
            f"{place} is neither a folder nor a table of samples ({', '.join(TABLES)})",
            hint="name the folder that the device's samples were fetched to",
        )
    if sounds is None:
        of_kind = [
            sum(p.suffix.lower() in kind for p, _, _ in files) for kind in (IMAGE_SUFFIXES, AUDIO_SUFFIXES)
        ]
        sounds = of_kind[1] > of_kind[0]
    found = FieldSamples(sounds)
    seen: set[str] = set()
    for path, said, group in files:
        if path.suffix.lower() in (AUDIO_SUFFIXES if sounds else IMAGE_SUFFIXES):
            _take(found, seen, path, root, said, group)
        else:
            found.strays[path.suffix.lower()] += 1
    if not found.samples:
        what = "sound" if sounds else "picture"
        raise InputError(
            Reason.DATA_BAD,
            "; ".join([f"{place} holds no {what} that can be read", *found.left_out()]),
            hint="name the folder that the device's samples were fetched to",
        )
    return found


def _walk(folder: Path) -> Iterator[Path]:
    def closed(error: OSError) -> None:
        raise disk_error(error, f"read {error.filename or folder}") from error

    for home, folders, names in os.walk(folder, onerror=closed):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(home, name)


def _folder_label(path: Path, root: Path) -> str:
    """Return the label of the folder that a sample lies in; empty for one that lies in none."""
    inside = path.relative_to(root).parts[:-1]
    home = _notes_of(path)
    if home is not None:  # DIR/BUNDLE/LABEL, wherever in it ``root`` is
        own = path.relative_to(home.parent).parts
        return _normal(unquote(own[0])) if len(own) > 1 else ""
    return _normal(inside[0]) if inside else ""


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", printable(name))


def _notes_of(path: Path) -> Path | None:
    """Return the folder of notes that a sample belongs to."""
    for parent in path.parents[:_UP]:
        if (parent / CONTEXT).is_dir():
            return parent / CONTEXT
    return None


def _take(found: FieldSamples, seen: set[str], path: Path, root: Path, said: str, group: str) -> None:
    name = printable(Path(os.path.relpath(path, root)).as_posix())
    try:
        if not path.is_file():
            raise InputError(Reason.DATA_BAD, f"{path} is no file", hint="remove it from the samples")
        sha256 = file_sha256(path, pictures=not found.sounds)
    except GalagoError as error:
        found.failed[name] = error
        return
    if sha256 in seen:
        found.copies += 1
        return
    seen.add(sha256)
    home = _notes_of(path)
    note = None if home is None else _note(home / f"{path.stem}.json", found)
    context: tuple[Path, ...] = ()
    if home is not None and note is not None:
        context = tuple(
            home / one for one in note.context if Path(one).name == one and (home / one).is_file()
        )
        group = group or f"{note.device} {note.stream} {path.name[:_HOUR_DIGITS]}".strip()
    found.samples.append(FieldSample(path, name, sha256, said, group, note, context))


def _note(path: Path, found: FieldSamples) -> DeviceNote | None:
    try:
        return from_json(read_small(path, _NOTE_LIMIT_BYTES), type=DeviceNote)
    except FileNotFoundError:
        return None
    except (OSError, NotPlainError, TooLongError, msgspec.DecodeError, UnicodeDecodeError):
        found.bad_notes += 1
        return None
