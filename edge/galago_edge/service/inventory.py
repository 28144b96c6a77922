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
from galago_edge.store.state import Slot


@dataclass(frozen=True, slots=True)
class SlotReport:
    """One name and the bundle that is active under it."""

    name: str
    slot: Slot
    modality: str | None
    """None when the bundle cannot be opened."""
    fault: GalagoError | None
    """Why the bundle cannot be opened; every byte of it was checked."""


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

    @property
    def healthy(self) -> bool:
        """Whether everything that ought to run can run."""
        return self.runtime is not None and all(slot.fault is None for slot in self.slots)


def take_inventory(root: Path) -> Inventory:
    """Look at a device's store without changing it.

    Raises:
        CallerError: TARGET_UNKNOWN, there is no such folder; KEY_BAD or CONFIG_BAD for its keys or profile.
        DeviceError: STATE_BAD; what is active is unknown.
        LinkError: It cannot be read.
    """
    if not root.is_dir():
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"there is no folder {root}",
            hint="galago install BUNDLE --root DIR makes one, or give the right one",
        )
    store = Store(root)
    slots = store.state().slots
    try:
        leftovers = len(store.leftovers())
    except OSError as error:
        raise disk_error(error, f"list {root}") from error
    return Inventory(
        root=root,
        profile=store.profile(),
        arch=this_arch(),
        edge_version=galago_edge.__version__,
        runtime=_runtime(),
        slots=tuple(_report(store, name, slot) for name, slot in sorted(slots.items())),
        trusted=store.trusted().comments,
        copies={copy.name: copy.health for copy in store.copies()},
        leftovers=leftovers,
    )


def _runtime() -> RuntimeInfo | None:
    try:
        return runtime()
    except DeviceError:  # none is installed: that is what status must be able to say
        return None


def _report(store: Store, name: str, slot: Slot) -> SlotReport:
    try:
        bundle = store.open(slot.active.id)
    except GalagoError as error:
        return SlotReport(name, slot, None, error)
    return SlotReport(name, slot, bundle.manifest.modality, None)
