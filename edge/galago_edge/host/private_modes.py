"""Permissions of what a service writes about people: for its user and its group, whatever the umask.

Logs and samples say who was where and when. The umask of whoever starts the service decides nothing here:
with 000 everybody could read and change them, with 077 the group that is meant to could not.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Collection
from pathlib import Path

from galago_edge.host.own_folders import open_folder, own_folder, own_place

FILE_MODE = 0o640
FOLDER_MODE = 0o750


def make_private_folder(path: Path, roots: Collection[Path] = ()) -> None:
    """Make the folder and those above it with ``FOLDER_MODE``; what is there already stays as it is.

    Below ``roots`` no link is followed (``own_folders``).

    Raises:
        OSError: It cannot be made.
    """
    try:
        os.close(open_folder(path, roots))
    except FileNotFoundError:
        if path.parent != path:
            make_private_folder(path.parent, roots)
    except NotADirectoryError:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
    else:
        return
    try:
        with own_place(path, roots) as (name, folder):
            os.mkdir(name, FOLDER_MODE, dir_fd=folder)
    except FileExistsError:
        os.close(open_folder(path, roots))  # made by another, or no folder
        return
    with contextlib.suppress(OSError), own_folder(path, roots, os.O_RDONLY) as made:
        os.fchmod(made, FOLDER_MODE | (os.fstat(made).st_mode & stat.S_ISGID))


def open_private(path: Path, flags: int, roots: Collection[Path] = ()) -> int:
    """Open a file, made with ``FILE_MODE`` unless it is there; what is there already stays as it is.

    Below ``roots`` no link is followed, its own name included.

    Raises:
        OSError: It cannot be opened or made.
    """
    with own_place(path, roots) as (name, folder):
        flags |= os.O_CREAT | (0 if folder is None else os.O_NOFOLLOW)
        try:
            fd = os.open(name, flags | os.O_EXCL, FILE_MODE, dir_fd=folder)
        except FileExistsError:
            return os.open(name, flags, FILE_MODE, dir_fd=folder)
    with contextlib.suppress(OSError):  # a file system without permissions
        os.fchmod(fd, FILE_MODE)
    return fd
