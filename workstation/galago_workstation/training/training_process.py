"""A training in a process of its own: its progress, Ctrl+C, and what its death means."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from galago_edge.children.channel import Channel, channel_ends
from galago_edge.children.child import Child
from galago_edge.children.ending import Ending
from galago_edge.children.output import Output
from galago_edge.contract.errors import DeviceError, GalagoError, Reason, disk_error
from galago_workstation.training.progress import TrainingProgress
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
        complain: Is given each line that libraries wrote to standard error.

    Raises:
        GalagoError: As ``training_run.train``.
        DeviceError: TRAIN_CRASHED; the process died.
        LinkError: The system starts no process.
        KeyboardInterrupt: It was aborted.
    """
    with ExitStack() as stack:
        try:
            stderr = stack.enter_context(Output("galago-stderr"))
            link, theirs = channel_ends()
            channel = Channel[TrainingMessage](link, TrainingMessage)
            stack.callback(channel.close)
            with theirs:
                child = Child(
                    _PROGRAM,
                    ("fresh" if fresh else "on", str(config_path), str(out)),
                    shared=(theirs.fileno(),),
                    stderr=stderr.fileno(),
                )
        except OSError as error:
            raise disk_error(error, "start a process that trains") from error
        stack.enter_context(child)
        passed_on = stack.enter_context(_interrupts_passed_on(child))
        end = _last_word(channel, progress)
        ending = child.wait(_ENDS_S)
        if not isinstance(end, TrainingFailed | TrainingAborted):
            for line in stderr.text().splitlines():
                complain(line)
        if isinstance(end, TrainingFailed):
            raise GalagoError.from_data(end.data)
        if isinstance(end, TrainingAborted) or (end is None and passed_on and _by_interrupt(ending)):
            raise KeyboardInterrupt
        if end is None:
            raise _crash(ending, stderr.last_line(), out)


def _last_word(
    channel: Channel[TrainingMessage], progress: TrainingProgress
) -> TrainingFailed | TrainingAborted | TrainingFinished | None:
    """Pass progress on until the end; return what the process said of it, None when it died."""
    while True:
        try:
            message = channel.receive().message
        except (EOFError, ValueError):  # a process with a corrupt heap may say anything
            return None
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
                return message


@contextlib.contextmanager
def _interrupts_passed_on(child: Child) -> Iterator[list[int]]:
    """Send every SIGINT to the child; the list has one entry for each."""
    passed_on: list[int] = []

    def pass_on(number: int, _: object) -> None:
        passed_on.append(number)
        child.interrupt()

    if threading.current_thread() is not threading.main_thread():  # it gets no signals
        yield passed_on
        return
    before = signal.signal(signal.SIGINT, pass_on)
    try:
        yield passed_on
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
