"""What may happen to a bundle after its install: activated, committed, rolled back, marked as bad.

Each function writes the record once and returns the slot as it is then. Doing the same again is fine.
"""

from __future__ import annotations

import contextlib

import msgspec

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.store.admission import TrialTerms, check_release, fallback_of, opened, release_of, trial_of
from galago_edge.store.garbage import discard_unused
from galago_edge.store.state import (
    Slot,
    and_bad,
    with_active,
    with_commit,
    with_event,
    with_rollback,
)
from galago_edge.store.store import Store
from galago_edge.store.store_change import StoreChange, changing, now_utc, slot_of


def activate(
    store: Store,
    name: str,
    *,
    bundle_id: str | None = None,
    commit: bool = False,
    allow_downgrade: bool = False,
    trial: TrialTerms | None = None,
) -> Slot:
    """Make the staged bundle of ``name`` the active one, on trial where there is something to go back to.

    Signature and every byte of what is installed are checked again first.

    Raises:
        BusyError: LOCKED.
        DeviceError: NO_BUNDLE, no such name; DOWNGRADE, REPLAY or TRIAL_FAILED, it must not follow what is
            active now; STATE_BAD.
        CallerError: TARGET_UNKNOWN; nothing is staged, or something else than ``bundle_id``.
        BundleError: What was installed is damaged, or its signer is not trusted any more.
        LinkError: The disk is full or failing.
    """
    with _changing(store, "activate", name) as change:
        state = store.state()
        slot = slot_of(store, state, name)
        if bundle_id is not None and slot.active.id == bundle_id:
            return slot
        if slot.staged is None or bundle_id not in (None, slot.staged.id):
            met = f"{slot.staged.version} (id {slot.staged.id[:16]}…)" if slot.staged else "nothing"
            raise CallerError(
                Reason.TARGET_UNKNOWN,
                f"{met} is staged under {name} in {store.root}"
                + (f", not {bundle_id[:16]}…" if bundle_id else "")
                + f"; {slot.active.version} is active",
                hint=f"galago install BUNDLE --root {store.root} --stage-only",
            )
        trusted = store.trusted()
        bundle = opened(store, slot.staged.id, trusted)
        overrides = check_release(bundle, slot, allow_downgrade=allow_downgrade, allow_bad=False)
        judged = None if commit else trial_of(store, bundle, slot, trusted, trial or TrialTerms())
        release = release_of(bundle)
        state = with_active(state, name, release, judged, action="activate")
        for override in overrides:
            state = with_event(
                state, "override", release.since_utc, name=name, release=release, reason=override
            )
        change.publish(state)
        return state.slots[name]


def commit(store: Store, name: str, *, bundle_id: str | None = None, reason: str = "") -> Slot:
    """End the trial of ``name`` well: the bundle stays, its floor holds, and what it replaced may go.

    Raises:
        BusyError: LOCKED.
        DeviceError: NO_BUNDLE or STATE_BAD.
        CallerError: TARGET_UNKNOWN; another bundle than ``bundle_id`` is active.
        LinkError: The disk is full or failing.
    """
    with _changing(store, "commit", name) as change:
        state = store.state()
        slot = slot_of(store, state, name)
        _check_active(store, name, slot, bundle_id)
        if slot.trial is not None:
            state = with_commit(state, name, now_utc(), reason)
            change.publish(state)
        with contextlib.suppress(OSError):  # committed it is; the next change removes them
            discard_unused(change, state, keep=set())
        return state.slots[name]


def rollback(store: Store, name: str, reason: str, *, bundle_id: str | None = None, bad: bool = True) -> Slot:
    """Go back to the bundle before the active one, or to the factory's; the active one is bad from now on.

    With ``bundle_id`` only if that one is active; when it was rolled back already, nothing happens.

    Raises:
        BusyError: LOCKED.
        DeviceError: NO_FALLBACK, there is nothing whole to go back to; DOWNGRADE, the floor forbids it;
            NO_BUNDLE or STATE_BAD.
        CallerError: TARGET_UNKNOWN; another bundle than ``bundle_id`` is active.
        LinkError: The disk is full or failing.
    """
    with _changing(store, "roll back", name) as change:
        slot = slot_of(store, store.state(), name)
        if bundle_id is not None and bundle_id in slot.bad and slot.active.id != bundle_id:
            return slot
        _check_active(store, name, slot, bundle_id)
        return _roll_back(change, name, reason, bad=bad)


def mark_bad(store: Store, name: str, bundle_id: str) -> Slot:
    """Never take this bundle under ``name`` again; when it is the active one, go back.

    Raises:
        BusyError, DeviceError, LinkError: As :func:`rollback`.
    """
    with _changing(store, "mark a bundle as bad of", name) as change:
        state = store.state()
        slot = slot_of(store, state, name)
        if slot.active.id == bundle_id:
            return _roll_back(change, name, "marked as bad", bad=True)
        if bundle_id in slot.bad:
            return slot
        gone = {part for part, release in slot.releases().items() if release.id == bundle_id}
        trial = slot.trial
        if trial is not None and "before" in gone:
            trial = msgspec.structs.replace(trial, before=None)
        release = next((known for known in slot.releases().values() if known.id == bundle_id), None)
        slot = msgspec.structs.replace(
            slot,
            previous=None if "previous" in gone else slot.previous,
            staged=None if "staged" in gone else slot.staged,
            trial=trial,
            bad=and_bad(slot.bad, bundle_id),
        )
        state = with_event(
            state, "mark-bad", now_utc(), name=name, release=release, reason=bundle_id, slot=slot
        )
        change.publish(state)
        return slot


def _roll_back(change: StoreChange, name: str, reason: str, *, bad: bool) -> Slot:
    store, state = change.store, change.store.state()
    target = release_of(fallback_of(store, name, state.slots[name], store.trusted()))
    state = with_rollback(state, name, target, now_utc(), reason, bad=bad)
    change.publish(state)
    return state.slots[name]


def _check_active(store: Store, name: str, slot: Slot, bundle_id: str | None) -> None:
    if bundle_id is not None and bundle_id != slot.active.id:
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"{slot.active.version} (id {slot.active.id[:16]}…) is active under {name}, "
            f"not {bundle_id[:16]}…",
            hint=f"galago status --root {store.root}",
        )


def _changing(store: Store, verb: str, name: str) -> contextlib.AbstractContextManager[StoreChange]:
    return changing(
        store, f"{verb} {name} in {store.root}", f"confirm on the disk that the change of {name} will stay"
    )
