from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema

from galago_converters.multiply_adds import CONTROL, CUSTOM, ELEMENTWISE, NO_RULE, NO_SHAPES, multiply_adds
from galago_edge.contract.errors import BundleError

DATA = Path(__file__).parents[1] / "data"


def one_operator(
    name: str,
    inputs: Sequence[tuple[int, ...] | None],
    output: tuple[int, ...],
    *,
    constant: Sequence[int] = (),
    options: tuple[int, Any] | None = None,
    custom: str = "",
) -> bytes:
    """A file of one operator; inputs in ``constant`` have their values in the file, None is left out."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    operator, code = schema.OperatorT(), schema.OperatorCodeT()
    model.version, model.buffers = 3, [schema.BufferT(), schema.BufferT()]
    model.buffers[1].data = [0] * 4
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.customCode = custom or None
    code.version = 1
    graph.tensors, operator.inputs = [], []
    for place, shape in enumerate([*inputs, output]):
        if shape is not None:
            tensor = schema.TensorT()
            tensor.shape, tensor.name, tensor.buffer = list(shape), f"t{place}", int(place in constant)
            graph.tensors.append(tensor)
        if place < len(inputs):
            operator.inputs.append(-1 if shape is None else len(graph.tensors) - 1)
    operator.opcodeIndex, operator.outputs = 0, [len(graph.tensors) - 1]
    if options:
        operator.builtinOptionsType, operator.builtinOptions = options
    graph.inputs, graph.outputs, graph.operators = [0], operator.outputs, [operator]
    model.operatorCodes, model.subgraphs = [code], [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def transposed_left() -> tuple[int, Any]:
    options = schema.BatchMatMulOptionsT()
    options.adjX = True
    return schema.BuiltinOptions.BatchMatMulOptions, options


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        # 8 x 8 x 16 values, each a sum of 3 x 3 x 4 products
        (one_operator("CONV_2D", [(1, 16, 16, 4), (16, 3, 3, 4)], (1, 8, 8, 16)), 1024 * 36),
        # two groups: a filter sees half of the channels
        (one_operator("CONV_2D", [(1, 8, 8, 4), (16, 3, 3, 2)], (1, 8, 8, 16)), 1024 * 18),
        (one_operator("DEPTHWISE_CONV_2D", [(1, 8, 8, 4), (1, 5, 3, 4)], (1, 8, 8, 4)), 256 * 15),
        (one_operator("FULLY_CONNECTED", [(2, 10), (7, 10)], (2, 7)), 140),
        (one_operator("CONV_3D", [(1, 4, 4, 4, 2), (3, 3, 3, 2, 5)], (1, 2, 2, 2, 5)), 40 * 54),
        # 4 x 4 x 3 values, each goes into 2 x 2 x 6 sums
        (one_operator("TRANSPOSE_CONV", [(4,), (6, 2, 2, 3), (1, 4, 4, 3)], (1, 8, 8, 6)), 48 * 24),
        (one_operator("BATCH_MATMUL", [(2, 3, 5), (2, 5, 4)], (2, 3, 4)), 24 * 5),
        (one_operator("BATCH_MATMUL", [(2, 5, 3), (2, 5, 4)], (2, 3, 4), options=transposed_left()), 24 * 5),
        # 8 features over a memory of 6: 1 x (8 x 20 + 8 x 6); the state in place 4 is no weight
        (
            one_operator("SVDF", [(1, 20), (8, 20), (8, 6), None, (1, 48)], (1, 8), constant=(1, 2)),
            160 + 48,
        ),
        # 9 steps of 4 gates, each (6, 5) on the input and (6, 6) on the state
        (
            one_operator(
                "UNIDIRECTIONAL_SEQUENCE_LSTM",
                [(1, 9, 5), *[(6, 5)] * 4, *[(6, 6)] * 4, None, (1, 6)],
                (1, 9, 6),
                constant=range(1, 9),
            ),
            9 * 4 * (30 + 36),
        ),
        (one_operator("RESHAPE", [(1, 8), (2,)], (8, 1)), 0),
    ],
)  # fmt: skip
def test_each_rule_counts_what_a_hand_does(model: bytes, expected: int) -> None:
    found = multiply_adds(model)
    assert (found.total, found.uncounted) == (expected, ())
    assert sum(found.by_operator.values()) == expected


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (one_operator("LOGISTIC", [(1, 8)], (1, 8)), ELEMENTWISE),
        (one_operator("CUSTOM", [(1, 8)], (1, 8), custom="FlexConv2D"), CUSTOM),
        (one_operator("WHILE", [(1, 8)], (1, 8)), CONTROL),
        (one_operator("STABLEHLO_CONVOLUTION", [(1, 8)], (1, 8)), NO_RULE),
        (one_operator("CONV_2D", [(1, 16, 16, 4), ()], (1, 8, 8, 16)), NO_SHAPES),
        (one_operator("CONV_2D", [(1, 16, 16, 4)], (1, 8, 8, 16)), NO_SHAPES),
        (one_operator("FULLY_CONNECTED", [(0, 10), (7, 10)], (0, 7)), NO_SHAPES),
    ],
)
def test_what_is_not_counted_is_said(model: bytes, why: str) -> None:
    found = multiply_adds(model)
    (one,) = found.uncounted
    assert (found.total, one.nodes, one.why) == (0, 1, why)
    assert found.nodes[0].multiply_adds is None


def test_every_builtin_operator_has_one_place_in_the_rules() -> None:
    from galago_converters import multiply_adds as module

    groups = [module._MOVES, module._LIGHT, module._CONTROL, set(module._RULES)]
    names = {name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert set().union(*groups) <= names
    left = {name for name in names - set().union(*groups) if not name.startswith("STABLEHLO_")}
    assert left <= {
        "CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES",
        "CALL", "CONCAT_EMBEDDINGS", "EMBEDDING_LOOKUP_SPARSE", "LSH_PROJECTION", "SKIP_GRAM", "DILATE",
    }  # fmt: skip


def test_a_network_comes_to_the_sum_of_its_layers() -> None:
    found = multiply_adds((DATA / "tiny_image.tflite").read_bytes())
    assert found.total == sum(node.multiply_adds or 0 for node in found.nodes) > 0


def test_a_file_that_is_no_model_is_one_error() -> None:
    with pytest.raises(BundleError):
        multiply_adds(b"nothing of the kind")
