"""The child's side of what ties it to its parent: what every child calls before anything else.

Standard input of a child is the reading end of a pipe that only its parent could write to. Nobody ever does;
the pipe closes when the parent closes it or ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal

_STDIN = 0
_FIRST_FREE = 3


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent is gone, whatever this one hangs in by then.

    Standard input is empty afterwards. The system's own parent-death signal (``PR_SET_PDEATHSIG``) would not
    do: it is sent when the *thread* that started this process ends.
    """
    _tie(fcntl.F_DUPFD_CLOEXEC, os.getpid())


def group_dies_with_parent() -> None:
    """The same for this process and all others of its group, and for what it may become by ``exec``.

    The lifeline stays open over ``exec``, which is what keeps it alive.
    """
    _tie(fcntl.F_DUPFD, -os.getpgrp())


def _tie(duplicate: int, who: int) -> None:
    lifeline = fcntl.fcntl(_STDIN, duplicate, _FIRST_FREE)  # stays open for good
    _empty_standard_input()
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)  # the usual SIGIO could be blocked by a library
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, who)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, 0)
    if poll.poll(0):  # it closed before the kernel was asked to tell
        os._exit(1)


def leave_signals_to_parent() -> None:
    """Ignore what asks a whole group of processes to end: the parent hears it, and ends this one."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _empty_standard_input() -> None:
    """Foreign code that reads from it must not wait for ever."""
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, _STDIN)
    os.close(nowhere)
