"""Every effect that spool and log have on a disk, in one place, so that tests can make any of them fail.

Methods raise OSError. Nothing here knows what the bytes mean.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from galago_edge.host.private_modes import make_private_folder, open_private

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Disk:
    """The real thing: POSIX calls and nothing else."""

    def make_folder(self, path: Path) -> None:
        """Make the folder and those above it, unless they are there."""
        make_private_folder(path)

    def lock(self, folder: Path) -> int:
        """Lock a folder without waiting and without writing; return the descriptor that holds the lock.

        The lock ends with the descriptor, so with the process too. BlockingIOError: somebody has it.
        """
        fd = os.open(folder, _FOLDER)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:  # an interruption, too, must leave no descriptor open
            os.close(fd)
            raise
        return fd

    def names(self, folder: Path) -> list[str]:
        """Return the names in a folder, sorted."""
        return sorted(os.listdir(folder))  # noqa: PTH208 (names, not paths: a strange one must not matter)

    def create(self, path: Path) -> int:
        """Make a file that did not exist; return a descriptor to read and write it."""
        return os.open(path, _NEW, 0o600)

    def open(self, path: Path) -> int:
        """Open a file that exists to read and write it."""
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)

    def open_to_read(self, path: Path) -> int:
        """Open a file that exists to read it."""
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def open_to_append(self, path: Path) -> int:
        """Open a file, made if needed, to write at its end; a pipe that nobody reads is an error at once."""
        return open_private(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write at the end of the file what goes in one call; return how many bytes that were."""
        return os.write(fd, data)

    def write_at(self, fd: int, data: bytes, offset: int) -> None:
        """Write all of ``data`` at ``offset``."""
        if os.pwrite(fd, data, offset) != len(data):
            raise OSError(28, os.strerror(28))  # a regular file takes all, or there is no space

    def read_at(self, fd: int, size: int, offset: int) -> bytes:
        """Return at most ``size`` bytes from ``offset``."""
        return os.pread(fd, size, offset)

    def size(self, fd: int) -> int:
        """Return the length of an open file in bytes."""
        return os.fstat(fd).st_size

    def truncate(self, fd: int, size: int) -> None:
        """Cut an open file and go to its end."""
        os.ftruncate(fd, size)
        os.lseek(fd, size, os.SEEK_SET)

    def sync(self, fd: int) -> None:
        """Wait until the file's content is on the disk."""
        os.fdatasync(fd)

    def sync_folder(self, path: Path) -> None:
        """Wait until the names in a folder are on the disk."""
        fd = os.open(path, _FOLDER)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        """Rename; a file that lies at ``target`` is replaced in one step."""
        source.rename(target)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()
