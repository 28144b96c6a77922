"""Edits a ``.tflite`` file: operators and tensors that are added to its graph, another graph in front of it.

Only the flatbuffer is written, no interpreter runs. Same edits, same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import ModelError, Reason
from galago_edge.engine import check_model_file

_OLDEST_CODES = 127
"""Operators above this number stand in the field that schema 3a added; the old one then holds this number."""


class GraphEdit:
    """The main graph of a model, to be changed. Raises nothing but what :meth:`of` says."""

    def __init__(self, model: Any) -> None:
        """Take the tables of a model; see :meth:`of`."""
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self.model = model
        """``ModelT`` of the schema."""
        self.graph = model.subgraphs[0]
        """``SubGraphT``: its main graph."""

    @classmethod
    def of(cls, content: bytes) -> GraphEdit:
        """Read a file.

        Raises:
            BundleError: MODEL_BAD; this is not a TFLite file, or a damaged one.
        """
        check_model_file(content)  # what follows trusts every offset and index
        from ai_edge_litert import schema_py_generated as schema

        return cls(schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0)))

    def content(self) -> bytes:
        """Return the file, without what may have followed the flatbuffer in the one that was read."""
        import flatbuffers

        class Builder(flatbuffers.Builder):  # type: ignore[misc]
            """Aligns byte vectors to 16, as the schema's ``force_align`` asks and generated code forgets."""

            def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802, N803
                return super().StartVector(elemSize, numElems, 16 if elemSize == 1 else alignment)

        builder = Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def input(self) -> Any:
        """Return the tensor (``TensorT``) that is fed.

        Raises:
            ModelError: EXPORT_FAILED; there are several, or none.
        """
        return self.graph.tensors[self._only(self.graph.inputs, "input")]

    def output(self) -> Any:
        """Return the tensor (``TensorT``) that is the answer.

        Raises:
            ModelError: EXPORT_FAILED; there are several, or none.
        """
        return self.graph.tensors[self._only(self.graph.outputs, "output")]

    def _only(self, indexes: Sequence[int], role: str) -> int:
        if len(indexes) != 1:
            raise ModelError(
                Reason.EXPORT_FAILED,
                f"the model has {len(indexes)} {role}s, expected one",
                hint="export a classifier",
            )
        return int(indexes[0])

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str,
        *,
        scale: float = 0.0,
        zero_point: int = 0,
        data: npt.NDArray[Any] | None = None,
    ) -> int:
        """Add a tensor; return its index.

        Args:
            name: What it is called.
            shape: With the batch axis.
            dtype: As the schema names it: ``FLOAT32``, ``UINT8`` ...
            scale: Of its quantization; 0 for none.
            zero_point: Of its quantization.
            data: Its values, for a constant one.
        """
        made, buffer = self._schema.TensorT(), self._schema.BufferT()
        made.name, made.shape = name, [int(size) for size in shape]
        made.type = getattr(self._schema.TensorType, dtype)
        made.buffer = len(self.model.buffers)
        if data is not None:
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        if scale:
            made.quantization = self._schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [scale], [zero_point]
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        *,
        version: int = 1,
        options: Any = None,
        first: bool = False,
    ) -> None:
        """Add a builtin operator behind all others, or in front of them.

        Args:
            name: As the schema names it: ``SOFTMAX``.
            inputs: Indexes of tensors.
            outputs: Indexes of tensors.
            version: Of the operator.
            options: Its table, such as ``schema.SoftmaxOptionsT()``.
            first: In front of all others.
        """
        made = self._schema.OperatorT()
        made.opcodeIndex = self._code(getattr(self._schema.BuiltinOperator, name), version)
        made.inputs, made.outputs = list(inputs), list(outputs)
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            made.builtinOptionsType = getattr(self._schema.BuiltinOptions, kind)
            made.builtinOptions = options
        operators = self.graph.operators
        self.graph.operators = [made, *operators] if first else [*operators, made]

    def _code(self, number: int, version: int) -> int:
        codes = self.model.operatorCodes
        for index, code in enumerate(codes):
            known = max(code.builtinCode, code.deprecatedBuiltinCode)
            if known == number and code.version == version and not code.customCode:
                return index
        made = self._schema.OperatorCodeT()
        made.builtinCode, made.deprecatedBuiltinCode = number, min(number, _OLDEST_CODES)
        made.version = version
        codes.append(made)
        return len(codes) - 1

    def has_metadata(self, name: str) -> bool:
        """Whether the model has a buffer of this name in its metadata."""
        return any(entry.name in (name, name.encode()) for entry in self.model.metadata or [])

    def add_metadata(self, name: str, content: bytes) -> None:
        """Add a named buffer to the metadata."""
        buffer, entry = self._schema.BufferT(), self._schema.MetadataT()
        buffer.data = np.frombuffer(content, np.uint8)
        entry.name, entry.buffer = name, len(self.model.buffers)
        self.model.buffers.append(buffer)
        self.model.metadata = [*(self.model.metadata or []), entry]

    def without_metadata(self) -> None:
        """Take out all metadata and signatures: they would describe another input and output."""
        for entry in self.model.metadata or []:
            self.model.buffers[entry.buffer].data = None
        self.model.metadata = self.model.signatureDefs = self.model.metadataBuffer = None

    def put_in_front(self, other: GraphEdit, *, output: int) -> None:
        """Let another graph feed this one.

        Args:
            other: Of one graph, without variables.
            output: Index in this graph of the tensor that the answer of ``other`` becomes, with the same
                shape and type; the inputs of ``other`` are those of the whole.
        """
        shift = len(self.graph.tensors)
        self._take_buffers(other)
        self.graph.tensors.extend(other.graph.tensors)
        theirs = other._only(other.graph.outputs, "output")

        def index(old: int) -> int:
            return output if old == theirs else old + shift if old >= 0 else old

        operators = []
        for operator in other.graph.operators:
            code = other.model.operatorCodes[operator.opcodeIndex]
            number = max(code.builtinCode, code.deprecatedBuiltinCode)
            operator.opcodeIndex = self._code(number, code.version)
            operator.inputs = [index(int(old)) for old in operator.inputs]
            operator.outputs = [index(int(old)) for old in operator.outputs]
            operators.append(operator)
        self.graph.operators = [*operators, *self.graph.operators]
        self.graph.inputs = [int(old) + shift for old in other.graph.inputs]

    def _take_buffers(self, other: GraphEdit) -> None:
        first = len(self.model.buffers)
        self.model.buffers.extend(other.model.buffers)
        for tensor in other.graph.tensors:
            tensor.buffer += first
