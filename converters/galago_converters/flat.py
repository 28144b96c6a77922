"""Reads and writes flatbuffer tables by field number, for schemas that no installed package carries."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any


class TableWriter:
    """Writes tables into a ``flatbuffers.Builder``; fields are numbered as they stand in the schema.

    Every method returns an offset, to be used in the table around it.
    """

    def __init__(self, builder: Any) -> None:
        self._builder = builder

    def text(self, text: str) -> int:
        """Write a string."""
        offset: int = self._builder.CreateString(text)
        return offset

    def floats(self, values: Sequence[float]) -> int:
        """Write a vector of float32."""
        self._builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self._builder.PrependFloat32(value)
        offset: int = self._builder.EndVector()
        return offset

    def vector(self, offsets: Sequence[int]) -> int:
        """Write a vector of tables."""
        self._builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        end: int = self._builder.EndVector()
        return end

    def union(self, kind: int, table: int) -> int:
        """Write a table whose first two fields are a union: its type and its value."""
        return self.add({1: table}, uint8={0: kind})

    def add(
        self,
        offsets: dict[int, int],
        *,
        int8: dict[int, int] | None = None,
        uint8: dict[int, int] | None = None,
        uint32: dict[int, int] | None = None,
    ) -> int:
        """Write a table: field number to offset of what was written before, or to a number."""
        self._builder.StartObject(max([-1, *offsets, *(int8 or {}), *(uint8 or {}), *(uint32 or {})]) + 1)
        for field, offset in offsets.items():
            self._builder.PrependUOffsetTRelativeSlot(field, offset, 0)
        for field, value in (uint32 or {}).items():
            self._builder.PrependUint32Slot(field, value, 0)
        for field, value in (int8 or {}).items():
            self._builder.PrependInt8Slot(field, value, 0)
        for field, value in (uint8 or {}).items():
            self._builder.PrependUint8Slot(field, value, 0)
        end: int = self._builder.EndObject()
        return end

    def finish(self, root: int, identifier: bytes) -> bytes:
        """Return the buffer whose root is the table ``root``."""
        self._builder.Finish(root, file_identifier=identifier)
        return bytes(self._builder.Output())


class TableReader:
    """Reads one table; what is not there reads as empty, zero or None.

    Damaged offsets raise ``struct.error``, ``IndexError`` or ``ValueError``.
    """

    def __init__(self, buffer: bytes, position: int) -> None:
        from flatbuffers.table import Table

        self._table = Table(bytearray(buffer), position)
        self._buffer = buffer

    @classmethod
    def root(cls, buffer: bytes) -> TableReader:
        """Return the root table of a buffer."""
        return cls(buffer, struct.unpack_from("<I", buffer, 0)[0])

    def _at(self, field: int) -> int:
        offset: int = self._table.Offset(4 + 2 * field)
        return offset + self._table.Pos if offset else 0

    def text(self, field: int) -> str:
        """Return a string."""
        at = self._at(field)
        return self._table.String(at).decode("utf-8") if at else ""

    def number(self, field: int, form: str) -> int:
        """Return an integer of the ``struct`` format ``form``."""
        at = self._at(field)
        return int(struct.unpack_from(form, self._buffer, at)[0]) if at else 0

    def child(self, field: int) -> TableReader | None:
        """Return the table that a field points to."""
        at = self._at(field)
        return TableReader(self._buffer, self._table.Indirect(at)) if at else None

    def _vector(self, field: int) -> tuple[int, int]:
        at = self._at(field)
        if not at:
            return 0, 0
        start = self._table.Indirect(at)
        return start + 4, struct.unpack_from("<I", self._buffer, start)[0]

    def children(self, field: int) -> list[TableReader]:
        """Return the tables of a vector."""
        start, length = self._vector(field)
        places = struct.unpack_from(f"<{length}I", self._buffer, start) if length else ()
        return [TableReader(self._buffer, start + 4 * i + place) for i, place in enumerate(places)]

    def floats(self, field: int) -> tuple[float, ...]:
        """Return a vector of float32."""
        start, length = self._vector(field)
        return struct.unpack_from(f"<{length}f", self._buffer, start) if length else ()
