"""What a ``.tflite`` file really is: all that can be told from its bytes. Names are never trusted.

Only the flatbuffer is read, no interpreter runs. Schema: ``tensorflow/compiler/mlir/lite/schema/schema.fbs``.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from galago_converters.inspection import ModelReport, ModelTensor, report
from galago_converters.multiply_adds import MultiplyAdds, multiply_adds
from galago_converters.weight_forms import inside

BITS = {
    "float64": 64, "int64": 64, "uint64": 64, "complex64": 64, "complex128": 128, "float32": 32, "int32": 32,
    "uint32": 32, "float16": 16, "bfloat16": 16, "int16": 16, "uint16": 16, "int8": 8, "uint8": 8, "bool": 8,
    "int4": 4, "uint4": 4, "int2": 2,
}  # fmt: skip
"""Bits of one value by the schema's name of its type; types without a fixed size are not here."""
_KNOWN_METADATA = frozenset(
    ("TFLITE_METADATA", "CONVERSION_METADATA", "min_runtime_version", "reduced_precision_support")
)
_MIN_RUNTIME = "min_runtime_version"
_CONTROL = ("CALL", "CALL_ONCE", "IF", "WHILE")
_MOST_FILES = 100
"""Of an archive behind the model, so many names are told."""


class OperatorUse(msgspec.Struct, frozen=True, kw_only=True):
    """One operator in one version."""

    name: str
    version: int
    custom: bool
    nodes: int
    """In all graphs."""


class MetadataEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A buffer that no operator reads."""

    name: str
    bytes: int
    vendor: bool
    """Its name is not one of TensorFlow's own: ``SL_PARAMSv1`` and the like."""


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """Named inputs and outputs of a graph."""

    key: str
    graph: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class KeptState(msgspec.Struct, frozen=True, kw_only=True):
    """What makes an answer depend on more than the input."""

    variable_tensors: int
    """Tensors that keep their values between runs."""
    variables: int
    """``VAR_HANDLE`` nodes: resources that are read and assigned."""
    control_flow: tuple[str, ...]
    """Operators that run other graphs."""

    @property
    def keeps(self) -> bool:
        """Whether something is kept from one run to the next."""
        return bool(self.variable_tensors or self.variables)


class ModelContent(msgspec.Struct, frozen=True, kw_only=True):
    """A file as it is."""

    bytes: int
    description: str
    inside: str
    """In one phrase: ``float32``, ``float16 weights``, ``int8 with float ends``, ``mixed: ...``."""
    graphs: int
    operators: tuple[OperatorUse, ...]
    flex: tuple[str, ...]
    """TensorFlow's own operators, which no device can run."""
    inputs: tuple[ModelTensor, ...]
    outputs: tuple[ModelTensor, ...]
    signatures: tuple[Signature, ...]
    state: KeptState
    quantized_per_tensor: int
    quantized_per_channel: int
    parameters: int
    """Values of the constant tensors of all graphs; a buffer that several share counts once."""
    weight_bytes: int
    """Bytes of those buffers."""
    metadata: tuple[MetadataEntry, ...]
    min_runtime_version: str
    """As the converter wrote it; empty where it did not."""
    packed_files: tuple[str, ...]
    """Files of a zip archive behind the model, such as ``labels.txt``."""
    multiply_adds: MultiplyAdds
    arena_estimate_bytes: int
    """Largest sum of the main graph's tensors that are needed at one moment; see :func:`arena_estimate`."""
    unsized_tensors: int
    """Tensors of all graphs without a fixed size: text, resources, or a shape that the caller may change,
    which the estimate and the multiply-adds take as it stands in the file."""
    tensors: tuple[ModelTensor, ...]
    """Of the main graph."""
    nodes: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    """Of the main graph: operator, indexes of its input tensors and of its output tensors."""

    @property
    def other_bytes(self) -> int:
        """Bytes that are neither weights nor metadata: the graph itself, and what follows it."""
        return self.bytes - self.weight_bytes - sum(entry.bytes for entry in self.metadata)


def content_of(model: bytes) -> ModelContent:
    """Read a TFLite file.

    Raises:
        BundleError: MODEL_BAD; this is not a TFLite file, or a damaged one.
    """
    found = report(model)  # checks every offset and index
    from ai_edge_litert import schema_py_generated as schema

    root = schema.Model.GetRootAs(model, 0)
    counts, flex = _operators(root, schema)
    entries = tuple(_metadata(root))
    parameters, weight_bytes, unsized = _weights(root, schema)
    constant = _constants(root, 0)
    tensors = [tensor for graph in _graphs(root) for tensor in _tables(graph)]
    scales = [_scales(tensor) for tensor in tensors]
    return ModelContent(
        bytes=len(model),
        description=_text(root.Description()),
        inside=inside(found, constant),
        graphs=root.SubgraphsLength(),
        operators=counts,
        flex=flex,
        inputs=found.inputs,
        outputs=found.outputs,
        signatures=tuple(_signatures(root)),
        state=KeptState(
            variable_tensors=sum(bool(tensor.IsVariable()) for tensor in tensors),
            variables=sum(one.nodes for one in counts if one.name == "VAR_HANDLE" and not one.custom),
            control_flow=tuple(one.name for one in counts if one.name in _CONTROL and not one.custom),
        ),
        quantized_per_tensor=sum(count == 1 for count in scales),
        quantized_per_channel=sum(count > 1 for count in scales),
        parameters=parameters,
        weight_bytes=weight_bytes,
        metadata=entries,
        min_runtime_version=_min_runtime(root),
        packed_files=_packed_files(model),
        multiply_adds=multiply_adds(model),
        arena_estimate_bytes=arena_estimate(found, constant),
        unsized_tensors=unsized,
        tensors=found.tensors,
        nodes=tuple((node.name, node.inputs, node.outputs) for node in found.nodes),
    )


def tensor_bytes(tensor: ModelTensor) -> int | None:
    """Return what the values of a tensor take; None for types or shapes without a fixed size."""
    bits = BITS.get(tensor.dtype)
    if bits is None or any(size < 0 for size in tensor.shape):
        return None
    return (math.prod(tensor.shape) * bits + 7) // 8


def arena_estimate(found: ModelReport, constant: frozenset[int]) -> int:
    """Return the largest sum of bytes of the main graph's tensors that live at one moment.

    A tensor lives from the node that writes it to the last one that reads it; inputs from the start, outputs
    to the end. A lower bound of what a planner needs: no alignment, no gaps, no scratch of a kernel.
    ``constant``: indexes of tensors that lie in the file.
    """
    end = len(found.nodes)
    born = {tensor.index: 0 for tensor in found.inputs}
    last: dict[int, int] = {}
    for position, node in enumerate(found.nodes):
        for index in node.outputs:
            born.setdefault(index, position)
        for index in (*node.inputs, *node.outputs):
            last[index] = position
    last.update((tensor.index, end) for tensor in found.outputs)
    change: Counter[int] = Counter()
    for index, first in born.items():
        size = 0 if index in constant else tensor_bytes(found.tensors[index]) or 0
        change[first] += size
        change[last.get(index, first) + 1] -= size
    live = most = 0
    for moment in sorted(change):
        live += change[moment]
        most = max(most, live)
    return most


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", "replace")


def _graphs(root: Any) -> list[Any]:
    return [root.Subgraphs(number) for number in range(root.SubgraphsLength())]


def _tables(graph: Any) -> list[Any]:
    return [graph.Tensors(index) for index in range(graph.TensorsLength())]


def _size(buffer: Any) -> int:
    """Bytes of a buffer, in the tables or outside them (0 and 1: nothing lies there)."""
    return int(buffer.DataLength()) or (int(buffer.Size()) if buffer.Offset() > 1 else 0)


def _scales(tensor: Any) -> int:
    quantization = tensor.Quantization()
    return 0 if quantization is None else int(quantization.ScaleLength())


def _constants(root: Any, number: int) -> frozenset[int]:
    tensors = _tables(root.Subgraphs(number))
    return frozenset(
        index for index, tensor in enumerate(tensors) if _size(root.Buffers(tensor.Buffer()))
    )  # fmt: skip


def _operators(root: Any, schema: Any) -> tuple[tuple[OperatorUse, ...], tuple[str, ...]]:
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    counts: Counter[tuple[str, int, bool]] = Counter()
    for graph in _graphs(root):
        for position in range(graph.OperatorsLength()):
            code = root.OperatorCodes(graph.Operators(position).OpcodeIndex())
            number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            custom = number == schema.BuiltinOperator.CUSTOM
            name = _text(code.CustomCode()) if custom else names.get(number, f"BUILTIN_{number}")
            counts[name, code.Version(), custom] += 1
    uses = tuple(
        OperatorUse(name=name, version=version, custom=custom, nodes=nodes)
        for (name, version, custom), nodes in sorted(counts.items())
    )
    return uses, tuple(sorted({one.name for one in uses if one.custom and one.name.startswith("Flex")}))


def _weights(root: Any, schema: Any) -> tuple[int, int, int]:
    """Return parameters, their bytes, and how many tensors have no size."""
    dtypes = {code: name.lower() for name, code in vars(schema.TensorType).items() if isinstance(code, int)}
    parameters, unsized, seen = 0, 0, set()
    for graph in _graphs(root):
        for tensor in _tables(graph):
            sized = dtypes.get(tensor.Type()) in BITS
            shape = [tensor.ShapeSignature(axis) for axis in range(tensor.ShapeSignatureLength())]
            unsized += not sized or any(size < 0 for size in shape)
            if tensor.Buffer() not in seen and _size(root.Buffers(tensor.Buffer())):
                seen.add(tensor.Buffer())
                if sized:
                    parameters += math.prod(tensor.Shape(axis) for axis in range(tensor.ShapeLength()))
    return parameters, sum(_size(root.Buffers(number)) for number in seen), unsized


def _metadata(root: Any) -> Iterator[MetadataEntry]:
    for number in range(root.MetadataLength()):
        entry = root.Metadata(number)
        name, buffer = _text(entry.Name()), entry.Buffer()
        size = _size(root.Buffers(buffer)) if buffer < root.BuffersLength() else 0
        yield MetadataEntry(name=name, bytes=size, vendor=name not in _KNOWN_METADATA)


def _min_runtime(root: Any) -> str:
    for number in range(root.MetadataLength()):
        entry = root.Metadata(number)
        if _text(entry.Name()) == _MIN_RUNTIME and entry.Buffer() < root.BuffersLength():
            buffer = root.Buffers(entry.Buffer())
            raw = bytes(buffer.DataAsNumpy()) if buffer.DataLength() else b""
            return raw[:32].rstrip(b"\0").decode("ascii", "replace")
    return ""


def _packed_files(model: bytes) -> tuple[str, ...]:
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as archive:
            return tuple(archive.namelist()[:_MOST_FILES])
    except (zipfile.BadZipFile, ValueError, NotImplementedError):  # there is none behind the model
        return ()


def _signatures(root: Any) -> Iterator[Signature]:
    for number in range(root.SignatureDefsLength()):
        one = root.SignatureDefs(number)
        yield Signature(
            key=_text(one.SignatureKey()),
            graph=one.SubgraphIndex(),
            inputs=tuple(_text(one.Inputs(place).Name()) for place in range(one.InputsLength())),
            outputs=tuple(_text(one.Outputs(place).Name()) for place in range(one.OutputsLength())),
        )
