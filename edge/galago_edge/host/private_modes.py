"""Permissions of what a service writes about people: for its user and its group, whatever the umask.

Logs and samples say who was where and when. The umask of whoever starts the service decides nothing here:
with 000 everybody could read and change them, with 077 the group that is meant to could not.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

FILE_MODE = 0o640
FOLDER_MODE = 0o750


def make_private_folder(path: Path) -> None:
    """Make the folder and those above it with ``FOLDER_MODE``; what is there already stays as it is.

    Raises:
        OSError: It cannot be made.
    """
    if path.is_dir():
        return
    if path.parent != path:
        make_private_folder(path.parent)
    try:
        path.mkdir(FOLDER_MODE)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    with contextlib.suppress(OSError):  # a file system without permissions
        inherited = stat.S_IMODE(path.stat().st_mode) & stat.S_ISGID
        path.chmod(FOLDER_MODE | inherited)


def open_private(path: Path, flags: int) -> int:
    """Open a file, made with ``FILE_MODE`` unless it is there; what is there already stays as it is.

    Raises:
        OSError: It cannot be opened or made.
    """
    try:
        fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, FILE_MODE)
    except FileExistsError:
        return os.open(path, flags | os.O_CREAT, FILE_MODE)
    with contextlib.suppress(OSError):  # a file system without permissions
        os.fchmod(fd, FILE_MODE)
    return fd
