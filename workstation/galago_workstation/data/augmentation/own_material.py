"""Recordings of noise and pictures of backgrounds that somebody brings for augmentation.

Their folders are listed and hashed when training starts. A file is decoded when it is first needed, into a
nameless file on the disk, of which only the parts that are used are read: memory stays bounded.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from galago_edge.contract.errors import InputError, Reason, disk_error
from galago_edge.contract.printable import printable
from galago_edge.sources.address import AUDIO_SUFFIXES, IMAGE_SUFFIXES
from galago_edge.sources.audio_file import open_sound
from galago_workstation.data.augmentation.augment_options import Augment, ImageAugment
from galago_workstation.data.class_folders import file_sha256
from galago_workstation.data.sample import PARTS, Part, Sample


@dataclass(frozen=True, slots=True)
class OwnFile:
    """One file, as it was listed."""

    path: Path
    sha256: str

    def check(self, sha256: str) -> None:
        """Check that what was read has the hash that was listed.

        Raises:
            InputError: DATA_BAD.
        """
        if sha256 != self.sha256:
            raise InputError(
                Reason.DATA_BAD,
                f"{self.path} has changed since training began",
                hint="train again, and leave the folder as it is",
            )


@dataclass(frozen=True, slots=True)
class OwnFolder:
    """What a folder of the configuration's ``[augment]`` holds."""

    key: str
    """``noise_folder`` or ``background_folder``."""
    name: str
    """As the configuration has it."""
    files: tuple[OwnFile, ...]
    """In order of their hashes: what is drawn depends on contents alone."""
    copies: int
    """Files of the same content as one that is kept."""
    held_out: int
    """Files that are samples of the validation or test part, and are left out."""
    strays: Mapping[str, int]
    """Files of another kind, by suffix."""

    @property
    def sha256(self) -> str:
        """Hash over the contents, independent of names and order."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(bytes.fromhex(file.sha256))
        return digest.hexdigest()

    def said(self) -> str:
        """Return what training says of it."""
        counts = ((self.held_out, "validation or test samples"), (self.copies, "copies of others"))
        left_out = [f"{count} as {what}" for count, what in counts if count]
        left_out += [f"{count} {suffix or 'without suffix'}" for suffix, count in sorted(self.strays.items())]
        more = f"; left out: {', '.join(left_out)}" if left_out else ""
        return (
            f"{self.key} {printable(self.name)}: {len(self.files)} file{'s' * (len(self.files) != 1)}{more}"
        )


def own_folders(options: Augment, root: Path, parts: Mapping[Part, Sequence[Sample]]) -> dict[str, OwnFolder]:
    """List what the folders hold that ``[augment]`` names, by its key; nothing of validation and test.

    Raises:
        InputError: As :func:`list_own_folder`.
        LinkError: A file cannot be read.
    """
    if isinstance(options, ImageAugment):
        key, name = "background_folder", options.background_folder
    else:
        key, name = "noise_folder", options.noise_folder
    if name is None:
        return {}
    held_out = {sample.sha256 for part in PARTS if part != "train" for sample in parts[part]}
    return {key: list_own_folder(key, name, root, held_out)}


def list_own_folder(key: str, name: str, root: Path, held_out: Collection[str]) -> OwnFolder:
    """List and hash a folder of recordings (``noise_folder``) or pictures (``background_folder``).

    Every content counts once.

    Args:
        key: Of the configuration.
        name: The folder, relative to ``root``.
        root: Where the configuration lies.
        held_out: Hashes of files that training must not see.

    Raises:
        InputError: DATA_BAD; it is no folder, or nothing of use is in it. AUDIO_UNREADABLE, IMAGE_TOO_BIG.
        LinkError: A file cannot be read.
    """
    pictures = key == "background_folder"
    suffixes = IMAGE_SUFFIXES if pictures else AUDIO_SUFFIXES
    folder = root / name
    if not folder.is_dir():
        raise InputError(
            Reason.DATA_BAD,
            f"[augment] {key}: {folder} is not a folder",
            hint="it is relative to the configuration file",
        )
    strays: Counter[str] = Counter()
    found: dict[str, Path] = {}
    copies = 0
    left_out = 0
    for path in sorted(_files(folder)):
        if path.suffix.lower() not in suffixes:
            strays[path.suffix.lower()] += 1
            continue
        sha256 = file_sha256(path, pictures=pictures)
        if sha256 in held_out:
            left_out += 1
        elif sha256 in found:
            copies += 1
        else:
            if not pictures:
                open_sound(path).close()  # what is no sound is said now, not in the middle of a training
            found[sha256] = path
    if not found:
        what = "pictures" if pictures else "recordings"
        only = f"but {left_out} validation or test samples" if left_out else f"{what} ({folder})"
        raise InputError(
            Reason.DATA_BAD,
            f"[augment] {key} holds no {only}",
            hint=f"put {what} there that are no samples of the data set",
        )
    files = tuple(OwnFile(path, sha256) for sha256, path in sorted(found.items()))
    return OwnFolder(key, name, files, copies, left_out, strays)


def _files(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise disk_error(error, f"read {error.filename}") from error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent) / name for name in names if not name.startswith("."))
