"""Remove bundles that nobody needs any more; never one that runs or that a rollback could need."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

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
    for folder in sorted(change.store.bundles.iterdir()):
        if folder.name not in needed:
            with _claimed(change, folder) as ours:
                if ours:
                    removed.append(Removed(folder.name, _size(folder)))
                    change.discard(folder)
    return removed


@contextlib.contextmanager
def _claimed(change: StoreChange, folder: Path) -> Iterator[bool]:
    """Tell whether nobody holds a folder; who wants to hold it waits, and finds it gone afterwards."""
    if not folder.is_dir() or folder.is_symlink():
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


def _size(folder: Path) -> int:
    if folder.is_symlink():  # what lies behind it stays
        return 0
    paths = (folder, *folder.rglob("*"))
    return sum(path.lstat().st_size for path in paths if path.is_file() and not path.is_symlink())
