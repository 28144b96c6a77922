"""A folder with one sub-folder per class."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from galago_edge.contract.errors import InputError, Reason, disk_error
from galago_edge.contract.printable import printable
from galago_edge.sources.address import AUDIO_SUFFIXES, IMAGE_SUFFIXES
from galago_edge.sources.picture_header import LARGEST_FILE_PIXELS, checked_header
from galago_workstation.data.listing import Listing, check_labels, make_listing
from galago_workstation.data.sample import Sample
from galago_workstation.training_config import AudioFolders, ImageFolders

_HEAD_BYTES = 1 << 20
"""Of a picture: its size comes at the beginning, behind what the camera notes at most."""


def list_folders(data: ImageFolders | AudioFolders, root: Path) -> Listing:
    """List and hash the samples of a class-per-folder data set.

    Names that begin with a dot are skipped, so are files beside the class folders; links to folders are
    not followed. Files that are no samples are left out and counted.

    Args:
        data: The configuration's ``[data]``.
        root: The folder that its paths are relative to.

    Raises:
        InputError: A folder is missing (DATA_BAD), CLASS_EMPTY, CLASS_SINGLE,
            LABELS_REPEAT; a picture that claims too much, IMAGE_TOO_BIG.
        LinkError: A file cannot be read.
    """
    folder = root / data.folder
    suffixes = IMAGE_SUFFIXES if isinstance(data, ImageFolders) else AUDIO_SUFFIXES
    labels = _class_names(folder)
    check_labels(labels, str(folder))
    group = re.compile(data.group) if data.group is not None else None
    strays: Counter[str] = Counter()
    pool = list(_samples(folder, labels, suffixes, group, root, strays))
    if data.test_folder is None:
        return replace(make_listing(labels, pool, None), strays=strays)
    test_folder = root / data.test_folder
    test_labels = _class_names(test_folder)
    if test_labels != labels:
        raise InputError(
            Reason.DATA_BAD,
            f"{test_folder} has the classes {', '.join(test_labels)}; {folder} has {', '.join(labels)}",
            hint="training and test folder need the same classes",
        )
    test = list(_samples(test_folder, labels, suffixes, group, root, strays))
    return replace(make_listing(labels, pool, test), strays=strays)


def _class_names(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise InputError(
            Reason.DATA_BAD,
            f"{folder} is not a folder",
            hint="[data] paths are relative to the configuration file",
        )
    return sorted(
        entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )


def _samples(
    folder: Path,
    labels: list[str],
    suffixes: frozenset[str],
    group: re.Pattern[str] | None,
    root: Path,
    strays: Counter[str],
) -> Iterator[Sample]:
    for index, label in enumerate(labels):
        paths = sorted(_files(folder / label))
        samples = [path for path in paths if path.suffix.lower() in suffixes]
        strays.update(path.suffix.lower() for path in paths if path.suffix.lower() not in suffixes)
        if not samples:
            found = f"{len(paths)} files that are no samples" if paths else "no file"
            raise InputError(
                Reason.CLASS_EMPTY,
                f"{folder / label} holds {found}; expected {' '.join(sorted(suffixes))}",
                hint="put samples of this class there, or remove the folder",
            )
        for path in samples:
            sample_id = printable(Path(os.path.relpath(path, root)).as_posix())
            digest = file_sha256(path, pictures=suffixes is IMAGE_SUFFIXES)
            yield Sample(sample_id, path, digest, index, _group(group, path.relative_to(folder)))


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent) / name for name in names if not name.startswith("."))


def file_sha256(path: Path, *, pictures: bool) -> str:
    """Return the hash of a file; what a picture claims to be is checked on the way.

    Raises:
        InputError: IMAGE_TOO_BIG.
        LinkError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            if pictures:  # said now, and not in the middle of a training
                checked_header(file.read(_HEAD_BYTES), str(path), LARGEST_FILE_PIXELS)
                file.seek(0)
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise disk_error(error, f"read {path}") from error


def _group(pattern: re.Pattern[str] | None, path: Path) -> str | None:
    if pattern is None:
        return None
    found = pattern.search(path.as_posix())
    if found is None or found[1] is None:
        raise InputError(
            Reason.DATA_BAD,
            f"{path} does not match [data] group {pattern.pattern!r}",
            hint="the expression is searched in the path below the data folder",
        )
    return printable(found[1])
