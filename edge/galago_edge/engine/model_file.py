"""Whether bytes are a well-formed TFLite file, told before a native loader sees them.

A .tflite file is a FlatBuffer: tables that point at each other by 32-bit offsets. tflite-runtime follows
these offsets without checking, so that a truncated file ends the process; ai-edge-litert checks them, but
neither checks every index. This module walks all tables that the loaders walk and lets nothing point outside
the file. What it cannot tell is whether the operators' parameters make sense.

Layout of tables, vectors and strings: https://flatbuffers.dev/internals. Numbers of fields:
tensorflow/compiler/mlir/lite/schema/schema.fbs (version 3), in the order of its declarations.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from galago_edge.contract.errors import BundleError, Reason

IDENTIFIER = b"TFL3"

_MAX_WORK = 100_000
"""Table entries and indexes in one file. Some 4,000 are usual."""

_MAX_FIELDS = 16
"""More than the layouts below name in any table; what is behind them is not looked at."""

_I32 = struct.Struct("<i")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_2U16 = struct.Struct("<2H")


@dataclass(frozen=True, slots=True)
class _Layout:
    """The fields of a table that are more than a scalar, by number."""

    vectors: dict[int, int] = field(default_factory=dict)
    """Vectors (strings too) of scalars: bytes per element."""
    tables: dict[int, _Layout] = field(default_factory=dict)
    lists: dict[int, _Layout] = field(default_factory=dict)
    """Vectors of tables."""
    scalars: dict[int, int] = field(default_factory=dict)
    """Bytes of a scalar; those that are never read need no entry."""


_ANY = _Layout()
_OPERATOR_CODE = _Layout(scalars={0: 1, 2: 4, 3: 4}, vectors={1: 1})
_QUANTIZATION = _Layout(scalars={4: 1, 6: 4}, vectors={0: 4, 1: 4, 2: 4, 3: 8}, tables={5: _ANY})
_TENSOR = _Layout(
    scalars={1: 1, 2: 4, 5: 1, 8: 1}, vectors={0: 4, 3: 1, 7: 4}, tables={4: _QUANTIZATION, 6: _ANY}
)
_OPERATOR = _Layout(
    scalars={0: 4, 3: 1, 6: 1, 9: 8, 10: 8, 11: 1},
    vectors={1: 4, 2: 4, 5: 1, 7: 1, 8: 4},
    tables={4: _ANY, 12: _ANY},
)
_SUBGRAPH = _Layout(vectors={1: 4, 2: 4, 4: 1}, lists={0: _TENSOR, 3: _OPERATOR})
_BUFFER = _Layout(scalars={1: 8, 2: 8}, vectors={0: 1})
_METADATA = _Layout(scalars={1: 4}, vectors={0: 1})
_TENSOR_MAP = _Layout(scalars={1: 4}, vectors={0: 1})
_SIGNATURE = _Layout(scalars={4: 4}, vectors={2: 1}, lists={0: _TENSOR_MAP, 1: _TENSOR_MAP})
_MODEL = _Layout(
    scalars={0: 4},
    vectors={3: 1, 5: 4},
    lists={1: _OPERATOR_CODE, 2: _SUBGRAPH, 4: _BUFFER, 6: _METADATA, 7: _SIGNATURE},
)


_ZERO_POINTS = {3: (0, 255), 9: (-128, 127)}
"""What uint8 and int8 can hold, by the schema's number of the type. XNNPACK dies of other zero points."""
_well_formed: deque[bytes] = deque(maxlen=4)
"""SHA-256 of the models that were checked last and may be loaded."""


def check_model_file(model: bytes) -> None:
    """Refuse what is not a TFLite file of schema version 3, or points outside itself.

    Bytes that were found well-formed lately are known by their hash: whoever replays many recordings loads
    the same model for each.

    Raises:
        BundleError: MODEL_BAD, with what is wrong.
    """
    digest = hashlib.sha256(model).digest()
    if digest in _well_formed:
        return
    if len(model) < 8 or model[4:8] != IDENTIFIER:
        found = f"{len(model)} bytes" if len(model) < 8 else f"{len(model)} bytes that begin {model[:8]!r}"
        raise _bad(f"is not a TFLite file: {found}, expected the identifier TFL3 in bytes 4 to 7")
    try:
        reader = _Reader(model)
        root = reader.follow(0)
        reader.check_table(root, _MODEL)
        _check_indexes(reader, root)
    except (struct.error, _OutsideError) as error:
        raise _bad(f"is damaged or truncated: {error}") from None
    _well_formed.append(digest)


class _OutsideError(Exception):
    """Something points outside the file."""


def _bad(what: str) -> BundleError:
    return BundleError(
        Reason.MODEL_BAD, f"the model {what}", hint="convert the model again, or copy the file again"
    )


class _Reader:
    """Bounded access to tables, vectors and their fields. Positions are byte offsets in the file."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.work = _MAX_WORK
        self.vtables: dict[int, tuple[int, tuple[int, ...]]] = {}

    def spend(self, work: int) -> None:
        """Count table entries looked at: overlapping vectors can make a small file endless."""
        self.work -= work
        if self.work < 0:
            raise _OutsideError(f"more than {_MAX_WORK} table entries")

    def u32(self, position: int) -> int:
        self.inside(position, 4)
        return int(_U32.unpack_from(self.data, position)[0])

    def inside(self, position: int, size: int) -> None:
        if position < 0 or position + size > len(self.data):
            raise _OutsideError(f"byte {position + size} is needed and there are {len(self.data)}")

    def follow(self, position: int) -> int:
        """Return where the offset at ``position`` points."""
        return position + self.u32(position)

    def aligned(self, position: int) -> int:
        """Return the position if every machine can read numbers there: elsewhere some end the process."""
        if position % 4:
            raise _OutsideError(f"what is at byte {position} must begin at a multiple of 4")
        return position

    def field(self, table: int, number: int, size: int) -> int | None:
        """Return the position of a field of ``size`` bytes, None where the table leaves it out."""
        self.inside(table, 4)
        table_size, offsets = self.vtable(table - int(_I32.unpack_from(self.data, table)[0]))
        self.inside(table, table_size)
        offset = offsets[number] if number < len(offsets) else 0
        if offset and offset + size > table_size:
            raise _OutsideError(f"a field of the table at byte {table} lies behind its end")
        return table + offset if offset else None

    def vtable(self, position: int) -> tuple[int, tuple[int, ...]]:
        """Return the size of the tables with this vtable, and where in them each field is (0: nowhere)."""
        if position not in self.vtables:
            self.inside(position, 4)
            size, table_size = _2U16.unpack_from(self.data, position)
            self.inside(position, size)
            fields = min(max(0, size - 4) // 2, _MAX_FIELDS)
            offsets = struct.unpack_from(f"<{fields}H", self.data, position + 4)
            self.vtables[position] = (int(table_size), offsets)
        return self.vtables[position]

    def vector(self, table: int, number: int, element_size: int) -> tuple[int, int]:
        """Return first element and length of a vector; length 0 where the table leaves it out."""
        position = self.field(table, number, 4)
        if position is None:
            return 0, 0
        start = self.aligned(self.follow(position))
        length = self.u32(start)
        self.inside(start + 4, length * element_size)
        return start + 4, length

    def tables(self, table: int, number: int) -> Iterator[int]:
        """Yield the tables of a vector of tables."""
        start, length = self.vector(table, number, 4)
        self.spend(length)
        return (self.follow(start + 4 * place) for place in range(length))

    def integers(self, table: int, number: int) -> tuple[int, ...]:
        """Return a vector of int32."""
        start, length = self.vector(table, number, 4)
        self.spend(length)
        return struct.unpack_from(f"<{length}i", self.data, start)

    def longs(self, table: int, number: int) -> tuple[int, ...]:
        """Return a vector of int64."""
        start, length = self.vector(table, number, 8)
        self.spend(length // 64)  # there is one for each channel, and unpacking them is quick
        return struct.unpack_from(f"<{length}q", self.data, start)

    def scalar(self, table: int, number: int) -> int:
        """Return an unsigned 32-bit field, 0 where the table leaves it out."""
        position = self.field(table, number, 4)
        return 0 if position is None else self.u32(position)

    def floats(self, table: int, number: int) -> tuple[float, ...]:
        """Return a vector of float32."""
        start, length = self.vector(table, number, 4)
        self.spend(length // 64)  # as of longs
        return struct.unpack_from(f"<{length}f", self.data, start)

    def span(self, table: int, first: int) -> None:
        """Check what lies outside the tables: a field of 64 bits says where in the file, the next how much.

        0 and 1 say that nothing does. The runtimes add the two as 64-bit numbers, which can come out small.
        """
        start, size = (
            0 if position is None else int(_U64.unpack_from(self.data, position)[0])
            for position in (self.field(table, first, 8), self.field(table, first + 1, 8))
        )
        if start > 1:
            self.inside(start, size)

    def check_table(self, table: int, layout: _Layout) -> None:
        """Check a table and everything below it; the layouts are finite, so this ends."""
        self.spend(1)
        self.field(self.aligned(table), 0, 0)
        for number, size in layout.scalars.items():
            self.field(table, number, size)
        for number, size in layout.vectors.items():
            self.vector(table, number, size)
        for number, below in layout.tables.items():
            position = self.field(table, number, 4)
            if position is not None:
                self.check_table(self.follow(position), below)
        for number, below in layout.lists.items():
            for child in self.tables(table, number):
                self.check_table(child, below)


def _check_indexes(reader: _Reader, model: int) -> None:
    """Refuse what refers to a tensor, buffer or operator code that is not there."""
    version = reader.scalar(model, 0)
    if version != 3:
        raise _OutsideError(f"schema version {version}, expected 3")
    codes = reader.vector(model, 1, 4)[1]
    buffers = reader.vector(model, 4, 4)[1]
    for buffer in reader.tables(model, 4):
        reader.span(buffer, 1)
    subgraphs = list(reader.tables(model, 2))
    if not subgraphs:
        raise _OutsideError("there is no graph in it")
    for subgraph in subgraphs:
        tensors = list(reader.tables(subgraph, 0))
        for tensor in tensors:
            _check_tensor(reader, tensor, buffers)
        _tensors_within(reader.integers(subgraph, 1), len(tensors), optional=False)
        _tensors_within(reader.integers(subgraph, 2), len(tensors), optional=False)
        for operator in reader.tables(subgraph, 3):
            _within(reader.scalar(operator, 0), codes, "operator code")
            reader.span(operator, 9)  # options of a custom one
            _tensors_within(reader.integers(operator, 1), len(tensors), optional=True)
            _tensors_within(reader.integers(operator, 2), len(tensors), optional=False)


def _check_tensor(reader: _Reader, tensor: int, buffers: int) -> None:
    _within(reader.scalar(tensor, 2), buffers, "buffer")
    if any(size < -1 for size in (*reader.integers(tensor, 0), *reader.integers(tensor, 7))):
        raise _OutsideError("a tensor has a negative size")
    type_field, quantization = reader.field(tensor, 1, 1), reader.field(tensor, 4, 4)
    if type_field is None or quantization is None:
        return
    scales = reader.floats(reader.follow(quantization), 2)
    if not all(math.isfinite(scale) and scale >= 0 for scale in scales):  # 0: a channel of zeros
        raise _OutsideError("a tensor has a scale that is negative or no number")
    zero_points = reader.longs(reader.follow(quantization), 3)
    bounds = _ZERO_POINTS.get(reader.data[type_field])
    if bounds and zero_points and not bounds[0] <= min(zero_points) <= max(zero_points) <= bounds[1]:
        raise _OutsideError("a tensor has a zero point that its type cannot hold")


def _within(index: int, count: int, what: str) -> None:
    if not 0 <= index < count:
        raise _OutsideError(f"{what} {index} is used and there are {count}")


def _tensors_within(indexes: tuple[int, ...], count: int, *, optional: bool) -> None:
    for index in indexes:
        if not (optional and index == -1):  # -1: an optional input that is left out
            _within(index, count, "tensor")
