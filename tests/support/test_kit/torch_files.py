"""PyTorch's files of weights, written without PyTorch: the form before version 1.6, and the archive since."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {"float32": "FloatStorage", "float64": "DoubleStorage", "int64": "LongStorage"}


def _text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def _numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(_number, values)) + b"t"


def tensor(
    key: str, storage: str, count: int, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0
) -> bytes:
    """Return the instructions that make one tensor of a storage."""
    place = b"(" + _text("storage") + b"ctorch\n" + storage.encode() + b"\n" + _text(key) + _text("cpu")
    place += _number(count) + b"tQ"
    hooks = b"ccollections\nOrderedDict\n)R"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + (place + _number(offset) + _numbers(shape) + _numbers(strides))
        + (b"\x89" + hooks + b"tR")
    )


def table(entries: Mapping[str, bytes]) -> bytes:
    """Return a pickle of a dictionary of what the instructions make."""
    items = b"".join(_text(name) + value for name, value in entries.items())
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + items + b"u."


def described(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return a pickle of a state dictionary, each contiguous array in a storage of its own."""
    return table(
        {
            name: tensor(
                str(number),
                _STORAGES[array.dtype.name],
                array.size,
                array.shape,
                tuple(stride // array.itemsize for stride in array.strides),
            )
            for number, (name, array) in enumerate(arrays.items())
        }
    )


def legacy_file(pickled: bytes, storages: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return a file as PyTorch wrote it before 1.6."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2}}
    heads = [pickle.dumps(value, protocol=2) for value in (_MAGIC, 1001, system)]
    keys = pickle.dumps(list(storages), protocol=2)
    numbers = [struct.pack("<q", array.size) + array.tobytes() for array in storages.values()]
    return b"".join([*heads, pickled, keys, *numbers])


def archive_file(pickled: bytes, storages: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return a file as PyTorch has written it since 1.6."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("net/data.pkl", pickled)
        archive.writestr("net/byteorder", "little")
        for key, array in storages.items():
            archive.writestr(f"net/data/{key}", array.tobytes())
        archive.writestr("net/version", "3\n")
    return packed.getvalue()


def storages_of(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Return the storages that :func:`described` speaks of."""
    return {str(number): array for number, array in enumerate(arrays.values())}
