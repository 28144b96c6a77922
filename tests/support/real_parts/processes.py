"""Child processes that end with the test that started them, and waiting for conditions."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TypeVar

DEADLINE_S = 120.0
"""Generous: a busy machine is not a failed promise. Only what fails takes so long."""

_PORTS = range(20_000, 32_000)
"""Below those that connections get for their own end (Linux: net.ipv4.ip_local_port_range, from 32,768)."""

_CLAIMS: list[socket.socket] = []

Found = TypeVar("Found")


class MissingPartError(Exception):
    """A component is not installed here; the text says which and how it is installed."""

    def __init__(self, what: str) -> None:
        super().__init__(f"no {what}: run python tests/setup/system_parts.py as root")


def tool(*names: str) -> str:
    """Return the path of the first of these programs that is installed.

    Raises:
        MissingPartError: None is.
    """
    for name in names:
        # Debian keeps servers where only root looks
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
        if found is not None:
            return found
    raise MissingPartError(names[0])


def free_port() -> int:
    """Return a TCP port of the loopback interface that is this process's until it ends.

    A server may stop and start again on it: no connection is ever given it for its own end, and no other test
    process takes it, for a name in Linux's abstract socket namespace claims it.
    """
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0galago-test-port-{port}")
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # its last connections may linger
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _CLAIMS.append(claim)
        return port
    raise AssertionError("every port of the tests is taken")


def wait_for(condition: Callable[[], Found], what: str, timeout_s: float = DEADLINE_S) -> Found:
    """Return the first true answer of ``condition``.

    Raises:
        AssertionError: There was none in time.
    """
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}"
        time.sleep(0.02)
    return found


def answers(port: int) -> bool:
    """Whether something accepts connections at this port of the loopback interface."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Child:
    """A program that dies with this process, and whose output lies in a file for whoever looks for a cause.

    Start it in the main thread: the kernel kills it when the thread that started it ends.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [tool("setpriv"), "--pdeathsig", "KILL", *command],
                stdin=stdin,
                stdout=file if stdout is None else stdout,
                stderr=file,
                env={**os.environ, **(env or {})},
                cwd=cwd,
            )

    @property
    def pid(self) -> int:
        """Of the program itself."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def said(self) -> str:
        """Return the end of what it printed."""
        return self.log.read_text(errors="replace")[-2_000:]

    def wait_until(self, ready: Callable[[], Found], what: str, timeout_s: float = DEADLINE_S) -> Found:
        """Return the first true answer of ``ready``.

        Raises:
            AssertionError: The program ended, or there was no answer in time; with what it printed.
        """

        def look() -> Found | None:
            answer = ready()
            assert answer or self.running, f"{what}: ended with {self.process.returncode}: {self.said()}"
            return answer

        try:
            found = wait_for(look, what, timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; it said: {self.said()}") from None
        assert found is not None
        return found

    def signal(self, number: signal.Signals) -> None:
        """Send a signal unless it has ended."""
        if self.running:
            self.process.send_signal(number)

    def freeze(self) -> None:
        """Stop it without ending it: connections stay open and nothing comes."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once."""
        self.signal(signal.SIGKILL)
        self._reap()

    def end(self, timeout_s: float = 10.0) -> int:
        """Ask it to end, kill it when it does not; return its exit code."""
        self.thaw()
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
        return self._reap()

    def _reap(self) -> int:
        code = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # what it did not read does not matter any more
                    pipe.close()
        return code
