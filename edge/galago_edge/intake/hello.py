"""What a device says of itself before anything is sent to it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Literal

import galago_edge
from galago_edge.contract.errors import CallerError, DeviceError, GalagoError, Reason, disk_error
from galago_edge.contract.flash_messages import BundleState, Hello, SlotState
from galago_edge.engine import runtime
from galago_edge.host.machine import this_arch
from galago_edge.intake.inbox import Upload
from galago_edge.intake.machine_id import machine_id
from galago_edge.intake.unit_file import DEVICE_ROOT
from galago_edge.store import Store
from galago_edge.store.running_service import ask_status
from galago_edge.store.state import Release, Slot, State

_LOCKS = Path("/proc/locks")


def hello_from(store: Store, *, mounted: bool) -> Hello:
    """Return what the device with this store is and has; ``mounted``: it is another machine's disk.

    Raises:
        CallerError: TARGET_UNKNOWN, there is no such folder; or its profile cannot be read.
        DeviceError: STATE_BAD.
        LinkError: The disk fails.
    """
    root = store.root
    if not root.is_dir():
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"there is no folder {root}",
            hint="galago provision TARGET --profile NAME --trust KEY.pub makes a device",
        )
    state, profile = known_state(store), store.profile()
    try:
        free = store.fs.free(root).size_bytes
    except OSError as error:
        raise disk_error(error, f"look at {root}") from error
    arch = profile.arch if mounted and profile is not None else this_arch()
    return Hello(
        root=str(root),
        galago_edge=galago_edge.__version__,
        arch=arch,
        runtime=None if mounted else _runtime(),
        profile=profile.id if profile else None,
        free_bytes=free,
        busy=_busy(root),
        service="elsewhere" if mounted else _service(root),
        slots=tuple(slot_state(name, slot) for name, slot in sorted(state.slots.items())) if state else (),
        damaged=state is None,
        trusted=tuple(store.trusted().comments),
        machine=_machine(root, mounted=mounted),
    )


def known_state(store: Store) -> State | None:
    """Return the state; None when it is damaged, so that the next install makes a new one.

    Raises:
        DeviceError: STATE_BAD; another version of Galago wrote it.
        LinkError: The disk fails.
    """
    return None if store.lost() else store.state()


def _machine(root: Path, *, mounted: bool) -> str | None:
    if not mounted:
        return machine_id()
    inside = DEVICE_ROOT.relative_to("/")
    root = root.resolve()
    system = root.parents[len(inside.parts) - 1] if len(root.parts) > len(inside.parts) else root
    return machine_id(system) if system / inside == root else None


def _busy(root: Path) -> bool:
    """Whether the store is being changed, or an upload goes on or is taken in.

    Looked up in the kernel's table, for trying the locks could get into another one's way.
    """
    try:
        held = _LOCKS.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False  # this is no Linux: installing will show
    for path in (root / "lock", *Upload.paths(root)):
        with contextlib.suppress(OSError):  # there was never a change, or the upload has just ended
            lock = path.stat()
            if f" {os.major(lock.st_dev):02x}:{os.minor(lock.st_dev):02x}:{lock.st_ino} " in held:
                return True
    return False


def slot_state(name: str, slot: Slot) -> SlotState:
    """Return what is told of one slot of the state."""

    def told(release: Release | None) -> BundleState | None:
        if release is None:
            return None
        return BundleState(version=release.version, id=release.id, release_counter=release.release_counter)

    active = told(slot.active)
    assert active is not None
    return SlotState(
        name=name,
        active=active,
        previous=told(slot.previous),
        staged=told(slot.staged),
        trial_left=slot.trial.left if slot.trial else None,
        floor=slot.floor,
    )


def _runtime() -> str | None:
    try:
        here = runtime()
    except DeviceError:  # none is installed: the offer will be refused for it
        return None
    return f"{here.package} {here.version}"


def _service(root: Path) -> Literal["running", "silent", "none"]:
    try:
        return "none" if ask_status(root) is None else "running"
    except GalagoError:
        return "silent"
