"""Replays one recording after another in a process of its own, with one thread.

``python -m galago_workstation.qa.replay_child FD``: orders come through FD, one at a time, each is answered.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys

from galago_edge.children.channel import Channel
from galago_edge.children.lifeline import die_with_parent, leave_signals_to_parent
from galago_workstation.qa.replay_work import ReplayOrder, fulfil


def main(link: socket.socket) -> None:
    """Answer orders until the other side hangs up."""
    channel = Channel[ReplayOrder](link, ReplayOrder)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            channel.send(fulfil(channel.receive().message))


if __name__ == "__main__":
    die_with_parent()
    leave_signals_to_parent()
    main(socket.socket(fileno=int(sys.argv[1])))
    os._exit(0)  # what a runtime does when it is taken down is of no use to anybody
