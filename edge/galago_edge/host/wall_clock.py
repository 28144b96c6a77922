"""Whether the wall clock can be believed."""

from __future__ import annotations

import ctypes
import sys

EARLIEST_NS = 1_735_689_600_000_000_000
"""2025-01-01 UTC in Unix nanoseconds: this software is younger, so a clock before it was never set."""

_TIMEX_BYTES = 256  # struct timex has 208 bytes on 64-bit Linux, 128 on 32-bit
_TIME_ERROR = 5  # adjtimex(2): the system clock is not synchronized


def clock_synced() -> bool:
    """Tell whether the kernel knows that its clock is synchronized (NTP, PTP, GPS).

    False where it cannot be told. Only reads: a zeroed ``struct timex`` asks for no change.
    """
    if not sys.platform.startswith("linux"):
        return False
    adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None)
    if adjtimex is None:
        return False
    state = adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return bool(0 <= state < _TIME_ERROR)
