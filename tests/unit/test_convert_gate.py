from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema

from galago_converters import inspection, quality_gate
from galago_converters.inputs import InputSpec, input_spec
from galago_converters.layers import LayerNames
from galago_edge.contract.errors import ModelError, Reason
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess

IMAGE = input_spec(ImagePreprocess(width=16, height=16))
AUDIO = input_spec(AudioPreprocess(window_frames=20, mel_bands=10))


def edited(model: bytes, change: Callable[[Any], None]) -> inspection.ModelReport:
    """Report on the model after ``change`` was made to its flatbuffer."""
    parts = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    change(parts)
    builder = flatbuffers.Builder(len(model))
    builder.Finish(parts.Pack(builder), file_identifier=b"TFL3")
    return inspection.report(bytes(builder.Output()))


def refusal(
    report: inspection.ModelReport, spec: InputSpec = IMAGE, *, labels: int = 3
) -> tuple[Reason, str]:
    with pytest.raises(ModelError) as caught:
        quality_gate.check_int8(report, spec, labels=labels)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return caught.value.reason, str(caught.value)


def input_tensor(parts: Any) -> Any:
    return parts.subgraphs[0].tensors[parts.subgraphs[0].inputs[0]]


def first_inner_tensor(parts: Any) -> Any:
    return parts.subgraphs[0].tensors[parts.subgraphs[0].operators[0].outputs[0]]


def code_of_last_operator(parts: Any) -> Any:
    return parts.operatorCodes[parts.subgraphs[0].operators[-1].opcodeIndex]


def test_full_int8_models_pass(tiny_image_model: bytes, tiny_audio_model: bytes) -> None:
    quality_gate.check_int8(inspection.report(tiny_image_model), IMAGE, labels=3)
    quality_gate.check_int8(inspection.report(tiny_audio_model), AUDIO, labels=3)


def test_a_float_tensor_inside_is_found(tiny_image_model: bytes) -> None:
    def change(parts: Any) -> None:
        unused = schema.TensorT()
        unused.name, unused.shape, unused.type, unused.buffer = (
            "net/late/Add",
            [1],
            schema.TensorType.FLOAT32,
            0,
        )
        parts.subgraphs[0].tensors.append(unused)

    reason, message = refusal(edited(tiny_image_model, change))
    assert reason is Reason.FLOAT_INSIDE
    assert "net/late/Add" in message
    assert "float32" in message


@pytest.mark.parametrize("dtype", ["FLOAT32", "FLOAT16", "INT16"])
def test_an_operator_without_int8_kernel_is_named(tiny_image_model: bytes, dtype: str) -> None:
    def change(parts: Any) -> None:
        operator = parts.subgraphs[0].operators[1]
        parts.subgraphs[0].tensors[operator.outputs[0]].type = getattr(schema.TensorType, dtype)

    reason, message = refusal(edited(tiny_image_model, change))
    assert reason is Reason.OP_NOT_INT8
    assert "CONV_2D" in message
    assert dtype.lower() in message


def test_an_operator_on_indexes_alone_is_refused(tiny_image_model: bytes) -> None:
    """Such as SHAPE arithmetic that a dynamic batch leaves behind."""

    def change(parts: Any) -> None:
        graph = parts.subgraphs[0]
        extra = schema.TensorT()
        extra.name, extra.shape, extra.type, extra.buffer = "net/rows/Pack", [1], schema.TensorType.INT32, 0
        graph.tensors.append(extra)
        operator = schema.OperatorT()
        operator.opcodeIndex = graph.operators[0].opcodeIndex
        operator.inputs = operator.outputs = [len(graph.tensors) - 1]
        graph.operators.append(operator)

    reason, message = refusal(edited(tiny_image_model, change))
    assert reason is Reason.OP_NOT_INT8
    assert "net/rows/Pack" in message
    assert "int32" in message


@pytest.mark.parametrize("name", ["FlexErf", "Convolution2DTransposeBias"])
def test_custom_and_tensorflow_operators_are_named(tiny_image_model: bytes, name: str) -> None:
    def change(parts: Any) -> None:
        code = code_of_last_operator(parts)
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.deprecatedBuiltinCode = 32  # as the schema wants it for CUSTOM
        code.customCode = name

    reason, message = refusal(edited(tiny_image_model, change))
    assert reason is Reason.OP_NOT_INT8
    assert name in message


def test_a_second_subgraph_is_refused(tiny_image_model: bytes) -> None:
    reason, message = refusal(
        edited(tiny_image_model, lambda parts: parts.subgraphs.append(parts.subgraphs[0]))
    )
    assert reason is Reason.OP_NOT_INT8
    assert "2 subgraphs" in message


@pytest.mark.parametrize(
    ("scale", "zero_point"),
    [(0.5, 0), (1.0000001, 0), (1.0, 1)],
    ids=["half", "one float step", "zero point"],
)
def test_another_input_quantization_is_refused(
    tiny_image_model: bytes, scale: float, zero_point: int
) -> None:
    def change(parts: Any) -> None:
        quantization = input_tensor(parts).quantization
        quantization.scale, quantization.zeroPoint = [scale], [zero_point]

    reason, message = refusal(edited(tiny_image_model, change))
    assert reason is Reason.TENSOR_MISMATCH
    assert "expected scale 1, zero point 0" in message


def test_input_without_scale_is_refused(tiny_image_model: bytes) -> None:
    def change(parts: Any) -> None:
        input_tensor(parts).quantization = None

    assert "no scale" in refusal(edited(tiny_image_model, change))[1]


@pytest.mark.parametrize("dtype", ["INT8", "FLOAT32"])
def test_another_input_dtype_is_refused(tiny_image_model: bytes, dtype: str) -> None:
    def change(parts: Any) -> None:
        input_tensor(parts).type = getattr(schema.TensorType, dtype)

    assert dtype.lower() in refusal(edited(tiny_image_model, change))[1]


def test_float_io_around_an_int8_model_is_refused(tiny_image_model: bytes) -> None:
    """What files called int8 often are: the converter's default keeps float input and output."""

    def change(parts: Any) -> None:
        graph = parts.subgraphs[0]
        for index in (graph.inputs[0], graph.outputs[0]):
            graph.tensors[index].type = schema.TensorType.FLOAT32

    assert refusal(edited(tiny_image_model, change))[0] in (Reason.FLOAT_INSIDE, Reason.OP_NOT_INT8)


def test_an_image_model_is_no_audio_model(tiny_image_model: bytes) -> None:
    reason, message = refusal(inspection.report(tiny_image_model), AUDIO)
    assert reason is Reason.TENSOR_MISMATCH
    assert "expected int8 (1, 20, 10)" in message


def test_the_output_must_have_one_logit_per_label(tiny_image_model: bytes) -> None:
    reason, message = refusal(inspection.report(tiny_image_model), labels=4)
    assert reason is Reason.TENSOR_MISMATCH
    assert "(1, 3), expected int8 (1, 4)" in message


def test_probabilities_are_refused(tiny_image_model: bytes) -> None:
    def change(parts: Any) -> None:
        code = code_of_last_operator(parts)
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.SOFTMAX

    reason, message = refusal(edited(tiny_image_model, change))
    assert reason is Reason.EXPORT_FAILED
    assert "SOFTMAX" in message


def test_a_loss_up_to_the_limit_passes_and_a_sample_more_does_not() -> None:
    quality_gate.check_loss(accuracy_float=0.93, accuracy_int8=0.92, max_loss_points=1.0, samples=1000)
    quality_gate.check_loss(accuracy_float=0.90, accuracy_int8=0.95, max_loss_points=0.0, samples=1000)
    with pytest.raises(ModelError, match=r"1\.10 points worse.*1000 held-out.*allowed are 1") as caught:
        quality_gate.check_loss(accuracy_float=0.93, accuracy_int8=0.919, max_loss_points=1.0, samples=1000)
    assert caught.value.reason is Reason.INT8_LOSS


@pytest.mark.parametrize(
    ("path", "layer"),
    [
        ("net/conv/BiasAdd", "conv"),
        ("net_1/conv_1/BiasAdd;net_1/conv_1/add", "conv"),
        ("net_1/conv_1_1/BiasAdd", "conv_1"),
        ("net/inner/conv_1/Relu", "conv_1"),
        ("net/conv_1", "conv_1"),
        ("arith.constant7", "arith.constant7"),
    ],
)
def test_tensors_are_traced_to_their_layer(path: str, layer: str) -> None:
    assert LayerNames("net", frozenset({"conv", "conv_1", "inner"})).of(path) == layer
