"""Folders below a root that another user may write: opened by descriptor, and no link is followed.

The service's user owns its store, and root works in it too. Were a folder of the store a link, root would
move and delete what lies behind it. So each folder below a root is opened from the one that holds it, must be
no link, and must belong to the owner of the root, to root, or to whoever asks; anything else is
:class:`~galago_edge.contract.errors.NotOwnError`. The root itself and what lies above it are the system's:
there links are followed.

``roots`` are the roots that hold; a path below none of them is opened as it stands.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from galago_edge.contract.errors import NotOwnError

_FOLDER = os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class FolderEntry:
    """One name in a folder, no link followed."""

    name: str
    kind: Literal["folder", "file", "other"]
    """``other``: a link, a pipe, a socket or a device."""
    size_bytes: int


def open_folder(path: Path, roots: Collection[Path], flags: int = os.O_PATH) -> int:
    """Open a folder; the caller closes the descriptor. ``flags``: ``os.O_RDONLY`` to list, lock or sync it.

    Raises:
        NotOwnError: It, or a folder on the way, is a link, no folder, or belongs to another user.
        OSError: It cannot be opened; FileNotFoundError where there is none.
    """
    root = _root_of(path, roots)
    if root is None:
        return os.open(path, flags | _FOLDER)
    names = path.relative_to(root).parts
    fd = os.open(root, (os.O_PATH if names else flags) | _FOLDER)
    try:
        owners = {os.fstat(fd).st_uid, 0, os.geteuid()} if names else set()
        for number, name in enumerate(names, start=1):
            here = root.joinpath(*names[:number])
            inner = _open_inner(name, fd, flags if number == len(names) else os.O_PATH, here)
            fd, outer = inner, fd
            _close(outer)
            _check_owner(fd, here, owners)
    except BaseException:  # an interruption, too, must leave no descriptor open
        _close(fd)
        raise
    return fd


@contextlib.contextmanager
def own_folder(path: Path, roots: Collection[Path], flags: int = os.O_PATH) -> Iterator[int]:
    """Give the descriptor of a folder for the ``with`` block.

    Raises:
        OSError: As :func:`open_folder`.
    """
    fd = open_folder(path, roots, flags)
    try:
        yield fd
    finally:
        _close(fd)


@contextlib.contextmanager
def own_place(path: Path, roots: Collection[Path]) -> Iterator[tuple[str, int | None]]:
    """Give the name and the ``dir_fd`` by which what lies at ``path`` is to be reached.

    Raises:
        OSError: As :func:`open_folder`, of the folder that holds it.
    """
    if _root_of(path, roots) in (None, path):
        yield os.fspath(path), None
    else:
        with own_folder(path.parent, roots) as folder:
            yield path.name, folder


def open_file(path: Path, flags: int, roots: Collection[Path], mode: int = 0o600) -> int:
    """Open or make a file; its own name is not followed either, whatever ``roots`` are.

    Raises:
        NotOwnError: It is a link, or lies behind one.
        OSError: It cannot be opened.
    """
    with own_place(path, roots) as (name, folder):
        try:
            return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=folder)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise NotOwnError(path, "is a link, a file of the store's own is expected") from None


def status_of(path: Path, roots: Collection[Path]) -> os.stat_result | None:
    """Return what lies at ``path``, a link itself and not what it names; None when nothing does.

    Raises:
        OSError: As :func:`open_folder`, of the folder that holds it.
    """
    try:
        with own_place(path, roots) as (name, folder):
            return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def entries_of(path: Path, roots: Collection[Path]) -> list[FolderEntry]:
    """Return what is in a folder, by name; nothing when there is no such folder.

    Raises:
        OSError: As :func:`open_folder`.
    """
    try:
        with own_folder(path, roots, os.O_RDONLY) as folder, os.scandir(folder) as found:
            return sorted(filter(None, map(_entry, found)), key=lambda entry: entry.name)
    except FileNotFoundError:
        return []


def _entry(found: os.DirEntry[str]) -> FolderEntry | None:
    try:
        status = found.stat(follow_symlinks=False)
    except FileNotFoundError:  # gone meanwhile
        return None
    mode = status.st_mode
    kind: Literal["folder", "file", "other"] = (
        "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"
    )
    return FolderEntry(found.name, kind, status.st_size)


def _root_of(path: Path, roots: Collection[Path]) -> Path | None:
    return max(
        (root for root in roots if path.is_relative_to(root)), key=lambda r: len(r.parts), default=None
    )


def _open_inner(name: str, folder: int, flags: int, here: Path) -> int:
    if name == "..":
        raise NotOwnError(here, "leads out of the store")
    try:
        return os.open(name, flags | _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        is_link = stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
        met = "is a link" if is_link else "is no folder"
        raise NotOwnError(here, f"{met}, a folder of the store's own is expected") from None


def _check_owner(fd: int, here: Path, owners: set[int]) -> None:
    owner = os.fstat(fd).st_uid
    if owner not in owners:
        raise NotOwnError(here, f"belongs to user {owner}, a folder of the store's own is expected")


def _close(fd: int) -> None:
    with contextlib.suppress(OSError):  # nothing was written through it
        os.close(fd)
