"""Options and outputs of the commands that change a store."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from galago_edge.contract.errors import GalagoError

if TYPE_CHECKING:
    from galago_edge.store import Store
    from galago_edge.store.state import Release, Slot

F = TypeVar("F", bound=Callable[..., Any])

PENDING_EXIT = 4
ROLLED_BACK_EXIT = 6
_POLL_S = 0.2

root_option = click.option(
    "--root", required=True, type=click.Path(path_type=Path), help="Folder of the device's store."
)
name_argument = click.argument("name", required=False)


def release_data(release: Release | None) -> dict[str, Any] | None:
    """Return what programs are told of one bundle of the record."""
    if release is None:
        return None
    return {
        "version": release.version,
        "id": release.id,
        "release_counter": release.release_counter,
        "since_utc": release.since_utc,
    }


def slot_data(name: str, slot: Slot) -> dict[str, Any]:
    """Return what programs are told of the bundles of one name."""
    trial = None
    if slot.trial is not None:
        trial = {"left": slot.trial.left, "boots": slot.trial.boots, "since_utc": slot.trial.since_utc}
    return {
        "name": name,
        **(release_data(slot.active) or {}),
        "trial": trial,
        "floor": slot.floor,
        "previous": release_data(slot.previous),
        "staged": release_data(slot.staged),
        "bad": list(slot.bad),
    }


def notify_service(root: Path) -> int | None:
    """Tell the service that runs on a store to look at it again; return its process if one was told."""
    from galago_edge.service.control import ask_status

    with contextlib.suppress(GalagoError, OSError):
        running = ask_status(root)
        if running is not None:
            os.kill(running.pid, signal.SIGHUP)
            return running.pid
    return None


def await_verdict(store: Store, name: str, bundle_id: str, wait_s: float) -> tuple[int, Slot]:
    """Wait until a bundle is no longer on trial; return the exit code and the slot as it is then.

    Raises:
        GalagoError: The record cannot be read.
    """
    until = time.monotonic() + wait_s
    while True:
        slot = store.state().slots[name]
        if slot.active.id != bundle_id:
            return ROLLED_BACK_EXIT, slot
        if slot.trial is None:
            return 0, slot
        if time.monotonic() >= until:
            return PENDING_EXIT, slot
        time.sleep(_POLL_S)
