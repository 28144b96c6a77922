"""What runs on cameras and microphones: chosen at the start and after an install, and put to the test."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
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
)
from galago_edge.contract.profile import DeviceProfile
from galago_edge.contract.records import StateRecord
from galago_edge.contract.status import TrialStatus
from galago_edge.contract.streams import NS_PER_S
from galago_edge.service.chosen_bundle import ChosenBundle
from galago_edge.service.slots import Board, no_bundle
from galago_edge.service.trial import Judge, LiveTrial, as_failure
from galago_edge.store import Store
from galago_edge.store.boot import BootChoice, begin_boot, give_back
from galago_edge.store.missing_bundle import missing_bundle
from galago_edge.store.state import State, came_back
from galago_edge.store.transitions import commit, rollback


class LiveSlots:
    """The slots of a service on live sources; every method is described at ``galago_edge.service.slots``."""

    live = True

    def __init__(
        self,
        root: Path,
        *,
        used: Collection[str] | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Look at the store in ``root``.

        ``used``: names that streams run; what no stream runs is neither loaded nor counted. All without it.
        """
        self.store = Store(root)
        self._board = Board(self.store)
        self._used = None if used is None else frozenset(used)
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._chosen: dict[str, ChosenBundle] = {}
        self._unknown: GalagoError | None = None
        """Why the store cannot say what should run."""
        self._news = _News()

    # what runs

    def names(self) -> list[str]:
        """Return the names under which a bundle runs."""
        return sorted(chosen.name for chosen in self._all() if chosen.bundle is not None)

    def bundle(self, name: str) -> Bundle:
        """Return the bundle to load under ``name``.

        Raises:
            DeviceError: NO_BUNDLE; there is none, or none that is whole.
            BundleError, LinkError: Why the only ones cannot be loaded.
        """
        found = {chosen.name: chosen for chosen in self._all()}
        if name not in found:
            raise self._unknown or no_bundle(self.store, name)
        choice = found[name].choice
        if choice.bundle is None:
            raise choice.faults[0] if choice.faults else no_bundle(self.store, name)
        return choice.bundle

    def missing(self) -> GalagoError:
        """Return why there is nothing to run at all."""
        faults = [fault for chosen in self._all() for fault in chosen.choice.faults]
        return self._unknown or (faults[0] if faults else missing_bundle(self.store.root))

    def profile(self) -> DeviceProfile | None:
        """Return what this board is, if that can be read."""
        return self._board.profile()

    def judge(self, stream: str, bundle: Bundle) -> Judge | None:
        """Return who judges ``bundle`` on ``stream``; None when it is neither on trial nor watched."""
        chosen = self._of(bundle)
        trial = chosen.trial if chosen is not None else None
        if trial is None or trial.bundle_id != bundle.id:
            return None
        return trial.judge(stream, Judge(bundle.manifest, trial_s=trial.trial_s, clock_ns=self._clock_ns))

    def reject(self, bundle: Bundle, failure: BaseException) -> Bundle | None:
        """Take that a bundle cannot be loaded at the start; return what to load instead, or None."""
        chosen = self._of(bundle)
        if chosen is None or isinstance(failure, LinkError):
            return None
        trial = chosen.trial_of(bundle.id)
        if trial is not None:
            trial.failed(as_failure(str(bundle), failure))
            self.settle(trial)
        elif not isinstance(failure, BundleError | DeviceError):
            return None
        elif chosen.bundle_id == bundle.id:  # else another stream has met it before
            if (instead := chosen.instead(self.store, failure)) is None:
                return None
            self._choose(instead)
        now = self._chosen[chosen.name].bundle
        return now if now is not None and now.id != bundle.id else None

    def fail(self, bundle: Bundle, failure: GalagoError) -> None:
        """Take that a bundle cannot be loaded, which ends its trial if it is on one."""
        chosen = self._of(bundle)
        if chosen is not None and (trial := chosen.trial_of(bundle.id)) is not None:
            trial.failed(failure)

    # changes

    def load(self, names: Collection[str] | None = None) -> None:
        """Decide what to load under each name, or only under ``names``; that uses up a load of each trial."""
        state, choices, self._unknown = _begun(self.store, self._used if names is None else names)
        for choice in choices.values():
            self._choose(ChosenBundle(choice, came_back=came_back(state, choice.name)))

    def refresh(self) -> None:
        """Follow what was installed, committed or rolled back by somebody else.

        Raises:
            DeviceError: STATE_BAD.
            LinkError: The state cannot be read.
        """
        slots = self.store.state().slots
        found = {chosen.name: chosen for chosen in self._all()}
        other = set(self.store.factory_names()) - set(found)
        for name, slot in slots.items():
            chosen = found.get(name)
            if chosen is None:
                other.add(name)
                continue
            trial = chosen.trial_of(slot.active.id)
            if trial is not None and slot.trial is None:  # somebody else has committed it
                chosen.end(trial)
            elif trial is not None and isinstance(trial.verdict(), GalagoError):
                continue  # it is left already, and will be recorded when the disk takes it
            if chosen.bundle_id != slot.active.id:
                other.add(name)
        if other := other if self._used is None else other & self._used:
            self.load(other)

    def due(self) -> list[LiveTrial]:
        """Return the trials whose verdict is there and has to be recorded now, each once."""
        now_s = self._clock_ns() / NS_PER_S
        return [trial for chosen in self._all() if (trial := chosen.due(now_s)) is not None]

    def settle(self, trial: LiveTrial) -> bool:
        """Record how a trial ended; return whether another bundle is to run now."""
        verdict, chosen = trial.verdict(), self._chosen[trial.name]
        if trial.aftercare:
            self._tell_aftercare(chosen, trial, verdict)
            return False
        try:
            if isinstance(verdict, GalagoError):
                return self._leave(chosen, trial, verdict)
            if verdict:
                commit(self.store, trial.name, bundle_id=trial.bundle_id, reason="live health")
                chosen.end(trial)
                self._news.about(trial, "committed")
        except CallerError:  # somebody else was faster, and will say so with SIGHUP
            chosen.end(trial)
        except GalagoError as fault:
            chosen.cannot_end(trial, fault)
        return False

    def leave_now(self, failure: GalagoError, guilty: Callable[[LiveTrial], bool]) -> None:
        """Record that the ``guilty`` bundles on trial failed: the process is about to end.

        Raises:
            GalagoError: It cannot be recorded; the next start counts it all the same.
        """
        trials = [trial for chosen in self._all() if (trial := chosen.on_trial) is not None]
        for trial in trials:
            if guilty(trial):
                trial.failed(failure)
                rollback(self.store, trial.name, bundle_id=trial.bundle_id, reason=_reason(failure))
                self._news.about(trial, "rolled_back", **_why(failure))

    def stopped(self) -> None:
        """Give back the loads of open trials: the service ends, and none of these bundles is to blame."""
        for chosen in self._all():
            trial = chosen.on_trial
            if trial is not None and not isinstance(trial.verdict(), GalagoError):
                with contextlib.suppress(GalagoError, OSError):
                    give_back(self.store, trial.name, trial.bundle_id)

    # what is said

    def news(self) -> list[StateRecord]:
        """Return what happened since the last call."""
        return self._news.take()

    def status(self) -> tuple[TrialStatus, ...]:
        """Return how each trial is."""
        return tuple(status for chosen in self._all() if (status := chosen.status()) is not None)

    def problems(self) -> tuple[str, ...]:
        """Return one line for each bundle that is not the one that should run."""
        found = [problem for chosen in self._all() for problem in chosen.problems()]
        return (*self._board.problems(), *found)

    def close(self) -> None:
        """Let go of the bundles."""
        for chosen in self._all():
            chosen.close()

    # inside

    def _all(self) -> list[ChosenBundle]:
        with self._lock:
            return list(self._chosen.values())

    def _of(self, bundle: Bundle) -> ChosenBundle | None:
        with self._lock:
            return self._chosen.get(bundle.name)

    def _choose(self, chosen: ChosenBundle) -> None:
        """Run ``chosen`` under its name from now on."""
        with self._lock:
            before = self._chosen.get(chosen.name)
            self._chosen[chosen.name] = chosen
        if before is not None:
            before.close()
        choice, trial = chosen.choice, chosen.on_trial
        if trial is not None:
            self._news.about(trial, "trial", left=trial.left)
        elif choice.faults:
            nothing = "no_bundle" if choice.bundle is None else "fallback"
            detail = {"name": chosen.name, "to": chosen.bundle_id, "part": choice.part}
            self._news.say("rolled_back" if choice.rolled_back else nothing, detail | _why(choice.faults[0]))

    def _leave(self, chosen: ChosenBundle, trial: LiveTrial, failure: GalagoError) -> bool:
        slot = self.store.state().slots.get(trial.name)
        if slot is None or (slot.active.id == trial.bundle_id and slot.trial is None):
            chosen.end(trial)  # somebody has committed it by hand
            return False
        try:
            rollback(self.store, trial.name, bundle_id=trial.bundle_id, reason=_reason(failure))
        except (BusyError, LinkError) as fault:
            chosen.cannot_end(trial, fault)
            return chosen.leave_unrecorded(self.store, trial)
        self.load([trial.name])
        self._news.about(trial, "rolled_back", to=self._chosen[trial.name].bundle_id, **_why(failure))
        return True

    def _tell_aftercare(self, chosen: ChosenBundle, trial: LiveTrial, verdict: GalagoError | bool) -> None:
        """Say whether the bundle that came back is healthy; when it is not, it is not the bundle."""
        if isinstance(verdict, GalagoError):
            chosen.told(trial)
            self._news.about(trial, "unhealthy", **_why(verdict))
        elif verdict:
            chosen.end(trial)
            self._news.about(trial, "healthy")


class _News:
    """What happened to bundles, until it is taken to be delivered."""

    def __init__(self) -> None:
        self._records: deque[StateRecord] = deque()
        self._lock = threading.Lock()

    def about(self, trial: LiveTrial, state: str, **more: Any) -> None:
        self.say(state, {"name": trial.name, "version": trial.version, "bundle": trial.bundle_id} | more)

    def say(self, state: str, detail: dict[str, Any]) -> None:
        record = StateRecord(stream="", subject="bundle", state=state, index=0, ns=0, detail=detail)
        with self._lock:
            self._records.append(record)

    def take(self) -> list[StateRecord]:
        with self._lock:
            taken = list(self._records)
            self._records.clear()
        return taken


def _begun(
    store: Store, names: Collection[str] | None
) -> tuple[State, dict[str, BootChoice], GalagoError | None]:
    """Count a start; return the state, what to load under each name, and why that is unknown, if it is."""
    unknown: GalagoError | None = None
    state, choices = State(), dict[str, BootChoice]()
    try:
        state = store.state()
    except GalagoError as unreadable:
        unknown = unreadable
    try:
        choices = begin_boot(store, store.trusted(), names=names)
        with contextlib.suppress(GalagoError):
            state = store.state()  # a start makes a new one of a lost state (docs/adr/0015)
            unknown = None
    except CallerError as unreadable:  # whom to trust is unknown, so nobody is trusted
        fault = DeviceError(unreadable.reason, str(unreadable), hint=unreadable.hint)
        wanted = set(state.slots)
        with contextlib.suppress(LinkError):
            wanted.update(store.factory_names())
        choices = {
            name: BootChoice(name, "none", None, faults=(fault,))
            for name in (wanted if names is None else wanted & set(names))
        }
    except LinkError as unreadable:
        unknown = unreadable
    return state, choices, unknown


def _reason(failure: GalagoError) -> str:
    return f"{failure.reason}: {failure}"


def _why(failure: GalagoError) -> dict[str, Any]:
    return {"reason": str(failure.reason), "message": str(failure)}
