"""Multiply-adds of a TFLite model, counted from shapes and options. Nothing runs.

One multiply-add is one product that is added to a sum: 10 million of them are 20 million floating point
operations. Counted are the operators that are sums of products, as if their weights were dense and every tap
of a kernel lay inside the picture, as the converter's own count does, which gives twice this number
(``tensorflow/compiler/mlir/lite/utils/arithmetic_count_util.h``). Biases, activations, pooling
and arithmetic element by element are not: :attr:`MultiplyAdds.uncounted` says which operators these are.

Where tensors stand in an operator: ``tensorflow/lite/kernels``, the file of the operator.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from galago_edge.engine import check_model_file

Shape = tuple[int, ...]

ELEMENTWISE = "its arithmetic is element by element, by table or by window, not products with weights"
CUSTOM = "a custom operator: the file does not say what it computes"
CONTROL = "control flow: how often the graphs below run is not in the file"
NO_RULE = "no rule for this operator"
NO_SHAPES = "its tensors lack the shapes that the rule needs"

_MOVES = frozenset((
    "ASSIGN_VARIABLE", "BATCH_TO_SPACE_ND", "BITCAST", "BROADCAST_ARGS", "BROADCAST_TO", "CAST",
    "CONCATENATION", "DENSIFY", "DEPTH_TO_SPACE", "DYNAMIC_UPDATE_SLICE", "EMBEDDING_LOOKUP",
    "EXPAND_DIMS", "FILL", "GATHER", "GATHER_ND", "HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_IMPORT",
    "HASHTABLE_LOOKUP", "HASHTABLE_SIZE", "MIRROR_PAD", "ONE_HOT", "PACK", "PAD", "PADV2", "RANGE", "RANK",
    "READ_VARIABLE", "RESHAPE", "RESIZE_NEAREST_NEIGHBOR", "REVERSE_SEQUENCE", "REVERSE_V2", "SCATTER_ND",
    "SELECT", "SELECT_V2", "SHAPE", "SLICE", "SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH", "SPARSE_TO_DENSE",
    "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "TILE", "TRANSPOSE", "UNIQUE", "UNPACK", "VAR_HANDLE",
    "WHERE", "ZEROS_LIKE",
))  # fmt: skip
"""Operators that move values and compute none: they cost memory traffic and no arithmetic."""
_LIGHT = frozenset((
    "ABS", "ADD", "ADD_N", "ARG_MAX", "ARG_MIN", "ATAN2", "AVERAGE_POOL_2D", "BITWISE_XOR", "BUCKETIZE",
    "CEIL", "COMPLEX_ABS", "COS", "CUMSUM", "DEQUANTIZE", "DIV", "ELU", "EQUAL", "EXP", "FAKE_QUANT",
    "FLOOR", "FLOOR_DIV", "FLOOR_MOD", "GELU", "GREATER", "GREATER_EQUAL", "HARD_SWISH", "IMAG",
    "L2_NORMALIZATION", "L2_POOL_2D", "LEAKY_RELU", "LESS", "LESS_EQUAL", "LOCAL_RESPONSE_NORMALIZATION",
    "LOG", "LOGICAL_AND", "LOGICAL_NOT", "LOGICAL_OR", "LOGISTIC", "LOG_SOFTMAX", "MATRIX_DIAG",
    "MATRIX_SET_DIAG", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MUL", "MULTINOMIAL", "NEG",
    "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "NOT_EQUAL", "POW", "PRELU", "QUANTIZE",
    "RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM", "REAL", "REDUCE_ALL", "REDUCE_ANY", "REDUCE_MAX",
    "REDUCE_MIN", "REDUCE_PROD", "REDUCE_WINDOW", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1",
    "RESIZE_BILINEAR", "RFFT2D", "RIGHT_SHIFT", "ROUND", "RSQRT", "SEGMENT_SUM", "SIGN", "SIN", "SOFTMAX",
    "SQRT", "SQUARE", "SQUARED_DIFFERENCE", "SUB", "SUM", "TANH", "TOPK_V2", "UNSORTED_SEGMENT_MAX",
    "UNSORTED_SEGMENT_MIN", "UNSORTED_SEGMENT_PROD", "UNSORTED_SEGMENT_SUM",
))  # fmt: skip
_CONTROL = frozenset(("CALL", "CALL_ONCE", "IF", "WHILE"))


class CountedNode(msgspec.Struct, frozen=True, kw_only=True):
    """One operator in its place."""

    graph: int
    position: int
    operator: str
    """Builtin name, or the name of a custom operator."""
    multiply_adds: int | None
    """For one run of its graph; 0 for operators that only move values. None: not counted, see ``why``."""
    why: str = ""


class Uncounted(msgspec.Struct, frozen=True, kw_only=True):
    """Operators that are not in the number, and why."""

    operator: str
    nodes: int
    why: str


class MultiplyAdds(msgspec.Struct, frozen=True, kw_only=True):
    """What one run of a model takes."""

    total: int
    """Of the main graph, batch as the file has it. Other graphs run as often as control flow says."""
    nodes: tuple[CountedNode, ...]
    """Of all graphs, in order."""
    uncounted: tuple[Uncounted, ...]
    """Of all graphs, by name: what :attr:`total` leaves out."""

    @property
    def by_operator(self) -> dict[str, int]:
        """Multiply-adds of the main graph by operator, largest first; operators without any are left out."""
        sums: Counter[str] = Counter()
        for node in self.nodes:
            if node.graph == 0 and node.multiply_adds:
                sums[node.operator] += node.multiply_adds
        return dict(sums.most_common())


def multiply_adds(model: bytes) -> MultiplyAdds:
    """Count the multiply-adds of a TFLite file.

    Raises:
        BundleError: MODEL_BAD; this is not a TFLite file, or a damaged one.
    """
    check_model_file(model)  # what follows trusts every offset and index
    from ai_edge_litert import schema_py_generated as schema

    root = schema.Model.GetRootAs(model, 0)
    names = {
        code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)
    }  # fmt: skip
    filled = [_holds_data(root.Buffers(index)) for index in range(root.BuffersLength())]
    nodes = []
    for number in range(root.SubgraphsLength()):
        graph = root.Subgraphs(number)
        for position in range(graph.OperatorsLength()):
            operator = graph.Operators(position)
            name, custom = _named(root.OperatorCodes(operator.OpcodeIndex()), names)
            count, why = (None, CUSTOM) if custom else _counted(name, _Shapes(graph, operator, filled))
            nodes.append(
                CountedNode(graph=number, position=position, operator=name, multiply_adds=count, why=why)
            )
    left_out = Counter((node.operator, node.why) for node in nodes if node.multiply_adds is None)
    return MultiplyAdds(
        total=sum(node.multiply_adds or 0 for node in nodes if node.graph == 0),
        nodes=tuple(nodes),
        uncounted=tuple(
            Uncounted(operator=name, nodes=count, why=why)
            for (name, why), count in sorted(left_out.items())
        ),
    )  # fmt: skip


def _named(code: Any, names: dict[int, str]) -> tuple[str, bool]:
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    name = names.get(number, f"BUILTIN_{number}")
    if name == "CUSTOM":
        return (code.CustomCode() or b"").decode("utf-8", "replace"), True
    return name, False


def _holds_data(buffer: Any) -> bool:
    return bool(buffer.DataLength()) or buffer.Offset() > 1  # 0 and 1: nothing lies outside the tables


class _Shapes:
    """The tensors of one operator, by their place in it."""

    def __init__(self, graph: Any, operator: Any, filled: list[bool]) -> None:
        self._graph = graph
        self._operator = operator
        self._filled = filled
        self.length: int = operator.InputsLength()

    def given(self, place: int) -> Shape:
        """Return the shape of an input; empty for one that is left out or has none.

        Raises:
            IndexError: The operator has fewer.
        """
        if place >= self.length:
            raise IndexError(place)
        index = self._operator.Inputs(place)
        return () if index < 0 else _shape(self._graph.Tensors(index))

    def constant(self, place: int) -> bool:
        """Return whether an input is there and its values stand in the file."""
        index = self._operator.Inputs(place)
        return bool(index >= 0 and self._filled[self._graph.Tensors(index).Buffer()])

    def out(self) -> Shape:
        """Return the shape of the first output.

        Raises:
            IndexError: There is none.
        """
        if not self._operator.OutputsLength():
            raise IndexError(0)
        return _shape(self._graph.Tensors(self._operator.Outputs(0)))

    def options(self) -> Any:
        """Return the table of builtin options, None where the operator has none."""
        return self._operator.BuiltinOptions()


def _shape(tensor: Any) -> Shape:
    return tuple(tensor.Shape(axis) for axis in range(tensor.ShapeLength()))


def _counted(name: str, shapes: _Shapes) -> tuple[int | None, str]:
    """Return multiply-adds and an empty text, or None and why they are not counted."""
    if name in _MOVES:
        return 0, ""
    if name in _LIGHT:
        return None, ELEMENTWISE
    if name in _CONTROL:
        return None, CONTROL
    rule = _RULES.get(name)
    if rule is None:
        return None, NO_RULE
    try:
        count = rule(shapes)
    except IndexError:
        return None, NO_SHAPES
    return (count, "") if count > 0 else (None, NO_SHAPES)


def _conv(shapes: _Shapes) -> int:
    """Filter ``(out, ..., in / groups)``: each output value sums what one filter holds."""
    return math.prod(shapes.out()) * _product(shapes.given(1), 4, slice(1, None))


def _depthwise(shapes: _Shapes) -> int:
    """Filter ``(1, h, w, out)``."""
    return math.prod(shapes.out()) * _product(shapes.given(1), 4, slice(1, 3))


def _conv_3d(shapes: _Shapes) -> int:
    """Filter ``(d, h, w, in, out)``."""
    return math.prod(shapes.out()) * _product(shapes.given(1), 5, slice(0, 4))


def _transpose_conv(shapes: _Shapes) -> int:
    """Inputs: output shape, filter ``(out, h, w, in)``, values. Each value goes into ``h * w * out`` sums."""
    return math.prod(shapes.given(2)) * _product(shapes.given(1), 4, slice(0, 3))


def _conv_3d_transpose(shapes: _Shapes) -> int:
    """Inputs: output shape, filter ``(d, h, w, out, in)``, values."""
    return math.prod(shapes.given(2)) * _product(shapes.given(1), 5, slice(0, 4))


def _fully_connected(shapes: _Shapes) -> int:
    """Weights ``(units, depth)``."""
    return math.prod(shapes.out()) * _product(shapes.given(1), 2, slice(1, None))


def _batch_matmul(shapes: _Shapes) -> int:
    """The left side ``(..., m, k)``, ``(..., k, m)`` where it is taken transposed."""
    from ai_edge_litert import schema_py_generated as schema

    table, adjoint = shapes.options(), False
    if table is not None:
        options = schema.BatchMatMulOptions()
        options.Init(table.Bytes, table.Pos)
        adjoint = bool(options.AdjX())
    left = shapes.given(0)
    return math.prod(shapes.out()) * left[-2 if adjoint else -1]


def _recurrent(shapes: _Shapes) -> int:
    """Every matrix of weights is used once for each step of each sequence: values ``(..., depth)``."""
    matrices = (
        math.prod(shapes.given(place))
        for place in range(1, shapes.length)
        if shapes.constant(place) and len(shapes.given(place)) == 2
    )
    values = shapes.given(0)
    return sum(matrices) * math.prod(values[:-1]) if values else 0


def _product(weights: Shape, rank: int, axes: slice) -> int:
    if len(weights) != rank:
        raise IndexError(rank)
    return math.prod(weights[axes])


_RULES: dict[str, Callable[[_Shapes], int]] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "CONV_3D": _conv_3d,
    "CONV_3D_TRANSPOSE": _conv_3d_transpose,
    "TRANSPOSE_CONV": _transpose_conv,
    "FULLY_CONNECTED": _fully_connected,
    "BATCH_MATMUL": _batch_matmul,
    **dict.fromkeys(
        (
            "BIDIRECTIONAL_SEQUENCE_LSTM",
            "BIDIRECTIONAL_SEQUENCE_RNN",
            "LSTM",
            "RNN",
            "SVDF",
            "UNIDIRECTIONAL_SEQUENCE_LSTM",
            "UNIDIRECTIONAL_SEQUENCE_RNN",
        ),
        _recurrent,
    ),
}
