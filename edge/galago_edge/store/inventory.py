"""What a device has: board, runtime, bundles, keys, and whether its store is whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import galago_edge
from galago_edge.bundle import TrustedKeys, require_trust
from galago_edge.contract.errors import (
    CallerError,
    DeviceError,
    GalagoError,
    Reason,
    disk_error,
)
from galago_edge.contract.modality import Modality
from galago_edge.contract.profile import DeviceProfile, RuntimeInfo
from galago_edge.host.machine import this_arch
from galago_edge.store import Store
from galago_edge.store.missing_bundle import missing_bundle
from galago_edge.store.state import HistoryEntry, Slot, State

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SlotReport:
    """One name and the bundle that is active under it."""

    name: str
    slot: Slot
    modality: Modality | None
    """None when the bundle cannot be opened."""
    fault: GalagoError | None
    """Why the next start would not load it; every byte of it was checked, and who signed it."""
    overrides: tuple[HistoryEntry, ...] = ()
    """What was overridden to install the active bundle."""
    last_rollback: HistoryEntry | None = None
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
    trust: TrustedKeys
    """Whom the device believes; nobody where that cannot be read."""
    overrides: tuple[HistoryEntry, ...]
    """Those that the history still has."""
    copies: dict[str, str]
    """Each copy of the state and how it is: ``ok``, ``damaged``, ``missing``."""
    leftovers: int
    """What broken installs left behind."""
    factory: tuple[str, ...] = ()
    """Names under which the device was delivered with a bundle."""
    faults: tuple[tuple[str, GalagoError], ...] = ()
    """What cannot be read: ``profile``, ``trust`` or ``store`` (the state), and why."""

    @property
    def healthy(self) -> bool:
        """Whether everything that ought to run can run."""
        whole = not self.faults and all(slot.fault is None for slot in self.slots)
        return whole and self.runtime is not None

    @property
    def on_trial(self) -> bool:
        """Whether a bundle has yet to prove itself."""
        return any(slot.slot.trial is not None for slot in self.slots)


def take_inventory(root: Path, runtime: RuntimeInfo | None) -> Inventory:
    """Look at a device's store without changing it. What is damaged does not hide the rest.

    ``runtime`` is the installed TFLite runtime; None when there is none.

    Raises:
        CallerError: TARGET_UNKNOWN; there is no such folder.
        LinkError: It cannot be read.
    """
    store = existing_store(root)
    faults: list[tuple[str, GalagoError]] = []

    def told(part: str, read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except (CallerError, DeviceError) as fault:
            faults.append((part, fault))
            return otherwise

    state = told("store", store.state, State())
    profile = told("profile", store.profile, None)
    trust = told("trust", store.trusted, TrustedKeys({}))
    try:
        leftovers = len(store.leftovers())
        factory = tuple(store.factory_names())
    except OSError as error:
        raise disk_error(error, f"list {root}") from error
    signers = None if any(part == "trust" for part, _ in faults) else trust
    reports = (_report(store, name, slot, state.history, signers) for name, slot in state.slots.items())
    return Inventory(
        root=root,
        profile=profile,
        arch=this_arch(),
        edge_version=galago_edge.__version__,
        runtime=runtime,
        slots=tuple(sorted(reports, key=lambda report: report.name)),
        trust=trust,
        overrides=tuple(entry for entry in state.history if entry.action == "override"),
        copies={copy.name: copy.health for copy in store.copies()},
        leftovers=leftovers,
        factory=factory,
        faults=tuple(faults),
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
        raise missing_bundle(store.root)
    if len(names) > 1:
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"{store.root} has bundles of several names, and none was given",
            hint=f"say which: {', '.join(names)}",
        )
    return names[0]


def _report(
    store: Store, name: str, slot: Slot, history: tuple[HistoryEntry, ...], signers: TrustedKeys | None
) -> SlotReport:
    own = [entry for entry in history if entry.name == name]
    overrides = tuple(entry for entry in own if entry.action == "override" and entry.id == slot.active.id)
    rollbacks = [entry for entry in own if entry.action == "rollback"]
    modality = fault = None
    try:
        bundle = store.open(slot.active.id)
        modality = bundle.modality
        if signers is not None:  # otherwise that is unknown, which is told once
            require_trust(bundle, signers)
    except GalagoError as error:
        fault = error
    return SlotReport(name, slot, modality, fault, overrides, rollbacks[-1] if rollbacks else None)
