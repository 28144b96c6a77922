"""Options and outputs of the commands that change a store."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from galago_edge.commands.cli import say, say_data
from galago_edge.commands.options import PATH
from galago_edge.contract.errors import CallerError, GalagoError, Reason

if TYPE_CHECKING:
    from galago_edge.store import Store, Transition
    from galago_edge.store.state import Release, Slot

F = TypeVar("F", bound=Callable[..., Any])

PENDING_EXIT = 4
ROLLED_BACK_EXIT = 6
_POLL_S = 0.2

name_argument = click.argument("name", required=False)
root_option = click.option(
    "--root",
    required=True,
    type=PATH,
    help="Folder of the device's store.",
)


def wish_options(command: F) -> F:
    """Add ``--commit``, ``--allow-downgrade`` and ``--trial-s``, which :class:`Wishes` takes."""
    for option in (
        click.option(
            "--trial-s",
            type=click.IntRange(1, 86_400),
            help="Length of its trial in seconds, instead of the manifest's.",
        ),
        click.option("--allow-downgrade", is_flag=True, help="Take an older release than the active one."),
        click.option("--commit", is_flag=True, help="Commit it at once, without a trial."),
    ):
        command = option(command)
    return command


@contextlib.contextmanager
def telling_what_is_active(root: Path) -> Iterator[None]:
    """After Ctrl+C say which bundles are active: an interrupt may come before the change or behind it."""
    from galago_edge.store import Store

    try:
        yield
    except KeyboardInterrupt:
        with contextlib.suppress(GalagoError):
            slots = sorted(Store(root).state().slots.items())
            active = (
                f"{name} {slot.active.version}{' (on trial)' if slot.trial else ''}" for name, slot in slots
            )
            say(f"interrupted; active in {root}: {', '.join(active) or 'nothing'}", err=True)
        raise


_LEAST_DIGITS = 8
_ID_DIGITS = 64


def given_id(store: Store, name: str, given: str | None) -> str | None:
    """Return the id of the bundle that ``given`` means: a whole id, its first digits, or a version.

    Known are the bundles of ``name`` in the state and in its history, so that what was rolled back just now
    can still be named.

    Raises:
        CallerError: TARGET_UNKNOWN; none, or more than one.
        DeviceError: STATE_BAD.
        LinkError: The state cannot be read.
    """
    if given is None or (len(given) == _ID_DIGITS and not set(given) - set("0123456789abcdef")):
        return given
    state = store.state()
    known = {(event.id, event.version) for event in state.history if event.id and event.name == name}
    if name in state.slots:
        slot = state.slots[name]
        known |= {(release.id, release.version) for release in slot.releases().values()}
        known |= {(bundle_id, None) for bundle_id in slot.bad}
    digits = given.rstrip("…")
    found = {
        bundle_id
        for bundle_id, version in known
        if version == given or (len(digits) >= _LEAST_DIGITS and bundle_id.startswith(digits))
    }
    if len(found) != 1:
        versions = ", ".join(sorted({version for _, version in known if version})) or "nothing"
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"{'more than one' if found else 'no'} bundle of {name} in {store.root} is {given}, it knows of "
            + versions,
            hint=f"give a version, or at least {_LEAST_DIGITS} digits of an id: galago history --root DIR",
        )
    return found.pop()


def release_data(release: Release | None) -> dict[str, Any] | None:
    """Return what programs are told of one bundle of the state."""
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
    from galago_edge.store.running_service import ask_status

    with contextlib.suppress(GalagoError, OSError):
        running = ask_status(root)
        if running is not None:
            os.kill(running.pid, signal.SIGHUP)
            return running.pid
    return None


def change_slot(
    root: Path,
    name: str | None,
    given: str | None,
    change: Callable[[Store, str, str | None], Transition],
    said: Callable[[Transition], str],
    *,
    as_json: bool,
) -> None:
    """Make one change to the bundles of ``name``, tell the running service, and print how they are then.

    ``change`` is given the store, the name and the id of the bundle that ``given`` means; ``said`` returns
    the line for people.

    Raises:
        GalagoError: What ``change`` raises, or there is no such store, name or bundle.
    """
    from galago_edge.store.inventory import existing_store, only_name

    store = existing_store(root)
    name = only_name(store, name)
    with telling_what_is_active(root):
        done = change(store, name, given_id(store, name, given))
        told = notify_service(root)
    if as_json:
        say_data({**slot_data(name, done.now), "service": told})
    else:
        say(said(done))


def await_verdict(store: Store, name: str, bundle_id: str, wait_s: float) -> tuple[int, Slot]:
    """Wait until a bundle is no longer on trial; return the exit code and the slot as it is then.

    Raises:
        GalagoError: The state cannot be read.
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
