"""The clocks of what is delivered: one for waiting, one for ages over a suspend, one that is only a label."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from galago_edge.host.wall_clock import clock_synced

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def _boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def boot_number() -> int:
    """Return a number that changes with every boot; 0 where that cannot be told."""
    try:
        return zlib.crc32(_BOOT_ID.read_bytes())
    except OSError:
        return 0


@dataclass(frozen=True, slots=True)
class Clocks:
    """Handed in, so that tests can turn them. No waiting time and no order depends on the wall clock."""

    monotonic: Callable[[], float] = time.monotonic
    """Seconds; for every waiting time."""
    boot_ns: Callable[[], int] = _boot_ns
    """Since boot, suspended or not."""
    wall_ns: Callable[[], int] = time.time_ns
    """Unix time; may jump."""
    synced: Callable[[], bool] = clock_synced
    """Whether the wall clock can be believed."""
    boot: Callable[[], int] = boot_number
    """Which boot this is."""
