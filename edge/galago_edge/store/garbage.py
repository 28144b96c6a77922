"""Remove bundles that nobody needs any more; never one that runs or that a rollback could need."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from galago_edge.host.own_folders import FolderEntry
from galago_edge.store.state import State, with_entry
from galago_edge.store.store import Store
from galago_edge.store.store_change import StoreChange, changing, now_utc


@dataclass(frozen=True, slots=True)
class Removed:
    """One bundle that was removed."""

    id: str
    size_bytes: int


def collect(store: Store, held: Iterable[str] = ()) -> list[Removed]:
    """Remove every bundle that is not active, previous or staged, nor held by a process, nor in ``held``.

    Raises:
        BusyError: LOCKED; another process is changing this store.
        DeviceError: STATE_BAD; what is needed is unknown, so nothing is removed.
        LinkError: The disk is failing.
    """
    doing = f"remove bundles that are not needed from {store.root}"
    with changing(store, doing, f"note in {store.root} what was removed") as change:
        state = store.state()
        removed = discard_unused(change, state, keep=set(held))
        if removed:
            size = sum(bundle.size_bytes for bundle in removed)
            reason = f"{len(removed)} bundles, {size} bytes"
            change.publish(with_entry(state, "gc", now_utc(), reason=reason))
        return removed


def discard_unused(change: StoreChange, state: State, *, keep: set[str]) -> list[Removed]:
    """Remove what neither the state, nor ``keep``, nor a process needs.

    Raises:
        OSError: The disk refused.
    """
    needed = keep | {release.id for slot in state.slots.values() for release in slot.releases().values()}
    removed = []
    for entry in change.fs.entries(change.store.bundles):
        if entry.name not in needed:
            folder = change.store.bundles / entry.name
            with _claimed(change, folder, entry) as ours:
                if ours:
                    removed.append(Removed(entry.name, _size(change, folder, entry)))
                    change.discard(folder)
    return removed


@contextlib.contextmanager
def _claimed(change: StoreChange, folder: Path, entry: FolderEntry) -> Iterator[bool]:
    """Tell whether nobody holds a folder; who wants to hold it waits, and finds it gone afterwards."""
    if entry.kind != "folder":
        yield True
        return
    fd = change.fs.claim(folder)
    if fd is None:
        yield False
        return
    try:
        yield True
    except BaseException:  # what went wrong inside is told, not what closing says
        with contextlib.suppress(OSError):
            change.fs.close(fd)
        raise
    change.fs.close(fd)


def _size(change: StoreChange, path: Path, entry: FolderEntry) -> int:
    """Return the size of the files in a folder; of a link none, for what lies behind it stays."""
    if entry.kind != "folder":
        return entry.size_bytes if entry.kind == "file" else 0
    return sum(_size(change, path / inner.name, inner) for inner in change.fs.entries(path))
