"""Which number format a ``.tflite`` file is in, by the operators that hold weights."""

from __future__ import annotations

from collections.abc import Iterator

from galago_converters.inspection import ModelReport, Node

NO_WEIGHTS = "no weights"
_WEIGHT_INPUT = {
    "CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "CONV_3D": 1, "CONV_3D_TRANSPOSE": 1, "TRANSPOSE_CONV": 1,
    "FULLY_CONNECTED": 1, "BATCH_MATMUL": 1, "SVDF": 1, "RNN": 1, "UNIDIRECTIONAL_SEQUENCE_RNN": 1,
    "LSTM": 2, "UNIDIRECTIONAL_SEQUENCE_LSTM": 2, "BIDIRECTIONAL_SEQUENCE_LSTM": 2,
}  # fmt: skip
"""Where weights stand among an operator's inputs (an LSTM's first may be left out)."""
_VALUE_INPUT = {"TRANSPOSE_CONV": 2, "CONV_3D_TRANSPOSE": 2}
_INT8 = ("int8", "uint8")
_FORMS = {
    ("float32", "float32"): "float32",
    ("float16", "float32"): "float16 weights",
    ("float16", "float16"): "float16",
    ("int8", "float32"): "dynamic range",
    ("uint8", "float32"): "dynamic range",
    ("int8", "int8"): "int8",
    ("uint8", "uint8"): "uint8",
    ("int8", "int16"): "int8 weights, int16 activations",
    ("int4", "int8"): "int4 weights, int8 activations",
    ("int4", "int16"): "int4 weights, int16 activations",
    ("int4", "float32"): "int4 weights, float activations",
}
"""By the type of the weights in the file and of what they are multiplied with."""


def inside(found: ModelReport, constant: frozenset[int]) -> str:
    """Return in one phrase what the main graph computes in.

    ``int8 full`` has no float at its ends, ``int8 with float ends`` has; ``mixed: ...`` names every form and
    how many operators have it. ``constant``: indexes of tensors whose values lie in the file.
    """
    counts: dict[str, int] = {}
    for form in _forms(found, constant):
        counts[form] = counts.get(form, 0) + 1
    if not counts:
        return NO_WEIGHTS
    if len(counts) > 1:
        return "mixed: " + ", ".join(f"{count} {form}" for form, count in sorted(counts.items()))
    (form,) = counts
    if form not in _INT8:
        return form
    ends = {tensor.dtype for tensor in (*found.inputs, *found.outputs)}
    return f"{form} with float ends" if "float32" in ends else f"{form} full"


def _forms(found: ModelReport, constant: frozenset[int]) -> Iterator[str]:
    writers = {index: node for node in found.nodes for index in node.outputs}
    for node in found.nodes:
        place = _WEIGHT_INPUT.get(node.name)
        value = _VALUE_INPUT.get(node.name, 0)
        if place is None or node.custom or max(place, value) >= len(node.inputs):
            continue
        stored = _stored(node.inputs[place], writers, constant)
        if stored is None:
            continue  # both sides are computed
        weights, values = found.tensors[stored].dtype, found.tensors[node.inputs[value]].dtype
        yield _FORMS.get((weights, values), f"{weights} weights, {values} activations")


def _stored(index: int, writers: dict[int, Node], constant: frozenset[int]) -> int | None:
    """Return the constant that a tensor is, or was unpacked from."""
    for _ in range(4):  # DEQUANTIZE, DENSIFY, and a transposition between them
        if index in constant:
            return index
        writer = writers.get(index)
        if writer is None or writer.name not in ("DEQUANTIZE", "DENSIFY", "TRANSPOSE") or not writer.inputs:
            return None
        index = writer.inputs[0]
    return None
