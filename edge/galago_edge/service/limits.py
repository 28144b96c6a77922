"""What this process may use of the device, and what it uses."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from galago_edge.contract.errors import DeviceError, Reason
from galago_edge.contract.settings import LimitsSettings

_M_ARENA_MAX = -8  # malloc.h of glibc
_ARENAS = 2
_MB = 1_000_000


def cap_arenas() -> None:
    """Let glibc's malloc keep two arenas instead of eight for each core, before threads start.

    Every thread that allocates may get an arena of its own, which keeps what it was once given: memory
    grows for days without a leak. Nothing happens where malloc is not glibc's.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)


def resident_mb(process: Path = Path("/proc/self")) -> float:
    """Return the resident memory of a process in MB (10^6 bytes); 0 where it cannot be told."""
    try:
        pages = int((process / "statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / _MB


def too_much_memory(limits: LimitsSettings) -> DeviceError | None:
    """Return why the process must end before the device has no memory left; None when it need not."""
    used, limit = resident_mb(), limits.memory_mb
    if not limit or used <= limit:
        return None
    return DeviceError(
        Reason.MEMORY_LIMIT,
        f"the service uses {used:.0f} MB, limits.memory_mb allows {limit}",
        hint="it ends so that systemd restarts it; if that happens often, tell us how",
    )
