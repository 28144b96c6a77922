"""What may happen to a bundle after its install: activated, committed, rolled back, marked as bad.

All have one shape: the store, the name, which bundle is meant (``bundle_id``; without, whichever it is), one
line for the history (``reason``) where there is one to give, and last what belongs to this change alone. Each
writes the state once and returns what stood there before and what stands there now. Doing the same again is
fine.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.wishes import NO_WISHES, Wishes
from galago_edge.store.admission import check_release, fallback_of, opened, release_of, trial_of
from galago_edge.store.garbage import discard_unused
from galago_edge.store.state import (
    Slot,
    State,
    and_bad,
    with_active,
    with_commit,
    with_entry,
    with_rollback,
)
from galago_edge.store.store import Store
from galago_edge.store.store_change import StoreChange, changing, now_utc, slot_of


@dataclass(frozen=True, slots=True)
class Transition:
    """The bundles of one name before and after a change; the same where nothing had to change."""

    name: str
    before: Slot
    now: Slot

    @property
    def version(self) -> str:
        """The version that is active now."""
        return self.now.active.version

    @property
    def replaced(self) -> bool:
        """Whether another bundle is active now."""
        return self.before.active.id != self.now.active.id


def activate(
    store: Store,
    name: str,
    *,
    bundle_id: str | None = None,
    wishes: Wishes = NO_WISHES,
) -> Transition:
    """Make the staged bundle of ``name`` the active one, on trial where there is something to go back to.

    Signature and every byte of what is installed are checked again first. Of ``wishes`` only those that are
    about more than the copy count: ``commit``, ``allow_downgrade``, ``allow_bad`` and those of the trial.

    Raises:
        BusyError: LOCKED.
        DeviceError: NO_BUNDLE, no such name; DOWNGRADE, REPLAY or TRIAL_FAILED, it must not follow what is
            active now; STATE_BAD.
        CallerError: TARGET_UNKNOWN; nothing is staged, or something else than ``bundle_id``.
        BundleError: What was installed is damaged, or its signer is not trusted any more.
        LinkError: The disk is full or failing.
    """

    def step(state: State, slot: Slot) -> State:
        if bundle_id is not None and slot.active.id == bundle_id:
            return state
        if slot.staged is None or bundle_id not in (None, slot.staged.id):
            raise _not_staged(store, name, slot, bundle_id)
        trusted = store.trusted()
        bundle = opened(store, slot.staged.id, trusted)
        overrides = check_release(bundle, slot, wishes)
        judged = None if wishes.commit else trial_of(store, bundle, slot, trusted, wishes)
        release = release_of(bundle)
        state = with_active(state, name, release, judged, action="activate")
        for override in overrides:
            state = with_entry(
                state, "override", release.since_utc, name=name, release=release, reason=override
            )
        return state

    return _changed(store, name, "activate", step)


def commit(store: Store, name: str, *, bundle_id: str | None = None, reason: str = "") -> Transition:
    """End the trial of ``name`` well: the bundle stays, its floor holds, and what it replaced may go.

    Raises:
        BusyError: LOCKED.
        DeviceError: NO_BUNDLE or STATE_BAD.
        CallerError: TARGET_UNKNOWN; another bundle than ``bundle_id`` is active.
        LinkError: The disk is full or failing.
    """

    def step(state: State, slot: Slot) -> State:
        _check_active(store, name, slot, bundle_id)
        return state if slot.trial is None else with_commit(state, name, now_utc(), reason)

    return _changed(store, name, "commit", step, afterwards=_discard_unused)


def rollback(
    store: Store, name: str, *, bundle_id: str | None = None, reason: str, bad: bool = True
) -> Transition:
    """Go back to the bundle before the active one, or to the factory's; the active one is bad from now on.

    With ``bundle_id`` only if that one is active; when it was rolled back already, nothing happens.

    Raises:
        BusyError: LOCKED.
        DeviceError: NO_FALLBACK, there is nothing whole to go back to; DOWNGRADE, the floor forbids it;
            NO_BUNDLE or STATE_BAD.
        CallerError: TARGET_UNKNOWN; another bundle than ``bundle_id`` is active.
        LinkError: The disk is full or failing.
    """

    def step(state: State, slot: Slot) -> State:
        if bundle_id is not None and bundle_id in slot.bad and slot.active.id != bundle_id:
            return state
        _check_active(store, name, slot, bundle_id)
        return _gone_back(store, state, name, reason, bad=bad)

    return _changed(store, name, "roll back", step)


def mark_bad(store: Store, name: str, *, bundle_id: str) -> Transition:
    """Never take this bundle under ``name`` again; when it is the active one, go back.

    Raises:
        BusyError, DeviceError, LinkError: As :func:`rollback`.
    """

    def step(state: State, slot: Slot) -> State:
        if slot.active.id == bundle_id:
            return _gone_back(store, state, name, "marked as bad", bad=True)
        if bundle_id in slot.bad:
            return state
        release = next((known for known in slot.releases().values() if known.id == bundle_id), None)
        slot = _without(slot, bundle_id)
        return with_entry(
            state, "mark-bad", now_utc(), name=name, release=release, reason=bundle_id, slot=slot
        )

    return _changed(store, name, "mark a bundle as bad of", step)


def _changed(
    store: Store,
    name: str,
    verb: str,
    step: Callable[[State, Slot], State],
    afterwards: Callable[[StoreChange, State], None] = lambda change, state: None,
) -> Transition:
    """Let ``step`` say what the state shall be, and write it where that is another one."""
    doing = f"{verb} {name} in {store.root}"
    with changing(store, doing, f"confirm on the disk that the change of {name} will stay") as change:
        before = store.state()
        slot = slot_of(store, before, name)
        state = step(before, slot)
        if state is not before:
            change.publish(state)
        afterwards(change, state)
        return Transition(name, slot, state.slots[name])


def _discard_unused(change: StoreChange, state: State) -> None:
    with contextlib.suppress(OSError):  # committed it is; the next change removes them
        discard_unused(change, state, keep=set())


def _gone_back(store: Store, state: State, name: str, reason: str, *, bad: bool) -> State:
    target = release_of(fallback_of(store, name, state.slots[name], store.trusted()))
    return with_rollback(state, name, target, now_utc(), reason, bad=bad)


def _without(slot: Slot, bundle_id: str) -> Slot:
    """Return the slot without a bundle that is not its active one, and that is bad from now on."""
    gone = {part for part, release in slot.releases().items() if release.id == bundle_id}
    trial = slot.trial
    if trial is not None and "before" in gone:
        trial = msgspec.structs.replace(trial, before=None)
    return msgspec.structs.replace(
        slot,
        previous=None if "previous" in gone else slot.previous,
        staged=None if "staged" in gone else slot.staged,
        trial=trial,
        bad=and_bad(slot.bad, bundle_id),
    )


def _not_staged(store: Store, name: str, slot: Slot, bundle_id: str | None) -> CallerError:
    met = f"{slot.staged.version} (id {slot.staged.id[:16]}…)" if slot.staged else "nothing"
    return CallerError(
        Reason.TARGET_UNKNOWN,
        f"{met} is staged under {name} in {store.root}"
        + (f", not {bundle_id[:16]}…" if bundle_id else "")
        + f"; {slot.active.version} is active",
        hint=f"galago install BUNDLE --root {store.root} --stage-only",
    )


def _check_active(store: Store, name: str, slot: Slot, bundle_id: str | None) -> None:
    if bundle_id is not None and bundle_id != slot.active.id:
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"{slot.active.version} (id {slot.active.id[:16]}…) is active under {name}, "
            f"not {bundle_id[:16]}…",
            hint=f"galago status --root {store.root}",
        )
