"""The store is read through while the service runs, so that rot is found before its content is needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from galago_edge.contract.errors import BusyError, GalagoError
from galago_edge.contract.records import StateRecord
from galago_edge.contract.settings import StoreSettings
from galago_edge.contract.status import ScrubStatus
from galago_edge.store import Store
from galago_edge.store.integrity import Scrubbed, ScrubReport, scrub

_FIRST_S = 900.0
"""After a start, which has read only what it loads; a device that is switched off every night is read through
all the same, and one that starts over and over does not wear out its disk with it."""
_BUSY_S = 60.0
"""Pause while somebody else changes the store."""


class Upkeep:
    """When the store is due for a scrub, and what the last one found. May be asked by any thread."""

    def __init__(
        self, store: Store, settings: StoreSettings, *, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare; the first scrub is due in fifteen minutes, or in ``scrub_every_s`` if that is less."""
        self._store = store
        self._every_s = settings.scrub_every_s
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._due_s = clock_s() + min(_FIRST_S, self._every_s)
        self._busy = False
        self._done_s: float | None = None
        self._report = ScrubReport((), ())
        self._failure: GalagoError | None = None

    def due(self) -> bool:
        """Return, once, that a scrub is due; it counts as begun then."""
        with self._lock:
            if self._busy or not self._every_s or self._clock_s() < self._due_s:
                return False
            self._busy = True
            return True

    def recheck(self) -> None:
        """Take that the store was changed: what was found damaged may be whole now."""
        with self._lock:
            if self._failure is not None or not self._report.healthy:
                self._due_s = self._clock_s()

    def scrub(self) -> list[StateRecord]:
        """Read everything, and return what has changed since the last time. Waits for the disk."""
        report, failure, pause_s = None, None, self._every_s
        try:
            report = scrub(self._store, self._store.trusted())
        except BusyError:
            pause_s = min(_BUSY_S, self._every_s)
        except GalagoError as error:
            failure = error
        finally:  # a fault of our own must not end the scrubs for good either
            with self._lock:
                self._busy, self._due_s = False, self._clock_s() + pause_s
        with self._lock:
            if report is None:
                self._failure = failure or self._failure
                return []
            before, self._report = self._report, report
            self._failure, self._done_s = None, self._clock_s()
        return _news(before, report)

    def problems(self) -> tuple[str, ...]:
        """Return one line for everything that is damaged, or why that cannot be found out."""
        with self._lock:
            damaged, failure = _damaged(self._report), self._failure
        lines = [
            f"{found.name} {found.version} ({found.part}) is damaged on the disk: {fault.line}"
            for found, fault in damaged
        ]
        if failure is not None:
            lines.append(f"the store cannot be read through: {failure.line}")
        return tuple(lines)

    def status(self) -> ScrubStatus | None:
        """Return what the last whole scrub found; None before there was one."""
        with self._lock:
            if self._done_s is None:
                return None
            return ScrubStatus(
                ago_s=self._clock_s() - self._done_s,
                bundles=len(self._report.bundles),
                damaged=len(_damaged(self._report)),
            )


def _damaged(report: ScrubReport) -> list[tuple[Scrubbed, GalagoError]]:
    return [(found, found.fault) for found in report.bundles if found.fault is not None]


def _news(before: ScrubReport, report: ScrubReport) -> list[StateRecord]:
    known = {(found.name, found.part, found.id): fault.reason for found, fault in _damaged(before)}
    now = {(found.name, found.part, found.id): fault.reason for found, fault in _damaged(report)}
    records = [
        _record(
            "bundle",
            "damaged",
            _of(found) | fault.as_data(),
        )
        for found, fault in _damaged(report)
        if known.get((found.name, found.part, found.id)) != fault.reason
    ]
    records += [
        _record("bundle", "whole", _of(found))
        for found, _ in _damaged(before)
        if (found.name, found.part, found.id) not in now
        and any(one.fault is None and one.id == found.id for one in report.bundles)
    ]
    if report.renewed:
        records.append(_record("store", "renewed", {"copies": list(report.renewed)}))
    return records


def _of(found: Scrubbed) -> dict[str, Any]:
    return {"name": found.name, "version": found.version, "bundle": found.id, "part": found.part}


def _record(subject: str, state: str, detail: dict[str, Any]) -> StateRecord:
    return StateRecord(stream="", subject=subject, state=state, index=0, ns=0, detail=detail)
