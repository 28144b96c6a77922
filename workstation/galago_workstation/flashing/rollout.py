"""Many devices at once, canaries first, and an end that says what became of each."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace

from galago_workstation.flashing.device_session import Rows, Session
from galago_workstation.flashing.order import FlashOptions, Package
from galago_workstation.flashing.results import Result
from galago_workstation.flashing.targets import Target


class Rollout:
    """One run of ``galago flash``."""

    def __init__(self, package: Package, options: FlashOptions, rows: Rows, jobs: int) -> None:
        self._package = package
        self._options = options
        self._rows = rows
        self._jobs = jobs
        self._sessions: list[Session] = []
        self._interrupts = 0
        self._lock = threading.Lock()

    @property
    def interrupted(self) -> bool:
        """Whether somebody has ended it early."""
        return self._interrupts > 0

    def run(
        self, targets: Sequence[Target], canaries: Collection[str] = (), canary_wait_s: float = 0.0
    ) -> list[Result]:
        """Flash every target and return their results in the same order.

        ``canaries``: names of targets that go first. The others follow only when the service of every canary
        has committed the bundle, for which it has ``canary_wait_s``.
        """
        first = [target for target in targets if target.name in canaries]
        rest = [target for target in targets if target.name not in canaries]
        done: dict[str, Result] = {}
        if first and rest and not self._options.dry_run:
            options = replace(self._options, wait_s=max(self._options.wait_s, canary_wait_s))
            if options.wishes.stage_only:
                options = self._options
            done = self._flash(first, options)
            unwell = [result for result in done.values() if result.exit != 0]
            if unwell:
                why = ", ".join(f"{result.target} is {result.outcome}" for result in unwell)
                for target in rest:
                    done[target.name] = self._held(target, f"the canary {why}")
                rest = []
        else:
            rest = list(targets)
        done |= self._flash(rest, self._options)
        return [done[target.name] for target in targets]

    def interrupt(self) -> None:
        """End what can be ended without harm; a second time, everything. Not from a signal handler."""
        with self._lock:
            self._interrupts += 1
            for session in self._sessions:
                session.interrupt(at_once=self._interrupts > 1)

    def _flash(self, targets: Sequence[Target], options: FlashOptions) -> dict[str, Result]:
        if not targets:
            return {}
        sessions = [Session(target, self._package, options, self._rows) for target in targets]
        with self._lock:
            self._sessions = sessions
            if self._interrupts:
                for session in sessions:
                    session.interrupt()
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="flash") as pool:
            futures = [pool.submit(session.run) for session in sessions]
            wait(futures)
        return {target.name: future.result() for target, future in zip(targets, futures, strict=True)}

    def _held(self, target: Target, why: str) -> Result:
        result = Result(
            target=target.name,
            outcome="not started",
            exit=4,
            message=why,
            hint="look at the canary: galago history there; then galago flash BUNDLE --retry-failed FILE",
            known=False,
        )
        self._rows.ended(result)
        return result
