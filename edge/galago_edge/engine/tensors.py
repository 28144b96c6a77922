"""What an interpreter says about the model it has loaded: its input, its output, what was delegated."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from galago_edge.contract.errors import BundleError, Reason
from galago_edge.engine.backend import TensorInfo


def described(interpreter: Any) -> tuple[TensorInfo, TensorInfo]:
    """Return input and output of a classifier.

    Raises:
        BundleError: TENSOR_MISMATCH; not one fixed uint8 or int8 input and one int8 output ``(1, labels)``.
    """
    found = _only(interpreter.get_output_details(), "output")
    if found.dtype != "int8" or len(found.shape) != 2:
        raise mismatch(
            f"the model's output is {found.dtype} of shape {found.shape}, expected int8 (1, labels)"
        )
    return _only(interpreter.get_input_details(), "input"), found


def delegated(interpreter: Any) -> int | None:
    """Return how many parts of the model delegates run; None where the runtime does not tell.

    Before ``allocate_tensors`` these are the delegates that it was given; behind it, a runtime may have
    applied XNNPACK on its own.
    """
    details = getattr(interpreter, "_get_ops_details", None)  # experimental in both runtimes
    if details is None:
        return None
    return [op["op_name"] for op in details()].count("DELEGATE")


def mismatch(message: str) -> BundleError:
    """Return the error of a model whose tensors are not those of a classifier."""
    return BundleError(Reason.TENSOR_MISMATCH, message, hint="convert the model with galago convert")


def _only(details: list[dict[str, Any]], role: str) -> TensorInfo:
    """Return the only tensor of ``details`` if it has a fixed shape, batch 1 and one quantization."""
    if len(details) != 1:
        raise mismatch(f"the model has {len(details)} {role}s, expected one")
    found = details[0]
    shape = tuple(int(size) for size in found["shape"])
    signature = tuple(int(size) for size in found["shape_signature"])
    dtype = np.dtype(found["dtype"]).name
    if -1 in signature:
        raise mismatch(f"the model's {role} has the dynamic shape {signature}, expected a fixed one")
    if len(shape) < 2 or shape[0] != 1 or 0 in shape:
        raise mismatch(f"the model's {role} has the shape {shape}, expected a batch of 1")
    if dtype not in ("uint8", "int8"):
        raise mismatch(f"the model's {role} is {dtype}, expected uint8 or int8")
    quantization = found["quantization_parameters"]
    scales, zero_points = quantization["scales"].tolist(), quantization["zero_points"].tolist()
    if len(scales) != 1 or len(zero_points) != 1 or not 0 < scales[0] < math.inf:
        raise mismatch(f"the model's {role} has the scales {scales}, expected one positive scale")
    return TensorInfo(str(found["name"]), int(found["index"]), shape, dtype, scales[0], zero_points[0])
