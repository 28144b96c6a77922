"""A look at a folder of somebody's own data: what it holds, before anything is configured."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from galago_edge.contract.errors import GalagoError, InputError, Reason
from galago_edge.sources.address import AUDIO_SUFFIXES, IMAGE_SUFFIXES
from galago_edge.sources.audio_file import open_sound
from galago_edge.sources.picture_header import PictureHeader, picture_header
from galago_workstation.data.class_folders import part_folders
from galago_workstation.data.class_tree import class_tree, closed_folder
from galago_workstation.data.sample import Part

SampleKind = Literal["images", "audio"]

LOOKED_AT = 40
"""Samples of each class whose header is read."""
_HEAD_BYTES = 1 << 16
BACKGROUND_NAMES = frozenset(
    (
        *("background", "_background_noise_", "noise", "silence", "ambient", "quiet", "empty"),
        *("none", "no", "nothing", "negative", "other", "others", "unknown"),
    )
)


@dataclass(frozen=True, slots=True)
class ClipHeader:
    """What a sound file says of itself."""

    seconds: float
    rate_hz: int


@dataclass(slots=True)
class FolderSurvey:
    """What a folder of data holds."""

    folder: Path
    """The folder with one sub-folder per class."""
    parts: Mapping[Part, Path]
    """Folders with the same classes that its maker divided it into; empty when he did not."""
    kind: SampleKind
    classes: dict[str, int] = field(default_factory=dict)
    """Samples by name, in order of the names; 0 for an empty folder."""
    pictures: list[PictureHeader] = field(default_factory=list)
    clips: list[ClipHeader] = field(default_factory=list)
    strays: Counter[str] = field(default_factory=Counter)
    """Files that are no samples of this kind, by suffix; what begins with a dot is not counted."""
    beside: int = 0
    """Files beside the class folders."""
    links: list[str] = field(default_factory=list)
    """Links to folders, which are not followed."""
    unreadable: list[str] = field(default_factory=list)
    """Of the samples that were looked at."""

    @property
    def background(self) -> list[str]:
        """Classes whose names say that nothing is there."""
        return [name for name in self.classes if name.casefold() in BACKGROUND_NAMES]

    @property
    def samples(self) -> int:
        """Number of samples, without the test folder's."""
        return sum(self.classes.values())


def survey(folder: Path) -> FolderSurvey:
    """Return what a folder holds that has one sub-folder per class, or ``train``, ``val`` and ``test`` with
    these.

    Raises:
        InputError: DATA_BAD; it is no such folder, or has neither pictures nor sounds in sub-folders.
        LinkError: It cannot be read.
    """
    if not folder.is_dir():
        raise InputError(Reason.DATA_BAD, f"{folder} is not a folder", hint="name a folder of data")
    parts = part_folders(folder)
    tree = class_tree(parts.get("train", folder), None)
    if (closed := closed_folder(tree)) is not None:
        raise closed
    whole = Counter(path.suffix.lower() for paths in tree.classes.values() for path in paths)
    sums = {
        kind: sum(whole[suffix] for suffix in suffixes)
        for kind, suffixes in (("images", IMAGE_SUFFIXES), ("audio", AUDIO_SUFFIXES))
    }
    kind: SampleKind = "images" if sums["images"] >= sums["audio"] else "audio"
    found = FolderSurvey(tree.folder, parts, kind, beside=len(tree.beside))
    found.links = [os.path.relpath(link, folder) for link in tree.links]
    suffixes = IMAGE_SUFFIXES if kind == "images" else AUDIO_SUFFIXES
    for name, paths in tree.classes.items():
        samples = [path for path in paths if path.suffix.lower() in suffixes]
        found.classes[name] = len(samples)
        found.strays.update(path.suffix.lower() for path in paths if path.suffix.lower() not in suffixes)
        for path in samples[:: max(1, len(samples) // LOOKED_AT)]:
            _look(found, path)
    if not any(found.classes.values()):
        raise InputError(
            Reason.DATA_BAD,
            f"{folder} has no pictures and no sounds in sub-folders",
            hint="expected one sub-folder per class, whose name is the label: folder/cat/1.jpg",
        )
    return found


def _look(found: FolderSurvey, path: Path) -> None:
    """Note what the header of a sample says."""
    try:
        if found.kind == "images":
            with path.open("rb") as file:
                header = picture_header(file.read(_HEAD_BYTES))
            if header is None:
                found.unreadable.append(str(path.relative_to(found.folder)))
            else:
                found.pictures.append(header)
            return
        reader = open_sound(path)
        try:
            rate = reader.format.rate_hz
            if reader.promised is not None:
                found.clips.append(ClipHeader(reader.promised / rate, rate))
        finally:
            reader.close()
    except (GalagoError, OSError):
        found.unreadable.append(str(path.relative_to(found.folder)))
