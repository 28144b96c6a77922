"""Remove bundles that nobody needs any more; never one that runs or that a rollback could need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from galago_edge.store.changing import Change, changing, now_utc
from galago_edge.store.folder import Store
from galago_edge.store.state import State, with_event


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
            change.publish(with_event(state, "gc", now_utc(), reason=reason))
        return removed


def discard_unused(change: Change, state: State, *, keep: set[str]) -> list[Removed]:
    """Remove what neither the record, nor ``keep``, nor a process needs.

    Raises:
        OSError: The disk refused.
    """
    needed = keep | {release.id for slot in state.slots.values() for release in slot.releases().values()}
    removed = []
    for folder in sorted(change.store.bundles.iterdir()):
        if folder.name not in needed and not _is_held(change, folder):
            removed.append(Removed(folder.name, _size(folder)))
            change.discard(folder)
    return removed


def _is_held(change: Change, folder: Path) -> bool:
    return folder.is_dir() and not folder.is_symlink() and change.fs.is_held(folder)


def _size(folder: Path) -> int:
    paths = (folder, *folder.rglob("*"))
    return sum(path.lstat().st_size for path in paths if path.is_file() and not path.is_symlink())
