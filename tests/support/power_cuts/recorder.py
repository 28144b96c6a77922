"""A StoreFs that does its work for real and writes down every effect, for the model of power cuts.

What the store reads it reads from the real folder; nothing is ever waited for, because what reaches
the disk is decided by the model. A mutant leaves out one statement of the store: its syncs are then not
written down, its renames not done at all.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from galago_edge.host import file_replacement
from galago_edge.store.filesystem import StoreFs

STORE_FOLDER = Path(sys.modules[StoreFs.__module__].__file__ or "").parent
_NOT_THE_STORE = (__file__, file_replacement.__file__, contextlib.__file__)


@dataclass(frozen=True, slots=True, order=True)
class Site:
    """One statement of the store that calls its StoreFs."""

    module: str
    line: int
    call: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line} {self.call}"


@dataclass(frozen=True, slots=True)
class Link:
    """A name that came into a folder: mkdir or create."""

    folder: int
    name: str
    node: int
    is_folder: bool
    site: Site


@dataclass(frozen=True, slots=True)
class Unlink:
    """A name that left a folder: unlink or rmdir."""

    folder: int
    name: str
    site: Site


@dataclass(frozen=True, slots=True)
class Rename:
    """A name that became another one, in the same folder or in another."""

    source_folder: int
    source: str
    folder: int
    name: str
    node: int
    site: Site


@dataclass(frozen=True, slots=True)
class Content:
    """A file's whole content after it was changed."""

    node: int
    data: bytes
    site: Site


@dataclass(frozen=True, slots=True)
class Sync:
    """From here on what was done to this file or folder before is on the disk."""

    node: int
    site: Site


Effect: TypeAlias = Link | Unlink | Rename | Content | Sync


@dataclass(slots=True)
class Tree:
    """Folders and files by number, so that a file keeps its identity whatever its name."""

    files: dict[int, bytes] = field(default_factory=dict)
    folders: dict[int, dict[str, int]] = field(default_factory=dict)
    top: int = 0

    @classmethod
    def read(cls, top: Path) -> Tree:
        """Return what lies under ``top``, which gets the number 0."""
        tree = cls()

        def add(path: Path) -> int:
            number = len(tree.files) + len(tree.folders)
            if path.is_dir() and not path.is_symlink():
                tree.folders[number] = entries = {}
                for child in sorted(path.iterdir()):
                    entries[child.name] = add(child)
            else:
                tree.files[number] = path.read_bytes()
            return number

        add(top)
        return tree


@dataclass(frozen=True, slots=True)
class Recording:
    """What lay on the disk before, and every effect since, in order."""

    before: Tree
    effects: tuple[Effect, ...]

    def without(self, site: Site) -> Recording:
        """Return the recording of a store that lacks this sync: nothing else differs."""
        left = tuple(one for one in self.effects if not (isinstance(one, Sync) and one.site == site))
        return Recording(self.before, left)


class KilledError(BaseException):
    """The process was killed: nothing that would clean up may catch it."""


class Recorder(StoreFs):
    """Records what happens under ``top``.

    ``without``: a rename of the store that is not done.
    ``kill_after``: with so many effects the process dies. Another one may go on with this recorder after
    :meth:`revive`; what the dead one had not synced is in doubt still.
    """

    def __init__(self, top: Path, without: Site | None = None, kill_after: int | None = None) -> None:
        self._top = top
        self._kill_after = kill_after
        self._descriptors: set[int] = set()
        self._without = without
        self._before = Tree.read(top)
        self._folders = {number: dict(names) for number, names in self._before.folders.items()}
        self._files = dict(self._before.files)
        self._next = len(self._folders) + len(self._files)
        self._open: dict[int, tuple[int, int]] = {}
        self.effects: list[Effect] = []

    def recording(self) -> Recording:
        """Return what was recorded so far."""
        return Recording(self._before, tuple(self.effects))

    def revive(self) -> None:
        """Let a new process work."""
        self._kill_after = None

    def lock(self, path: Path) -> int:
        """Lock for real; the file's name is one that may be lost."""
        self._live()
        folder, name = self._place(path)
        new = name not in self._folders[folder]
        fd = super().lock(path)
        self._descriptors.add(fd)
        if new:
            self._link(folder, name, self._new_file())
        return fd

    def claim(self, path: Path) -> int | None:
        """Claim for real; a killed process lets go."""
        self._live()
        fd = super().claim(path)
        if fd is not None:
            self._descriptors.add(fd)
        return fd

    def mkdir(self, path: Path, mode: int = 0o755) -> None:
        """Make a folder."""
        self._live()
        super().mkdir(path, mode)
        folder, name = self._place(path)
        node = self._next
        self._next += 1
        self._folders[node] = {}
        self._link(folder, name, node, is_folder=True)

    def create(self, path: Path) -> int:
        """Make a file."""
        self._live()
        fd = super().create(path)
        self._descriptors.add(fd)
        folder, name = self._place(path)
        node = self._new_file()
        self._link(folder, name, node)
        self._open[fd] = (node, 0)
        return fd

    def allocate(self, fd: int, size: int) -> None:
        """Reserve zeros."""
        self._live()
        super().allocate(fd, size)
        node, _ = self._open[fd]
        self._change(node, self._files[node].ljust(size, b"\0"))

    def write(self, fd: int, data: bytes) -> None:
        """Write behind what was written."""
        self._live()
        super().write(fd, data)
        node, at = self._open[fd]
        old = self._files[node]
        self._open[fd] = (node, at + len(data))
        self._change(node, old[:at] + bytes(data) + old[at + len(data) :])

    def fsync(self, fd: int) -> None:
        """Promise the content."""
        self._live()
        self.effects.append(Sync(self._open[fd][0], _site()))

    def fsync_dir(self, path: Path) -> None:
        """Promise the names; a folder above the top is none of ours."""
        self._live()
        if path == self._top or self._top in path.parents:
            self.effects.append(Sync(self._at(path), _site()))

    def close(self, fd: int) -> None:
        """Close it."""
        self._live()
        super().close(fd)
        self._descriptors.discard(fd)
        self._open.pop(fd, None)

    def forget_cache(self, path: Path) -> None:
        """Do nothing: reading is real."""

    def rename(self, source: Path, target: Path) -> None:
        """Rename."""
        self._live()
        site = _site()
        if site == self._without:
            return
        super().rename(source, target)
        source_folder, old = self._place(source)
        folder, new = self._place(target)
        node = self._folders[source_folder].pop(old)
        self._folders[folder][new] = node
        self.effects.append(Rename(source_folder, old, folder, new, node, site))

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        self._live()
        super().unlink(path)
        self._unlink(path)

    def rmdir(self, path: Path) -> None:
        """Remove a folder."""
        self._live()
        super().rmdir(path)
        self._unlink(path)

    def _live(self) -> None:
        """Die when it is time; the kernel closes what a dead process had open."""
        if self._kill_after is not None and len(self.effects) >= self._kill_after:
            for fd in self._descriptors:
                os.close(fd)
            self._descriptors.clear()
            raise KilledError

    def _unlink(self, path: Path) -> None:
        folder, name = self._place(path)
        del self._folders[folder][name]
        self.effects.append(Unlink(folder, name, _site()))

    def _new_file(self) -> int:
        node = self._next
        self._next += 1
        self._files[node] = b""
        return node

    def _link(self, folder: int, name: str, node: int, *, is_folder: bool = False) -> None:
        self._folders[folder][name] = node
        self.effects.append(Link(folder, name, node, is_folder, _site()))

    def _change(self, node: int, data: bytes) -> None:
        if data != self._files[node]:
            self._files[node] = data
            self.effects.append(Content(node, data, _site()))

    def _place(self, path: Path) -> tuple[int, str]:
        return self._at(path.parent), path.name

    def _at(self, path: Path) -> int:
        node = 0
        for name in path.relative_to(self._top).parts:
            node = self._folders[node][name]
        return node


class QuickFs(StoreFs):
    """The real thing that waits for no disk: for what happens after the cut."""

    def fsync(self, fd: int) -> None:
        """Do nothing."""

    def fsync_dir(self, path: Path) -> None:
        """Fail as the real one does when there is no such folder."""
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY))

    def forget_cache(self, path: Path) -> None:
        """Do nothing."""


def _site() -> Site:
    """Return the statement of the store that is being run.

    A file that the store replaces is a statement of the store, and each effect of it is one by itself.
    """
    frame, call = sys._getframe(1), ""
    while frame.f_code.co_filename in _NOT_THE_STORE:
        if frame.f_code.co_filename == __file__:
            call = frame.f_code.co_name
        assert frame.f_back is not None
        frame = frame.f_back
    return Site(Path(frame.f_code.co_filename).name, frame.f_lineno, call)
