"""Children that were killed and are still there: they hang inside the kernel, mostly in a driver.

Nothing can be done but to reap each of them once it is gone, so that none stays behind as a zombie.
"""

from __future__ import annotations

import subprocess
import threading

_processes: list[subprocess.Popen[bytes]] = []
_lock = threading.Lock()


def leave(process: subprocess.Popen[bytes]) -> None:
    """Look after a killed process later, from any thread."""
    with _lock:
        if process not in _processes:
            _processes.append(process)


def reap() -> int:
    """Reap those that have ended by now; return how many still hang."""
    with _lock:
        _processes[:] = [process for process in _processes if process.poll() is None]
        return len(_processes)
