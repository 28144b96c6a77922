"""What TensorFlow raises in a training, as one line: memory that runs out, and machines that are gone."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from galago_converters.frameworks import import_tensorflow
from galago_edge.contract.errors import DeviceError, GalagoError, LinkError, Reason
from galago_workstation.training.machines import Machines

_NO_MEMORY = re.compile(r"out of memory|OUT_OF_MEMORY|STATUS_ALLOC_FAILED", re.IGNORECASE)
"""In what CUDA, cuBLAS and cuDNN say, which TensorFlow passes on as an internal error."""
_ABORTED = "Collective ops is aborted"
"""In what TensorFlow raises, of whatever type, when machines no longer work together."""
_DEVICE = re.compile(r"device:(GPU|CPU):([0-9]+)")
_SHAPE = re.compile(r"allocating tensor with shape\s?(\[[0-9,]+\])")


@contextlib.contextmanager
def faults_told(batch_size: int, machines: Machines | None) -> Iterator[None]:
    """Turn what TensorFlow raises in the block into ours; what is no fault of the surroundings stays.

    Args:
        batch_size: The configuration's.
        machines: The machines that train together.

    Raises:
        DeviceError: TRAIN_MEMORY; a GPU or the computer has too little.
        LinkError: WORKER_LOST; another machine ended, or the way to it is broken.
    """
    try:
        yield
    except Exception as error:  # looked at here, and raised again where it is none of these
        told = _told(error, batch_size, machines)
        if told is None:
            raise
        raise told from error


def _told(error: Exception, batch_size: int, machines: Machines | None) -> GalagoError | None:
    if not type(error).__module__.startswith(("tensorflow.", "builtins")) or isinstance(error, GalagoError):
        return None
    errors = import_tensorflow().errors
    text = str(error)
    if isinstance(error, errors.ResourceExhaustedError | MemoryError) or (
        isinstance(error, errors.OpError) and _NO_MEMORY.search(text)
    ):
        return _no_memory(text, batch_size)
    broken = (
        errors.UnavailableError,
        errors.DeadlineExceededError,
        errors.AbortedError,
        errors.CancelledError,
        errors.FailedPreconditionError,
    )
    if machines is not None and (isinstance(error, broken) or _ABORTED in text):
        return _lost(text, machines)
    return None


def _no_memory(text: str, batch_size: int) -> DeviceError:
    device = _DEVICE.search(text)
    where = "the computer" if device is None or device[1] == "CPU" else f"GPU {device[2]}"
    shape = _SHAPE.search(text)
    tensor = f", at a tensor {shape[1]}" if shape else ""
    return DeviceError(
        Reason.TRAIN_MEMORY,
        f"{where} has too little memory for this training: batches of {batch_size}{tensor}",
        hint='lower [train] batch_size, take a smaller input or network, or precision = "mixed_float16" on a '
        "GPU; end other programs that use it (nvidia-smi)",
    )


def _lost(text: str, machines: Machines) -> LinkError:
    named = [
        f"machine {number + 1} ({machines.addresses[number]})"
        for number, task in enumerate(machines.tasks)
        if number != machines.own and task in text
    ]
    who = ", ".join(named) or "another machine"
    return LinkError(
        Reason.WORKER_LOST,
        f"{machines.said} lost the connection to {who}",
        hint="see what the others say; the same command on every machine goes on behind the last epoch kept",
    )
