"""Every effect that spool and log have on a disk, in one place, so that tests can make any of them fail.

Methods raise OSError. Nothing here knows what the bytes mean. Below ``roots`` no link is followed
(``own_folders``).
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from galago_edge.host.own_folders import open_file, open_folder, own_folder, own_place
from galago_edge.host.private_modes import make_private_folder, open_private


class Disk:
    """The real thing: POSIX calls and nothing else."""

    roots: frozenset[Path] = frozenset()

    def __init__(self, *roots: Path) -> None:
        self.roots = frozenset(roots)

    def make_folder(self, path: Path) -> None:
        """Make the folder and those above it, unless they are there."""
        make_private_folder(path, self.roots)

    def lock(self, folder: Path) -> int:
        """Lock a folder without waiting and without writing; return the descriptor that holds the lock.

        The lock ends with the descriptor, so with the process too. BlockingIOError: somebody has it.
        """
        fd = open_folder(folder, self.roots, os.O_RDONLY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:  # an interruption, too, must leave no descriptor open
            os.close(fd)
            raise
        return fd

    def names(self, folder: Path) -> list[str]:
        """Return the names in a folder, sorted."""
        with own_folder(folder, self.roots, os.O_RDONLY) as opened:
            return sorted(os.listdir(opened))  # noqa: PTH208 (a descriptor is no path)

    def create(self, path: Path) -> int:
        """Make a file that did not exist; return a descriptor to read and write it."""
        return open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, self.roots)

    def open(self, path: Path) -> int:
        """Open a file that exists to read and write it."""
        return open_file(path, os.O_RDWR, self.roots)

    def open_to_read(self, path: Path) -> int:
        """Open a file that exists to read it."""
        return open_file(path, os.O_RDONLY, self.roots)

    def open_to_append(self, path: Path) -> int:
        """Open a file, made if needed, to write at its end; a pipe that nobody reads is an error at once.

        Outside ``roots`` its name may be a link: a person chose the place.
        """
        return open_private(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC, self.roots)

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
        with own_folder(path, self.roots, os.O_RDONLY) as folder:
            os.fsync(folder)

    def rename(self, source: Path, target: Path) -> None:
        """Rename; a file that lies at ``target`` is replaced in one step."""
        with (
            own_place(source, self.roots) as (old, old_folder),
            own_place(target, self.roots) as (new, folder),
        ):
            os.rename(old, new, src_dir_fd=old_folder, dst_dir_fd=folder)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        with own_place(path, self.roots) as (name, folder):
            os.unlink(name, dir_fd=folder)
