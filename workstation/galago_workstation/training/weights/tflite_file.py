"""Convolutions of a float ``.tflite`` file, read without running it.

A converter has folded batch norm into them, and so a published network of convolutions is its kernels and
biases in the order of the graph. Everything else in the graph (pooling, activations) has no weights: the
network that takes them must have it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_converters.inspection import ModelReport, ModelTensor, report
from galago_edge.contract.errors import BundleError, InputError, Reason, disk_error

MAX_BYTES = 256 << 20

_CONVOLUTION = "CONV_2D"
_WITHOUT_WEIGHTS = frozenset(
    ("PAD", "MAX_POOL_2D", "AVERAGE_POOL_2D", "RELU", "RELU6", "LEAKY_RELU", "MAXIMUM", "ADD", "RESHAPE")
)


@dataclass(frozen=True, slots=True, eq=False)
class FoldedConvolution:
    """A convolution with its batch norm inside."""

    kernel: npt.NDArray[np.float32]
    """``(height, width, in, out)``, as Keras has it."""
    bias: npt.NDArray[np.float32]
    """``(out,)``."""


def read_tflite_file(path: Path) -> list[FoldedConvolution]:
    """Return the convolutions of a file, in the order of its graph.

    Raises:
        InputError: WEIGHTS_BAD; it is no TFLite file, damaged, not of floats, or has operators with weights
            that are no convolutions.
        LinkError: It cannot be read.
    """
    content = _content(path)
    try:
        found = report(content)
    except BundleError as error:
        raise _bad(path, str(error)) from None
    other = sorted({node.name for node in found.nodes} - _WITHOUT_WEIGHTS - {_CONVOLUTION})
    if other:
        raise _bad(path, f"it has operators that are no convolutions: {', '.join(other[:5])}")
    buffers = _Buffers(content)
    layers = [
        _convolution(path, found, buffers, node.inputs) for node in found.nodes if node.name == _CONVOLUTION
    ]
    if not layers:
        raise _bad(path, "it has no convolution")
    return layers


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    if len(content) > MAX_BYTES:
        raise _bad(path, f"it is larger than {MAX_BYTES >> 20} MiB")
    return content


class _Buffers:
    """What the tensors of the main graph hold. The file was found well-formed."""

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._model = schema.Model.GetRootAs(content, 0)

    def bytes_of(self, tensor: ModelTensor) -> bytes:
        """Return the constant content of a tensor; none for what is computed."""
        place = self._model.Subgraphs(0).Tensors(tensor.index).Buffer()
        buffer = self._model.Buffers(place)
        return buffer.DataAsNumpy().tobytes() if buffer.DataLength() else b""


def _convolution(
    path: Path, found: ModelReport, buffers: _Buffers, inputs: tuple[int, ...]
) -> FoldedConvolution:
    if len(inputs) != 3:
        raise _bad(path, f"a convolution has {len(inputs)} inputs, expected 3")
    kernel, bias = (_array(path, found.tensors[index], buffers) for index in inputs[1:])
    if kernel.ndim != 4 or bias.shape != kernel.shape[:1]:
        raise _bad(path, f"a convolution has a kernel {kernel.shape} and a bias {bias.shape}")
    return FoldedConvolution(np.ascontiguousarray(kernel.transpose(1, 2, 3, 0)), bias)


def _array(path: Path, tensor: ModelTensor, buffers: _Buffers) -> npt.NDArray[np.float32]:
    name = tensor.name[:80]
    content = buffers.bytes_of(tensor)
    size = 4 * int(np.prod(tensor.shape, dtype=object))
    if tensor.dtype != "float32" or len(content) != size or not size:
        raise _bad(path, f"{name!r} is {tensor.dtype} {tensor.shape} of {len(content)} bytes, not of floats")
    array: npt.NDArray[Any] = np.frombuffer(content, "<f4").astype(np.float32).reshape(tensor.shape)
    if not np.isfinite(array).all():
        raise _bad(path, f"{name!r} has values that are no numbers")
    return array


def _bad(path: Path, what: str) -> InputError:
    return InputError(
        Reason.WEIGHTS_BAD, f"{path} holds no weights that can be used: {what}", hint="take another file"
    )
