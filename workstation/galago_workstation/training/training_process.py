"""A training in a process of its own: its progress, Ctrl+C, and what its death means."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Self

from galago_edge.children.channel import Channel, channel_ends
from galago_edge.children.child import Child
from galago_edge.children.ending import Ending
from galago_edge.children.output import Output
from galago_edge.contract.errors import DeviceError, GalagoError, Reason, disk_error
from galago_workstation.training.progress import TrainingProgress
from galago_workstation.training.training_logs import MLFLOW_VARIABLE, NO_LOGS, TrainingLogs
from galago_workstation.training.training_messages import (
    EpochDone,
    LineSaid,
    StepDone,
    TrainingAborted,
    TrainingBegun,
    TrainingFailed,
    TrainingFinished,
    TrainingMessage,
)

_PROGRAM = ("-m", "galago_workstation.training.training_child")
_ENDS_S = 10.0
"""So long a process that has said its last word may take to go."""


def train_apart(
    config_path: Path,
    out: Path,
    progress: TrainingProgress,
    *,
    fresh: bool = False,
    logs: TrainingLogs = NO_LOGS,
    complain: Callable[[str], object],
) -> None:
    """Do what ``training_run.train`` does, in a process of its own.

    SIGINT is passed on, as often as it comes. The process is in a session of its own, so a terminal's Ctrl+C
    reaches it in this way only, and it ends with this one.

    Args:
        config_path: The configuration.
        out: The run folder.
        progress: Is told all that training tells.
        fresh: Begin anew.
        logs: Where else the training is written down.
        complain: Is given each line that libraries wrote to standard error.

    Raises:
        GalagoError: As ``training_run.train``.
        DeviceError: TRAIN_CRASHED; the process died.
        LinkError: The system starts no process.
        KeyboardInterrupt: It was aborted.
    """
    with (
        TrainingProcess(config_path, out, fresh=fresh, logs=logs) as process,
        _interrupts_passed_on(process),
    ):
        while process.take(progress):
            pass
        process.finish(complain)


class TrainingProcess:
    """A process that trains. Used by one thread; leaving the block ends it.

    Args:
        config_path: The configuration.
        out: The run folder.
        fresh: Begin anew.
        root: What paths in the configuration are relative to; None: the folder that it lies in.
        logs: Where else the training is written down.
        more_environment: Variables beside those of this process.

    Raises:
        LinkError: The system starts no process.
    """

    def __init__(
        self,
        config_path: Path,
        out: Path,
        *,
        fresh: bool = False,
        root: Path | None = None,
        logs: TrainingLogs = NO_LOGS,
        more_environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._out = out
        self._end: TrainingFailed | TrainingAborted | TrainingFinished | None = None
        self._interrupted = False
        with ExitStack() as stack:
            try:
                self._stderr = stack.enter_context(Output("galago-stderr"))
                self.link, theirs = channel_ends()
                self._channel = Channel[TrainingMessage](self.link, TrainingMessage)
                stack.callback(self._channel.close)
                with theirs:
                    self._child = Child(
                        _PROGRAM,
                        (
                            *("fresh" if fresh else "on", str(config_path), str(out)),
                            *(str(path or "") for path in (root, logs.tensorboard)),
                        ),
                        shared=(theirs.fileno(),),
                        more_environment={
                            **({MLFLOW_VARIABLE: logs.mlflow} if logs.mlflow else {}),
                            **more_environment,
                        },
                        stderr=self._stderr.fileno(),
                    )
            except OSError as error:
                raise disk_error(error, "start a process that trains") from error
            stack.enter_context(self._child)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def interrupt(self) -> None:
        """Send it SIGINT: once ends the training well, twice aborts it."""
        self._interrupted = True
        self._child.interrupt()

    def take(self, progress: TrainingProgress) -> bool:
        """Wait for one message and pass it on; return whether another one may come."""
        try:
            message = self._channel.receive().message
        except (EOFError, ValueError):  # a process with a corrupt heap may say anything
            return False
        match message:
            case LineSaid(text):
                progress.say(text)
            case TrainingBegun(epochs, steps, done):
                progress.begin(epochs, steps, done)
            case StepDone():
                progress.step()
            case EpochDone(epoch, best):
                progress.epoch(epoch, best)
            case _:
                self._end = message
                return False
        return True

    def finish(self, complain: Callable[[str], object]) -> None:
        """Wait for its end behind the last message; return when the run folder is there.

        Raises:
            GalagoError: As ``training_run.train``.
            DeviceError: TRAIN_CRASHED; it died.
            KeyboardInterrupt: It was aborted.
        """
        end, ending = self._end, self._child.wait(_ENDS_S)
        if not isinstance(end, TrainingFailed | TrainingAborted):
            for line in self._stderr.text().splitlines():
                complain(line)
        if isinstance(end, TrainingFailed):
            raise GalagoError.from_data(end.data)
        if isinstance(end, TrainingAborted) or (end is None and self._interrupted and _by_interrupt(ending)):
            raise KeyboardInterrupt
        if end is None:
            raise _crash(ending, self._stderr.last_line(), self._out)


@contextlib.contextmanager
def _interrupts_passed_on(process: TrainingProcess) -> Iterator[None]:
    """Send every SIGINT to the process."""
    if threading.current_thread() is not threading.main_thread():  # it gets no signals
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: process.interrupt())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _by_interrupt(ending: Ending | None) -> bool:
    """Whether it ended so before it could tell, while Python itself started."""
    return ending is not None and ending.signal == "SIGINT"


def _crash(ending: Ending | None, said: str, out: Path) -> DeviceError:
    again = f"the same command goes on behind the last epoch kept in {out}.unfinished"
    match ending.signal if ending is not None else None:
        case "SIGKILL":
            why = ": the system does that when memory runs out (see dmesg)"
            advice = "give a smaller [train] batch_size or less data at once, and end other programs"
        case "SIGABRT" | "SIGSEGV" | "SIGBUS" | "SIGILL" | "SIGFPE":
            why = ": a library crashed"
            advice = "if it dies again, try another even [train] batch_size, or update TensorFlow"
        case _:
            why, advice = "", "if it dies again, report what is said here"
    return DeviceError(
        Reason.TRAIN_CRASHED,
        f"the process that trains {ending or 'hangs'}{why}{f' ({said})' if said else ''}",
        hint=f"{again}; {advice}",
    )
