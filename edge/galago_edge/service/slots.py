"""Which bundle runs under each name: at the start, after an install, and at the end of a trial."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from galago_edge.bundle import Bundle
from galago_edge.contract.errors import (
    BundleError,
    BusyError,
    CallerError,
    DeviceError,
    GalagoError,
    LinkError,
    Reason,
)
from galago_edge.contract.profile import DeviceProfile
from galago_edge.contract.records import StateRecord
from galago_edge.contract.status import TrialStatus
from galago_edge.service.trial import Judge, LiveTrial, as_failure
from galago_edge.store import Store
from galago_edge.store.admission import factory_bundle, opened
from galago_edge.store.boot import BootChoice, Part, begin_boot, give_back
from galago_edge.store.state import State, came_back
from galago_edge.store.transitions import commit, rollback

_AGAIN_S = 10.0
"""Pause before a verdict that could not be recorded is tried again."""


class Slots:
    """What the store says should run, and the trials of it. May be asked by any thread.

    Changes, which wait for the disk, are made by one thread at a time.
    """

    def __init__(
        self,
        root: Path,
        *,
        live: bool = True,
        used: Collection[str] | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look at the store in ``root``.

        ``used``: names that streams run; what no stream runs is neither loaded nor counted. All without it.

        ``live``: on cameras or microphones, so that what runs is put to the test. Without, on recordings,
        nothing is judged, counted or written.
        """
        self.store = Store(root)
        self.live = live
        self._used = None if used is None else frozenset(used)
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._choices: dict[str, BootChoice] = {}
        self._trials: dict[str, LiveTrial] = {}
        self._after: dict[str, LiveTrial] = {}
        self._due_s: dict[str, float] = {}
        self._unknown: GalagoError | None = None
        self._unloadable: set[str] = set()
        self._faults: dict[str, GalagoError] = {}
        self._profile_fault: GalagoError | None = None
        self._news: deque[StateRecord] = deque()

    # what runs

    def names(self) -> list[str]:
        """Return the names that the store has bundles of.

        Raises:
            DeviceError: STATE_BAD.
            LinkError: The store cannot be read.
        """
        if not self.live:
            return sorted(self.store.state().slots)
        with self._lock:
            return sorted(name for name, choice in self._choices.items() if choice.bundle is not None)

    def bundle(self, name: str) -> Bundle:
        """Return the bundle to load under ``name``, every byte of it checked.

        Raises:
            DeviceError: NO_BUNDLE; there is none, or none that is whole.
            BundleError, LinkError: Why the only ones cannot be loaded.
        """
        if not self.live:
            return self.store.active(name)
        with self._lock:
            choice = self._choices.get(name)
            names = sorted(self._choices)
        if choice is None:
            raise self._unknown or _nothing(self.store, name, names)
        if choice.bundle is None:
            raise choice.faults[0] if choice.faults else _nothing(self.store, name, names)
        return choice.bundle

    def missing(self) -> GalagoError:
        """Return why there is nothing to run at all."""
        with self._lock:
            faults = [fault for choice in self._choices.values() for fault in choice.faults]
        return self._unknown or (faults[0] if faults else _nothing(self.store))

    def profile(self) -> DeviceProfile | None:
        """Return what this board is; None when nobody has said, or what was said cannot be read.

        The latter costs the accelerator, not the device, and is a problem.
        """
        try:
            profile, fault = self.store.profile(), None
        except CallerError as damaged:
            profile, fault = None, damaged
        with self._lock:
            self._profile_fault = fault
        return profile

    def judge(self, stream: str, bundle: Bundle) -> Judge | None:
        """Return who judges ``bundle`` on ``stream``; None when it is not on trial."""
        name = bundle.manifest.bundle.name
        with self._lock:
            trial = self._trials.get(name) or self._after.get(name)
        if trial is None or trial.bundle_id != bundle.id:
            return None
        return trial.judge(stream, Judge(bundle.manifest, trial_s=trial.trial_s))

    def reject(self, bundle: Bundle, failure: BaseException) -> Bundle | None:
        """Take that a bundle cannot be loaded at the start; return what to load instead, or None.

        One on trial is rolled back. Otherwise the record stays, and what comes next in the order of a start
        is loaded; not where the configuration or the disk is to blame.
        """
        if not self.live or isinstance(failure, LinkError):
            return None
        name = bundle.manifest.bundle.name
        with self._lock:
            trial = self._trials.get(name)
        if trial is None or trial.bundle_id != bundle.id:
            return self._next(bundle, failure) if isinstance(failure, BundleError | DeviceError) else None
        trial.failed(as_failure(str(bundle), failure))
        self.settle(trial)
        with self._lock:
            now = self._choices[name].bundle
        return now if now is not None and now.id != bundle.id else None

    def fail(self, bundle: Bundle, failure: GalagoError) -> None:
        """Take that a bundle cannot be loaded, which ends its trial if it is on one."""
        with self._lock:
            trial = self._trials.get(bundle.manifest.bundle.name)
        if trial is not None and trial.bundle_id == bundle.id:
            trial.failed(failure)

    # changes

    def load(self, names: Collection[str] | None = None) -> None:
        """Decide what to load under each name, or only under ``names``; that uses up a load of each trial.

        Whatever is wrong in the store is said when something of it is asked for.
        """
        if not self.live:
            return
        names = self._used if names is None else names
        self._unknown = None
        self._unloadable.clear()
        choices: dict[str, BootChoice] = {}
        try:
            state = self.store.state()
        except GalagoError as unknown:
            self._unknown = unknown
            state = State()
        try:
            choices = begin_boot(self.store, self.store.trusted(), names=names)
            with contextlib.suppress(GalagoError):
                state = self.store.state()  # a start makes a lost record anew (docs/adr/0015)
                self._unknown = None
        except CallerError as unreadable:  # whom to trust is unknown, so nobody is trusted
            fault = DeviceError(unreadable.reason, str(unreadable), hint=unreadable.hint)
            wanted = {*state.slots, *self.store.factory_names()}
            choices = {
                name: BootChoice(name, "none", None, faults=(fault,))
                for name in (wanted if names is None else wanted & set(names))
            }
        except LinkError as unreadable:
            self._unknown = unreadable
        for choice in choices.values():
            self._choose(choice, came_back=came_back(state, choice.name))

    def refresh(self) -> None:
        """Follow what was installed, committed or rolled back by somebody else.

        Raises:
            DeviceError: STATE_BAD.
            LinkError: The record cannot be read.
        """
        if not self.live:
            return
        slots = self.store.state().slots
        with self._lock:
            choices, trials = dict(self._choices), dict(self._trials)
        other = set(self.store.factory_names()) - set(choices)
        for name, slot in slots.items():
            if self._used is not None and name not in self._used:
                continue
            choice, trial = choices.get(name), trials.get(name)
            running = choice.bundle.id if choice is not None and choice.bundle is not None else None
            if trial is not None and trial.bundle_id == slot.active.id:
                if slot.trial is None:  # somebody else has committed it
                    self._end(trial)
                elif running == trial.bundle_id or isinstance(trial.verdict(), GalagoError):
                    continue
            if running != slot.active.id:
                other.add(name)
        if other := other if self._used is None else other & self._used:
            self.load(other)

    def due(self) -> list[LiveTrial]:
        """Return the trials whose verdict is there and has to be recorded now, each once."""
        with self._lock:
            trials = [*self._trials.values(), *self._after.values()]
        found = [trial for trial in trials if trial.verdict() is not False]
        now_s = self._clock_s()
        with self._lock:
            due = [trial for trial in found if now_s >= self._due_s.get(trial.name, now_s)]
            self._due_s.update({trial.name: now_s + _AGAIN_S for trial in due})
        return due

    def settle(self, trial: LiveTrial) -> bool:
        """Record how a trial ended; return whether another bundle is to run now.

        What cannot be recorded is tried again later. A bundle that failed is left at once all the same.
        """
        verdict = trial.verdict()
        if trial.aftercare:
            self._told_after(trial, verdict)
            return False
        try:
            if verdict is True:
                commit(self.store, trial.name, bundle_id=trial.bundle_id, reason="live health")
                self._end(trial)
                self._tell("committed", trial)
                return False
            if isinstance(verdict, GalagoError):
                return self._leave(trial, verdict)
        except CallerError:  # somebody else was faster, and will say so with SIGHUP
            self._end(trial)
        except GalagoError as fault:
            with self._lock:
                self._faults[trial.name] = fault
        return False

    def leave_now(self, failure: GalagoError, bundle_id: str | None = None) -> None:
        """Record that a bundle on trial, or each of them, failed: the process is about to end.

        Raises:
            GalagoError: It cannot be recorded; the next start counts it all the same.
        """
        with self._lock:
            found = [trial for trial in self._trials.values() if bundle_id in (None, trial.bundle_id)]
        for trial in found:
            trial.failed(failure)
            rollback(self.store, trial.name, _reason(failure), bundle_id=trial.bundle_id)
            self._tell("rolled_back", trial, reason=str(failure.reason), message=str(failure))

    def stopped(self) -> None:
        """Give back the loads of open trials: somebody stopped the service, nothing crashed."""
        with self._lock:
            found = list(self._trials.values())
        trials = [trial for trial in found if not isinstance(trial.verdict(), GalagoError)]
        for trial in trials:
            with contextlib.suppress(GalagoError, OSError):
                give_back(self.store, trial.name, trial.bundle_id)

    # what is said

    def news(self) -> list[StateRecord]:
        """Return what happened since the last call."""
        with self._lock:
            news = list(self._news)
            self._news.clear()
        return news

    def status(self) -> tuple[TrialStatus, ...]:
        """Return how each trial is."""
        with self._lock:
            trials, faults = list(self._trials.values()), dict(self._faults)
        return tuple(trial.status(_words(faults.get(trial.name))) for trial in trials)

    def problems(self) -> tuple[str, ...]:
        """Return one line for each bundle that is not the one that should run."""
        with self._lock:
            choices, faults = list(self._choices.values()), dict(self._faults)
            after, unread = list(self._after.values()), self._profile_fault
        lines = [f"without the board's profile, on the CPU alone: {_words(unread)}"] if unread else []
        lines += [f"the trial of {name} cannot be ended: {_words(fault)}" for name, fault in faults.items()]
        for choice in choices:
            if choice.faults and choice.bundle is not None:
                lines.append(f"{choice.bundle} runs, the {choice.part} one: {_words(choice.faults[0])}")
        for trial in after:
            if isinstance(verdict := trial.verdict(), GalagoError):
                lines.append(f"{trial.name} {trial.version} is no better: {_words(verdict)}")
        return tuple(lines)

    def close(self) -> None:
        """Let go of the bundles."""
        with self._lock:
            choices, self._choices = list(self._choices.values()), {}
        for choice in choices:
            if choice.hold is not None:
                choice.hold.close()

    # inside

    def _choose(self, choice: BootChoice, *, came_back: bool = False) -> None:
        name, bundle, trial = choice.name, choice.bundle, choice.trial
        with self._lock:
            before = self._choices.get(name)
            self._choices[name] = choice
            self._trials.pop(name, None)
            self._after.pop(name, None)
            self._faults.pop(name, None)
            self._due_s.pop(name, None)
            if trial is not None and bundle is not None:
                version = bundle.manifest.bundle.version
                self._trials[name] = LiveTrial(name, bundle.id, version, trial.left, trial_s=trial.trial_s)
            elif bundle is not None and (came_back or choice.rolled_back):  # is it any better?
                version = bundle.manifest.bundle.version
                self._after[name] = LiveTrial(name, bundle.id, version, 0, aftercare=True)
        if before is not None and before.hold is not None:
            before.hold.close()
        if name in self._trials:
            self._tell("trial", self._trials[name], left=self._trials[name].left)
        elif choice.faults:
            fault = choice.faults[0]
            state = "rolled_back" if choice.rolled_back else "no_bundle" if bundle is None else "fallback"
            detail = {"name": name, "to": None if bundle is None else bundle.id, "part": choice.part}
            self._say(state, detail | {"reason": str(fault.reason), "message": str(fault)})

    def _leave(self, trial: LiveTrial, failure: GalagoError) -> bool:
        slot = self.store.state().slots.get(trial.name)
        if slot is None or (slot.active.id == trial.bundle_id and slot.trial is None):
            self._end(trial)  # somebody has committed it by hand
            return False
        try:
            rollback(self.store, trial.name, _reason(failure), bundle_id=trial.bundle_id)
        except (BusyError, LinkError) as fault:
            with self._lock:
                self._faults[trial.name] = fault
            return self._leave_unrecorded(trial)
        self.load([trial.name])
        with self._lock:
            now = self._choices[trial.name].bundle
        detail = {"reason": str(failure.reason), "message": str(failure)}
        self._tell("rolled_back", trial, to=None if now is None else now.id, **detail)
        return True

    def _leave_unrecorded(self, trial: LiveTrial) -> bool:
        """Run the bundle before, although the disk does not take that it does."""
        with self._lock:
            now = self._choices[trial.name]
        if now.bundle is None or now.bundle.id != trial.bundle_id:
            return False  # it was left at the first attempt
        slot = self.store.state().slots.get(trial.name)
        if slot is None or slot.previous is None or slot.active.id != trial.bundle_id:
            return False
        bundle = opened(self.store, slot.previous.id, self.store.trusted())
        hold = self.store.hold(bundle.id)
        with self._lock:
            self._choices[trial.name] = BootChoice(trial.name, "previous", bundle, hold=hold)
        if now.hold is not None:
            now.hold.close()
        return True

    def _next(self, bundle: Bundle, failure: GalagoError) -> Bundle | None:
        """Return the next whole bundle of the name of one that cannot be run."""
        name = bundle.manifest.bundle.name
        with self._lock:
            choice = self._choices.get(name)
            if choice is None or choice.bundle is None or choice.bundle.id != bundle.id:
                return None if choice is None else choice.bundle
            self._unloadable.add(bundle.id)
        for part, found in self._order(name):
            if found.id not in self._unloadable:
                hold = self.store.hold(found.id)
                self._choose(BootChoice(name, part, found, hold=hold, faults=(failure, *choice.faults)))
                return found
        return None

    def _order(self, name: str) -> Iterator[tuple[Part, Bundle]]:
        """Yield the whole bundles of a name that a start goes back to."""
        trusted = self.store.trusted()
        slot = self.store.state().slots.get(name)
        releases = {} if slot is None else slot.releases()
        parts: tuple[Part, ...] = ("previous", "before")
        for part in parts:
            if part in releases:
                with contextlib.suppress(GalagoError):
                    yield part, opened(self.store, releases[part].id, trusted)
        with contextlib.suppress(GalagoError):
            if (found := factory_bundle(self.store, name, trusted)) is not None:
                yield "factory", found

    def _end(self, trial: LiveTrial) -> None:
        with self._lock:
            for kept in (self._trials, self._after):
                if kept.get(trial.name) is trial:
                    del kept[trial.name]
            self._faults.pop(trial.name, None)
            self._due_s.pop(trial.name, None)

    def _told_after(self, trial: LiveTrial, verdict: GalagoError | bool) -> None:
        """Say whether the bundle that came back is healthy; when it is not, it is not the bundle."""
        if isinstance(verdict, GalagoError):
            with self._lock:
                self._due_s[trial.name] = float("inf")  # said once, and a problem for as long as it runs
            detail = {"reason": str(verdict.reason), "message": str(verdict)}
            self._tell("unhealthy", trial, **detail)
        elif verdict:
            self._end(trial)
            self._tell("healthy", trial)

    def _tell(self, state: str, trial: LiveTrial, **more: Any) -> None:
        self._say(state, {"name": trial.name, "version": trial.version, "bundle": trial.bundle_id} | more)

    def _say(self, state: str, detail: dict[str, Any]) -> None:
        record = StateRecord(stream="", subject="bundle", state=state, index=0, ns=0, detail=detail)
        with self._lock:
            self._news.append(record)


def _nothing(store: Store, name: str = "", names: Collection[str] = ()) -> DeviceError:
    named = f" named {name}, it has {', '.join(names) or 'none at all'}" if name else ""
    return DeviceError(
        Reason.NO_BUNDLE,
        f"{store.root} has no bundle{named}",
        hint=f"galago install BUNDLE --root {store.root}",
    )


def _reason(failure: GalagoError) -> str:
    return f"{failure.reason}: {failure}"


def _words(failure: GalagoError | None) -> str:
    return "" if failure is None else failure.line
