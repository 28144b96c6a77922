"""Folders with one sub-folder per class, listed as samples."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from galago_edge.contract.errors import GalagoError, InputError, Reason, disk_error
from galago_edge.contract.printable import printable
from galago_edge.sources.address import AUDIO_SUFFIXES, IMAGE_SUFFIXES
from galago_edge.sources.picture_header import LARGEST_FILE_PIXELS, checked_header
from galago_workstation.data.class_tree import ClassTree, class_tree, closed_folder
from galago_workstation.data.listing import Listing, Met, check_labels, make_listing, refuse
from galago_workstation.data.sample import Part, Sample
from galago_workstation.training_config import AudioFolders, ImageFolders

_HEAD_BYTES = 1 << 20
"""Of a picture: its size comes at the beginning, behind what the camera notes at most."""
_PART_NAMES: Mapping[str, Part] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def part_folders(folder: Path) -> dict[Part, Path]:
    """Return the folders of a data set that its maker divided: ``train`` with classes in it, perhaps ``val``
    and ``test`` (or names like these) beside it, and no other folder. Empty when it is none.

    Raises:
        LinkError: It cannot be read.
    """
    try:
        inside = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
        found = {_PART_NAMES.get(path.name.casefold()): path for path in inside}
        if None in found or "train" not in found or len(found) < len(inside):
            return {}
        if not all(any(entry.is_dir() for entry in path.iterdir()) for path in inside):
            return {}
    except OSError as error:
        raise disk_error(error, f"read {folder}") from error
    return {part: path for part, path in found.items() if part is not None}


def list_folders(data: ImageFolders | AudioFolders, root: Path, met: Met = refuse) -> Listing:
    """List and hash the samples of a class-per-folder data set.

    Names that begin with a dot are skipped, so are files beside the class folders; links to folders are
    not followed. Files that are no samples are left out and counted. Labels are the folders' names in
    Unicode's form NFC, whatever form the disk keeps them in.

    Args:
        data: The configuration's ``[data]``.
        root: The folder that its paths are relative to.
        met: Is told what is wrong, each time; the listing is then of what is left.

    Raises:
        InputError: A folder is missing (DATA_BAD), CLASS_EMPTY, CLASS_SINGLE,
            LABELS_REPEAT; a picture that claims too much, IMAGE_TOO_BIG.
        LinkError: A file cannot be read.
    """
    return _FolderLister(data, root, met).listing()


class _FolderLister:
    """Lists the folders of one configuration."""

    def __init__(self, data: ImageFolders | AudioFolders, root: Path, met: Met) -> None:
        self._data = data
        self._root = root
        self._met = met
        self._pictures = isinstance(data, ImageFolders)
        self._group = re.compile(data.group) if data.group is not None else None

    def listing(self) -> Listing:
        folders = self._folders()
        trees = {part: self._tree(folder) for part, folder in folders.items()}
        names = _labels(trees["train"], self._met)
        labels = list(names.values())
        if len(labels) != 1 or not self._lies_deeper(folders["train"], next(iter(names))):
            check_labels(labels, str(folders["train"]), self._met)
        samples: dict[Part, list[Sample]] = {}
        for part, tree in trees.items():
            own = names if part == "train" else self._same_labels(tree, folders, part, labels)
            given = part if part == "validation" else None
            samples[part] = list(self._samples(tree, own, labels, given))
        pool = samples["train"] + samples.get("validation", [])
        listing = make_listing(labels, self._grouped(pool), samples.get("test"), self._met)
        return replace(listing, trees=tuple(trees.values()))

    def _folders(self) -> dict[Part, Path]:
        data = self._data
        folder = self._root / (data.folder or "")
        named: dict[Part, str | None] = {"validation": data.validation_folder, "test": data.test_folder}
        others: dict[Part, Path] = {
            part: self._root / name for part, name in named.items() if name is not None
        }
        if not others and folder.is_dir() and (found := part_folders(folder)):
            return found
        return {"train": folder, **others}

    def _tree(self, folder: Path) -> ClassTree:
        suffixes = IMAGE_SUFFIXES if self._pictures else AUDIO_SUFFIXES
        tree = class_tree(folder, suffixes, pattern=self._data.pattern, ignore=self._data.ignore)
        if (closed := closed_folder(tree)) is not None:
            self._met(closed)
        for path in tree.no_files:
            self._met(
                InputError(
                    Reason.DATA_BAD,
                    f"{path} is a pipe, a device or a link to nothing; expected a file",
                    hint="remove it",
                )
            )
        return tree

    def _lies_deeper(self, folder: Path, name: str) -> bool:
        """Tell whether the classes are perhaps one folder deeper, as archives often unpack, and say so."""
        deeper = class_tree(folder / name, None)
        if len(deeper.classes) < 2:
            return False
        self._met(
            InputError(
                Reason.CLASS_SINGLE,
                f"{folder} holds one folder, {printable(name)}, which holds {len(deeper.classes)} folders",
                hint=f"are those the classes? then folder = {printable(f'{self._data.folder}/{name}')!r}",
            )
        )
        return True

    def _same_labels(
        self, tree: ClassTree, folders: Mapping[Part, Path], part: Part, labels: list[str]
    ) -> dict[str, str]:
        names = _labels(tree, self._met)
        if sorted(names.values()) != labels:
            self._met(
                InputError(
                    Reason.DATA_BAD,
                    f"{folders[part]} has the classes {', '.join(sorted(names.values()))}; "
                    f"{folders['train']} has {', '.join(labels)}",
                    hint=f"training and {part} folder need the same classes",
                )
            )
        return {name: label for name, label in names.items() if label in labels}

    def _samples(
        self, tree: ClassTree, names: Mapping[str, str], labels: list[str], part: Part | None
    ) -> Iterator[Sample]:
        for name, label in names.items():
            paths = tree.classes[name]
            if not paths:
                self._met(self._empty(tree, name))
            for path in paths:
                try:
                    digest = file_sha256(path, pictures=self._pictures)
                    group = _group(self._group, path.relative_to(tree.folder))
                except GalagoError as error:
                    self._met(error)
                    continue
                sample_id = printable(Path(os.path.relpath(path, self._root)).as_posix())
                yield Sample(sample_id, path, digest, labels.index(label), group, part)

    def _empty(self, tree: ClassTree, name: str) -> InputError:
        folder = tree.folder / name
        others = sum(path.is_relative_to(folder) for path in (*tree.stray_paths, *tree.ignored))
        found = f"{others} files that are no samples" if others else "no file"
        suffixes = IMAGE_SUFFIXES if self._pictures else AUDIO_SUFFIXES
        return InputError(
            Reason.CLASS_EMPTY,
            f"{printable(str(folder))} holds {found}; expected {' '.join(sorted(suffixes))}",
            hint="put samples of this class there, or remove the folder",
        )

    def _grouped(self, samples: list[Sample]) -> list[Sample]:
        """Give the samples of groups that ``[data]`` names the part that it names."""
        named: dict[str, Part] = dict.fromkeys(self._data.validation_groups, "validation")
        named |= dict.fromkeys(self._data.test_groups, "test")
        groups = {sample.group for sample in samples}
        for group in sorted(named.keys() - groups):
            self._met(
                InputError(
                    Reason.DATA_BAD,
                    f"[data] {named[group]}_groups names {group!r}, a group that no sample has",
                    hint=f"groups: {', '.join(sorted(filter(None, groups))[:20]) or 'none'}",
                )
            )
        return [
            replace(sample, part=named[sample.group]) if sample.group in named else sample
            for sample in samples
        ]


def _labels(tree: ClassTree, met: Met) -> dict[str, str]:
    """Return the label of each class folder, in order of the labels."""
    names: dict[str, str] = {}
    for name in tree.classes:
        label = unicodedata.normalize("NFC", name)
        if label in names.values():
            met(
                InputError(
                    Reason.LABELS_REPEAT,
                    f"{tree.folder} has two folders that are called {label!r}, in two Unicode forms",
                    hint="put their files into one",
                )
            )
        else:
            names[name] = label
    return dict(sorted(names.items(), key=lambda pair: pair[1]))


def file_sha256(path: Path, *, pictures: bool) -> str:
    """Return the hash of a sample's file.

    Raises:
        InputError: IMAGE_TOO_BIG, of a picture that claims too much.
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
