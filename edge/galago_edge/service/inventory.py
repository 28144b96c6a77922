"""What a device has: board, runtime, bundles, keys, and whether its store is whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import galago_edge
from galago_edge.contract.device import DeviceProfile, this_arch
from galago_edge.contract.errors import (
    CallerError,
    DeviceError,
    GalagoError,
    Reason,
    disk_error,
)
from galago_edge.engine import RuntimeInfo, runtime
from galago_edge.store import Store
from galago_edge.store.state import Event, Slot


@dataclass(frozen=True, slots=True)
class SlotReport:
    """One name and the bundle that is active under it."""

    name: str
    slot: Slot
    modality: str | None
    """None when the bundle cannot be opened."""
    fault: GalagoError | None
    """Why the bundle cannot be opened; every byte of it was checked."""
    overrides: tuple[Event, ...] = ()
    """What was overridden to install the active bundle."""
    last_rollback: Event | None = None
    """The newest rollback that the history still has."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything that ``galago status`` shows."""

    root: Path
    profile: DeviceProfile | None
    arch: str
    edge_version: str
    runtime: RuntimeInfo | None
    slots: tuple[SlotReport, ...]
    trusted: dict[str, str]
    """Key id to comment."""
    copies: dict[str, str]
    """Each copy of the record and how it is: ``ok``, ``damaged``, ``missing``."""
    leftovers: int
    """What broken installs left behind."""
    factory: tuple[str, ...] = ()
    """Names under which the device was delivered with a bundle."""

    @property
    def healthy(self) -> bool:
        """Whether everything that ought to run can run."""
        return self.runtime is not None and all(slot.fault is None for slot in self.slots)

    @property
    def on_trial(self) -> bool:
        """Whether a bundle has yet to prove itself."""
        return any(slot.slot.trial is not None for slot in self.slots)


def take_inventory(root: Path) -> Inventory:
    """Look at a device's store without changing it.

    Raises:
        CallerError: TARGET_UNKNOWN, there is no such folder; KEY_BAD or CONFIG_BAD for its keys or profile.
        DeviceError: STATE_BAD; what is active is unknown.
        LinkError: It cannot be read.
    """
    store = existing_store(root)
    state = store.state()
    try:
        leftovers = len(store.leftovers())
        factory = tuple(store.factory_names())
    except OSError as error:
        raise disk_error(error, f"list {root}") from error
    return Inventory(
        root=root,
        profile=store.profile(),
        arch=this_arch(),
        edge_version=galago_edge.__version__,
        runtime=_runtime(),
        slots=tuple(_report(store, name, slot, state.history) for name, slot in sorted(state.slots.items())),
        trusted=store.trusted().comments,
        copies={copy.name: copy.health for copy in store.copies()},
        leftovers=leftovers,
        factory=factory,
    )


def existing_store(root: Path) -> Store:
    """Return the store at ``root``; a mistyped path must not become a new one.

    Raises:
        CallerError: TARGET_UNKNOWN; there is no such folder.
    """
    if not root.is_dir():
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"there is no folder {root}",
            hint="galago install BUNDLE --root DIR makes one, or give the right one",
        )
    return Store(root)


def only_name(store: Store, name: str | None) -> str:
    """Return which bundle name a command is about: the given one, or the only one there is.

    Raises:
        DeviceError: NO_BUNDLE, nothing is installed; STATE_BAD.
        CallerError: TARGET_UNKNOWN; several names, and none was given.
        LinkError: It cannot be read.
    """
    if name is not None:
        return name
    names = sorted(store.state().slots)
    if not names:
        raise DeviceError(
            Reason.NO_BUNDLE, f"{store.root} has no bundle", hint=f"galago install BUNDLE --root {store.root}"
        )
    if len(names) > 1:
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"{store.root} has bundles of several names, and none was given",
            hint=f"say which: {', '.join(names)}",
        )
    return names[0]


def _runtime() -> RuntimeInfo | None:
    try:
        return runtime()
    except DeviceError:  # none is installed: that is what status must be able to say
        return None


def _report(store: Store, name: str, slot: Slot, history: tuple[Event, ...]) -> SlotReport:
    own = [event for event in history if event.name == name]
    overrides = tuple(event for event in own if event.action == "override" and event.id == slot.active.id)
    rollbacks = [event for event in own if event.action == "rollback"]
    modality = fault = None
    try:
        modality = store.open(slot.active.id).manifest.modality
    except GalagoError as error:
        fault = error
    return SlotReport(name, slot, modality, fault, overrides, rollbacks[-1] if rollbacks else None)
