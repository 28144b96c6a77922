"""Reads a ``.tflite`` file: what is in it, not what its name says.

Only the flatbuffer is read, no interpreter runs. Schema: ``tensorflow/compiler/mlir/lite/schema/schema.fbs``.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from galago_edge.contract.manifest import Operator
from galago_edge.engine import check_model_file


class ModelTensor(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor. ``real = scale * (stored - zero_point)`` when it has scales."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    """As the schema names it, in lower case: ``int8``, ``float32``, ``int32`` ..."""
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One operator in its place."""

    name: str
    """Builtin name such as ``CONV_2D``, or the name of a custom operator."""
    version: int
    custom: bool
    inputs: tuple[int, ...]
    """Tensor indexes; an optional input that is not given is left out."""
    outputs: tuple[int, ...]


class ModelReport(msgspec.Struct, frozen=True, kw_only=True):
    """All that the quality gate and the device's op table ask about. Tensors and nodes: main subgraph."""

    subgraphs: int
    operators: tuple[Operator, ...]
    """Builtin operators of all subgraphs, sorted by name and version."""
    custom: tuple[str, ...]
    """Names of custom operators; ``Flex...`` are TensorFlow's own, which no device can run."""
    nodes: tuple[Node, ...]
    tensors: tuple[ModelTensor, ...]
    inputs: tuple[ModelTensor, ...]
    outputs: tuple[ModelTensor, ...]
    per_channel: bool
    """Some tensor has a scale per channel."""


def report(model: bytes) -> ModelReport:
    """Read a TFLite file.

    Raises:
        BundleError: MODEL_BAD; this is not a TFLite file, or a damaged one.
    """
    check_model_file(model)  # what follows trusts every offset and index
    from ai_edge_litert import schema_py_generated as schema

    root = schema.Model.GetRootAs(model, 0)
    codes = [_op_code(schema, root.OperatorCodes(i)) for i in range(root.OperatorCodesLength())]
    graphs = [root.Subgraphs(i) for i in range(root.SubgraphsLength())]
    tensors = [_tensors(schema, graph) for graph in graphs]
    nodes = [_nodes(graph, codes) for graph in graphs]
    main = tensors[0]
    counts = Counter((node.name, node.version, node.custom) for graph in nodes for node in graph)
    return ModelReport(
        subgraphs=len(graphs),
        operators=tuple(
            Operator(name=name, version=version, count=count)
            for (name, version, custom), count in sorted(counts.items())
            if not custom
        ),
        custom=tuple(sorted({name for name, _, custom in counts if custom})),
        nodes=nodes[0],
        tensors=main,
        inputs=tuple(main[graphs[0].Inputs(i)] for i in range(graphs[0].InputsLength())),
        outputs=tuple(main[graphs[0].Outputs(i)] for i in range(graphs[0].OutputsLength())),
        per_channel=any(len(tensor.scales) > 1 for graph in tensors for tensor in graph),
    )


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", "replace")


def _names(enum: type[Any]) -> dict[int, str]:
    return {code: name for name, code in vars(enum).items() if isinstance(code, int)}


def _op_code(schema: Any, code: Any) -> tuple[str, int, bool]:
    # files older than schema 3a keep the operator in the deprecated 8-bit field
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    if number == schema.BuiltinOperator.CUSTOM:
        return _text(code.CustomCode()), code.Version(), True
    return _names(schema.BuiltinOperator).get(number, f"BUILTIN_{number}"), code.Version(), False


def _nodes(graph: Any, codes: list[tuple[str, int, bool]]) -> tuple[Node, ...]:
    found = []
    for position in range(graph.OperatorsLength()):
        operator = graph.Operators(position)
        name, version, custom = codes[operator.OpcodeIndex()]
        inputs = [operator.Inputs(i) for i in range(operator.InputsLength())]
        outputs = [operator.Outputs(i) for i in range(operator.OutputsLength())]
        found.append(
            Node(
                name=name,
                version=version,
                custom=custom,
                inputs=tuple(index for index in inputs if index >= 0),
                outputs=tuple(index for index in outputs if index >= 0),
            )
        )
    return tuple(found)


def _tensors(schema: Any, graph: Any) -> tuple[ModelTensor, ...]:
    dtypes = _names(schema.TensorType)
    found = []
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        quantization = tensor.Quantization()
        scales: tuple[float, ...] = ()
        zero_points: tuple[int, ...] = ()
        if quantization is not None:
            scales = tuple(quantization.Scale(i) for i in range(quantization.ScaleLength()))
            zero_points = tuple(quantization.ZeroPoint(i) for i in range(quantization.ZeroPointLength()))
        found.append(
            ModelTensor(
                index=index,
                name=_text(tensor.Name()),
                shape=tuple(tensor.Shape(i) for i in range(tensor.ShapeLength())),
                dtype=dtypes.get(tensor.Type(), f"type{tensor.Type()}").lower(),
                scales=scales,
                zero_points=zero_points,
            )
        )
    return tuple(found)
