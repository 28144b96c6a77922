"""In what two ``.tflite`` files differ: nodes matched in order, constants by name."""

from __future__ import annotations

import difflib
import math
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from galago_converters.inspection import ModelReport, ModelTensor, report

_STORED = {"float32": "<f4", "float16": "<f2", "int8": "i1", "uint8": "u1", "int16": "<i2", "int32": "<i4"}
"""Types of constants that are compared, as NumPy names them."""
Constants = dict[str, tuple[ModelTensor, npt.NDArray[np.float64]]]


class WeightChange(msgspec.Struct, frozen=True, kw_only=True):
    """A constant that both files have, in real values: ``scale * (stored - zero point)``."""

    name: str
    dtypes: tuple[str, str]
    largest: float
    """Largest difference of two values."""
    mean: float
    """Mean of the differences, without their signs."""
    snr_db: float | None
    """``10 log10`` of the first's mean square over that of the difference; None where nothing differs or the
    first is zero."""


class StructureDiff(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes and constants of the main graphs."""

    nodes: tuple[int, int]
    same_nodes: int
    added: tuple[str, ...]
    """Nodes that only the second has: operator and shape of what it gives."""
    removed: tuple[str, ...]
    weights: tuple[WeightChange, ...]
    """Of every constant whose name and shape both have, the smallest signal-to-noise ratio first."""
    same_weights: int
    """Of these, so many hold the same real values."""
    unmatched: tuple[int, int]
    """Constants of each file that the other has no counterpart for, or whose type is not compared."""


def structure_diff(first: bytes, second: bytes) -> StructureDiff:
    """Compare two files.

    Nodes are the same where operator and shape of the first output are, in an order that both files share
    (the longest such, as ``difflib`` finds it). Constants are matched by name; a name that a file has twice
    is matched with nothing.

    Raises:
        BundleError: MODEL_BAD; one is not a TFLite file, or a damaged one.
    """
    reports = (report(first), report(second))
    lines = [_node_lines(one) for one in reports]
    matcher = difflib.SequenceMatcher(a=lines[0], b=lines[1], autojunk=False)
    same, added, removed = 0, [], []
    for tag, a, a_end, b, b_end in matcher.get_opcodes():
        if tag == "equal":
            same += a_end - a
        else:
            removed += lines[0][a:a_end]
            added += lines[1][b:b_end]
    held = [_constants(content, found) for content, found in zip((first, second), reports, strict=True)]
    counts = [_constant_count(content) for content in (first, second)]
    names = [name for name in held[0] if name in held[1] and _alike(held[0][name], held[1][name])]
    changes = [weight_change(name, held[0][name], held[1][name]) for name in names]
    return StructureDiff(
        nodes=(len(lines[0]), len(lines[1])),
        same_nodes=same,
        added=tuple(added),
        removed=tuple(removed),
        weights=tuple(sorted(changes, key=lambda one: math.inf if one.snr_db is None else one.snr_db)),
        same_weights=sum(one.largest == 0 for one in changes),
        unmatched=(counts[0] - len(names), counts[1] - len(names)),
    )


def weight_change(
    name: str,
    first: tuple[ModelTensor, npt.NDArray[np.float64]],
    second: tuple[ModelTensor, npt.NDArray[np.float64]],
) -> WeightChange:
    """Compare the real values of two constants of one shape."""
    apart = np.abs(first[1] - second[1])
    signal, noise = float(np.mean(first[1] ** 2)), float(np.mean(apart**2))
    return WeightChange(
        name=name,
        dtypes=(first[0].dtype, second[0].dtype),
        largest=float(apart.max()),
        mean=float(apart.mean()),
        snr_db=10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None,
    )


def _node_lines(found: ModelReport) -> list[str]:
    return [
        f"{node.name} {'x'.join(map(str, found.tensors[node.outputs[0]].shape)) if node.outputs else ''}"
        for node in found.nodes
    ]


def _alike(
    first: tuple[ModelTensor, npt.NDArray[np.float64]], second: tuple[ModelTensor, npt.NDArray[np.float64]]
) -> bool:
    return first[1].shape == second[1].shape


def _main_constants(content: bytes) -> dict[int, bytes]:
    from ai_edge_litert import schema_py_generated as schema

    root = schema.Model.GetRootAs(content, 0)
    graph = root.Subgraphs(0)
    found = {}
    for index in range(graph.TensorsLength()):
        buffer = root.Buffers(graph.Tensors(index).Buffer())
        if buffer.DataLength():
            found[index] = buffer.DataAsNumpy().tobytes()
    return found


def _constant_count(content: bytes) -> int:
    return len(_main_constants(content))


def _constants(content: bytes, found: ModelReport) -> Constants:
    """Return the finite real values of constants by name."""
    held: Constants = {}
    twice: set[str] = set()
    for index, raw in _main_constants(content).items():
        tensor = found.tensors[index]
        if tensor.name in held:
            twice.add(tensor.name)
        values = real_values(tensor, raw, _axis(content, index))
        if values is not None:
            held[tensor.name] = tensor, values
    return {name: one for name, one in held.items() if name not in twice}


def _axis(content: bytes, index: int) -> int:
    from ai_edge_litert import schema_py_generated as schema

    quantization = schema.Model.GetRootAs(content, 0).Subgraphs(0).Tensors(index).Quantization()
    return 0 if quantization is None else int(quantization.QuantizedDimension())


def real_values(tensor: ModelTensor, raw: bytes, axis: int) -> npt.NDArray[np.float64] | None:
    """Return a constant's values; None for types that are not compared, wrong sizes, and no finite numbers.

    ``axis``: along which a tensor with several scales has one each.
    """
    form = _STORED.get(tensor.dtype)
    size = math.prod(tensor.shape)
    if form is None or size == 0 or len(raw) != size * np.dtype(form).itemsize:
        return None
    stored: npt.NDArray[Any] = np.frombuffer(raw, form).reshape(tensor.shape)
    values = stored.astype(np.float64)
    if tensor.scales:
        scales, zeros = np.array(tensor.scales), np.array(tensor.zero_points or (0,))
        if len(scales) > 1:
            if not 0 <= axis < len(tensor.shape) or tensor.shape[axis] != len(scales):
                return None
            along = [1] * len(tensor.shape)
            along[axis] = len(scales)
            scales = scales.reshape(along)
            zeros = zeros.reshape(along) if len(zeros) == scales.size else zeros[:1]
        values = scales * (values - zeros)
    return values if np.isfinite(values).all() else None
