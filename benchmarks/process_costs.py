"""What a process and all that come from it take: processor time and memory, from ``/proc``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path


def family(pid: int) -> list[int]:
    """Return a process and all that come from it."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in task.read_text().split()]
    return found


def processor_s(pids: Iterable[int]) -> float:
    """Return the processor time that they have used, in seconds; those that are gone count nothing."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mb(pids: Iterable[int], kind: str = "Pss") -> float:
    """Return their memory in MB; a page that several of them have is divided among those.

    ``Pss_Anon`` is without the pages of files, which the system takes back when it needs memory.
    """
    kilobytes = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                kilobytes += int(line.split()[1]) if line.startswith(f"{kind}:") else 0
    return kilobytes / 1e3
