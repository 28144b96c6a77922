"""One sub-folder per class, walked: what is a sample, what is none, and what is left out and why."""

from __future__ import annotations

import fnmatch
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from galago_edge.contract.errors import InputError, LinkError, Reason, disk_error


@dataclass(slots=True)
class ClassTree:
    """What a folder holds that has one sub-folder per class. Names that begin with a dot count as hidden."""

    folder: Path
    classes: dict[str, list[Path]] = field(default_factory=dict)
    """Samples, sorted, by the name of the class folder, in order of the names."""
    strays: Counter[str] = field(default_factory=Counter)
    """Files in class folders that are no samples, by suffix."""
    stray_paths: list[Path] = field(default_factory=list)
    ignored: list[Path] = field(default_factory=list)
    """Left out because the configuration says so (``pattern``, ``ignore``)."""
    beside: list[Path] = field(default_factory=list)
    """Files beside the class folders."""
    hidden: int = 0
    """Files and folders whose name begins with a dot."""
    links: list[Path] = field(default_factory=list)
    """Links to folders, which are not followed: a file would count twice, and a circle has no end."""
    no_files: list[Path] = field(default_factory=list)
    """Pipes, devices and links to nothing."""
    closed: dict[Path, OSError] = field(default_factory=dict)
    """Folders that cannot be read."""


def class_tree(
    folder: Path, suffixes: frozenset[str] | None, *, pattern: str = "*", ignore: Sequence[str] = ()
) -> ClassTree:
    """Walk a folder with one sub-folder per class.

    Args:
        folder: The folder.
        suffixes: Of samples, in small letters; None takes every file for one.
        pattern: A sample's path below ``folder``, or its name, matches it (as a shell's ``*`` and ``?``).
        ignore: What matches one of these is left out and counted; so is all in a folder that does.

    Raises:
        InputError: DATA_BAD; it is no folder.
        LinkError: It cannot be read.
    """
    if not folder.is_dir():
        raise InputError(
            Reason.DATA_BAD,
            f"{folder} is not a folder",
            hint="name a folder with one sub-folder per class; [data] paths start at the configuration file",
        )
    tree = ClassTree(folder)
    walk = _Walk(tree, suffixes, pattern, tuple(ignore))
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise disk_error(error, f"read {folder}") from error
    for entry in entries:
        if entry.name.startswith("."):
            tree.hidden += 1
        elif entry.is_dir() and entry.is_symlink():
            tree.links.append(entry)
        elif entry.is_dir():
            if walk.is_ignored(entry):
                tree.ignored.append(entry)
            else:
                tree.classes[entry.name] = []
                walk.through(entry, tree.classes[entry.name])
        else:
            tree.beside.append(entry)
    return tree


def closed_folder(tree: ClassTree) -> LinkError | None:
    """Return the error about the first folder that cannot be read; None when all can."""
    for path, error in tree.closed.items():
        return disk_error(error, f"read {path}")
    return None


class _Walk:
    """Sorts what lies in class folders."""

    def __init__(
        self, tree: ClassTree, suffixes: frozenset[str] | None, pattern: str, ignore: tuple[str, ...]
    ) -> None:
        self._tree = tree
        self._suffixes = suffixes
        self._pattern = pattern
        self._ignore = ignore

    def through(self, folder: Path, samples: list[Path]) -> None:
        """Add the samples below ``folder``, sorted."""
        for parent, folders, names in os.walk(folder, onerror=self._closed):
            for name in list(folders):
                path = Path(parent) / name
                if not self._is_followed(path):
                    folders.remove(name)
            for name in names:
                self._sort(Path(parent) / name, samples)
        samples.sort()

    def is_ignored(self, path: Path) -> bool:
        """Tell whether the configuration leaves ``path`` out."""
        return any(self._matches(path, one) for one in self._ignore)

    def _is_followed(self, path: Path) -> bool:
        if path.name.startswith("."):
            self._tree.hidden += 1
        elif path.is_symlink():
            self._tree.links.append(path)
        elif self.is_ignored(path):
            self._tree.ignored.append(path)
        else:
            return True
        return False

    def _sort(self, path: Path, samples: list[Path]) -> None:
        if path.name.startswith("."):
            self._tree.hidden += 1
        elif self.is_ignored(path):
            self._tree.ignored.append(path)
        elif not path.is_file():
            self._tree.no_files.append(path)
        elif self._suffixes is not None and path.suffix.lower() not in self._suffixes:
            self._tree.strays[path.suffix.lower()] += 1
            self._tree.stray_paths.append(path)
        elif not self._matches(path, self._pattern):
            self._tree.ignored.append(path)
        else:
            samples.append(path)

    def _matches(self, path: Path, pattern: str) -> bool:
        below = path.relative_to(self._tree.folder).as_posix()
        return fnmatch.fnmatchcase(below, pattern) or fnmatch.fnmatchcase(path.name, pattern)

    def _closed(self, error: OSError) -> None:
        self._tree.closed[Path(os.fsdecode(error.filename))] = error
