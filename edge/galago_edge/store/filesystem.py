"""Every effect that the store has on a disk goes through :class:`StoreFs`, so that tests can record
them, make any one of them fail, and play what a power cut would leave.

Methods raise OSError; the store turns it into one message. No method follows a link in the last part of its
path, nor, below a store's root, in any part of it: the service's user may write there, and root works there.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from galago_edge.contract.errors import NotOwnError
from galago_edge.host.file_replacement import NEW_FILE, FileEffects
from galago_edge.host.own_folders import (
    FolderEntry,
    entries_of,
    open_file,
    open_folder,
    own_folder,
    own_place,
    status_of,
)

_FILE = os.O_RDONLY | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Free:
    """What is left on a file system for this user."""

    size_bytes: int
    files: int | None
    """None where the file system does not count them (btrfs, FAT)."""


class StoreFs(FileEffects):
    """The real thing, what replacing a file does among it: POSIX calls and nothing else."""

    def lock(self, path: Path) -> int:
        """Take the lock file, made if needed, without waiting; return its descriptor.

        The lock ends with the descriptor, so with the process too. BlockingIOError: somebody has it.
        """
        fd = open_file(path, os.O_RDWR | os.O_CREAT, self.roots)
        try:
            self._give(fd, path)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:  # an interruption, too, must leave no descriptor open
            os.close(fd)
            raise
        return fd

    def hold(self, path: Path) -> int:
        """Say that a folder is in use, until the descriptor that is returned is closed."""
        fd = open_folder(path, self.roots, os.O_RDONLY)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH)  # waits while it is being removed: claim
        except BaseException:  # an interruption, too, must leave no descriptor open
            os.close(fd)
            raise
        return fd

    def claim(self, path: Path) -> int | None:
        """Let nobody hold a folder until the descriptor is closed; None when a process holds it already."""
        fd = open_folder(path, self.roots, os.O_RDONLY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:  # an interruption, too, must leave no descriptor open
            os.close(fd)
            raise
        return fd

    def mkdir(self, path: Path, mode: int = 0o755) -> None:
        """Make one folder. Made by root, it belongs to the owner of the folder around it."""
        with own_place(path, self.roots) as (name, folder):
            os.mkdir(name, mode, dir_fd=folder)
        if os.geteuid() == 0:
            with own_folder(path, self.roots, os.O_RDONLY) as made:
                self._give(made, path)

    def create(self, path: Path) -> int:
        """Make a file that did not exist and that is its owner's alone; return a descriptor to write it."""
        return open_file(path, NEW_FILE, self.roots)

    def allocate(self, fd: int, size: int) -> None:
        """Reserve the space now, so that a full disk shows before anything is written."""
        if size and sys.platform == "linux":  # the call refuses 0
            try:
                os.posix_fallocate(fd, 0, size)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise  # else this file system cannot reserve, and writing will show

    def forget_cache(self, path: Path) -> None:
        """Ask the kernel to drop what it holds of a file, so that reading it reads the disk."""
        fd = open_file(path, _FILE, self.roots)
        try:
            if sys.platform == "linux":
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)

    def rmdir(self, path: Path) -> None:
        """Remove an empty folder."""
        with own_place(path, self.roots) as (name, folder):
            os.rmdir(name, dir_fd=folder)

    def read(self, path: Path, limit: int) -> bytes | None:
        """Return at most ``limit`` bytes of a file, None when there is no such file."""
        try:
            fd = open_file(path, _FILE, self.roots)
        except FileNotFoundError:
            return None
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise NotOwnError(path, "is no plain file, a file of the store's own is expected")
            return file.read(limit)

    def open(self, path: Path) -> int:
        """Open a file or a folder to read it; return its descriptor."""
        there = self.status(path)
        if there is not None and stat.S_ISDIR(there.st_mode):
            return open_folder(path, self.roots, os.O_RDONLY)
        return open_file(path, _FILE, self.roots)

    def status(self, path: Path) -> os.stat_result | None:
        """Return what lies there, a link too; None when nothing does."""
        return status_of(path, self.roots)

    def is_folder(self, path: Path) -> bool:
        """Tell whether a folder is there; what lies there and is no folder of the store's own is an error."""
        try:
            with own_folder(path, self.roots):
                return True
        except FileNotFoundError:
            return False

    def entries(self, path: Path) -> list[FolderEntry]:
        """Return what is in a folder, by name; nothing when there is no such folder."""
        return entries_of(path, self.roots)

    def free(self, path: Path) -> Free:
        """Return what is left on the file system of ``path``."""
        status = os.statvfs(path)
        return Free(status.f_bavail * status.f_frsize, status.f_favail if status.f_files else None)

    def _give(self, fd: int, path: Path) -> None:
        """Give what root makes to the owner of the store, or the service could not change it any more.

        A file with a second name may be one of another place.
        """
        if os.geteuid() != 0:
            return
        with own_folder(path.parent, self.roots) as folder:
            owner = os.fstat(folder)
        made = os.fstat(fd)
        is_ours = made.st_uid == 0 and (stat.S_ISDIR(made.st_mode) or made.st_nlink == 1)
        if is_ours and (owner.st_uid, owner.st_gid) != (0, 0):
            os.fchown(fd, owner.st_uid, owner.st_gid)
