"""The CPU backend: an int8 classifier in the TFLite interpreter of either runtime."""

from __future__ import annotations

import math
import re
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import BundleError, DeviceError, GalagoError, Reason
from galago_edge.engine.backend import TensorInfo
from galago_edge.engine.model_file import check_model_file
from galago_edge.engine.native_log import without_chatter
from galago_edge.engine.runtime import interpreter_class

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
            self.input, self.output = self._described()
            with without_chatter():
                self._interpreter.allocate_tensors()
            if self._described() != (self.input, self.output):
                raise _mismatch("the operators of the model give other shapes than its input and output have")
        except _NATIVE_ERRORS as error:
            raise _load_error(error) from None
        self._input_tensor = self._interpreter.tensor(self.input.index)
        self._take_view()

    @property
    def kernels(self) -> Literal["xnnpack", "builtin", "unknown"]:
        """Which kernels run the model: XNNPACK is a delegate that a runtime applies on its own, or not."""
        details = getattr(self._interpreter, "_get_ops_details", None)  # experimental in both runtimes
        if details is None:
            return "unknown"
        return "xnnpack" if any(op["op_name"] == "DELEGATE" for op in details()) else "builtin"

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

    def _described(self) -> tuple[TensorInfo, TensorInfo]:
        found = _only(self._interpreter.get_output_details(), "output")
        if found.dtype != "int8" or len(found.shape) != 2:
            raise _mismatch(
                f"the model's output is {found.dtype} of shape {found.shape}, expected int8 (1, labels)"
            )
        return _only(self._interpreter.get_input_details(), "input"), found

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


def _only(details: list[dict[str, Any]], role: str) -> TensorInfo:
    """Return the only tensor of ``details`` if it has a fixed shape, batch 1 and one quantization."""
    if len(details) != 1:
        raise _mismatch(f"the model has {len(details)} {role}s, expected one")
    found = details[0]
    shape = tuple(int(size) for size in found["shape"])
    signature = tuple(int(size) for size in found["shape_signature"])
    dtype = np.dtype(found["dtype"]).name
    if -1 in signature:
        raise _mismatch(f"the model's {role} has the dynamic shape {signature}, expected a fixed one")
    if len(shape) < 2 or shape[0] != 1 or 0 in shape:
        raise _mismatch(f"the model's {role} has the shape {shape}, expected a batch of 1")
    if dtype not in ("uint8", "int8"):
        raise _mismatch(f"the model's {role} is {dtype}, expected uint8 or int8")
    quantization = found["quantization_parameters"]
    scales, zero_points = quantization["scales"].tolist(), quantization["zero_points"].tolist()
    if len(scales) != 1 or len(zero_points) != 1 or not 0 < scales[0] < math.inf:
        raise _mismatch(f"the model's {role} has the scales {scales}, expected one positive scale")
    return TensorInfo(str(found["name"]), int(found["index"]), shape, dtype, scales[0], zero_points[0])


def _mismatch(message: str) -> BundleError:
    return BundleError(Reason.TENSOR_MISMATCH, message, hint="convert the model with galago convert")


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
