"""Small files that are the old one or the new one, never a part: written aside, then moved to their place.

The sequence stands here and nowhere else: make a new file beside the old one, write it, wait for the disk
where that is promised, rename it over the old one, wait for the folder where that is promised. What it does
to a disk goes through :class:`FileEffects`, so that the store's tests can record each step and cut the power
behind it.
"""

from __future__ import annotations

import contextlib
import enum
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from galago_edge.host.own_folders import open_file, own_folder, own_place

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL


class Durable(enum.Enum):
    """What a replacement promises for a power cut. For other programs it is one step in any case."""

    NO = "no"
    """After a power cut the file may be the old one, the new one, or empty."""
    WHOLE = "whole"
    """After a power cut the file is the old one or the new one."""
    LASTING = "lasting"
    """It is the new one as soon as the call has returned."""


class FileEffects:
    """What replacing a file does to a disk: POSIX calls and nothing else.

    Methods raise OSError. A file's own name is never followed as a link, and below ``roots`` no folder's
    name is either (``own_folders``).
    """

    roots: frozenset[Path] = frozenset()

    def __init__(self, *roots: Path) -> None:
        self.roots = frozenset(roots)

    def create(self, path: Path) -> int:
        """Make a file that did not exist; return a descriptor to write it."""
        return open_file(path, NEW_FILE, self.roots, 0o666)

    def write(self, fd: int, data: bytes) -> None:
        """Write all of ``data``."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]

    def chmod(self, fd: int, mode: int) -> None:
        """Set the permission bits of an open file."""
        os.fchmod(fd, mode)

    def fsync(self, fd: int) -> None:
        """Wait until the file's content is on the disk."""
        os.fsync(fd)

    def close(self, fd: int) -> None:
        """Close a descriptor; some file systems tell of a failed write only here."""
        os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        """Rename; a file that lies at ``target`` is replaced in one step."""
        with (
            own_place(source, self.roots) as (old, old_folder),
            own_place(target, self.roots) as (new, folder),
        ):
            os.rename(old, new, src_dir_fd=old_folder, dst_dir_fd=folder)

    def unlink(self, path: Path) -> None:
        """Remove a file or a link."""
        with own_place(path, self.roots) as (name, folder):
            os.unlink(name, dir_fd=folder)

    def fsync_dir(self, path: Path) -> None:
        """Wait until the names in a folder are on the disk."""
        with own_folder(path, self.roots, os.O_RDONLY) as folder:
            os.fsync(folder)


_POSIX = FileEffects()


def new_name_beside(path: Path) -> Path:
    """Return a hidden name beside ``path`` that nobody else has, for what will take its place."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")


def replace_file(
    path: Path,
    data: bytes,
    *,
    durable: Durable,
    mode: int | None = None,
    temporary: Path | None = None,
    effects: FileEffects = _POSIX,
) -> None:
    """Put ``data`` at ``path`` in one step; when it fails, what was there before is untouched.

    Args:
        path: The file, in a folder that is there.
        data: Its whole content.
        durable: What a power cut may leave.
        mode: Its permission bits; None: what a new file gets.
        temporary: Where it is written first, on the same file system, for an owner who clears such names
            away or wants only one; None: a new name beside ``path``.
        effects: What touches the disk.

    Raises:
        OSError: The disk refuses.
    """
    with replacement(path, durable=durable, temporary=temporary, effects=effects) as new:
        write_new(new, data, synced=durable is not Durable.NO, mode=mode, effects=effects)


@contextlib.contextmanager
def replacement(
    path: Path,
    *,
    durable: Durable,
    temporary: Path | None = None,
    effects: FileEffects = _POSIX,
) -> Iterator[Path]:
    """Give a path whose file takes the place of ``path`` when the block ends well, and goes when it does not.

    For content that is not one ``bytes``, or that is looked at before it counts. The block makes the file
    and, unless ``durable`` is ``Durable.NO``, syncs it.

    Raises:
        OSError: The disk refuses. It names ``path``.
    """
    new = temporary or new_name_beside(path)
    try:
        yield new
        effects.rename(new, path)
    except BaseException as error:  # an interruption, too, must leave no half file
        with contextlib.suppress(OSError):
            effects.unlink(new)
        if isinstance(error, OSError) and error.filename in (new, str(new)):
            error.filename, error.filename2 = str(path), None
        raise
    if durable is Durable.LASTING:
        effects.fsync_dir(path.parent)


def write_new(
    path: Path, data: bytes, *, synced: bool, mode: int | None = None, effects: FileEffects = _POSIX
) -> None:
    """Make a file and write it; one that a killed process left there goes first.

    ``synced``: wait until it is on the disk.

    Raises:
        OSError: The disk refuses; a part of the file may be there.
    """
    try:
        fd = effects.create(path)
    except FileExistsError:
        effects.unlink(path)
        fd = effects.create(path)
    try:
        effects.write(fd, data)
        if mode is not None:
            effects.chmod(fd, mode)
        if synced:
            effects.fsync(fd)
    except BaseException:  # an interruption, too, must leave no descriptor open
        with contextlib.suppress(OSError):
            effects.close(fd)
        raise
    effects.close(fd)
