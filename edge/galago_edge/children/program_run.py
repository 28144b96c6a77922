"""A program of the device's owner, run for one record within a time limit.

It finds the record on its standard input and nothing else of ours: no open file, and no variable of our
environment that was not meant for it. It runs in a session of its own, and everything that it has started
ends with it.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from galago_edge.children.child import Child
from galago_edge.children.ending import Ending

_SAID_BYTES = 4_096
"""So much of what it prints is kept; the rest is read and thrown away."""
_LINE = 200
"""Characters of its first line that are told."""
_PIECE_BYTES = 65_536
_LOOK_MS = 50
"""How often it is looked after while it prints nothing."""
_PASSED_ON = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "XDG_RUNTIME_DIR",
)  # fmt: skip
"""Of our environment, with all of ``LC_*``; whatever else stands there may be secret."""
_USUAL_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class ProgramEnd:
    """How a program ended."""

    ending: Ending | None
    """None: it took too long, or was told to stop, and was killed."""
    said: str
    """The first line of what it printed, at most 200 characters; empty for nothing."""


def program_environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return what a program finds in its environment: what everybody may know of ours, and ``more``."""
    ours = {name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith("LC_")}
    return {"PATH": _USUAL_PATH, **ours, **more}


def program_path(name: str, environment: Mapping[str, str]) -> str | None:
    """Return the file that ``name`` stands for, None when there is none that may be executed."""
    return shutil.which(name, path=environment["PATH"])


def run_program(
    path: str,
    command: Sequence[str],
    record: bytes,
    environment: Mapping[str, str],
    timeout_s: float,
    stopping: Callable[[], bool],
) -> ProgramEnd:
    """Run the file ``path`` as ``command``, its name first, with ``record`` on its standard input.

    It is killed, with everything that it has started, after ``timeout_s``, when ``stopping`` says so, and
    when this process ends.

    Raises:
        OSError: There is no memory, process or descriptor to be had.
    """
    block = b"\0".join(os.fsencode(f"{name}={value}") for name, value in environment.items())
    with contextlib.ExitStack() as held:
        shared = (held.enter_context(_file(record)), held.enter_context(_file(block)))
        printed, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        held.callback(os.close, printed)
        try:
            os.set_blocking(writing, True)
            child = Child(
                ("-m", "galago_edge.children.program_start"),
                (path, *command),
                shared=shared,
                stdout=writing,
                stderr=writing,
            )
        finally:
            os.close(writing)
        held.enter_context(child)
        said = bytearray()
        ended = _watch(child.pid, printed, said, time.monotonic() + timeout_s, stopping)
        # before it is reaped: until then nobody else can have its number
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        _take(printed, said)
        return ProgramEnd(child.ending if ended else None, _first_line(bytes(said)))


@contextlib.contextmanager
def _file(content: bytes) -> Iterator[int]:
    """Give an open file in memory that holds ``content``."""
    fd = os.memfd_create("galago-program", os.MFD_CLOEXEC)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


def _watch(pid: int, printed: int, said: bytearray, until: float, stopping: Callable[[], bool]) -> bool:
    """Wait until the process has ended, and return True; False when it has to be ended."""
    poll = select.poll()
    poll.register(printed, select.POLLIN)
    open_ended = True
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        left_ms = (until - time.monotonic()) * 1_000
        if left_ms <= 0 or stopping():
            return False
        poll.poll(min(left_ms, _LOOK_MS))
        if open_ended and not _take(printed, said):
            open_ended = False
            poll.unregister(printed)
    return True


def _take(printed: int, said: bytearray) -> bool:
    """Read what there is; return whether there may be more later."""
    while True:
        try:
            piece = os.read(printed, _PIECE_BYTES)
        except BlockingIOError:
            return True
        if not piece:
            return False
        said += piece[: max(0, _SAID_BYTES - len(said))]


def _first_line(said: bytes) -> str:
    lines = (line.strip() for line in said.decode(errors="replace").splitlines())
    return next((line[:_LINE] for line in lines if line), "")
