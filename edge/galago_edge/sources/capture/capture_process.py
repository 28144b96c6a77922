"""The parent's side of a capture child: started, waited for with a deadline, and killed if it must be."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import galago_edge
from galago_edge.contract.errors import (
    CallerError,
    DeviceError,
    GalagoError,
    InputError,
    LinkError,
    Reason,
    disk_error,
)
from galago_edge.sources.capture.capture_messages import Message, Receiver, send, socket_pair

PROGRAM = (sys.executable, "-P", "-m", "galago_edge.sources.capture.capture_child")
"""What is started; the number of a socket is appended."""

_POLITE_S = 0.5
"""How long a child may take to close its device before it is killed."""
_KILLED_S = 1.0
"""How long the kernel may take to end a killed child; one inside a broken driver may take for ever."""

_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",  # a thread of it costs memory and computes nothing here
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
}

_unended: list[subprocess.Popen[bytes]] = []
_unended_turn = threading.Lock()


class Child:
    """One capture process. Used by one thread."""

    def __init__(self, order: dict[str, Any], program: Sequence[str] = PROGRAM) -> None:
        """Start ``program`` and give it ``order``.

        Raises:
            LinkError: IO; no process can be started.
        """
        reap()
        self._shown = str(order["shown"])
        self._secret = str(order["target"])
        self._closed = False
        self._link, theirs = socket_pair()
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [*program, str(theirs.fileno())],
                    stdin=subprocess.PIPE,  # the child ends when this closes, thus with this process
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,  # drivers chatter there, with credentials in it
                    pass_fds=(theirs.fileno(),),
                    env=_environment(),
                    process_group=0,  # a terminal's Ctrl-C is for this process alone
                    bufsize=0,
                )
        except OSError as error:
            self._link.close()
            self._closed = True
            raise disk_error(error, f"start a process for {self._shown}") from error
        self._receiver = Receiver(self._link)
        self._poll = select.poll()
        self._poll.register(self._link, select.POLLIN)
        self.ask(order)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, head: dict[str, Any]) -> None:
        """Send one message; a child that is gone is met by ``receive``."""
        with contextlib.suppress(OSError):
            send(self._link, head)

    def receive(self, timeout_s: float) -> Message | None:
        """Return the next message, or None when none came in time.

        Raises:
            GalagoError: What the child says that is wrong, or LinkError SOURCE_LOST when it is gone.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, deadline - time.monotonic())
            if not self._poll.poll(left_s * 1_000):
                return None
            try:
                message = self._receiver.receive(wait=False)
            except BlockingIOError:
                continue
            except OSError:
                message = None
            if message is None:
                raise self._gone()
            if message.head["t"] == "failed":
                raise self._failure(message.head)
            return message

    def close(self) -> None:
        """End the child: asked first, killed if that does not help. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._link.close()
        if not self._ended(_POLITE_S):
            self._process.kill()
            if not self._ended(_KILLED_S):  # it hangs inside the kernel: look after it later
                with _unended_turn:
                    _unended.append(self._process)
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _ended(self, within_s: float) -> bool:
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _gone(self) -> LinkError:
        how = "closed its connection"
        if self._ended(_POLITE_S):
            code = self._process.returncode
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        return LinkError(
            Reason.SOURCE_LOST,
            f"the capture process of {self._shown} {how}",
            hint="it is started anew; if that happens often, look at the driver and the memory",
        )

    def _failure(self, head: dict[str, Any]) -> GalagoError:
        reason = Reason(head["reason"])
        kind = _RAISED.get(reason, LinkError)
        return kind(reason, self._hidden(head["message"]), hint=self._hidden(head["hint"]))

    def _hidden(self, text: str) -> str:
        return " ".join(text.replace(self._secret, self._shown).split())


_RAISED: dict[Reason, type[GalagoError]] = {
    Reason.EXTRA_MISSING: DeviceError,
    Reason.CONFIG_BAD: CallerError,
    Reason.IMAGE_UNREADABLE: InputError,
}


def reap() -> int:
    """Forget the killed children that have ended by now; return how many still hang."""
    with _unended_turn:
        _unended[:] = [process for process in _unended if process.poll() is None]
        return len(_unended)


def _environment() -> dict[str, str]:
    here = Path(galago_edge.__file__).parents[1]
    if here.name in (
        "site-packages",
        "dist-packages",
    ):  # found there anyhow, and must not go before the library
        return {**os.environ, **_ENVIRONMENT}
    paths = [str(here), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, **_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(paths)}
