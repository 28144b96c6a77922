"""Which contents of a disk a power cut may leave, after the abstract persistence model of ALICE (OSDI 2014).

POSIX promises what was synced and nothing else, so after any number of effects:

* a file holds what it held at its last fsync; or, when it was written since, also: the new content,
  nothing, zeros of the new size, the first half, or the first half and zeros;
* a name that came, went or moved is certain when every folder concerned was synced afterwards; until then
  each such change is there or not, by itself, whatever came before or after it, in the same folder or in
  another. A file can so be lost, though its content was synced, and a rename can be there while the data
  is not;
* a rename is seen or not, or the file has both names. A ``torn`` disk (FAT; POSIX forbids it) may also have
  lost both, and what lay at the target.

A folder under two names is what a file system check repairs to one of them.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from power_cuts.recorder import Content, Effect, Link, Recording, Rename, Sync, Tree, Unlink

Fate: TypeAlias = Literal["lost", "kept", "both", "torn"]
Disk: TypeAlias = dict[str, bytes | None]
"""What lies on a disk: contents by path below the top, None for a folder."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A power cut and what it left."""

    after: int
    """How many effects had happened."""
    disk: Disk


@dataclass(frozen=True, slots=True)
class PowerCuts:
    """Enumerates the disks that a cut may leave.

    ``limit``: how many combinations of fates are played for one moment; all, when there are no more.
    Beyond it: all kept, all lost, each one and each two kept or lost against the rest, then a seeded choice.
    """

    limit: int = 4096
    torn: bool = False
    seed: int = 0

    def cuts(self, recording: Recording, *, first: int = 0) -> Iterator[Cut]:
        """Yield every disk for a cut after ``first`` effects, after one more, and so on to the end."""
        for after in range(first, len(recording.effects) + 1):
            for disk in self.disks(recording, after):
                yield Cut(after, disk)

    def disks(self, recording: Recording, after: int) -> Iterator[Disk]:
        """Yield the different disks for a cut after so many effects, the fullest and the barest first."""
        moment = _Moment(recording.before, recording.effects[:after])
        doubts = moment.doubts(self.torn)
        seen = set()
        for choice in self._choices([len(fates) for fates in doubts]):
            disk = moment.disk([fates[index] for fates, index in zip(doubts, choice, strict=True)])
            key = frozenset(disk.items())
            if key not in seen:
                seen.add(key)
                yield disk

    def _choices(self, sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """Yield which fate each doubt has: index 0 is the newest state, the last index the oldest."""
        total = 1
        for size in sizes:
            total *= size
        if total <= self.limit:
            yield from itertools.product(*(range(size) for size in sizes))
            return
        given: set[tuple[int, ...]] = set()
        for choice in itertools.islice(self._wide(sizes), 20 * self.limit):
            if choice not in given:
                given.add(choice)
                yield choice
                if len(given) == self.limit:
                    return

    def _wide(self, sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
        kept, lost = tuple(0 for _ in sizes), tuple(size - 1 for size in sizes)
        yield kept
        yield lost
        for together in (1, 2):
            for places in itertools.combinations(range(len(sizes)), together):
                for base in (kept, lost):
                    for values in itertools.product(*(range(sizes[place]) for place in places)):
                        changed = list(base)
                        for place, value in zip(places, values, strict=True):
                            changed[place] = value
                        yield tuple(changed)
        chance = random.Random(f"{self.seed} {len(sizes)}")
        while True:
            yield tuple(chance.randrange(size) for size in sizes)


@dataclass(frozen=True, slots=True)
class _Names:
    """A change of names that may be lost, and what became of it."""

    at: int
    fate: Fate


@dataclass(frozen=True, slots=True)
class _Data:
    """What a file may hold."""

    node: int
    data: bytes


class _Moment:
    """The effects up to a cut, split into what is certain and what is in doubt."""

    def __init__(self, before: Tree, effects: Sequence[Effect]) -> None:
        self._before = before
        self._effects = effects
        last_sync = {one.node: at for at, one in enumerate(effects) if isinstance(one, Sync)}
        self._doubtful = [
            at
            for at, one in enumerate(effects)
            if any(last_sync.get(folder, -1) < at for folder in _folders_of(one))
        ]
        self._folders = {*before.folders, *(o.node for o in effects if isinstance(o, Link) and o.is_folder)}
        self._safe = dict(before.files)
        self._versions: dict[int, list[bytes]] = {}
        for at, one in enumerate(effects):
            if isinstance(one, Link) and not one.is_folder:
                self._safe[one.node] = b""
            elif isinstance(one, Content):
                if at < last_sync.get(one.node, -1):
                    self._safe[one.node] = one.data
                else:
                    self._versions.setdefault(one.node, []).append(one.data)

    def doubts(self, torn: bool) -> list[list[_Names | _Data]]:
        """Return for each thing in doubt the fates it may have, the newest state first."""
        result: list[list[_Names | _Data]] = []
        for at in self._doubtful:
            fates: list[Fate] = ["kept", "lost"]
            one = self._effects[at]
            if isinstance(one, Rename):
                if one.node not in self._folders:
                    fates.insert(1, "both")
                if torn:
                    fates.insert(1, "torn")
            result.append([_Names(at, fate) for fate in fates])
        for node, versions in self._versions.items():
            new = versions[-1]
            half = new[: len(new) // 2]
            contents = [new, half, half.ljust(len(new), b"\0"), bytes(len(new)), b"", self._safe[node]]
            result.append([_Data(node, data) for data in dict.fromkeys(contents)])
        return result

    def disk(self, fates: Sequence[_Names | _Data]) -> Disk:
        """Return the disk on which each doubt has this fate."""
        of_names = {one.at: one.fate for one in fates if isinstance(one, _Names)}
        files = self._safe | {one.node: one.data for one in fates if isinstance(one, _Data)}
        folders = {node: dict(names) for node, names in self._before.folders.items()}
        for at, one in enumerate(self._effects):
            fate = of_names.get(at, "kept")
            if isinstance(one, Link) and fate == "kept":
                folders.setdefault(one.folder, {})[one.name] = one.node
            elif isinstance(one, Unlink) and fate == "kept":
                folders.setdefault(one.folder, {}).pop(one.name, None)
            elif isinstance(one, Rename):
                source, target = (folders.setdefault(node, {}) for node in (one.source_folder, one.folder))
                if fate in ("kept", "torn") and source.get(one.source) == one.node:
                    del source[one.source]
                if fate in ("kept", "both"):
                    target[one.name] = one.node
                elif fate == "torn":
                    target.pop(one.name, None)
        return _disk(self._before.top, folders, files)


def _folders_of(effect: Effect) -> tuple[int, ...]:
    if isinstance(effect, Rename):
        return effect.source_folder, effect.folder
    return (effect.folder,) if isinstance(effect, (Link, Unlink)) else ()


def _disk(top: int, folders: dict[int, dict[str, int]], files: dict[int, bytes]) -> Disk:
    disk: Disk = {}
    held: set[int] = set()

    def walk(folder: int, prefix: str) -> None:
        for name, node in folders.get(folder, {}).items():
            path = prefix + name
            if node in files:
                disk[path] = files[node]
            elif node not in held:  # else one folder under two names: the first one found keeps it
                held.add(node)
                disk[path] = None
                walk(node, path + "/")

    walk(top, "")
    return disk
