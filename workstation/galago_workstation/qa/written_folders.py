"""What Galago itself has written among recordings, by its names and marks: results, runs and pages.

Whoever looks for recordings must not take them for some: a page holds sounds and pictures, and a folder of
results beside pictures makes a recording look like a folder of recordings.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

SHELF = re.compile(r"[0-9a-f]{2}")
"""Name of a folder in a folder of results."""
DIGEST = re.compile(r"[0-9a-f]{64}")
"""Name of a result."""
HALF = re.compile(r"\.[0-9a-f]{64}\..+")
"""Name of a result that is being written."""
PAGE_MARK = "galago-page.json"
"""A file that every folder of a page holds, by which it is known."""
_LISTS = {
    "recordings.json": b'"galago.recordings/',
    "run.json": b'"galago.replays/',
    PAGE_MARK: b'"galago.page/',
}
"""Files by which such folders are known, and what of their beginning no other program writes."""
_HEAD_BYTES = 200


def is_written(path: Path) -> bool:
    """Tell whether Galago has written a file or a folder of a corpus, and nobody has put more into it.

    A link is none, whatever it leads to.
    """
    try:
        if path.is_symlink():
            return False
        if not path.is_dir():
            return is_written_list(path)
        return _is_shelf(path) or is_written_list(path / PAGE_MARK) or _holds_only_written(path)
    except OSError:  # whoever reads it will say so
        return False


def is_written_list(path: Path) -> bool:
    """Tell whether a file is a list that Galago has written, by its name and its beginning.

    Raises:
        OSError: It cannot be read.
    """
    if (mark := _LISTS.get(path.name)) is None or not path.is_file():
        return False
    with path.open("rb") as file:
        return mark in file.read(_HEAD_BYTES)


def _is_shelf(folder: Path) -> bool:
    """Tell whether a folder holds results; a day may be called 01, too."""
    if not SHELF.fullmatch(folder.name):
        return False
    with os.scandir(folder) as entries:
        return any(
            (DIGEST.fullmatch(entry.name) and entry.name[:2] == folder.name) or HALF.fullmatch(entry.name)
            for entry in entries
        )


def _holds_only_written(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".")]
    return bool(names) and all(is_written(folder / name) for name in names)
