"""One hash of a recording's content, so that records say what they are about."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from galago_edge.contract.errors import disk_error
from galago_edge.sources.address import IMAGE_SUFFIXES
from galago_edge.sources.picture_times import TIMES_NAME


def recording_sha256(path: Path) -> str | None:
    """Return the SHA-256 of a recording, in hexadecimal; None for what cannot be read twice.

    Of a file: of its bytes. Of a folder: of one line ``SHA256  NAME`` for each picture and for ``times.csv``,
    ordered by the bytes of the names, as ``sha256sum * | LC_ALL=C sort -k 2 | sha256sum`` gives it where the
    folder holds nothing else.

    Raises:
        LinkError: The disk fails.
    """
    try:
        if path.is_dir():
            return _folder_sha256(path)
        return _file_sha256(path) if path.is_file() else None
    except OSError as error:
        raise disk_error(error, f"read {path}") from error


def recording_files(path: Path) -> list[Path]:
    """Return the files whose content the hash of a recording is of, in its order; a file is its own.

    Raises:
        OSError: The disk fails.
    """
    if not path.is_dir():
        return [path]
    names = sorted(
        os.fsencode(entry.name)
        for entry in os.scandir(path)
        if (Path(entry.name).suffix.lower() in IMAGE_SUFFIXES or entry.name == TIMES_NAME) and entry.is_file()
    )
    return [path / os.fsdecode(name) for name in names]


def _folder_sha256(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in recording_files(folder):
        digest.update(_file_sha256(file).encode() + b"  " + os.fsencode(file.name) + b"\n")
    return digest.hexdigest()


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
