"""What a starting service may load: checked, counted, and with a way out when something is wrong.

For each name, in this order: the active bundle, the one before it, the factory's, none. A load of a
bundle on trial is used up on the disk before anything is loaded, so that a bundle that takes the
process down with it runs out of loads; where that cannot be written, it is not loaded.

Where no copy of the state is whole a start makes a new one (``rebuild``), so that a device which
nobody visits comes back; where that cannot be written, it loads what the new one would have said.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

from galago_edge.bundle import Bundle, TrustedKeys
from galago_edge.contract.errors import BusyError, DeviceError, GalagoError, LinkError, Reason, disk_error
from galago_edge.store.admission import factory_bundle, opened, read_twice, release_of
from galago_edge.store.rebuild import rebuilt
from galago_edge.store.state import Slot, State, Trial, with_boot, with_boot_back, with_entry, with_rollback
from galago_edge.store.store import COPY_NAMES, Hold, Store
from galago_edge.store.store_change import StoreChange, locked, now_utc

WAIT_S = 5.0
"""How long a start waits for an install that is running."""

Part = Literal["active", "previous", "before", "factory", "none"]


@dataclass(frozen=True, slots=True)
class BootChoice:
    """What to load under one name."""

    name: str
    part: Part
    """What the bundle was in the state when the start began; ``none``: safe mode, there is nothing whole."""
    bundle: Bundle | None
    trial: Trial | None = None
    """The trial that this load counts for; None when what is loaded is not on trial."""
    hold: Hold | None = None
    """Keeps the bundle's folder while it is used; None for the factory's."""
    faults: tuple[GalagoError, ...] = ()
    """Why what comes before it in the order is not loaded."""
    rolled_back: str = ""
    """Reason of the rollback that this start wrote down, if it did."""


def begin_boot(
    store: Store, trusted: TrustedKeys, *, names: Collection[str] | None = None, wait_s: float = WAIT_S
) -> dict[str, BootChoice]:
    """Decide what to load under each name (or only under ``names``), and use up a load of each trial.

    What is wrong in the store is no exception but a fault of a choice. A trial whose loads are used up
    is rolled back, and so is one whose bundle is damaged. While another command changes the store for
    longer than ``wait_s``, or where nothing can be written, a bundle on trial is passed over.
    """
    boot = _Boot(store, trusted, names)
    try:
        if not store.root.is_dir():
            return {}
        with locked(store, wait_s):
            return boot.run()
    except (BusyError, LinkError) as fault:
        return boot.without_trials(fault)
    except OSError as error:
        return boot.without_trials(disk_error(error, f"count a start in {store.root}"))


def give_back(store: Store, name: str, bundle_id: str) -> None:
    """Give a load of the trial of ``bundle_id`` back: the service was stopped in order, with no verdict yet.

    Raises:
        BusyError: LOCKED.
        DeviceError, LinkError: The state cannot be read.
        OSError: It cannot be written; the load stays used up.
    """
    with locked(store):
        change = StoreChange(store)
        change.mirror()
        state = store.state()
        slot = state.slots.get(name)
        if slot is None or slot.trial is None or slot.active.id != bundle_id or not slot.trial.boots:
            change.settle()  # whoever gave it back may have been killed before it was on the disk
            return
        change.publish(with_boot_back(state, name))


class _Boot:
    def __init__(self, store: Store, trusted: TrustedKeys, names: Collection[str] | None) -> None:
        self._store = store
        self._trusted = trusted
        self._only = names

    def run(self) -> dict[str, BootChoice]:
        """Decide with the lock held.

        Raises:
            LinkError: The state cannot be read.
            OSError: It cannot be written.
        """
        change = StoreChange(self._store)
        with contextlib.suppress(OSError, GalagoError):  # a full disk must not keep a device dark
            change.sweep(self._trusted)
        try:
            state = before = self._store.state()
        except DeviceError as unknown:
            return self._of_unknown(unknown)
        choices = {}
        for name in self._names(state):
            choices[name], state = self._begin(state, name)
        try:
            if state is not before:
                change.publish(state)
            else:
                change.settle()
        except OSError:
            if any(slot.trial for slot in before.slots.values()):
                raise
        return choices

    def without_trials(self, fault: GalagoError) -> dict[str, BootChoice]:
        """Decide without writing: what is on trial is passed over, because of ``fault``."""
        state = self._readable()
        return {
            name: self._choose(name, state.slots.get(name), barred=fault if _on_trial(state, name) else None)
            for name in self._names(state)
        }

    def _readable(self) -> State:
        """Return the newest copy of the state that can be read; none is whole: what lies there."""
        whole = [State()]
        for name in COPY_NAMES:
            with contextlib.suppress(LinkError):
                copy = self._store.copy(name)
                whole += [copy.state] if copy.state is not None else []
        if len(whole) == 1:
            try:
                lost = bool(self._store.lost())
            except LinkError:  # it may be there, and cannot be read now
                lost = True
            if lost:
                return self._derived()
        return max(whole, key=lambda state: state.seq)

    def _derived(self) -> State:
        """Return what lies there as a state that nobody has written; an empty one where that is unknown."""
        try:
            return rebuilt(self._store, self._trusted, now_utc(), "")
        except GalagoError:
            return State()

    def _of_unknown(self, unknown: DeviceError) -> dict[str, BootChoice]:
        """Decide by what lies there, as no new state can be written; a bundle on trial is passed over."""
        state = self._derived()
        choices = {}
        for name in self._names(state):
            barred = unknown if name not in state.slots or _on_trial(state, name) else None
            choice = self._choose(name, state.slots.get(name), barred=barred)
            choices[name] = choice if barred else replace(choice, faults=(unknown, *choice.faults))
        return choices

    def _names(self, state: State) -> list[str]:
        names = set(state.slots)
        with contextlib.suppress(LinkError):  # who falls back to it is told
            names.update(self._store.factory_names())
        return sorted(names if self._only is None else names & set(self._only))

    def _begin(self, state: State, name: str) -> tuple[BootChoice, State]:
        """Return the choice of one name and the state that must be written before it is loaded."""
        slot = state.slots.get(name)
        exhausted = None
        if slot is not None and slot.trial is not None and slot.trial.left == 0:
            exhausted = DeviceError(
                Reason.TRIAL_FAILED,
                f"{name} {slot.active.version} was loaded {slot.trial.boots} times and never proved itself",
                hint="galago history says what happened; install a better one",
            )
        choice = self._choose(name, slot, barred=exhausted)
        if exhausted is not None and choice.bundle is None:
            # what it could go back to is gone since: a device that may crash watches more than a dark one
            choice = self._choose(name, slot, barred=None)
            if slot is not None and choice.part == "active":
                return replace(choice, trial=slot.trial, faults=(exhausted,)), state
        if slot is None or (choice.part == "active" and slot.trial is None):
            return choice, state
        if choice.part == "active":
            state = with_boot(state, name, now_utc())
            return replace(choice, trial=state.slots[name].trial), state
        reason = choice.faults[0].reason
        if slot.trial is not None and any(isinstance(fault, LinkError) for fault in choice.faults):
            # the disk may give next time what it does not give now: nothing is let go
            return choice, state if exhausted else with_boot(state, name, now_utc())
        if slot.trial is not None and choice.bundle is not None:
            target = release_of(choice.bundle)
            bad = exhausted is not None
            state = with_rollback(state, name, target, now_utc(), reason, bad=bad)
            return replace(choice, rolled_back=str(reason)), state
        return choice, _noted(state, name, slot, choice)

    def _choose(self, name: str, slot: Slot | None, *, barred: GalagoError | None) -> BootChoice:
        """Return the first bundle that is whole and trusted; ``barred``: why not the active one."""
        faults = [] if barred is None else [barred]
        for part, release in _order(slot, with_active=barred is None):
            hold = None
            with contextlib.suppress(LinkError):  # what is active is not removed in any case
                hold = self._store.hold(release)
            try:
                bundle = read_twice(functools.partial(opened, self._store, release, self._trusted))
                return BootChoice(name, part, bundle, hold=hold, faults=tuple(faults))
            except GalagoError as fault:
                faults.append(fault)
                if hold is not None:
                    hold.close()
        try:
            factory = factory_bundle(self._store, name, self._trusted)
        except GalagoError as fault:
            factory = None
            faults.append(fault)
        failed = () if slot is None else (*slot.bad, slot.active.id if barred is not None else "")
        if factory is not None and factory.id in failed:
            factory = None
        part = "none" if factory is None else "factory"
        return BootChoice(name, part, factory, faults=tuple(faults))


def _order(slot: Slot | None, *, with_active: bool) -> list[tuple[Part, str]]:
    if slot is None:
        return []
    before = slot.trial.before if slot.trial is not None else None
    parts: list[tuple[Part, str | None]] = [
        ("active", slot.active.id if with_active else None),
        ("previous", slot.previous.id if slot.previous else None),
        ("before", before.id if before else None),
    ]
    return [(part, bundle_id) for part, bundle_id in parts if bundle_id is not None]


def _on_trial(state: State, name: str) -> bool:
    return name in state.slots and state.slots[name].trial is not None


def _noted(state: State, name: str, slot: Slot, choice: BootChoice) -> State:
    """Return the state with the finding; the same one is noted once, however often the device starts."""
    reason = f"{choice.faults[0].reason}: {choice.part} is loaded"
    same = [entry for entry in state.history if entry.name == name and entry.id == slot.active.id]
    if same and (same[-1].action, same[-1].reason) == ("boot", reason):
        return state
    return with_entry(state, "boot", now_utc(), name=name, release=slot.active, reason=reason)
