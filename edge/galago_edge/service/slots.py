"""Which bundle runs under each name: what a service asks, and the answer on recordings.

On cameras and microphones what runs is put to the test: ``galago_edge.service.live_slots``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

from galago_edge.bundle import Bundle
from galago_edge.contract.errors import CallerError, DeviceError, GalagoError
from galago_edge.contract.profile import DeviceProfile
from galago_edge.contract.records import StateRecord
from galago_edge.contract.status import TrialStatus
from galago_edge.service.chosen_bundle import words
from galago_edge.service.trial import Judge, LiveTrial
from galago_edge.store import Store
from galago_edge.store.missing_bundle import missing_bundle


class Slots(Protocol):
    """What the store says should run, and the trials of it. May be asked by any thread.

    Changes, which wait for the disk, are made by one thread at a time.
    """

    store: Store

    @property
    def live(self) -> bool:
        """Whether what runs is judged and counted."""
        ...

    # what runs

    def names(self) -> list[str]:
        """Return the names that the store has bundles of.

        Raises:
            DeviceError: STATE_BAD.
            LinkError: The store cannot be read.
        """
        ...

    def bundle(self, name: str) -> Bundle:
        """Return the bundle to load under ``name``, every byte of it checked.

        Raises:
            DeviceError: NO_BUNDLE; there is none, or none that is whole.
            BundleError, LinkError: Why the only ones cannot be loaded.
        """
        ...

    def missing(self) -> GalagoError:
        """Return why there is nothing to run at all."""
        ...

    def profile(self) -> DeviceProfile | None:
        """Return what this board is; None when nobody has said, or what was said cannot be read.

        The latter costs the accelerator, not the device, and is a problem.
        """
        ...

    def judge(self, stream: str, bundle: Bundle) -> Judge | None:
        """Return who judges ``bundle`` on ``stream``; None when it is not on trial."""
        ...

    def reject(self, bundle: Bundle, failure: BaseException) -> Bundle | None:
        """Take that a bundle cannot be loaded at the start; return what to load instead, or None.

        One on trial is rolled back. Otherwise the state stays, and what comes next in the order of a start
        is loaded; not where the configuration or the disk is to blame.
        """
        ...

    def fail(self, bundle: Bundle, failure: GalagoError) -> None:
        """Take that a bundle cannot be loaded, which ends its trial if it is on one."""
        ...

    # changes

    def load(self, names: Collection[str] | None = None) -> None:
        """Decide what to load under each name, or only under ``names``; that uses up a load of each trial.

        Whatever is wrong in the store is said when something of it is asked for.
        """
        ...

    def refresh(self) -> None:
        """Follow what was installed, committed or rolled back by somebody else.

        Raises:
            DeviceError: STATE_BAD.
            LinkError: The state cannot be read.
        """
        ...

    def due(self) -> list[LiveTrial]:
        """Return the trials whose verdict is there and has to be recorded now, each once."""
        ...

    def settle(self, trial: LiveTrial) -> bool:
        """Record how a trial ended; return whether another bundle is to run now.

        What cannot be recorded is tried again later. A bundle that failed is left at once all the same.
        """
        ...

    def leave_now(self, failure: GalagoError, guilty: Callable[[LiveTrial], bool]) -> None:
        """Record that the ``guilty`` bundles on trial failed: the process is about to end.

        Raises:
            GalagoError: It cannot be recorded; the next start counts it all the same.
        """
        ...

    def stopped(self) -> None:
        """Give back the loads of open trials: the service ends, and none of these bundles is to blame."""
        ...

    # what is said

    def news(self) -> list[StateRecord]:
        """Return what happened since the last call."""
        ...

    def status(self) -> tuple[TrialStatus, ...]:
        """Return how each trial is."""
        ...

    def problems(self) -> tuple[str, ...]:
        """Return one line for each bundle that is not the one that should run."""
        ...

    def close(self) -> None:
        """Let go of the bundles."""
        ...


class RecordingSlots:
    """The slots of streams on recordings: the active bundles, and nothing is judged, counted or written."""

    live = False

    def __init__(self, root: Path) -> None:
        """Look at the store in ``root``."""
        self.store = Store(root)
        self._board = Board(self.store)

    def names(self) -> list[str]:
        """Return the names that the state has bundles of.

        Raises:
            DeviceError: STATE_BAD.
            LinkError: The state cannot be read.
        """
        return sorted(self.store.state().slots)

    def bundle(self, name: str) -> Bundle:
        """Return the active bundle of ``name``, every byte of it checked.

        Raises:
            DeviceError: NO_BUNDLE or STATE_BAD.
            BundleError, LinkError: It cannot be loaded.
        """
        return self.store.active(name)

    def missing(self) -> GalagoError:
        """Return that there is nothing to run at all."""
        return missing_bundle(self.store.root)

    def profile(self) -> DeviceProfile | None:
        """Return what this board is, if that can be read."""
        return self._board.profile()

    def judge(self, stream: str, bundle: Bundle) -> Judge | None:
        """Return nobody."""
        return None

    def reject(self, bundle: Bundle, failure: BaseException) -> Bundle | None:
        """Return nothing: who runs a recording wants this bundle and no other."""
        return None

    def fail(self, bundle: Bundle, failure: GalagoError) -> None:
        """Do nothing."""

    def load(self, names: Collection[str] | None = None) -> None:
        """Do nothing: the state is read when somebody asks."""

    def refresh(self) -> None:
        """Do nothing."""

    def due(self) -> list[LiveTrial]:
        """Return nothing."""
        return []

    def settle(self, trial: LiveTrial) -> bool:
        """Do nothing: there is no trial."""
        return False

    def leave_now(self, failure: GalagoError, guilty: Callable[[LiveTrial], bool]) -> None:
        """Do nothing."""

    def stopped(self) -> None:
        """Do nothing."""

    def news(self) -> list[StateRecord]:
        """Return nothing."""
        return []

    def status(self) -> tuple[TrialStatus, ...]:
        """Return nothing."""
        return ()

    def problems(self) -> tuple[str, ...]:
        """Return a line when the board's profile cannot be read."""
        return self._board.problems()

    def close(self) -> None:
        """Do nothing: nothing is held."""


class Board:
    """What the store says the board is. Asked by any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fault: GalagoError | None = None

    def profile(self) -> DeviceProfile | None:
        """Return it; None when nobody has said, or what was said cannot be read, which is a problem."""
        try:
            profile = self._store.profile()
        except CallerError as damaged:
            self._fault = damaged
            return None
        self._fault = None
        return profile

    def problems(self) -> tuple[str, ...]:
        """Return a line when the profile could not be read the last time."""
        fault = self._fault
        return (f"without the board's profile, on the CPU alone: {words(fault)}",) if fault else ()


def no_bundle(store: Store, name: str) -> DeviceError:
    """Return why nothing runs under ``name``: NO_BUNDLE, with the names that the store has."""
    names: set[str] = set()
    with contextlib.suppress(GalagoError):  # what cannot be read is told where it matters
        names.update(store.factory_names())
        names.update(store.state().slots)
    return missing_bundle(store.root, name, names)
