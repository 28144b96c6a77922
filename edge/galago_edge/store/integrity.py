"""Read every byte that the device relies on, before it is needed and found to have rotted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from galago_edge.bundle import TrustedKeys
from galago_edge.contract.errors import GalagoError, disk_error
from galago_edge.store.admission import factory_bundle, opened
from galago_edge.store.state import Release, State, with_entry
from galago_edge.store.store import Store
from galago_edge.store.store_change import StoreChange, changing, now_utc


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """One bundle and how it is."""

    name: str
    part: str
    """``active``, ``previous``, ``staged``, ``before`` (the trial) or ``factory``."""
    id: str
    """Empty when the factory's bundle cannot be opened."""
    version: str
    fault: GalagoError | None


@dataclass(frozen=True, slots=True)
class ScrubReport:
    """What a scrub found."""

    bundles: tuple[Scrubbed, ...]
    renewed: tuple[str, ...]
    """Copies of the state that were damaged or missing and were written again."""

    @property
    def healthy(self) -> bool:
        """Whether every bundle is whole and trusted."""
        return all(bundle.fault is None for bundle in self.bundles)


def scrub(store: Store, trusted: TrustedKeys) -> ScrubReport:
    """Check every byte of every bundle that the state names and of the factory's, as the disk has them.

    Where no copy of the state is whole, a new one is made first. A damaged staged bundle is let go; any
    other damaged one stays in the state, for installing the same bundle again repairs it, and a start
    passes it over.

    Raises:
        BusyError: LOCKED; another process is changing this store.
        DeviceError: STATE_BAD; another version of Galago wrote the state.
        LinkError: The disk is full or failing.
    """
    found = {copy.name: copy.health for copy in store.copies()}
    done = f"note in {store.root} what a scrub found"
    with changing(store, f"scrub {store.root}", done, restore=trusted) as change:
        state = store.state()
        bundles = tuple(_check_all(change, state, trusted))
        noted = _noted(state, bundles)
        if noted is not state:
            change.publish(noted)
    renewed = tuple(name for name, health in found.items() if state.seq and health != "ok")
    return ScrubReport(bundles, renewed)


def _check_all(change: StoreChange, state: State, trusted: TrustedKeys) -> list[Scrubbed]:
    store = change.store
    checked = []
    for name, slot in sorted(state.slots.items()):
        for part, release in slot.releases().items():
            fault = _check(change, release, trusted)
            checked.append(Scrubbed(name, part, release.id, release.version, fault))
    for name in store.factory_names():
        try:
            bundle = factory_bundle(store, name, trusted)
        except GalagoError as error:
            checked.append(Scrubbed(name, "factory", "", "", error))
        else:
            if bundle is not None:
                version = bundle.version
                checked.append(Scrubbed(name, "factory", bundle.id, version, None))
    return checked


def _check(change: StoreChange, release: Release, trusted: TrustedKeys) -> GalagoError | None:
    try:
        _forget_cache(change, change.store.folder(release.id))
        opened(change.store, release.id, trusted)
    except OSError as error:
        return disk_error(error, f"read {change.store.folder(release.id)}")
    except GalagoError as error:
        return error
    return None


def _forget_cache(change: StoreChange, folder: Path) -> None:
    for entry in change.fs.entries(folder):
        if entry.kind == "folder":
            _forget_cache(change, folder / entry.name)
        elif entry.kind == "file":
            change.fs.forget_cache(folder / entry.name)


def _noted(state: State, bundles: tuple[Scrubbed, ...]) -> State:
    """Return the state with what is damaged; the same finding is noted once."""
    for found in bundles:
        if found.fault is None or found.name not in state.slots:
            continue
        slot = state.slots[found.name]
        release = slot.releases().get(found.part)
        reason = f"{found.part}: {found.fault.reason}"
        known = [(entry.action, entry.id, entry.reason) for entry in state.history]
        if found.part == "staged":
            slot = msgspec.structs.replace(slot, staged=None)
        elif ("scrub", found.id or None, reason) in known:
            continue
        state = with_entry(
            state, "scrub", now_utc(), name=found.name, release=release, reason=reason, slot=slot
        )
    return state
