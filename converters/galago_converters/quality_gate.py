"""Decides whether a converted model is what Galago promises: full int8, fixed input scale, close to float.

Every check reads the flatbuffer, never a file name or a converter option: the converter itself silently
leaves float islands behind where an operator has no int8 kernel.
"""

from __future__ import annotations

import math

from galago_converters.inputs import InputSpec
from galago_converters.inspection import ModelReport, ModelTensor, Node
from galago_converters.layers import LayerNames
from galago_edge.contract.errors import ModelError, Reason

_CONTROL = frozenset({"WHILE", "IF", "CALL", "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"})
_PROBABILITIES = frozenset({"SOFTMAX", "LOGISTIC", "LOG_SOFTMAX"})
_INT8 = frozenset({"int8", "uint8"})
_ALLOWED = _INT8 | {"int32", "int64", "bool"}  # biases, shapes, axes, masks

_NO_LAYERS = LayerNames()


def check_float(
    report: ModelReport, spec: InputSpec, *, labels: int, layers: LayerNames = _NO_LAYERS
) -> None:
    """Refuse a float model that cannot become a full-int8 classifier.

    Raises:
        ModelError: OP_NOT_INT8; a custom or TensorFlow operator, control flow, or state. EXPORT_FAILED; other
            inputs or outputs than expected, or probabilities instead of logits.
    """
    _check_operators(report, layers)
    _check_io(report, spec, labels, input_dtype="float32", output_dtype="float32")
    _check_logits(report)


def check_int8(report: ModelReport, spec: InputSpec, *, labels: int, layers: LayerNames = _NO_LAYERS) -> None:
    """Refuse a model that is not full int8 with the fixed input quantization of ``spec``.

    Raises:
        ModelError: OP_NOT_INT8; an operator that is not a builtin int8 one. FLOAT_INSIDE; a tensor that is
            not an integer. TENSOR_MISMATCH; input or output has another shape, dtype, scale or zero point.
            EXPORT_FAILED; probabilities instead of logits.
    """
    _check_operators(report, layers)
    _check_tensors(report, layers)
    _check_io(report, spec, labels, input_dtype=spec.dtype, output_dtype="int8")
    _check_scales(report, spec)
    _check_logits(report)


def check_loss(*, accuracy_float: float, accuracy_int8: float, max_loss_points: float, samples: int) -> None:
    """Refuse a model whose int8 form loses more accuracy than allowed. Accuracies are 0 to 1.

    One answer less is never too many, unless nothing may be lost at all: of 50 samples it is 2 points, which
    say nothing of the next 50.

    Raises:
        ModelError: INT8_LOSS.
    """
    loss = 100.0 * (accuracy_float - accuracy_int8)
    answers = round((accuracy_float - accuracy_int8) * samples)
    if loss > max_loss_points + 1e-9 and (
        answers > 1 or max_loss_points == 0
    ):  # 0.93 - 0.92 is a little more than one point in binary
        raise ModelError(
            Reason.INT8_LOSS,
            f"int8 is {loss:.2f} points worse than float ({100 * accuracy_int8:.2f} against"
            f" {100 * accuracy_float:.2f} % of {samples} held-out samples), allowed are {max_loss_points:g}",
            hint="galago convert --aware-epochs 8, more convert.calibration_samples, a wider network, or a"
            " larger convert.max_loss_points",
        )


def _check_operators(report: ModelReport, layers: LayerNames) -> None:
    for node in report.nodes:
        if node.custom or node.name in _CONTROL:
            kind = "a custom operator" if node.custom else "control flow or state"
            raise ModelError(
                Reason.OP_NOT_INT8,
                f"{_described(report, node, layers)} is {kind}, expected builtin int8 operators",
                hint="recurrent layers do not convert: use convolutions over a window",
            )
    if report.custom or report.subgraphs != 1:
        found = ", ".join(report.custom) or f"{report.subgraphs} subgraphs"
        raise ModelError(
            Reason.OP_NOT_INT8,
            f"the model holds {found}, expected one graph of builtin int8 operators",
            hint="recurrent layers do not convert: use convolutions over a window",
        )


def _check_tensors(report: ModelReport, layers: LayerNames) -> None:
    by_index = {tensor.index: tensor for tensor in report.tensors}
    for node in report.nodes:
        used = [by_index[index] for index in (*node.inputs, *node.outputs)]
        odd = sorted({tensor.dtype for tensor in used} - _ALLOWED)
        # the converter wraps what has no int8 kernel in DEQUANTIZE and QUANTIZE: name what lies between
        if odd and node.name not in ("DEQUANTIZE", "QUANTIZE"):
            raise ModelError(
                Reason.OP_NOT_INT8,
                f"{_described(report, node, layers)} computes in {odd[0]}: it has no int8 kernel",
                hint="replace that layer: convolutions, ReLU, pooling and Dense always convert",
            )
        if not odd and not any(tensor.dtype in _INT8 for tensor in used):
            dtype = used[0].dtype if used else "nothing"
            raise ModelError(
                Reason.OP_NOT_INT8,
                f"{_described(report, node, layers)} computes in {dtype}, not in int8",
                hint="shapes must be known when the model is exported",
            )
    for tensor in report.tensors:
        if tensor.dtype not in _ALLOWED:
            raise ModelError(
                Reason.FLOAT_INSIDE,
                f"tensor {tensor.index} ({layers.of(tensor.name)}) is {tensor.dtype}, expected int8",
                hint="convert with galago convert, which writes full-int8 files",
            )


def _described(report: ModelReport, node: Node, layers: LayerNames) -> str:
    name = report.tensors[node.outputs[0]].name if node.outputs else ""
    return f"operator {node.name}" + (f" (layer {layers.of(name)})" if name else "")


def _check_io(
    report: ModelReport, spec: InputSpec, labels: int, *, input_dtype: str, output_dtype: str
) -> None:
    for what, tensors, shape, dtype in (
        ("input", report.inputs, (1, *spec.shape), input_dtype),
        ("output", report.outputs, (1, labels), output_dtype),
    ):
        if len(tensors) != 1:
            raise _mismatch(f"the model has {len(tensors)} {what}s, expected one")
        if tensors[0].shape != shape or tensors[0].dtype != dtype:
            raise _mismatch(f"the {what} is {tensors[0].dtype} {tensors[0].shape}, expected {dtype} {shape}")


def _check_scales(report: ModelReport, spec: InputSpec) -> None:
    found, output = report.inputs[0], report.outputs[0]
    if (found.scales, found.zero_points) != ((spec.scale,), (spec.zero_point,)):
        raise _mismatch(
            f"the input is quantized with {_quantization(found)}, expected scale {spec.scale:.9g},"
            f" zero point {spec.zero_point}"
        )
    if len(output.scales) != 1 or not (math.isfinite(output.scales[0]) and output.scales[0] > 0):
        raise _mismatch(f"the output is quantized with {_quantization(output)}, expected one positive scale")


def _quantization(tensor: ModelTensor) -> str:
    if not tensor.scales:
        return "no scale"
    scales = ", ".join(f"{scale:.9g}" for scale in tensor.scales[:3])
    return f"scale {scales}, zero point {', '.join(map(str, tensor.zero_points[:3]))}"


def _mismatch(message: str) -> ModelError:
    return ModelError(
        Reason.TENSOR_MISMATCH,
        message,
        hint="the device writes codes of one fixed scale into this tensor: use galago convert",
    )


def _check_logits(report: ModelReport) -> None:
    result = report.outputs[0].index
    last = next((node for node in report.nodes if result in node.outputs), None)
    while last is not None and last.name in ("QUANTIZE", "DEQUANTIZE") and last.inputs:
        last = next((node for node in report.nodes if last.inputs[0] in node.outputs), None)
    if last is not None and last.name in _PROBABILITIES:
        raise ModelError(
            Reason.EXPORT_FAILED,
            f"the model ends with {last.name}, expected logits: int8 probabilities have only 256 steps",
            hint="remove the last activation; softmax or sigmoid is applied outside the model",
        )
