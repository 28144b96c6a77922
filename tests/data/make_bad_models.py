"""Makes the models of the tests that are valid files and bad models: they crash, hang, crawl, eat memory.

    .venv/bin/python tests/data/make_bad_models.py

All but the last are tiny_image.tflite with something added that its answer does not depend on, so golden
samples made with the one hold for the other. Where a number stands in angle brackets the file has a marker,
which ``test_kit.set_numbers`` replaces.

bad_crash   the body of a WHILE holds a WHILE with itself as its body: the runtimes prepare it for ever, until
            the stack ends and the system ends the process.
bad_loop    a WHILE counts to <turns>, plus <turns_bright> for every level of the brightest pixel above 250:
            as slow as one likes, endless for all that matters, and if need be not on golden samples.
bad_memory  a tensor of <bytes> is filled with ones.
bad_deaf    the weights of the last layer are zero: the same answer to everything.

Nothing is trained; the files are committed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from test_kit import NUMBER_MARKERS

HERE = Path(__file__).parent
BRIGHT = 250
"""No golden sample of the tests has a pixel above it."""
CONDITION, BODY = 1, 2
"""Numbers of the graphs that a loop runs."""
Op = schema.BuiltinOperator
Kind = schema.TensorType


class Graph:
    """Adds tensors and operators to one graph of a model."""

    def __init__(self, model: schema.ModelT, graph: schema.SubGraphT) -> None:
        self.model, self.graph = model, graph

    def tensor(
        self, name: str, shape: list[int], kind: int = Kind.INT32, data: npt.NDArray[Any] | None = None
    ) -> int:
        """Return the index of a new tensor, a constant one when there is ``data``."""
        buffer = schema.BufferT()
        if data is not None:
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name.encode(), np.array(shape, np.int32), kind
        tensor.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def number(self, name: str, value: int) -> int:
        """Return a constant int32 scalar."""
        return self.tensor(name, [], data=np.array(value, np.int32))

    def operator(
        self, code: int, inputs: list[int], outputs: list[int], kind: int = 0, options: object = None
    ) -> None:
        """Add one operator."""
        entry = schema.OperatorCodeT()
        entry.builtinCode, entry.version = code, 1
        entry.deprecatedBuiltinCode = min(code, 127)
        self.model.operatorCodes.append(entry)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        operator.builtinOptionsType, operator.builtinOptions = kind, options
        self.graph.operators.append(operator)

    def binary(
        self, code: int, name: str, left: int, right: int, kind: int = 0, options: object = None
    ) -> int:
        """Add an operator on two int32 scalars and return its output."""
        output = self.tensor(name, [], Kind.BOOL if code == Op.LESS else Kind.INT32)
        self.operator(code, [left, right], [output], kind, options)
        return output

    def loop(self, inputs: list[int], outputs: list[int]) -> None:
        """Add a WHILE around the graphs CONDITION and BODY."""
        options = schema.WhileOptionsT()
        options.condSubgraphIndex, options.bodySubgraphIndex = CONDITION, BODY
        self.operator(Op.WHILE, inputs, outputs, schema.BuiltinOptions.WhileOptions, options)


def read() -> schema.ModelT:
    """Return tiny_image.tflite to be changed."""
    return schema.ModelT.InitFromPackedBuf((HERE / "tiny_image.tflite").read_bytes(), 0)


def write(name: str, model: schema.ModelT) -> None:
    builder = flatbuffers.Builder(1 << 14)
    builder.Finish(model.Pack(builder), b"TFL3")
    (HERE / f"{name}.tflite").write_bytes(bytes(builder.Output()))


def loop() -> schema.ModelT:
    model = read()
    options = schema.BuiltinOptions
    main = Graph(model, model.subgraphs[0])
    given = int(model.subgraphs[0].inputs[0])
    brightest = main.tensor("brightest", [], Kind.UINT8)
    main.graph.tensors[brightest].quantization = main.graph.tensors[given].quantization
    axes = main.tensor("axes", [4], data=np.arange(4, dtype=np.int32))
    main.operator(Op.REDUCE_MAX, [given, axes], [brightest], options.ReducerOptions, schema.ReducerOptionsT())
    level = main.tensor("level", [])
    main.operator(Op.CAST, [brightest], [level], options.CastOptions, schema.CastOptionsT())
    above = main.binary(
        Op.SUB, "above", level, main.number("border", BRIGHT), options.SubOptions, schema.SubOptionsT()
    )
    excess = main.binary(
        Op.MAXIMUM,
        "excess",
        above,
        main.number("none", 0),
        options.MaximumMinimumOptions,
        schema.MaximumMinimumOptionsT(),
    )
    extra = main.binary(
        Op.MUL,
        "extra",
        excess,
        main.number("turns_bright", NUMBER_MARKERS["turns_bright"]),
        options.MulOptions,
        schema.MulOptionsT(),
    )
    end = main.binary(
        Op.ADD,
        "end",
        extra,
        main.number("turns", NUMBER_MARKERS["turns"]),
        options.AddOptions,
        schema.AddOptionsT(),
    )
    turn, last = main.tensor("turn", []), main.tensor("last", [])
    start = main.number("start", 0)
    main.loop([start, end], [turn, last])
    for name in ("condition", "body"):
        graph = schema.SubGraphT()
        graph.name, graph.tensors, graph.operators = name.encode(), [], []
        model.subgraphs.append(graph)
        inner = Graph(model, graph)
        count, limit = inner.tensor("count", []), inner.tensor("limit", [])
        graph.inputs = np.array([count, limit], np.int32)
        if name == "condition":
            less = inner.binary(Op.LESS, "less", count, limit, options.LessOptions, schema.LessOptionsT())
            graph.outputs = np.array([less], np.int32)
        else:
            one = inner.number("one", 1)
            following = inner.binary(
                Op.ADD, "following", count, one, options.AddOptions, schema.AddOptionsT()
            )
            graph.outputs = np.array([following, limit], np.int32)
    return model


def crash() -> schema.ModelT:
    model = loop()
    body = Graph(model, model.subgraphs[BODY])
    count, limit = map(int, body.graph.inputs)
    body.loop([count, limit], [body.tensor("inner_count", []), body.tensor("inner_limit", [])])
    return model


def memory() -> schema.ModelT:
    model = read()
    main = Graph(model, model.subgraphs[0])
    size = main.tensor("size", [1], data=np.array([NUMBER_MARKERS["bytes"]], np.int32))
    one = main.tensor("one", [], Kind.INT8, np.array(1, np.int8))
    filled = main.tensor("filled", [1], Kind.INT8)
    main.operator(Op.FILL, [size, one], [filled], schema.BuiltinOptions.FillOptions, schema.FillOptionsT())
    return model


def deaf() -> schema.ModelT:
    model = read()
    graph = model.subgraphs[0]
    (last,) = (
        operator
        for operator in graph.operators
        if operator.builtinOptionsType == schema.BuiltinOptions.FullyConnectedOptions
    )
    weights = model.buffers[graph.tensors[int(last.inputs[1])].buffer]
    weights.data = np.zeros_like(weights.data)
    return model


def main() -> None:
    for name, model in {
        "bad_crash": crash(),
        "bad_loop": loop(),
        "bad_memory": memory(),
        "bad_deaf": deaf(),
    }.items():
        write(name, model)


if __name__ == "__main__":
    main()
