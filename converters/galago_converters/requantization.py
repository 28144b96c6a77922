"""From a float32 TFLite file to every other format, without TensorFlow: through ``litert-quantizer``.

Recipes are static (integer activations with ranges from samples) or dynamic (integer weights, activations
rounded while it runs): https://developers.google.com/edge/litert/quantization/tflq_to_aeq_migration. Ranges
reach from the smallest to the largest value of all samples, and to zero; litert-quantizer's own default, a
moving average, depends on the order of the samples.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal, get_args

import numpy as np

from galago_converters import inspection, quality_gate
from galago_converters.causes import one_line
from galago_converters.chatter import captured
from galago_converters.inputs import Codes, InputSpec
from galago_converters.inspection import ModelReport
from galago_edge.contract.errors import ModelError, Reason
from galago_edge.engine import interpreter_class

ModelFormat = Literal["int8", "int16x8", "float16", "dynamic", "float32", "int4"]
"""What a file computes in: full int8; int16 activations with int8 weights; float with float16 weights; int8
weights with activations rounded while it runs; float; as ``dynamic`` with int4 weights in convolutions and
dense layers (the runtime has no int4 depthwise convolution: those keep int8)."""
MODEL_FORMATS: tuple[ModelFormat, ...] = get_args(ModelFormat)

_EVERYTHING = ".*"
_MARK: dict[ModelFormat, str] = {
    "int16x8": "int16", "float16": "float16", "dynamic": "int8", "int4": "int4",
}  # fmt: skip
"""A type that the file of a format holds and the float file does not."""
_PLAIN = frozenset({"float32", "int32", "int64", "bool"})
"""What a float file holds: values, shapes, axes, masks."""
_ENDS = frozenset({"QUANTIZE", "DEQUANTIZE"})


def requantized(
    model: bytes,
    *,
    model_format: ModelFormat,
    spec: InputSpec | None = None,
    samples: Codes | None = None,
) -> bytes:
    """Make another format of a float32 TFLite file; same model and samples, same bytes. Nothing is printed.

    An int8 file takes the codes of ``spec`` (uint8 of scale 1 for pictures, int8 of scale 1/64 for log-mel
    windows) and gives int8 logits. Every other format keeps the float32 input and output of ``model``. The
    result is read again: it is what ``model_format`` says, or an error.

    Args:
        model: One graph with one float32 input and one float32 output ``(1, labels)``, batch of 1.
        model_format: What to make; ``float32`` gives back ``model``.
        spec: The input tensor; needed for ``int8`` and ``int16x8``, which calibrate.
        samples: Codes ``(n, *spec.shape)``, n >= 1, that fix the ranges of activations; needed with ``spec``.
            The input's range is that of ``spec`` whatever they hold.

    Raises:
        BundleError: MODEL_BAD; this is not a TFLite file.
        ModelError: TENSOR_MISMATCH; other inputs or outputs than said above, or values that are not float32.
            CALIBRATION_BAD; no samples, or of another shape or dtype. OP_NOT_INT8, FLOAT_INSIDE; an operator
            has no int8 form. EXPORT_FAILED; an operator has no form in another format, or litert-quantizer
            fails.
    """
    before = inspection.report(model)
    _check_float32(before)
    if model_format == "float32":
        return model
    if model_format in ("int8", "int16x8"):
        calibrated_for, codes = _calibration(before, model_format, spec, samples)
        made = _quantized(model, model_format, before, calibrated_for, codes)
        if model_format == "int8":
            labels = before.outputs[0].shape[-1]
            quality_gate.check_int8(inspection.report(made), calibrated_for, labels=labels)
            return made
    else:
        made = _quantized(model, model_format, before)
    _check_inside(inspection.report(made), model_format)
    return made


def _check_float32(report: ModelReport) -> None:
    if len(report.inputs) != 1 or len(report.outputs) != 1:
        raise _mismatch(
            f"the model has {len(report.inputs)} inputs and {len(report.outputs)} outputs, expected one each"
        )
    if len(report.outputs[0].shape) != 2:
        raise _mismatch(f"the output has shape {report.outputs[0].shape}, expected (1, labels)")
    for tensor in (*report.inputs, *report.outputs):
        if tensor.dtype != "float32":
            raise _mismatch(f"tensor {tensor.name} is {tensor.dtype}, expected float32")
    if others := [tensor for tensor in report.tensors if tensor.scales or tensor.dtype not in _PLAIN]:
        raise _mismatch(f"tensor {others[0].name} is {others[0].dtype}, expected float32")


def _calibration(
    report: ModelReport, model_format: ModelFormat, spec: InputSpec | None, samples: Codes | None
) -> tuple[InputSpec, Codes]:
    if spec is None or samples is None or not len(samples):
        raise _bad_samples(f"{model_format} needs calibration samples, got none")
    if samples.shape[1:] != spec.shape or samples.dtype != spec.numpy_dtype:
        raise _bad_samples(
            f"calibration inputs are {samples.dtype} {samples.shape}, expected {spec.dtype} (n, {spec.shape})"
        )
    if report.inputs[0].shape != (1, *spec.shape):
        raise _mismatch(f"the input has shape {report.inputs[0].shape}, expected {(1, *spec.shape)}")
    return spec, samples


def _quantized(
    model: bytes,
    model_format: ModelFormat,
    report: ModelReport,
    spec: InputSpec | None = None,
    samples: Codes | None = None,
) -> bytes:
    with captured():
        from litert_quantizer.quantizer import Quantizer

        try:
            quantizer = Quantizer(model)
            _set_recipe(quantizer, model_format, spec)
            ranges = None
            if spec is not None and samples is not None:
                ranges = _ranges(model, report, spec, samples)
            return bytes(quantizer.quantize(ranges, enable_progress_report=False).quantized_model)
        except ModelError:
            raise
        except Exception as error:  # litert-quantizer raises what it likes
            raise ModelError(
                Reason.EXPORT_FAILED,
                f"litert-quantizer makes no {model_format} of the model: {type(error).__name__}:"
                f" {one_line(str(error))}",
                hint="choose another format, or replace the operator that it names",
            ) from error


def _set_recipe(quantizer: Any, model_format: ModelFormat, spec: InputSpec | None) -> None:
    from litert_quantizer import qtyping
    from litert_quantizer.algorithm_manager import AlgorithmName

    operator = qtyping.TFLOperationName
    if model_format == "int8":
        quantizer.add_static_config(_EVERYTHING, operator.ALL_SUPPORTED, 8, 8)
        if spec is not None and spec.dtype == "uint8":
            quantizer.update_quantization_recipe(_EVERYTHING, operator.INPUT, _uint8_input(qtyping))
    elif model_format == "int16x8":
        quantizer.add_static_config(_EVERYTHING, operator.ALL_SUPPORTED, 16, 8)
        for end in (operator.INPUT, operator.OUTPUT):  # stay float32
            quantizer.update_quantization_recipe(_EVERYTHING, end, algorithm_key=AlgorithmName.NO_QUANTIZE)
    elif model_format == "float16":
        quantizer.update_quantization_recipe(
            _EVERYTHING,
            operator.ALL_SUPPORTED,
            qtyping.OpQuantizationConfig(
                weight_tensor_config=qtyping.TensorQuantizationConfig(
                    num_bits=16, dtype=qtyping.TensorDataType.FLOAT
                ),
                compute_precision=qtyping.ComputePrecision.FLOAT,
                explicit_dequantize=True,
            ),
            AlgorithmName.FLOAT_CASTING,
        )
    else:
        quantizer.add_dynamic_config(_EVERYTHING, operator.ALL_SUPPORTED, 8)
        if model_format == "int4":
            for name in (operator.CONV_2D, operator.FULLY_CONNECTED):
                quantizer.add_dynamic_config(_EVERYTHING, name, 4)


def _uint8_input(qtyping: Any) -> Any:
    codes = qtyping.TensorQuantizationConfig(num_bits=8, symmetric=False, dtype=qtyping.TensorDataType.UINT)
    weights = qtyping.TensorQuantizationConfig(
        num_bits=8, symmetric=True, granularity=qtyping.QuantGranularity.CHANNELWISE
    )
    return qtyping.OpQuantizationConfig(
        activation_tensor_config=codes,
        weight_tensor_config=weights,
        compute_precision=qtyping.ComputePrecision.INTEGER,
    )


def _ranges(model: bytes, report: ModelReport, spec: InputSpec, samples: Codes) -> dict[str, Any]:
    """Return the smallest and largest value by tensor name; the input's are the ends of its codes.

    litert-quantizer's own calibrator is not used: it refuses files without a signature.
    """
    fed, names = report.inputs[0], _activations(report)
    interpreter = _interpreter(model)
    lowest, highest = dict.fromkeys(names, np.inf), dict.fromkeys(names, -np.inf)
    for sample in samples:
        interpreter.set_tensor(fed.index, spec.real(sample)[np.newaxis])
        interpreter.invoke()
        for index, name in names.items():
            values = interpreter.get_tensor(index)
            if not np.isfinite(values).all():
                raise ModelError(
                    Reason.EXPORT_FAILED,
                    f"tensor {name} is not finite on a calibration sample: it has no range",
                    hint="look for NaN or infinity among the weights",
                )
            lowest[index] = min(lowest[index], float(values.min()))
            highest[index] = max(highest[index], float(values.max()))
    low, high = (spec.scale * (code - spec.zero_point) for code in spec.code_range)
    lowest[fed.index], highest[fed.index] = low, high
    ranks = {tensor.index: len(tensor.shape) for tensor in report.tensors}
    return {
        name: {
            "min": np.full((1,) * ranks[index], lowest[index], np.float32),
            "max": np.full((1,) * ranks[index], highest[index], np.float32),
        }
        for index, name in names.items()
    }


def _activations(report: ModelReport) -> dict[int, str]:
    """Return index and name of every float tensor that is computed, and of the input."""
    computed = {index for node in report.nodes for index in node.outputs} | {report.inputs[0].index}
    found = [t for t in report.tensors if t.index in computed and t.dtype == "float32"]
    counts = Counter(tensor.name for tensor in found)
    if repeated := [name for name, count in counts.items() if count > 1]:
        raise ModelError(
            Reason.EXPORT_FAILED,
            f"{counts[repeated[0]]} tensors are named {repeated[0]!r}: litert-quantizer knows them by name",
            hint="export the model again with names of their own",
        )
    return {tensor.index: tensor.name for tensor in found}


def _interpreter(model: bytes) -> Any:
    """Return one that keeps every tensor: a delegate would hide those between its operators."""
    from ai_edge_litert.interpreter import OpResolverType

    found = interpreter_class()(
        model_content=model,
        num_threads=1,  # sums in another order would make other bytes
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    found.allocate_tensors()
    return found


def _check_inside(report: ModelReport, model_format: ModelFormat) -> None:
    """Refuse a file that is not what its format says: the quantizer leaves in float what it does not know."""
    by_index = {tensor.index: tensor for tensor in report.tensors}
    if _MARK[model_format] not in {tensor.dtype for tensor in report.tensors}:
        raise _nothing_changed(model_format)
    if model_format != "int16x8":
        return  # the other formats compute in float wherever there are no weights
    for node in report.nodes:
        used = {by_index[index].dtype for index in (*node.inputs, *node.outputs)}
        if "float32" in used and node.name not in _ENDS:
            raise ModelError(
                Reason.EXPORT_FAILED,
                f"operator {node.name} computes in float32: it has no {model_format} form",
                hint="choose another format, or replace that layer",
            )


def _nothing_changed(model_format: ModelFormat) -> ModelError:
    return ModelError(
        Reason.EXPORT_FAILED,
        f"no operator of the model has a {model_format} form: the file holds no {_MARK[model_format]}",
        hint="choose another format",
    )


def _mismatch(message: str) -> ModelError:
    return ModelError(
        Reason.TENSOR_MISMATCH, message, hint="give the float32 file of a classifier, with a batch of 1"
    )


def _bad_samples(message: str) -> ModelError:
    return ModelError(
        Reason.CALIBRATION_BAD,
        message,
        hint="preprocess them with galago_edge.preprocess, as the device does",
    )
