"""The clock by which days are named, and whether it can be believed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from galago_edge.contract.status import Doubt
from galago_edge.host.time_zone import TimeZone
from galago_edge.host.wall_clock import EARLIEST_NS, clock_synced


def _boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment on both clocks."""

    boot_ns: int
    """Since the boot, suspended or not: it never jumps."""
    wall_ns: int
    """Unix time: it may."""
    doubt: Doubt | None
    """Why the wall clock is not believed; None when it is."""

    def before(self, length_ns: int) -> Moment:
        """Return the moment that was so much earlier."""
        return replace(self, boot_ns=self.boot_ns - length_ns, wall_ns=self.wall_ns - length_ns)


@dataclass(frozen=True, slots=True)
class DayClock:
    """Handed in, so that tests and simulations can turn it."""

    wall_ns: Callable[[], int] = time.time_ns
    boot_ns: Callable[[], int] = _boot_ns
    awake_ns: Callable[[], int] = time.monotonic_ns
    """As ``boot_ns``, but it stands still while the machine is suspended."""
    synced: Callable[[], bool] = clock_synced
    zone: TimeZone = field(default_factory=TimeZone)

    def now(self) -> Moment:
        """Return this moment."""
        wall_ns = self.wall_ns()
        doubt: Doubt | None = None
        if wall_ns < EARLIEST_NS:
            doubt = "early"
        elif not self.synced():
            doubt = "unsynced"
        return Moment(self.boot_ns(), wall_ns, doubt)
