"""Trains in a process of its own, which may crash without taking anything else along.

``python -m galago_workstation.training.training_child FD FRESH CONFIG OUT ROOT TENSORBOARD``: progress and
how it ended go to FD, FRESH is ``fresh`` or ``on``; the last two may be empty. Where MLflow is stands in the
environment, for its address may hold a password. Where ``TF_CONFIG`` names several machines it trains with
the others. SIGINT is Ctrl+C: once ends the training well, twice aborts it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

from galago_edge.children.channel import Channel
from galago_edge.children.lifeline import die_with_parent
from galago_edge.contract.errors import GalagoError
from galago_workstation.training.curves import Epoch
from galago_workstation.training.machines import read_machines
from galago_workstation.training.training_logs import MLFLOW_VARIABLE, TrainingLogs
from galago_workstation.training.training_messages import (
    EpochDone,
    LineSaid,
    StepDone,
    TrainingAborted,
    TrainingBegun,
    TrainingFailed,
    TrainingFinished,
)


class RelayedProgress:
    """Tells the other side of a channel what a training tells."""

    def __init__(self, channel: Channel[LineSaid]) -> None:
        self._channel = channel

    def say(self, text: str) -> None:
        """Show one line."""
        self._channel.send(LineSaid(text))

    def begin(self, epochs: int, steps: int, done: int = 0) -> None:
        """Training starts."""
        self._channel.send(TrainingBegun(epochs, steps, done))

    def step(self) -> None:
        """One more batch is done."""
        self._channel.send(StepDone())

    def epoch(self, epoch: Epoch, best: bool) -> None:
        """An epoch is done."""
        self._channel.send(EpochDone(epoch, best))


def main(
    link: socket.socket, fresh: bool, config: Path, out: Path, root: Path | None, logs: TrainingLogs
) -> None:
    """Train, and tell how it ended."""
    channel = Channel[LineSaid](link, LineSaid)
    try:
        from galago_workstation.training.logged_training import train_logged
        from galago_workstation.training.training_run import train_along

        progress, machines = RelayedProgress(channel), read_machines(os.environ)
        if machines is None or machines.chief:
            train_logged(config, out, progress, fresh=fresh, root=root, logs=logs, machines=machines)
        else:
            train_along(config, progress, machines, root=root)
    except GalagoError as error:
        channel.send(TrainingFailed(error.as_data(with_exit=True)))
    except KeyboardInterrupt:
        channel.send(TrainingAborted())
    else:
        channel.send(TrainingFinished())


def _path(argument: str) -> Path | None:
    return Path(argument) if argument else None


if __name__ == "__main__":
    die_with_parent()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it may have been ignored where we come from
    main(
        socket.socket(fileno=int(sys.argv[1])),
        sys.argv[2] == "fresh",
        Path(sys.argv[3]),
        Path(sys.argv[4]),
        _path(sys.argv[5]),
        TrainingLogs(_path(sys.argv[6]), os.environ.get(MLFLOW_VARIABLE) or None),
    )
    sys.stderr.flush()
    os._exit(0)  # the run is there; what TensorFlow does when it is taken down is of no use to anybody
