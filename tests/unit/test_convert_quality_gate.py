"""The gate on models of three tensors that the test writes down itself, one fault at a time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_converters.inputs import InputSpec
from galago_converters.inspection import ModelReport, ModelTensor, Node
from galago_converters.layers import LayerNames
from galago_converters.quality_gate import check_float, check_int8, check_loss
from galago_edge.contract.errors import ModelError, Reason

SPEC = InputSpec((4, 4, 3), "uint8", 1.0, "NHWC")
LAYERS = LayerNames("net", frozenset({"stem", "head"}))


def tensor(index: int, name: str, shape: tuple[int, ...], dtype: str, *scales: float) -> ModelTensor:
    return ModelTensor(
        index=index, name=name, shape=shape, dtype=dtype, scales=scales, zero_points=(0,) * len(scales)
    )


def node(name: str, inputs: tuple[int, ...], outputs: tuple[int, ...], *, custom: bool = False) -> Node:
    return Node(name=name, version=1, custom=custom, inputs=inputs, outputs=outputs)


TENSORS = (
    tensor(0, "input", (1, 4, 4, 3), "uint8", 1.0),
    tensor(1, "net/stem/Relu", (1, 8), "int8", 0.1),
    tensor(2, "net/head/MatMul", (1, 2), "int8", 0.2),
    tensor(3, "net/head/bias", (2,), "int32", 0.02),
)
NODES = (node("CONV_2D", (0,), (1,)), node("FULLY_CONNECTED", (1, 3), (2,)))


def model(
    tensors: tuple[ModelTensor, ...] = TENSORS,
    nodes: tuple[Node, ...] = NODES,
    inputs: tuple[int, ...] = (0,),
    outputs: tuple[int, ...] = (2,),
    **fields: Any,
) -> ModelReport:
    found: dict[str, Any] = {
        "subgraphs": 1,
        "operators": (),
        "custom": (),
        "nodes": nodes,
        "tensors": tensors,
        "inputs": tuple(tensors[index] for index in inputs),
        "outputs": tuple(tensors[index] for index in outputs),
        "per_channel": False,
    }
    return ModelReport(**(found | fields))


def replaced(index: int, other: ModelTensor) -> tuple[ModelTensor, ...]:
    return (*TENSORS[:index], other, *TENSORS[index + 1 :])


def as_float(tensors: tuple[ModelTensor, ...] = TENSORS) -> tuple[ModelTensor, ...]:
    return tuple(tensor(each.index, each.name, each.shape, "float32") for each in tensors)


def int8_refusal(report: ModelReport) -> tuple[Reason, str]:
    with pytest.raises(ModelError) as caught:
        check_int8(report, SPEC, labels=2, layers=LAYERS)
    return caught.value.reason, str(caught.value)


def float_refusal(report: ModelReport) -> tuple[Reason, str]:
    with pytest.raises(ModelError) as caught:
        check_float(report, SPEC, labels=2, layers=LAYERS)
    return caught.value.reason, str(caught.value)


def test_the_plain_model_passes_in_both_forms() -> None:
    check_int8(model(), SPEC, labels=2)
    check_float(model(as_float()), SPEC, labels=2)


# ---- operators


@pytest.mark.parametrize("refused", [int8_refusal, float_refusal])
@pytest.mark.parametrize("name", ["WHILE", "IF", "CALL", "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE"])
def test_control_flow_and_state_are_named_with_their_layer(name: str, refused: Any) -> None:
    reason, message = refused(model(nodes=(node(name, (0,), (1,)), NODES[1])))
    assert reason is Reason.OP_NOT_INT8
    assert message.startswith(f"operator {name} (layer stem) is control flow or state")


@pytest.mark.parametrize("refused", [int8_refusal, float_refusal])
def test_a_custom_operator_is_named_with_its_layer(refused: Any) -> None:
    reason, message = refused(model(nodes=(NODES[0], node("FlexErf", (1,), (2,), custom=True))))
    assert reason is Reason.OP_NOT_INT8
    assert message.startswith("operator FlexErf (layer head) is a custom operator")


def test_an_operator_without_output_is_named_without_a_layer() -> None:
    message = int8_refusal(model(nodes=(*NODES, node("ASSIGN_VARIABLE", (1,), ()))))[1]
    assert message.startswith("operator ASSIGN_VARIABLE is control flow or state")


@pytest.mark.parametrize(
    ("fields", "held"),
    [
        ({"custom": ("FlexErf", "Mine")}, "FlexErf, Mine"),
        ({"subgraphs": 2}, "2 subgraphs"),
        ({"subgraphs": 0}, "0 subgraphs"),
        ({"custom": ("Mine",), "subgraphs": 3}, "Mine"),
    ],
)
def test_what_lies_in_other_graphs_is_refused_too(fields: dict[str, Any], held: str) -> None:
    for refused, tensors in ((int8_refusal, TENSORS), (float_refusal, as_float())):
        reason, message = refused(model(tensors, **fields))
        assert reason is Reason.OP_NOT_INT8
        assert message == f"the model holds {held}, expected one graph of builtin int8 operators"


# ---- tensors


@pytest.mark.parametrize("dtype", ["float32", "int16"])
@pytest.mark.parametrize(("index", "layer", "name"), [(1, "stem", "CONV_2D"), (2, "head", "FULLY_CONNECTED")])
def test_the_first_operator_that_computes_in_something_else_is_named(
    dtype: str, index: int, layer: str, name: str
) -> None:
    """Whether the odd tensor is what it reads or what it writes."""
    tensors = replaced(index, tensor(index, TENSORS[index].name, TENSORS[index].shape, dtype))
    reason, message = int8_refusal(model(tensors))
    assert reason is Reason.OP_NOT_INT8
    assert message == f"operator {name} (layer {layer}) computes in {dtype}: it has no int8 kernel"


def test_an_operator_that_reads_a_float_is_named_as_well() -> None:
    tensors = (*TENSORS, tensor(4, "net/stem/scale", (1,), "float32"))
    message = int8_refusal(model(tensors, (node("MUL", (0, 4), (1,)), NODES[1])))[1]
    assert message == "operator MUL (layer stem) computes in float32: it has no int8 kernel"


@pytest.mark.parametrize("wrapper", ["QUANTIZE", "DEQUANTIZE"])
def test_not_the_wrapper_of_a_float_island_is_named_but_what_lies_between(wrapper: str) -> None:
    tensors = (*TENSORS, tensor(4, "net/stem/Erf", (1, 8), "float32"))
    reason, message = int8_refusal(
        model(tensors, (node(wrapper, (0,), (4,)), node("ERF", (4,), (4,)), node(wrapper, (4,), (1,))))
    )
    assert reason is Reason.OP_NOT_INT8
    assert message.startswith("operator ERF (layer stem)")


def test_a_float_between_two_wrappers_alone_is_still_a_float_inside() -> None:
    tensors = (*TENSORS, tensor(4, "net/stem/float", (1, 8), "float32"))
    wrappers = (node("DEQUANTIZE", (0,), (4,)), node("QUANTIZE", (4,), (1,)), NODES[1])
    reason, message = int8_refusal(model(tensors, wrappers))
    assert reason is Reason.FLOAT_INSIDE
    assert message == "tensor 4 (stem) is float32, expected int8"


def test_an_operator_on_shapes_alone_is_refused_and_one_that_also_touches_int8_is_not() -> None:
    tensors = (*TENSORS, tensor(4, "net/head/Shape", (4,), "int32"))
    check_int8(model(tensors, (node("RESHAPE", (0, 4), (1,)), NODES[1])), SPEC, labels=2)
    reason, message = int8_refusal(model(tensors, (*NODES, node("PACK", (3,), (4,)))))
    assert reason is Reason.OP_NOT_INT8
    assert message == "operator PACK (layer head) computes in int32, not in int8"


def test_an_operator_without_any_tensor_computes_in_nothing() -> None:
    message = int8_refusal(model(nodes=(*NODES, node("NO_OP", (), ()))))[1]
    assert message == "operator NO_OP computes in nothing, not in int8"


@pytest.mark.parametrize("dtype", ["int32", "int64", "bool", "uint8"])
def test_indexes_masks_and_biases_may_lie_beside_int8(dtype: str) -> None:
    tensors = (*TENSORS, tensor(4, "net/stem/beside", (4,), dtype))
    check_int8(model(tensors, (node("SLICE", (0, 4), (1,)), NODES[1])), SPEC, labels=2)


# ---- input and output


@pytest.mark.parametrize(
    ("inputs", "outputs", "said"),
    [
        ((0, 1), (2,), "the model has 2 inputs, expected one"),
        ((), (2,), "the model has 0 inputs, expected one"),
        ((0,), (1, 2), "the model has 2 outputs, expected one"),
        ((0,), (), "the model has 0 outputs, expected one"),
    ],
)
def test_there_is_one_input_and_one_output(
    inputs: tuple[int, ...], outputs: tuple[int, ...], said: str
) -> None:
    assert int8_refusal(model(inputs=inputs, outputs=outputs)) == (Reason.TENSOR_MISMATCH, said)
    assert float_refusal(model(as_float(), inputs=inputs, outputs=outputs)) == (Reason.TENSOR_MISMATCH, said)


@pytest.mark.parametrize(
    ("index", "other", "said"),
    [
        (
            0,
            tensor(0, "input", (2, 4, 4, 3), "uint8", 1.0),
            "the input is uint8 (2, 4, 4, 3), expected uint8 (1, 4, 4, 3)",
        ),
        (
            0,
            tensor(0, "input", (1, 4, 4, 3), "int8", 1.0),
            "the input is int8 (1, 4, 4, 3), expected uint8 (1, 4, 4, 3)",
        ),
        (
            2,
            tensor(2, "net/head/MatMul", (2, 2), "int8", 0.2),
            "the output is int8 (2, 2), expected int8 (1, 2)",
        ),
        (
            2,
            tensor(2, "net/head/MatMul", (1, 2), "uint8", 0.2),
            "the output is uint8 (1, 2), expected int8 (1, 2)",
        ),
    ],
)
def test_shape_and_dtype_must_both_be_right(index: int, other: ModelTensor, said: str) -> None:
    assert int8_refusal(model(replaced(index, other))) == (Reason.TENSOR_MISMATCH, said)


@pytest.mark.parametrize("index", [0, 2])
def test_a_float_model_has_float_input_and_output(index: int) -> None:
    tensors = as_float()
    odd = tensor(index, TENSORS[index].name, TENSORS[index].shape, "int8")
    reason, message = float_refusal(model((*tensors[:index], odd, *tensors[index + 1 :])))
    assert reason is Reason.TENSOR_MISMATCH
    assert "expected float32" in message


@pytest.mark.parametrize(
    ("scales", "zero_points", "said"),
    [
        ((), (), "no scale"),
        ((0.5,), (0,), "scale 0.5, zero point 0"),
        ((1.0,), (1,), "scale 1, zero point 1"),
        ((1.0, 1.0), (0, 0), "scale 1, 1, zero point 0, 0"),
        ((1.0, 2.0, 3.0, 4.0), (5, 6, 7, 8), "scale 1, 2, 3, zero point 5, 6, 7"),
    ],
)
def test_the_input_has_the_one_scale_that_the_device_writes_in(
    scales: tuple[float, ...], zero_points: tuple[int, ...], said: str
) -> None:
    other = ModelTensor(
        index=0, name="input", shape=(1, 4, 4, 3), dtype="uint8", scales=scales, zero_points=zero_points
    )
    reason, message = int8_refusal(model(replaced(0, other)))
    assert reason is Reason.TENSOR_MISMATCH
    assert message == f"the input is quantized with {said}, expected scale 1, zero point 0"


@pytest.mark.parametrize("scales", [(), (0.0,), (-0.2,), (float("inf"),), (float("nan"),), (0.2, 0.2)])
def test_the_output_has_one_positive_finite_scale(scales: tuple[float, ...]) -> None:
    reason, message = int8_refusal(model(replaced(2, tensor(2, "net/head/MatMul", (1, 2), "int8", *scales))))
    assert reason is Reason.TENSOR_MISMATCH
    assert message.startswith("the output is quantized with ")
    assert message.endswith(", expected one positive scale")


# ---- logits


@pytest.mark.parametrize("name", ["SOFTMAX", "LOGISTIC", "LOG_SOFTMAX"])
def test_probabilities_are_found_behind_any_number_of_wrappers(name: str) -> None:
    tensors = (
        *TENSORS,
        tensor(4, "net/head/Probabilities", (1, 2), "int8", 0.2),
        tensor(5, "net/head/again", (1, 2), "int8", 0.2),
    )
    ends = [
        (NODES[0], node(name, (1,), (2,))),
        (NODES[0], node(name, (1,), (4,)), node("QUANTIZE", (4,), (2,))),
        (NODES[0], node(name, (1,), (4,)), node("QUANTIZE", (4,), (5,)), node("DEQUANTIZE", (5,), (2,))),
    ]
    for nodes in ends:
        reason, message = int8_refusal(model(tensors, nodes))
        assert reason is Reason.EXPORT_FAILED
        assert message.startswith(f"the model ends with {name}, expected logits")
        assert float_refusal(model(as_float(tensors), nodes))[0] is Reason.EXPORT_FAILED


def test_probabilities_in_the_middle_of_a_network_are_no_fault() -> None:
    """Attention is one."""
    tensors = (*TENSORS, tensor(4, "net/head/Attention", (1, 8), "int8", 0.2))
    nodes = (NODES[0], node("SOFTMAX", (1,), (4,)), node("FULLY_CONNECTED", (4,), (2,)))
    check_int8(model(tensors, nodes), SPEC, labels=2)


def test_wrappers_without_a_beginning_end_the_search() -> None:
    nodes = (*NODES[:1], node("QUANTIZE", (), (2,)))
    check_int8(model(nodes=nodes), SPEC, labels=2)
    check_int8(model(nodes=(*NODES[:1], node("QUANTIZE", (3, 1), (2,)))), SPEC, labels=2)


# ---- loss


@pytest.mark.parametrize(("accuracy_int8", "passes"), [(0.5, True), (0.25, True), (0.24, False)])
def test_a_loss_of_exactly_the_limit_passes(accuracy_int8: float, passes: bool) -> None:
    """25 points of 50, all exact in binary."""
    if passes:
        check_loss(accuracy_float=0.5, accuracy_int8=accuracy_int8, max_loss_points=25.0, samples=100)
        return
    with pytest.raises(ModelError) as caught:
        check_loss(accuracy_float=0.5, accuracy_int8=accuracy_int8, max_loss_points=25.0, samples=100)
    assert str(caught.value) == (
        "int8 is 26.00 points worse than float"
        " (24.00 against 50.00 % of 100 held-out samples), allowed are 25"
    )


@given(
    samples=st.integers(1, 100_000),
    right=st.integers(0, 100_000),
    lost=st.integers(0, 1_000),
    tenths=st.integers(0, 1_000),
)
def test_the_loss_is_counted_in_samples(samples: int, right: int, lost: int, tenths: int) -> None:
    """Judged in whole numbers: lost of samples against tenths of a percent; one alone says nothing."""
    right = min(right, samples)
    lost = min(lost, right)
    refused = lost * 1_000 > tenths * samples and (lost > 1 or tenths == 0)
    try:
        check_loss(
            accuracy_float=right / samples,
            accuracy_int8=(right - lost) / samples,
            max_loss_points=tenths / 10,
            samples=samples,
        )
    except ModelError as error:
        assert refused
        assert error.reason is Reason.INT8_LOSS
    else:
        assert not refused
