"""A new state for a store of which no copy is whole, from what else lies there and can be proved.

A floor is at least the highest that any installed bundle could have raised it to: each manifest in
``bundles`` counts whose signature is valid, whatever became of its other files. What ran is not known, so
the newest bundle that is whole and trusted is put on trial where there is something to go back to: had it
failed here before, or was it only staged, its trial says so. Why it is done so: docs/adr/0015.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from galago_edge.bundle import Bundle, TrustedKeys, require_trust
from galago_edge.bundle.manifest_bytes import MANIFEST_LIMIT_BYTES, manifest_id, parse_manifest
from galago_edge.bundle.reader import MANIFEST_NAME, SIGNATURE_NAME
from galago_edge.bundle.signature import SIGNATURE_LIMIT_BYTES, verify
from galago_edge.contract.errors import BundleError, GalagoError, LinkError, Reason, disk_error
from galago_edge.contract.manifest import Manifest
from galago_edge.store.state import Release, Slot, State, Trial, with_entry
from galago_edge.store.store import Store

_NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR})
"""It is missing, or is no file."""
_READINGS = 2
"""What the disk (EIO) does not give so often, it has lost; any other error may be gone the next time."""


@dataclass(frozen=True, slots=True)
class _Found:
    """One folder of ``bundles`` whose manifest is signed."""

    release: Release
    manifest: Manifest
    usable: bool
    """Every byte is whole, and enough trusted keys have signed it."""


def rebuilt(store: Store, trusted: TrustedKeys, at_utc: str, reason: str) -> State:
    """Return a state of what lies in ``store``, with ``reason`` as the first line of its history.

    Nothing is written. What was bad or staged is not known any more, nor who was before whom.

    Raises:
        LinkError: Something cannot be read now that may be readable later.
    """
    state = with_entry(State(), "rebuild", at_utc, reason=reason)
    by_name: dict[str, list[_Found]] = {}
    for found in _installed(store, trusted, at_utc):
        by_name.setdefault(found.manifest.bundle.name, []).append(found)
    for name, installed in sorted(by_name.items()):
        slot = _slot(installed, _factory(store, name, trusted), at_utc)
        what = (
            f"{Reason.STATE_BAD}: floor at least {slot.floor}; what was bad or staged is not known any more"
        )
        state = with_entry(state, "rebuild", at_utc, name=name, release=slot.active, reason=what, slot=slot)
    return state


def _slot(installed: list[_Found], factory: Bundle | None, at_utc: str) -> Slot:
    installed = sorted(installed, key=lambda found: (-found.release.release_counter, found.release.id))
    usable = [found for found in installed if found.usable]
    active, *older = usable or installed[:1]  # a damaged one, for installing it again repairs it
    previous, before = [*(found.release for found in older), None, None][:2]
    trial = None
    if usable and (previous or (factory is not None and factory.id != active.release.id)):
        trial = Trial(left=active.manifest.health.max_trials, since_utc=at_utc, before=before)
    floors = [found.release.floor for found in installed]
    if factory is not None:
        floors.append(factory.manifest.rollback.min_release_counter_after_commit)
    return Slot(active=active.release, previous=previous, trial=trial, floor=max(floors))


def _installed(store: Store, trusted: TrustedKeys, at_utc: str) -> Iterator[_Found]:
    try:
        folders = [store.bundles / entry.name for entry in store.fs.entries(store.bundles)]
    except OSError as error:
        raise disk_error(error, f"list {store.bundles}") from error
    for folder in folders:
        manifest = _signed_manifest(store, folder)
        if manifest is not None:
            release = Release.of(manifest, folder.name, at_utc)
            yield _Found(release, manifest, _usable(store, folder.name, trusted))


def _signed_manifest(store: Store, folder: Path) -> Manifest | None:
    """Return the manifest in ``folder`` when it is the one of that id, and signed; by whom, is not asked."""
    data = _read(store, folder / MANIFEST_NAME, MANIFEST_LIMIT_BYTES + 1)
    signature = _read(store, folder / SIGNATURE_NAME, SIGNATURE_LIMIT_BYTES + 1)
    if data is None or signature is None or manifest_id(data) != folder.name:
        return None
    try:
        verify(data, signature, folder.name)
        return parse_manifest(data, folder.name)
    except BundleError:
        return None


def _read(store: Store, path: Path, limit: int) -> bytes | None:
    for _ in range(_READINGS):
        try:
            return store.fs.read(path, limit)
        except OSError as error:
            if error.errno in _NO_FILE:
                return None
            if error.errno != errno.EIO:
                raise disk_error(error, f"read {path}") from error
    return None


def _usable(store: Store, bundle_id: str, trusted: TrustedKeys) -> bool:
    return _opened(lambda: store.open(bundle_id), trusted) is not None


def _factory(store: Store, name: str, trusted: TrustedKeys) -> Bundle | None:
    return _opened(lambda: store.factory_bundle(name), trusted)


def _opened(opening: Callable[[], Bundle | None], trusted: TrustedKeys) -> Bundle | None:
    """Return a bundle that is whole and trusted, else None.

    Raises:
        LinkError: It cannot be read now.
    """
    for _ in range(_READINGS):
        try:
            bundle = opening()
            if bundle is not None:
                require_trust(bundle, trusted)
        except LinkError as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno != errno.EIO:
                raise
        except GalagoError:
            return None
        else:
            return bundle
    return None
