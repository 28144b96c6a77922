"""What runs under one name: which bundle, why that one, and how its trial stands."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

from galago_edge.bundle import Bundle
from galago_edge.contract.errors import GalagoError
from galago_edge.contract.status import TrialStatus
from galago_edge.service.trial import LiveTrial
from galago_edge.store import Store
from galago_edge.store.admission import factory_bundle, opened
from galago_edge.store.boot import BootChoice, Part

_AGAIN_S = 10.0
"""Pause before a verdict that could not be recorded is tried again."""


class ChosenBundle:
    """One name of the store, as the service runs it.

    Changed by one thread at a time. Every attribute is replaced as a whole, so any thread may read it.
    """

    def __init__(
        self, choice: BootChoice, *, came_back: bool = False, unloadable: frozenset[str] = frozenset()
    ) -> None:
        """Run what was chosen.

        ``came_back``: after a rollback, so whether it is any better is to be said. ``unloadable``: ids of
        bundles of this name that were tried since the choice was made last, and cannot be run.
        """
        self.name = choice.name
        self.choice = choice
        self.unloadable = unloadable
        self.trial = _trial_of(choice, came_back=came_back)
        """Until it has ended; with ``aftercare`` it is not on trial but watched."""
        self.fault: GalagoError | None = None
        """Why the end of the trial cannot be recorded."""
        self._due_s = -math.inf

    @property
    def bundle(self) -> Bundle | None:
        """What runs; None when there is nothing whole."""
        return self.choice.bundle

    @property
    def bundle_id(self) -> str | None:
        """Sha256 of the manifest of what runs."""
        return self.bundle.id if self.bundle is not None else None

    @property
    def on_trial(self) -> LiveTrial | None:
        """The trial; None when there is none, or when the bundle is only watched."""
        trial = self.trial
        return trial if trial is not None and not trial.aftercare else None

    def trial_of(self, bundle_id: str) -> LiveTrial | None:
        """Return the trial if it is that of this bundle."""
        trial = self.on_trial
        return trial if trial is not None and trial.bundle_id == bundle_id else None

    def due(self, now_s: float) -> LiveTrial | None:
        """Return the trial when its verdict is there and has to be recorded now; not again for a while."""
        trial = self.trial
        if trial is None or now_s < self._due_s or trial.verdict() is False:
            return None
        self._due_s = now_s + _AGAIN_S
        return trial

    def end(self, trial: LiveTrial) -> None:
        """Take that the end of ``trial`` is recorded."""
        if self.trial is trial:
            self.trial = self.fault = None

    def cannot_end(self, trial: LiveTrial, fault: GalagoError) -> None:
        """Take why the end of ``trial`` could not be recorded."""
        if self.trial is trial:
            self.fault = fault

    def told(self, trial: LiveTrial) -> None:
        """Take that the verdict of ``trial`` was said: once is enough, it stays a problem."""
        if self.trial is trial:
            self._due_s = math.inf

    def leave_unrecorded(self, store: Store, trial: LiveTrial) -> bool:
        """Run the bundle before the one on trial, although the disk does not take that it does.

        Return whether that changed anything.

        Raises:
            BundleError, LinkError: It cannot be loaded.
        """
        if self.bundle_id != trial.bundle_id:
            return False  # it was left at the first attempt
        slot = store.state().slots.get(self.name)
        if slot is None or slot.previous is None or slot.active.id != trial.bundle_id:
            return False
        bundle = opened(store, slot.previous.id, store.trusted())
        choice = BootChoice(self.name, "previous", bundle, hold=store.hold(bundle.id))
        self.close()
        self.choice = choice
        return True

    def instead(self, store: Store, failure: GalagoError) -> ChosenBundle | None:
        """Return the next whole bundle of this name in place of this one, which cannot be run; None: none."""
        if self.bundle is not None:
            self.unloadable |= {self.bundle.id}
        for part, found in _going_back(store, self.name):
            if found.id not in self.unloadable:
                faults = (failure, *self.choice.faults)
                choice = BootChoice(self.name, part, found, hold=store.hold(found.id), faults=faults)
                return ChosenBundle(choice, unloadable=self.unloadable)
        return None

    def status(self) -> TrialStatus | None:
        """Return how the trial is; None when nothing is on trial."""
        trial = self.on_trial
        return trial.status(words(self.fault)) if trial is not None else None

    def problems(self) -> Iterator[str]:
        """Yield a line for everything that is not as it should be."""
        trial, fault, choice = self.trial, self.fault, self.choice
        if fault is not None:
            yield f"the trial of {self.name} cannot be ended: {words(fault)}"
        if choice.faults and choice.bundle is not None:
            yield f"{choice.bundle} runs, the {choice.part} one: {words(choice.faults[0])}"
        if trial is not None and trial.aftercare and isinstance(verdict := trial.verdict(), GalagoError):
            yield f"{self.name} {trial.version} is no better: {words(verdict)}"

    def close(self) -> None:
        """Let go of the bundle's folder."""
        if self.choice.hold is not None:
            self.choice.hold.close()


def words(failure: GalagoError | None) -> str:
    """Return a failure as one line with its reason code; nothing for None."""
    return "" if failure is None else failure.line


def _trial_of(choice: BootChoice, *, came_back: bool) -> LiveTrial | None:
    bundle, trial = choice.bundle, choice.trial
    if bundle is None:
        return None
    version = bundle.version
    if trial is not None:
        return LiveTrial(choice.name, bundle.id, version, trial.left, trial_s=trial.trial_s)
    if came_back or choice.rolled_back:
        return LiveTrial(choice.name, bundle.id, version, 0, aftercare=True)
    return None


def _going_back(store: Store, name: str) -> Iterator[tuple[Part, Bundle]]:
    """Yield the whole bundles of a name that a start goes back to, in its order."""
    trusted = store.trusted()
    slot = store.state().slots.get(name)
    releases = {} if slot is None else slot.releases()
    parts: tuple[Part, ...] = ("previous", "before")
    for part in parts:
        if part in releases:
            with contextlib.suppress(GalagoError):
                yield part, opened(store, releases[part].id, trusted)
    with contextlib.suppress(GalagoError):
        if (found := factory_bundle(store, name, trusted)) is not None:
            yield "factory", found
