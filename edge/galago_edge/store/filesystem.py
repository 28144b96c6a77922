"""Every effect that the store has on a disk goes through :class:`StoreFs`, so that tests can record
them, make any one of them fail, and play what a power cut would leave.

Methods raise OSError; the store turns it into one message. No method follows a link in the last part
of its path.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from galago_edge.host.file_replacement import FileEffects

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


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
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            _as_parent(path)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:  # an interruption, too, must leave no descriptor open
            os.close(fd)
            raise
        return fd

    def hold(self, path: Path) -> int:
        """Say that a folder is in use, until the descriptor that is returned is closed."""
        fd = os.open(path, _FOLDER)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH)  # waits while it is being removed: claim
        except BaseException:  # an interruption, too, must leave no descriptor open
            os.close(fd)
            raise
        return fd

    def claim(self, path: Path) -> int | None:
        """Let nobody hold a folder until the descriptor is closed; None when a process holds it already."""
        fd = os.open(path, _FOLDER)
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
        path.mkdir(mode)
        _as_parent(path)

    def create(self, path: Path) -> int:
        """Make a file that did not exist and that is its owner's alone; return a descriptor to write it."""
        return os.open(path, _NEW, 0o600)

    def allocate(self, fd: int, size: int) -> None:
        """Reserve the space now, so that a full disk shows before anything is written."""
        if size and sys.platform == "linux":  # the call refuses 0
            try:
                os.posix_fallocate(fd, 0, size)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise  # else this file system cannot reserve, and writing will show

    def fsync_dir(self, path: Path) -> None:
        """Wait until the names in a folder are on the disk."""
        fd = os.open(path, _FOLDER)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def forget_cache(self, path: Path) -> None:
        """Ask the kernel to drop what it holds of a file, so that reading it reads the disk."""
        fd = os.open(path, _FILE)
        try:
            if sys.platform == "linux":
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)

    def rmdir(self, path: Path) -> None:
        """Remove an empty folder."""
        path.rmdir()

    def read(self, path: Path, limit: int) -> bytes | None:
        """Return at most ``limit`` bytes of a file, None when there is no such file."""
        try:
            fd = os.open(path, _FILE)
        except FileNotFoundError:
            return None
        with os.fdopen(fd, "rb") as file:
            return file.read(limit)

    def free(self, path: Path) -> Free:
        """Return what is left on the file system of ``path``."""
        status = os.statvfs(path)
        return Free(status.f_bavail * status.f_frsize, status.f_favail if status.f_files else None)


def _as_parent(path: Path) -> None:
    """Give what root makes to the owner of the store, or the service could not change it any more."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        if (owner.st_uid, owner.st_gid) != (0, 0):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
