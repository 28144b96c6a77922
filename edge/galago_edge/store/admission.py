"""Which releases a store takes, and what it could go back to."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TypeVar

from galago_edge.bundle import Bundle, TrustedKeys, require_trust
from galago_edge.contract.bundle_identity import BundleIdentity
from galago_edge.contract.errors import BundleError, DeviceError, LinkError, Reason
from galago_edge.contract.wishes import Wishes
from galago_edge.store.state import Release, Slot, Trial
from galago_edge.store.store import Store
from galago_edge.store.store_change import now_utc

T = TypeVar("T")

COUNTER_JUMP = 10**9
"""A release may be so far above the active one; one further away would leave hardly any above itself."""


def release_of(bundle: Bundle) -> Release:
    """Return what the state says of a bundle that changes its part now."""
    return Release.of(bundle.manifest, bundle.id, now_utc())


def check_release(bundle: BundleIdentity, slot: Slot | None, wishes: Wishes) -> list[str]:
    """Refuse a bundle that must not follow what ``slot`` has; return the overrides that were needed.

    Raises:
        DeviceError: TRIAL_FAILED, DOWNGRADE, REPLAY or COUNTER_JUMP.
    """
    if slot is None:
        return []
    counter, active = bundle.manifest.bundle.release_counter, slot.active
    used = []
    if bundle.id in slot.bad:
        if not wishes.allow_bad:
            raise DeviceError(
                Reason.TRIAL_FAILED,
                f"{bundle} (id {bundle.id[:16]}…) failed on this device before",
                hint="galago history says why; galago install --allow-bad takes it all the same",
            )
        used.append("allow-bad")
    if counter < slot.floor or (counter < active.release_counter and not wishes.allow_downgrade):
        raise DeviceError(
            Reason.DOWNGRADE,
            f"{bundle} has release counter {counter}; "
            f"{active.version} with {active.release_counter} is active here"
            + (f" and the floor is {slot.floor}" if slot.floor else ""),
            hint="to go back, build the old model again with a higher release counter"
            + ("" if counter < slot.floor else ", or install it with --allow-downgrade"),
        )
    if counter < active.release_counter:
        used.append("allow-downgrade")
    if counter == active.release_counter and bundle.id != active.id:
        raise DeviceError(
            Reason.REPLAY,
            f"{bundle} is another bundle than the active {active.version} "
            f"but has the same release counter {counter}",
            hint="build it again with a higher release counter",
        )
    if counter - active.release_counter > COUNTER_JUMP:
        raise DeviceError(
            Reason.COUNTER_JUMP,
            f"{bundle} has release counter {counter}, more than {COUNTER_JUMP} above "
            f"the active {active.version} with {active.release_counter}",
            hint="build it again with a lower release counter",
        )
    return used


def trial_of(
    store: Store, bundle: Bundle, slot: Slot | None, trusted: TrustedKeys, wishes: Wishes
) -> Trial | None:
    """Return the trial that ``bundle`` begins with; None when there is nothing whole to go back to.

    Then a trial could end in nothing but a device without a model.
    """
    name = bundle.name
    proven = [] if slot is None else [slot.active, slot.previous] if slot.trial is None else [slot.previous]
    releases = [release for release in proven if release is not None and release.id != bundle.id]
    bad = (bundle.id, *(slot.bad if slot else ()))
    if not any(fallback.id not in bad for fallback in _whole(store, trusted, name, releases)):
        return None
    health = bundle.manifest.health
    return Trial(left=wishes.trial_loads or health.max_trials, since_utc=now_utc(), trial_s=wishes.trial_s)


def fallback_of(store: Store, name: str, slot: Slot, trusted: TrustedKeys) -> Bundle:
    """Return what a rollback of ``name`` goes back to, every byte of it checked.

    A committed bundle's floor holds for a rollback too; a bundle on trial has raised none yet.

    Raises:
        DeviceError: NO_FALLBACK, there is nothing whole; DOWNGRADE, there is only what the floor forbids.
        LinkError: What may be whole cannot be read now.
    """
    releases = [slot.previous, slot.trial.before if slot.trial else None]
    below: Bundle | None = None
    for bundle in _whole(store, trusted, name, [release for release in releases if release], must_read=True):
        if bundle.id in (slot.active.id, *slot.bad):
            continue
        if slot.trial is not None or bundle.release_counter >= slot.floor:
            return bundle
        below = below or bundle
    if below is not None:
        raise DeviceError(
            Reason.DOWNGRADE,
            f"{below} has release counter {below.release_counter}, the floor is {slot.floor}",
            hint="to go back, build the old model again with a higher release counter",
        )
    raise DeviceError(
        Reason.NO_FALLBACK,
        f"{name} has no other whole bundle than the active {slot.active.version} to go back to",
        hint=f"galago install another bundle of that name into {store.root}",
    )


def opened(store: Store, bundle_id: str, trusted: TrustedKeys) -> Bundle:
    """Open a bundle of the store, every byte and whoever signed it checked.

    Raises:
        BundleError: It is damaged, or not trusted any more.
        LinkError: It cannot be read.
    """
    bundle = store.open(bundle_id)
    require_trust(bundle, trusted)
    return bundle


def read_twice(read: Callable[[], T]) -> T:
    """Return what ``read`` gives; what the disk does not give twice, it has lost.

    Raises:
        GalagoError: Whatever ``read`` raises the second time, or at once when it is not the disk's.
    """
    try:
        return read()
    except LinkError:
        return read()


def factory_bundle(store: Store, name: str, trusted: TrustedKeys) -> Bundle | None:
    """Open the factory's bundle of this name in the same way; None when there is none.

    Raises:
        BundleError, LinkError: As :func:`opened`.
    """
    bundle = store.factory_bundle(name)
    if bundle is not None:
        require_trust(bundle, trusted)
    return bundle


def _whole(
    store: Store, trusted: TrustedKeys, name: str, releases: list[Release], *, must_read: bool = False
) -> Iterator[Bundle]:
    """Yield what can be loaded; ``must_read``: give up where the disk, not the bundle, may be to blame.

    Raises:
        LinkError: Something cannot be read, with ``must_read``.
    """
    sources: list[Callable[[], Bundle | None]] = [
        functools.partial(opened, store, release.id, trusted) for release in releases
    ]
    sources.append(functools.partial(factory_bundle, store, name, trusted))
    for source in sources:
        try:
            bundle = read_twice(source)
        except BundleError:
            continue  # what cannot be loaded is no way back
        except LinkError:
            if must_read:
                raise
            continue
        if bundle is not None:
            yield bundle
