"""A process of our own."""

from __future__ import annotations

import mmap
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from galago_edge.children import stragglers
from galago_edge.children.child_environment import environment
from galago_edge.children.ending import Ending

KILLED_S = 2.0
"""A killed process that is still there after this hangs in a driver, and nothing can be done."""
_NOTHING: Mapping[str, str] = MappingProxyType({})


class Child:
    """Python code in a process of its own. Used by one thread at a time, except :meth:`kill`.

    Its standard input is its lifeline (``galago_edge.children.lifeline``), which :meth:`close` cuts, and so
    does the end of this process. It finds the same copy of the package as this process, and nothing by
    accident: the folder that it is started in is not searched for modules.
    """

    def __init__(
        self,
        program: Sequence[str],
        arguments: Sequence[str | bytes] = (),
        *,
        shared: Sequence[int] = (),
        more_environment: Mapping[str, str] = _NOTHING,
        stdout: int = subprocess.DEVNULL,
        stderr: int = subprocess.DEVNULL,
        own_session: bool = True,
    ) -> None:
        """Start ``program``: what the interpreter is to run, such as ``("-m", "galago_edge.engine.worker")``.

        It is given the numbers of the descriptors in ``shared``, which it inherits, and behind them
        ``arguments``. In a session of its own a terminal's Ctrl-C does not reach it.

        Raises:
            OSError: There is no memory or process to be had.
        """
        stragglers.reap()
        self._process = subprocess.Popen(
            [sys.executable, "-P", *program, *map(str, shared), *arguments],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            pass_fds=tuple(shared),
            env=environment(more_environment),
            start_new_session=own_session,
            bufsize=0,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def ending(self) -> Ending | None:
        """How it ended; None while it lives. One that hangs in a driver outlives even SIGKILL."""
        return self.wait(0)

    def wait(self, seconds: float) -> Ending | None:
        """Return how it ended, or None when it has not after ``seconds``."""
        try:
            return Ending.of(self._process.wait(seconds))
        except subprocess.TimeoutExpired:
            return None

    def rss_bytes(self) -> int:
        """Return its resident memory; 0 when it has ended."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]
        except (OSError, IndexError):
            return 0
        return int(pages) * mmap.PAGESIZE

    def interrupt(self) -> None:
        """Ask it to end, as Ctrl+C does; harmless when it has ended."""
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End it without waiting; harmless when it has ended. Any thread may."""
        self._process.kill()

    def close(self, *, polite_s: float = 0.0, killed_s: float = KILLED_S) -> None:
        """Make sure that it ends and is reaped; raises nothing and may be called twice.

        It has ``polite_s`` to end by itself before it is killed, and the kernel ``killed_s`` to do that.
        """
        if self.wait(polite_s) is None:
            self.kill()
            if self.wait(killed_s) is None:
                stragglers.leave(self._process)
        if self._process.stdin is not None:
            self._process.stdin.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
