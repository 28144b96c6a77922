"""A thread of low priority that does one thing after the other, for those who must not wait."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from galago_edge.contract.errors import GalagoError, disk_error

_LOG = logging.getLogger(__name__)
_NICE = 10

STOPPED = "stopped"
"""What is counted of things that were complete, and not on the disk when the service had to end."""

Thing = TypeVar("Thing")


class QuietThread(Generic[Thing]):
    """Takes things from any thread without waiting, and works on them in one of its own."""

    def __init__(
        self,
        name: str,
        work: Callable[[Thing], None],
        *,
        most: int,
        begin: Callable[[], None],
        rest: Callable[[], float | None] = lambda: None,
    ) -> None:
        """Start with ``begin``, then call ``work``. At most ``most`` things may wait.

        ``rest`` is called between two things, and returns in how many seconds again if nothing comes until
        then; None: not before something comes. All say themselves what has failed; a fault that they do not
        know goes to the log, and the thread on.
        """
        self._work, self._begin, self._rest = work, begin, rest
        self._waiting: queue.Queue[Thing | None] = queue.Queue(most)
        self._closed = self._given_up = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Tell whether nothing is taken any more."""
        return self._closed

    @property
    def alive(self) -> bool:
        """Tell whether it may still be at work."""
        return self._thread.is_alive()

    def put(self, thing: Thing) -> bool:
        """Take a thing; return False when too many wait already."""
        try:
            self._waiting.put_nowait(thing)
        except queue.Full:
            return False
        return True

    def close(self, wait_s: float) -> None:
        """Work on what waits, for at most ``wait_s``, and end: then nothing more is begun.

        Twice does no harm.
        """
        if not self._closed:
            self._closed = True
            with contextlib.suppress(queue.Full):  # else the thread sees the flag after the next one
                self._waiting.put(None, timeout=wait_s)
        self._thread.join(wait_s)
        self._given_up = True

    def _run(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # deciding comes first
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        self._guarded(self._begin)
        while (thing := self._next()) is not None and not self._given_up:
            self._guarded(functools.partial(self._work, thing))

    def _guarded(self, step: Callable[[], float | None]) -> float | None:
        try:
            return step()
        except Exception:  # noqa: BLE001 a thread that is gone would be missed by nobody
            _LOG.exception("the thread %s met a fault", threading.current_thread().name)
            return None

    def _next(self) -> Thing | None:
        while not (self._closed and self._waiting.empty()):
            again_s = self._guarded(self._rest)
            with contextlib.suppress(queue.Empty):
                return self._waiting.get(timeout=again_s)
        return None


def fault_in_words(error: Exception, doing: str) -> str:
    """Return why something was not kept, in one line; ``doing``: "keep a sample"."""
    if isinstance(error, OSError):
        return str(disk_error(error, doing))
    if isinstance(error, GalagoError):
        return str(error)
    return f"{type(error).__name__}: {error}, a fault of galago itself"
