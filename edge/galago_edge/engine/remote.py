"""A model on an accelerator, run in a process of its own that may crash, hang or be killed.

The process is ``galago_edge.engine.worker``. Input and logits lie in memory that both share; for each run one
message goes there and one comes back, and every wait has an end. When the process is lost the input is still
here, for another backend to decide the same window.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import mmap
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.children.channel import Channel, channel_ends
from galago_edge.children.child import KILLED_S, Child
from galago_edge.children.output import Output
from galago_edge.contract.errors import DeviceError, Reason, system_words
from galago_edge.contract.profile import Accelerator
from galago_edge.engine.backend import BackendChange, TensorInfo
from galago_edge.engine.worker_messages import (
    Loaded,
    RunDone,
    RunRequest,
    WorkerAnswer,
    WorkerFailed,
    WorkerRequest,
)

_WORKER = "galago_edge.engine.worker"
_RUN = RunRequest()


class Fault(enum.StrEnum):
    """Why an accelerator does not run a model: stable words for status, records and metrics."""

    WORKER_FAILED = "worker_failed"
    """Its process could not be started, or is not ours."""
    PROBE_FAILED = "probe_failed"
    """Something else went wrong while it was tried, such as a golden sample that cannot be read."""
    DELEGATE_LOAD_FAILED = "delegate_load_failed"
    """The library is missing or gave no delegate."""
    DELEGATE_PREPARE_FAILED = "delegate_prepare_failed"
    """The delegate refused the model."""
    NOT_APPLIED = "not_applied"
    """The delegate took nothing of the model: the CPU would have run it."""
    MODEL_MISMATCH = "model_mismatch"
    """The accelerated model has another input or output than the bundle says."""
    DELEGATE_CRASHED = "delegate_crashed"
    DELEGATE_HUNG = "delegate_hung"
    INVOKE_FAILED = "invoke_failed"
    """The delegate reported an error for one window."""
    PARITY_FAILED = "parity_failed"
    """It gives other answers to the golden samples than the CPU."""
    DELEGATE_LEAKS = "delegate_leaks"
    """Its process has grown beyond ``memory_mb``."""
    TOO_SLOW = "too_slow"
    """It takes longer than the CPU times the profile's ``max_latency_ratio``."""


class AcceleratorError(DeviceError):
    """An accelerator failed; the CPU can do its work."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(
            Reason.ACCELERATOR_FAILED, message, hint="galago doctor shows what the accelerator says"
        )
        self.fault = fault


@dataclass(frozen=True, slots=True)
class _Ready:
    """What a worker that has loaded its model said."""

    input: TensorInfo
    output: TensorInfo
    parts: int | None
    given: npt.NDArray[Any]
    """Shape of the input without the batch axis, in shared memory."""
    answer: npt.NDArray[np.int8]
    """Shape ``(labels,)``, in shared memory."""


class RemoteEngine:
    """One accelerated int8 model. Used by one thread at a time, except :meth:`kill`.

    ``RemoteEngine(...)`` starts the process, :meth:`load` waits for the model; both behind the other are the
    whole of a probe.
    """

    reason: str | None = None

    def __init__(
        self,
        backend: str,
        model: bytes,
        accelerator: Accelerator,
        *,
        threads: int = 1,
        probe_s: float = 30.0,
        invoke_s: float = 2.0,
    ) -> None:
        """Start the process that is to run ``model``, the bytes of a .tflite file; do not wait for it.

        ``backend`` is the accelerator's name in the profile. Loading may take ``probe_s``, one run
        ``invoke_s`` seconds.

        Raises:
            AcceleratorError: WORKER_FAILED; there is no memory or process to be had.
        """
        self.backend = backend
        self._name = backend
        self._invoke_s, self._probe_s = invoke_s, probe_s
        self._ready: _Ready | None = None
        request = WorkerRequest(
            library=accelerator.library,
            options=accelerator.options,
            threads=threads,
            load_s=probe_s,
            run_s=invoke_s,
        )
        with contextlib.ExitStack() as stack:
            try:
                self._start(model, stack)
                # one that is gone already is told of with its exit code by who waits for its answer
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self._channel.send(request)
            except OSError as error:
                raise self._error(
                    Fault.WORKER_FAILED, f"its process does not start: {system_words(error)}"
                ) from None
            stack.pop_all()

    def _start(self, model: bytes, stack: contextlib.ExitStack) -> None:
        """Open what both processes share and start the other one; ``stack`` undoes it."""
        ours, theirs = channel_ends()
        self._channel: Channel[WorkerAnswer] = Channel(ours, WorkerAnswer)
        stack.callback(self._channel.close)
        self._tensors = os.memfd_create("galago-tensors", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        stack.callback(os.close, self._tensors)
        self._stderr = stack.enter_context(Output("galago-stderr"))
        with theirs, os.fdopen(os.memfd_create("galago-model", os.MFD_CLOEXEC), "wb") as file:
            file.write(model)
            file.seek(0)
            shared = (theirs.fileno(), file.fileno(), self._tensors)
            self._child = Child(("-m", _WORKER), shared=shared, stderr=self._stderr.fileno())
        stack.callback(self._child.close)

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._child.pid

    def rss_bytes(self) -> int:
        """Return the resident memory of the worker; 0 when it has ended."""
        return self._child.rss_bytes()

    @property
    def parts(self) -> int | None:
        """So many parts of the model the delegate runs, if the runtime tells."""
        return self._loaded.parts

    @property
    def input(self) -> TensorInfo:
        """The only input."""
        return self._loaded.input

    @property
    def output(self) -> TensorInfo:
        """The only output."""
        return self._loaded.output

    def load(self) -> None:
        """Wait until the model is loaded and was run once.

        Raises:
            AcceleratorError: It is not, for one of the faults up to INVOKE_FAILED.
        """
        answer = self._loading()
        if answer.input is None or answer.output is None:
            raise self._error(Fault.WORKER_FAILED, "its process loaded no model")
        # from here on the file keeps its size: a read behind its end would be a SIGBUS here
        fcntl.fcntl(self._tensors, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        given_size, answer_size = _size(answer.input), _size(answer.output)
        if os.fstat(self._tensors).st_size < max(given_size, answer.output_offset + answer_size):
            raise self._error(Fault.WORKER_FAILED, "its process shares less memory than its tensors take")
        memory = mmap.mmap(self._tensors, 0)
        given = np.frombuffer(memory, answer.input.dtype, given_size)
        codes = np.frombuffer(memory, np.int8, answer_size, answer.output_offset)
        self._ready = _Ready(
            answer.input, answer.output, answer.parts, given.reshape(answer.input.shape[1:]), codes
        )

    def load_delegate_only(self) -> None:
        """Wait until the delegate is loaded; for an engine with an empty model.

        Raises:
            AcceleratorError: DELEGATE_LOAD_FAILED, DELEGATE_CRASHED, DELEGATE_HUNG.
        """
        self._loading()

    def input_view(self) -> npt.NDArray[Any]:
        """Return the shared memory where the next input is to be written, without the batch axis."""
        return self._loaded.given

    def invoke(self) -> None:
        """Run the model on what ``input_view`` holds.

        Raises:
            AcceleratorError: DELEGATE_CRASHED, DELEGATE_HUNG or INVOKE_FAILED; ``input_view`` is as it was.
        """
        try:
            self._channel.send(_RUN)
        except OSError:  # it died between two windows
            raise self._lost("running") from None
        if not isinstance(self._answer(self._invoke_s, "running"), RunDone):
            raise self._error(Fault.INVOKE_FAILED, "its process answered out of turn")

    def logits(self) -> npt.NDArray[np.int8]:
        """Return the int8 output codes of the last ``invoke``, shape ``(labels,)``, as a copy."""
        return self._loaded.answer.copy()

    def changes(self) -> list[BackendChange]:
        """Return nothing: this engine fails, it does not change."""
        return []

    def kill(self) -> None:
        """End the process without waiting; whoever waits for it gets DELEGATE_CRASHED. Any thread may."""
        self._child.kill()

    def close(self) -> None:
        """End the process and give back everything but the memory that views still show.

        Raises nothing. :attr:`gone` tells whether the process really ended.
        """
        self._channel.close()
        self._child.close()
        self._stderr.close()
        with contextlib.suppress(OSError):
            os.close(self._tensors)
        self._tensors = -1

    @property
    def gone(self) -> bool:
        """Whether the process has ended; one that hangs in a driver outlives even SIGKILL."""
        return self._child.ending is not None

    @property
    def _loaded(self) -> _Ready:
        if self._ready is None:
            raise RuntimeError("load first")
        return self._ready

    def _loading(self) -> Loaded:
        answer = self._answer(self._probe_s, "loading")
        if not isinstance(answer, Loaded):
            raise self._error(Fault.WORKER_FAILED, "its process answered out of turn")
        return answer

    def _answer(self, seconds: float, doing: str) -> Loaded | RunDone:
        """Wait for the worker's answer."""
        try:
            answer = self._channel.receive(seconds).message
            fault = Fault(answer.fault) if isinstance(answer, WorkerFailed) else None
        except TimeoutError:
            self.kill()
            raise self._error(Fault.DELEGATE_HUNG, f"no answer for {seconds:g} s of {doing}") from None
        except EOFError:
            raise self._lost(doing) from None
        except ValueError:
            raise self._error(Fault.WORKER_FAILED, "its process answered what is no answer") from None
        if isinstance(answer, WorkerFailed):
            told = answer.message or self._stderr.last_line() or "it gives no reason"
            raise self._error(fault or Fault.WORKER_FAILED, told)
        return answer

    def _lost(self, doing: str) -> AcceleratorError:
        """Return what became of the process."""
        ending = self._child.wait(KILLED_S)
        if ending is None:
            self.kill()
            return self._error(Fault.DELEGATE_CRASHED, f"its process went silent while {doing}")
        how = f"its process {ending} while {doing}"
        last = self._stderr.last_line()
        return self._error(Fault.DELEGATE_CRASHED, f"{how} ({last})" if last else how)

    def _error(self, fault: Fault, message: str) -> AcceleratorError:
        return AcceleratorError(fault, f"{self._name}: {message}")


def probe_delegate(backend: str, accelerator: Accelerator, *, probe_s: float = 30.0) -> None:
    """Load a delegate in a process of its own, without a model, and let it go.

    Raises:
        AcceleratorError: It cannot be loaded, and why.
    """
    engine = RemoteEngine(backend, b"", accelerator, probe_s=probe_s)
    try:
        engine.load_delegate_only()
    finally:
        engine.close()


def _size(tensor: TensorInfo) -> int:
    return int(np.prod(tensor.shape)) * np.dtype(tensor.dtype).itemsize
