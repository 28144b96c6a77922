"""Convolutions of a TFLite file are read exactly, and what is no such file is refused in a line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from galago_edge.contract.errors import GalagoError, InputError, LinkError, Reason
from galago_workstation.training.weights.tflite_file import read_tflite_file

CONV, RELU, DENSE = 3, 19, 9  # of the schema's BuiltinOperator
KERNEL = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)  # out, height, width, in
BIAS = np.array([0.5, -0.5], np.float32)
Constants = Sequence[npt.NDArray[Any]]


def tflite(*operators: tuple[int, Constants]) -> bytes:
    """Return a model of these operators, each with one computed input and these constants."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    model.operatorCodes, graph.tensors, graph.operators = [], [], []

    def add(array: npt.NDArray[Any] | None) -> int:
        made = schema.TensorT()
        made.shape, made.type = (array.shape if array is not None else (1,)), schema.TensorType.FLOAT32
        if array is not None:
            content = schema.BufferT()
            content.data = np.frombuffer(array.tobytes(), np.uint8)
            made.buffer, made.type = len(model.buffers), {"f": 0, "i": 2}[array.dtype.kind]
            model.buffers.append(content)
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    last = add(None)
    graph.inputs = [last]
    for code, constants in operators:
        kind, operator = schema.OperatorCodeT(), schema.OperatorT()
        kind.builtinCode = kind.deprecatedBuiltinCode = code
        operator.opcodeIndex = len(model.operatorCodes)
        model.operatorCodes.append(kind)
        operator.inputs = [last, *map(add, constants)]
        last = add(None)
        operator.outputs = [last]
        graph.operators.append(operator)
    graph.outputs = [last]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


WHOLE = tflite((CONV, [KERNEL, BIAS]), (RELU, []), (CONV, [KERNEL[:1], BIAS[:1]]))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights") / "net.tflite"


def test_convolutions_come_in_the_order_of_the_graph_and_as_keras_has_them(path: Path) -> None:
    path.write_bytes(WHOLE)

    first, second = read_tflite_file(path)

    np.testing.assert_array_equal(first.kernel, KERNEL.transpose(1, 2, 3, 0))
    np.testing.assert_array_equal(first.bias, BIAS)
    assert second.kernel.shape == (3, 2, 2, 1) and second.bias.tolist() == [0.5]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a TFLite file"),
        (b"PK\3\4 and so on", "not a TFLite file"),
        (tflite((RELU, [])), "no convolution"),
        (tflite((CONV, [KERNEL])), "2 inputs"),
        (tflite((CONV, [KERNEL, BIAS]), (DENSE, [BIAS])), "FULLY_CONNECTED"),
        (tflite((CONV, [KERNEL, BIAS[:1]])), r"kernel \(2, 3, 2, 2\) and a bias \(1,\)"),
        (tflite((CONV, [KERNEL.astype(np.int32), BIAS])), "int32"),
        (tflite((CONV, [KERNEL * np.float32(np.nan), BIAS])), "no numbers"),
        (tflite((CONV, [KERNEL[:0], BIAS[:0]])), "0 bytes"),
    ],
)
def test_what_holds_no_convolutions_of_floats_is_refused(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)

    with pytest.raises(InputError, match=said) as caught:
        read_tflite_file(path)

    assert caught.value.reason == Reason.WEIGHTS_BAD


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255), st.booleans())
def test_a_damaged_file_is_read_or_refused_and_nothing_else(
    path: Path, place: int, value: int, cut: bool
) -> None:
    path.write_bytes(WHOLE[:place] if cut else WHOLE[:place] + bytes([value]) + WHOLE[place + 1 :])

    try:
        assert all(np.isfinite(layer.kernel).all() for layer in read_tflite_file(path))
    except GalagoError as error:
        assert error.reason == Reason.WEIGHTS_BAD


def test_a_file_that_is_not_there_says_so(path: Path) -> None:
    with pytest.raises(LinkError):
        read_tflite_file(path.with_name("none.tflite"))
