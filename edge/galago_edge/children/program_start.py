"""A child that becomes a program of somebody else's: what a fresh process does before that.

``python -m galago_edge.children.program_start RECORD ENVIRONMENT PROGRAM NAME ARGUMENT...``: the numbers of
two open files, what to execute, and its arguments, the first of which is how it is called. Imports nothing
heavy: it runs once for every record.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from galago_edge.children.confinement import give_way
from galago_edge.children.lifeline import group_dies_with_parent

CANNOT_RUN = 126
"""As shells say it."""
_STDIN = 0
_LIKELIHOOD = 500
"""Where memory runs out it goes before the service."""


def main(arguments: list[str]) -> NoReturn:
    """Become the program."""
    record, environment = int(arguments[0]), int(arguments[1])
    _usual_signals()
    group_dies_with_parent()
    give_way(_LIKELIHOOD)
    given = dict(entry.split(b"=", 1) for entry in _read(environment).split(b"\0") if entry)
    os.close(environment)
    os.dup2(record, _STDIN)
    os.close(record)
    os.chdir("/")
    try:
        os.execve(arguments[2], arguments[3:], given)
    except OSError as error:
        sys.stderr.write(f"cannot be run: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(CANNOT_RUN)


def _usual_signals() -> None:
    """Undo what Python ignores, and what whoever started us had ignored: a program inherits it."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _read(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


if __name__ == "__main__":
    main(sys.argv[1:])
