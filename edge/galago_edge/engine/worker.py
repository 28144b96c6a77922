"""The process that runs an accelerated model: ``python -m galago_edge.engine.worker SOCKET MODEL TENSORS``.

A delegate is foreign code that may fail, crash, hang or leak. Here it does so alone: the runtime is another
process (``galago_edge.engine.remote``) and holds the other end of ``SOCKET``
(``galago_edge.children.channel``).

1. It sends a ``WorkerRequest``. ``MODEL`` is a file of the model's bytes.
2. The worker loads the model with the delegate, runs it once, gives the file ``TENSORS`` its size (the input
   at 0, the output behind it on a page of its own) and answers with ``Loaded`` or ``WorkerFailed``.
3. For every ``RunRequest`` the model is run on what ``TENSORS`` holds. The answer is ``RunDone`` or
   ``WorkerFailed``.

An empty model asks only for the delegate to be loaded. The worker ends with the other end of the socket and
with the runtime; work that takes longer than it may ends it too. Both by a signal that needs no Python,
whatever the delegate is doing.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from galago_edge.children.channel import Channel
from galago_edge.children.confinement import give_way, obey_timers
from galago_edge.children.lifeline import die_with_parent, leave_signals_to_parent
from galago_edge.contract.errors import GalagoError
from galago_edge.engine.backend import TensorInfo
from galago_edge.engine.runtime import interpreter_class, load_delegate
from galago_edge.engine.tensors import delegated, described
from galago_edge.engine.worker_messages import (
    MAX_TEXT,
    Loaded,
    RunDone,
    RunRequest,
    WorkerFailed,
    WorkerQuestion,
    WorkerRequest,
)

_LIKELIHOOD = 800
"""Where memory runs out, this process is the one to lose, unless a first load is there too."""
_GRACE_S = 1.0
"""The other end notices that time is up and ends this process; this one does it only if nobody is there."""

_NATIVE_ERRORS = (ValueError, RuntimeError, MemoryError, OSError, AttributeError, TypeError)
"""What the runtimes and ctypes raise for what a delegate does."""


class _FailedError(Exception):
    def __init__(self, fault: str, error: BaseException | str) -> None:
        text = " ".join(str(error).split())
        super().__init__(text)
        self.answer = WorkerFailed(fault=fault, message=text[:MAX_TEXT])


class Accelerated(Protocol):
    """A model on an accelerator, whichever door of the runtime leads there."""

    input: TensorInfo
    output: TensorInfo
    parts: int | None

    def run(self, given: npt.NDArray[Any], answer: npt.NDArray[Any]) -> None:
        """Run the model on ``given`` and write what it says to ``answer``, both with the batch axis."""


class _Delegated:
    """A model in the interpreter, with an external delegate."""

    def __init__(self, model: bytes, delegate: Any, threads: int) -> None:
        with _told_as("delegate_prepare_failed"):
            self._interpreter = interpreter_class()(
                model_content=model, experimental_delegates=[delegate], num_threads=threads
            )
            self.parts = delegated(self._interpreter)  # before the runtime adds XNNPACK on its own
            self._interpreter.allocate_tensors()
        if self.parts == 0:
            raise _FailedError("not_applied", "the delegate took no operator of the model")
        with _told_as("model_mismatch"):
            self.input, self.output = described(self._interpreter)

    def run(self, given: npt.NDArray[Any], answer: npt.NDArray[Any]) -> None:
        with _told_as("invoke_failed"):
            self._interpreter.set_tensor(self.input.index, given)
            self._interpreter.invoke()
            answer[...] = self._interpreter.get_tensor(self.output.index)


def load_model(model: bytes, delegate: Any, threads: int) -> Accelerated:
    """Load a model for an accelerator. The door for others than external delegates is here."""
    return _Delegated(model, delegate, threads)


@dataclass(frozen=True, slots=True)
class _Tensors:
    given: npt.NDArray[Any]
    answer: npt.NDArray[Any]
    output_offset: int


def main(arguments: list[str]) -> None:
    """Serve until the other end is closed."""
    die_with_parent()
    leave_signals_to_parent()
    obey_timers()
    give_way(_LIKELIHOOD)
    control_fd, model_fd, tensors_fd = map(int, arguments)
    channel: Channel[WorkerQuestion] = Channel(socket.socket(fileno=control_fd), WorkerQuestion)
    with contextlib.suppress(EOFError, OSError):  # the runtime is not there any more
        _serve(channel, model_fd, tensors_fd)


def _serve(channel: Channel[WorkerQuestion], model_fd: int, tensors_fd: int) -> None:
    request = channel.receive().message
    if not isinstance(request, WorkerRequest):
        return
    with os.fdopen(model_fd, "rb") as file:
        model = file.read()
    try:
        with _limited(request.load_s):
            loaded, accelerated, tensors = _load(request, model, tensors_fd)
    except _FailedError as failure:
        channel.send(failure.answer)
        return
    channel.send(loaded)
    _silence()
    if accelerated is None or tensors is None:
        return
    done = RunDone()
    while isinstance(channel.receive().message, RunRequest):
        try:
            with _limited(request.run_s):
                accelerated.run(tensors.given, tensors.answer)
        except _FailedError as failure:
            channel.send(failure.answer)
        else:
            channel.send(done)


def _load(
    request: WorkerRequest, model: bytes, tensors_fd: int
) -> tuple[Loaded, Accelerated | None, _Tensors | None]:
    with _told_as("delegate_load_failed"):
        delegate = load_delegate(request.library, request.options)
    if not model:
        return Loaded(input=None, output=None), None, None
    accelerated = load_model(model, delegate, request.threads)
    tensors = _map_tensors(tensors_fd, accelerated)
    accelerated.run(tensors.given, tensors.answer)  # the first run may compile and allocate
    loaded = Loaded(
        input=accelerated.input,
        output=accelerated.output,
        output_offset=tensors.output_offset,
        parts=accelerated.parts,
    )
    return loaded, accelerated, tensors


def _map_tensors(descriptor: int, accelerated: Accelerated) -> _Tensors:
    """Give the file its size. The input is mapped read-only: another process must still find it whole."""
    input_bytes, output_bytes = _size(accelerated.input), _size(accelerated.output)
    offset = -(-input_bytes // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
    os.ftruncate(descriptor, offset + output_bytes)
    given = mmap.mmap(descriptor, input_bytes, prot=mmap.PROT_READ)
    answer = mmap.mmap(descriptor, output_bytes, offset=offset)
    os.close(descriptor)
    return _Tensors(_array(given, accelerated.input), _array(answer, accelerated.output), offset)


def _size(tensor: TensorInfo) -> int:
    return int(np.prod(tensor.shape)) * np.dtype(tensor.dtype).itemsize


def _array(memory: mmap.mmap, tensor: TensorInfo) -> npt.NDArray[Any]:
    return np.frombuffer(memory, tensor.dtype).reshape(tensor.shape)


def _silence() -> None:
    """Let a delegate that talks talk to nobody: standard error is a file in memory, read after loading."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stderr.fileno())
    os.close(nowhere)


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """End this process by SIGALRM if the block takes longer: also when foreign code holds the GIL."""
    signal.setitimer(signal.ITIMER_REAL, seconds + _GRACE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextlib.contextmanager
def _told_as(fault: str) -> Iterator[None]:
    try:
        yield
    except (*_NATIVE_ERRORS, GalagoError) as error:
        raise _FailedError(fault, error) from None


if __name__ == "__main__":
    main(sys.argv[1:])
    os._exit(0)  # what a delegate does when it is taken down is of no use to anybody
