"""Where the recordings of all taps lie: their names, and room for them within the settings."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

from galago_edge.contract.attachment import moment_of
from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.settings import RecordingSettings
from galago_edge.host.file_replacement import FileEffects
from galago_edge.host.own_folders import entries_of, own_folder, status_of
from galago_edge.host.private_modes import make_private_folder

RECORDINGS = "recordings"
"""The folder, below the store's root."""
SUFFIX = ".mcap"
_NAME = re.compile(r"([0-9]{8}T[0-9]{9}Z-[A-Za-z0-9_.-]{1,80}\.mcap)(?:\.[A-Za-z0-9]+)?")
"""A recording, and what lies beside it under its name: the checksum, the one that is being written."""
_MEGABYTE = 1_000_000
_NS_PER_DAY = 86_400 * 1_000_000_000
_FILES = 8
"""A recording is at most such a part of all: the oldest can go while the newest is written."""

STEP_BYTES = 4 * _MEGABYTE
"""Room is looked for before so much is written."""


class TapFolder:
    """Deletes the oldest recordings, and only what has the name of one. Any thread may use it."""

    def __init__(
        self,
        settings: RecordingSettings,
        root: Path,
        *,
        wall_ns: Callable[[], int] = time.time_ns,
        synced: Callable[[], bool] = lambda: True,
        keeps_all: bool = False,
    ) -> None:
        """Keep them in ``settings.dir``, or below ``root``, the store's folder.

        ``synced`` tells whether the wall clock is right. ``keeps_all``: nothing is ever deleted.
        """
        self.path = Path(settings.dir) if settings.dir else root / RECORDINGS
        self._settings = settings
        self._effects = FileEffects(*(() if settings.dir else (root,)))
        self._wall_ns, self._synced = wall_ns, synced
        self._keeps_all = keeps_all
        self._lock = threading.Lock()
        self._open: set[str] = set()
        self._known = (0, 0)
        self.deleted = 0
        """Recordings that had to go."""

    @property
    def max_bytes(self) -> int:
        """How large all of them may become."""
        return self._settings.max_mb * _MEGABYTE

    @property
    def most_of_one(self) -> int:
        """Bytes after which a recording ends and the next one begins."""
        return max(_MEGABYTE // 4, self.max_bytes // _FILES)

    def known(self) -> tuple[int, int]:
        """Return how many recordings there were when that was looked at last, and their size in bytes."""
        with self._lock:
            return self._known

    def begin(self, source: str) -> Path:
        """Return where a new recording of this source is to be written; it is not deleted before its end.

        Raises:
            OSError, GalagoError: There is no room, or no folder.
        """
        self.make_room()
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", source)[:60] or "source"
        with self._lock:
            base = f"{moment_of(self._wall_ns())}-{plain}"
            names, number = {*self._groups(), *self._open}, 1
            name = f"{base}{SUFFIX}"
            while name in names:
                number += 1
                name = f"{base}-{number}{SUFFIX}"
            self._open.add(name)
        return self.path / name

    def end(self, path: Path) -> None:
        """Note that a recording is written no more."""
        with self._lock:
            self._open.discard(path.name)
            with contextlib.suppress(OSError):
                self._groups()

    def make_room(self) -> None:
        """Delete what is too old, and the oldest until there is room for :data:`STEP_BYTES` more.

        Raises:
            LinkError: NO_SPACE; there is no room although nothing more can be deleted.
            OSError: The folder cannot be made or read.
        """
        with self._lock:
            if status_of(self.path, self._effects.roots) is None:
                make_private_folder(self.path, self._effects.roots)
            groups = self._groups()
            for name in self._outdated(groups):
                self._delete(name, groups)
            keep_free = self._settings.keep_free_mb * _MEGABYTE
            step = min(STEP_BYTES, self.max_bytes // _FILES)
            while self._known[1] + step > self.max_bytes or (free := self._free()) < keep_free + step:
                oldest = next((name for name in sorted(groups) if self._may_go(name)), None)
                if oldest is None:
                    if self._known[1] + step > self.max_bytes:
                        raise _no_room(f"max_mb = {self._settings.max_mb} is little for those being written")
                    raise _no_room(f"only {free // _MEGABYTE} MB are free on its disk")
                self._delete(oldest, groups)

    def _outdated(self, groups: dict[str, dict[str, int]]) -> list[str]:
        """Return those older than the settings allow; none while the clock may be wrong."""
        if not self._settings.max_days or not self._synced():
            return []
        oldest = moment_of(self._wall_ns() - self._settings.max_days * _NS_PER_DAY)
        return [name for name in groups if name[: len(oldest)] < oldest and self._may_go(name)]

    def _may_go(self, name: str) -> bool:
        return not self._keeps_all and name not in self._open

    def _groups(self) -> dict[str, dict[str, int]]:
        """Return the size of every file of each recording."""
        groups: dict[str, dict[str, int]] = {}
        for entry in entries_of(self.path, self._effects.roots):
            found = _NAME.fullmatch(entry.name) if entry.kind == "file" else None
            if found is not None:
                groups.setdefault(found[1], {})[entry.name] = entry.size_bytes
        self._note(groups)
        return groups

    def _note(self, groups: dict[str, dict[str, int]]) -> None:
        self._known = len(groups), sum(sum(files.values()) for files in groups.values())

    def _delete(self, name: str, groups: dict[str, dict[str, int]]) -> None:
        for file in groups.pop(name):
            with contextlib.suppress(FileNotFoundError):  # somebody has removed it
                self._effects.unlink(self.path / file)
        self._note(groups)
        self.deleted += 1

    def _free(self) -> int:
        with own_folder(self.path, self._effects.roots, os.O_RDONLY) as folder:
            disk = os.statvfs(folder)
        return disk.f_bavail * disk.f_frsize


def _no_room(why: str) -> LinkError:
    return LinkError(
        Reason.NO_SPACE, f"there is no room for recordings: {why}", hint="free some, or change [recording]"
    )
