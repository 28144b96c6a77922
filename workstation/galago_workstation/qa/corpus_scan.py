"""What of a folder is a recording, and what is not."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from galago_edge.contract.errors import DeviceError, disk_error
from galago_edge.contract.printable import printable
from galago_edge.sources.address import IMAGE_SUFFIXES, RAW_SUFFIXES
from galago_edge.sources.file_content import content_of
from galago_edge.sources.picture_times import TIMES_NAME
from galago_edge.sources.source_kind import SOURCES
from galago_workstation.qa.corpus_manifest import is_manifest
from galago_workstation.qa.label_file import LABELS_SUFFIX
from galago_workstation.qa.written_folders import SHELF, is_written

_BESIDE = (".sha256", ".part")
"""What recordings leave beside themselves."""


@dataclass(slots=True)
class Scan:
    """What was found below a folder, each in the order of the bytes of the paths."""

    recordings: list[Path] = field(default_factory=list)
    labels: list[Path] = field(default_factory=list)
    hidden: list[Path] = field(default_factory=list)
    """Files and folders; what is in a hidden folder is not looked at."""
    others: list[Path] = field(default_factory=list)
    """Neither recordings nor anything of theirs."""
    written: list[Path] = field(default_factory=list)
    """What Galago has written there: results, runs and pages; of what lies among other things, the folder."""
    raw: list[Path] = field(default_factory=list)
    """Sound without a header, of which only a manifest can say the rate."""


def scan_folder(folder: Path) -> Scan:
    """Look through a folder and those in it.

    A folder that holds pictures, and neither other recordings nor folders, is one recording.

    Raises:
        LinkError: A folder cannot be read.
    """
    found = Scan()
    _scan(folder, found, _suffixes(), frozenset())
    return found


def holds_pictures(folder: Path) -> bool:
    """Tell whether pictures lie directly in a folder, as in one that is a recording.

    Raises:
        LinkError: It cannot be read.
    """
    return any(_is_picture(entry) for entry in _entries(folder) if not entry.name.startswith("."))


def _scan(folder: Path, found: Scan, suffixes: frozenset[str], above: frozenset[Path]) -> None:
    above |= {folder.resolve()}
    folders: list[Path] = []
    pictures: list[Path] = []
    files: list[Path] = []
    for entry in _entries(folder):
        if entry.name.startswith("."):
            found.hidden.append(entry)
        elif is_written(entry):
            _add_written(entry, found)
        elif printable(entry.name) != entry.name:
            found.others.append(entry)  # no list, result or page could name it
        elif entry.is_dir():
            # a link to a folder above would lead here again, without end
            (found.others if entry.resolve() in above else folders).append(entry)
        elif _is_picture(entry):
            pictures.append(entry)
        elif entry.is_file():
            files.append(entry)
        else:
            found.others.append(entry)
    recordings = [path for path in files if _is_recording(path, suffixes)]
    if pictures and not recordings and not folders:
        found.recordings.append(folder)
        found.others += [path for path in files if path.name != TIMES_NAME]
        return
    found.others += pictures
    for path in files:
        _file(path, path in recordings, found)
    for inner in folders:
        _scan(inner, found, suffixes, above)


def _add_written(path: Path, found: Scan) -> None:
    """Take a whole folder by its name; of the parts of one that lie strewn, the folder they lie in."""
    named = path.parent if path.is_file() or SHELF.fullmatch(path.name) else path
    if named not in found.written:
        found.written.append(named)


def _file(path: Path, is_recording: bool, found: Scan) -> None:
    if path.suffix.lower() in RAW_SUFFIXES and content_of(path) is None:
        found.raw.append(path)
    elif is_recording:
        found.recordings.append(path)
    elif path.name.endswith(LABELS_SUFFIX):
        found.labels.append(path)
    elif not (path.suffix in _BESIDE or is_manifest(path)):
        found.others.append(path)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()


def _is_recording(path: Path, suffixes: frozenset[str]) -> bool:
    """Tell it by the name, and where that says nothing, by the first bytes."""
    if path.name.endswith(LABELS_SUFFIX) or path.suffix in _BESIDE or is_manifest(path):
        return False
    return path.suffix.lower() in suffixes or content_of(path) in ("sound", "container")


def _suffixes() -> frozenset[str]:
    """Return the endings of everything that can be replayed, plug-ins' too."""
    known: set[str] = set()
    for name in SOURCES.names():
        try:
            kind = SOURCES.find(name)
        except DeviceError:  # whoever opens one of its recordings says why it cannot be used
            continue
        if kind is not None and kind.open is not None:
            known |= kind.suffixes
    return frozenset(known)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=lambda path: os.fsencode(path.name))
    except OSError as error:
        raise disk_error(error, f"read the folder {folder}") from error
