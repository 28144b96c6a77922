"""The CPU backend: an int8 classifier in the TFLite interpreter of either runtime."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import BundleError, DeviceError, GalagoError, Reason
from galago_edge.engine.backend import BackendChange
from galago_edge.engine.model_file import check_model_file
from galago_edge.engine.native_log import without_chatter
from galago_edge.engine.runtime import interpreter_class
from galago_edge.engine.tensors import described, mismatch

_NATIVE_ERRORS = (ValueError, RuntimeError, MemoryError)
_MISSING_OP = re.compile(
    r"Didn't find op for builtin opcode '(?P<op>\w+)' version '(?P<version>\d+)'"
    r"|unresolved custom op: (?P<custom>[^\s.]+)"
)


class Engine:
    """One int8 model on the CPU. Used by one thread at a time; ``invoke`` releases the GIL."""

    backend = "cpu"
    reason: str | None = None

    def __init__(self, model: bytes, *, threads: int = 1) -> None:
        """Load ``model``, the bytes of a .tflite file.

        Raises:
            BundleError: MODEL_BAD, it is not a TFLite file or does not load; TENSOR_MISMATCH, it is not a
                classifier with one fixed uint8 or int8 input and int8 logits.
            DeviceError: RUNTIME_MISSING, there is no TFLite runtime; OP_UNSUPPORTED, this runtime lacks an
                operator of the model.
        """
        if threads < 1:
            raise ValueError(f"{threads} threads, expected at least 1")
        check_model_file(model)
        interpreter = interpreter_class()
        try:
            # the runtimes keep a pointer into ``model``; the interpreter object keeps it alive
            self._interpreter = interpreter(model_content=model, num_threads=threads)
            self.input, self.output = described(self._interpreter)
            with without_chatter():
                self._interpreter.allocate_tensors()
            if described(self._interpreter) != (self.input, self.output):
                raise mismatch("the operators of the model give other shapes than its input and output have")
        except _NATIVE_ERRORS as error:
            raise _load_error(error) from None
        self._input_tensor = self._interpreter.tensor(self.input.index)
        self._take_view()

    def input_view(self) -> npt.NDArray[Any]:
        """Return the input tensor's own memory without the batch axis, to be written to.

        Valid until the next ``invoke``. Unlike the runtimes' own views, one that is still held then does no
        harm: they refuse to run while theirs exists ("reference to internal data").
        """
        # Only dynamic tensors make the interpreter move its memory, and a classifier has none; but a write
        # to memory that was given back would be silent, and looking costs about a microsecond.
        if self._input_tensor().ctypes.data != self._address:
            self._take_view()
        return self._view

    def invoke(self) -> None:
        """Run the model on what ``input_view`` holds.

        Raises:
            BundleError: MODEL_BAD; an operator failed.
        """
        try:
            self._interpreter.invoke()
        except _NATIVE_ERRORS as error:
            raise _load_error(error) from None

    def logits(self) -> npt.NDArray[np.int8]:
        """Return the int8 output codes of the last ``invoke``, shape ``(labels,)``, as a copy."""
        codes: npt.NDArray[np.int8] = self._interpreter.get_tensor(self.output.index)[0]
        return codes

    def changes(self) -> list[BackendChange]:
        """Return nothing: the CPU has nobody to change with."""
        return []

    def close(self) -> None:
        """Do nothing: the interpreter goes with the object."""

    def _take_view(self) -> None:
        memory = self._input_tensor()[0]
        self._view: npt.NDArray[Any] = np.asarray(_TensorMemory(memory, self._interpreter))
        self._address: int = self._view.ctypes.data


class _TensorMemory:
    """The memory of a tensor view, with the interpreter as owner.

    The runtimes count references to an inner object to find out whether views exist. An array made from
    this object keeps the outer one alive instead, so the memory stays and nobody counts.
    """

    def __init__(self, view: npt.NDArray[Any], owner: object) -> None:
        self.__array_interface__ = view.__array_interface__
        self.owner = owner


def _load_error(error: BaseException) -> GalagoError:
    """Turn what a runtime says about a model into one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    missing = _MISSING_OP.search(text)
    if missing is None:
        return BundleError(
            Reason.MODEL_BAD, f"the model does not run: {text}", hint="convert the model again"
        )
    op = missing["custom"] or f"{missing['op']} version {missing['version']}"
    return DeviceError(
        Reason.OP_UNSUPPORTED,
        f"the TFLite runtime here has no operator {op}",
        hint="install a newer runtime, or build the bundle for this device",
    )
