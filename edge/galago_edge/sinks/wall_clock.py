"""Wall-clock time, and whether it can be believed."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence

import msgspec

from galago_edge.contract.records import Record

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


def stamped(records: Sequence[Record], wall_ns: int, synced: bool) -> list[Record]:
    """Return the records with the wall time, which is a label for people; nothing is decided by it."""
    return [msgspec.structs.replace(record, wall_ns=wall_ns, clock_synced=synced) for record in records]
