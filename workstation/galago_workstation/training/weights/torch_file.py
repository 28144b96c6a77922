"""Tensors of a PyTorch file, read without PyTorch and without running what a pickle may ask for.

A ``.pth`` file is a pickle, and a pickle is a program. Here its instructions are looked at before anything is
done: those that build lists, dictionaries, numbers and strings are allowed, and of all that can be imported
only what a state dictionary of plain tensors needs. Both forms are read, the one before PyTorch 1.6 (pickles
one behind the other, then the numbers) and the ZIP archive since.

The forms are PyTorch's own, ``torch/serialization.py``: ``_legacy_save`` and ``_save``.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import InputError, Reason, disk_error

Arrays = dict[str, npt.NDArray[Any]]

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_LARGEST_BYTES = 2 << 30
_LARGEST_PICKLE = 16 << 20
"""Of the part that names and shapes the tensors: a network of thousands of layers has a tenth of it."""
_LARGEST_MEMO = 1 << 20
_MOST_DIMENSIONS = 8

# fmt: off
_OPCODES = frozenset({
    "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE",
    "SHORT_BINUNICODE",
    "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS",
    "EMPTY_DICT", "SETITEM", "SETITEMS",
    "PROTO", "FRAME", "STOP", "MARK", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "MEMOIZE",
    "GLOBAL", "REDUCE", "BUILD", "BINPERSID",
})
# fmt: on
"""Values, the machine, and in the last line what is looked at before it is done."""
_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}


class _Numbers(NamedTuple):  # a tuple, for the pickle's BUILD can change no tuple
    """A storage: the numbers of one or more tensors, which may come later in the file."""

    key: str
    dtype: str
    length: int

    @property
    def size(self) -> int:
        """In bytes."""
        return self.length * np.dtype(self.dtype).itemsize


class _View(NamedTuple):
    """A tensor as the pickle has it: where in a storage its elements are."""

    numbers: _Numbers
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _RefusedError(Exception):
    """What was met in the file that is not allowed there."""


def read_torch_file(path: Path) -> Arrays:
    """Return the tensors of a state dictionary by their names, in the order of the file.

    Args:
        path: A file of ``torch.save(model.state_dict(), path)``; also a dictionary that has it under
            ``state_dict`` or ``model``.

    Raises:
        InputError: WEIGHTS_BAD; it is no such file, is damaged or cut off, holds something else than
            tensors, or asks for something to be run.
        LinkError: It cannot be read.
    """
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise _RefusedError(f"it is larger than {_LARGEST_BYTES >> 30} GiB")
        content = path.read_bytes()
        return _read_archive(content) if zipfile.is_zipfile(io.BytesIO(content)) else _read_legacy(content)
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    except (
        _RefusedError,
        zipfile.BadZipFile,
        pickle.UnpicklingError,
        ValueError,
        EOFError,
        KeyError,
    ) as error:
        raise InputError(
            Reason.WEIGHTS_BAD,
            f"{path} holds no weights that can be read: {_told(error)}",
            hint="expected what torch.save(model.state_dict(), FILE) writes; copy the file again",
        ) from None


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, _RefusedError) else f"it is damaged or no PyTorch file ({error})"


def _read_legacy(content: bytes) -> Arrays:
    file = io.BytesIO(content)
    magic, protocol, system = (_unpickled(file) for _ in range(3))
    if magic != _MAGIC or protocol != _PROTOCOL:
        raise _RefusedError("it does not begin as a PyTorch file does")
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise _RefusedError("its numbers are big-endian")
    views = _views(_unpickled(file))
    keys = _unpickled(file)
    if not isinstance(keys, list) or len(set(map(str, keys))) != len(keys):
        raise _RefusedError("the list of its storages is damaged")
    wanted = {view.numbers.key: view.numbers for view in views.values()}
    found: dict[str, npt.NDArray[Any]] = {}
    for key in keys:
        if key not in wanted:
            raise _RefusedError(f"it has a storage {key!r} that no tensor is in")
        (count,) = struct.unpack("<q", _exactly(file, 8))
        numbers = wanted[key]
        if count != numbers.length:
            raise _RefusedError(f"storage {key} has {count} numbers, expected {numbers.length}")
        found[key] = np.frombuffer(_exactly(file, numbers.size), numbers.dtype)
    return {name: _array(view, found[view.numbers.key]) for name, view in views.items()}


def _read_archive(content: bytes) -> Arrays:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise _RefusedError(f"it has {len(pickles)} entries data.pkl, expected one")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist():
            order = _entry(archive, f"{folder}byteorder", 16)
            if order != b"little":
                raise _RefusedError("its numbers are big-endian")
        views = _views(_unpickled(io.BytesIO(_entry(archive, pickles[0], _LARGEST_PICKLE))))
        found: dict[str, npt.NDArray[Any]] = {}
        for numbers in {view.numbers.key: view.numbers for view in views.values()}.values():
            data = _entry(archive, f"{folder}data/{numbers.key}", numbers.size)
            if len(data) != numbers.size:
                raise _RefusedError(f"storage {numbers.key} has {len(data)} bytes, expected {numbers.size}")
            found[numbers.key] = np.frombuffer(data, numbers.dtype)
        return {name: _array(view, found[view.numbers.key]) for name, view in views.items()}


def _entry(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """Return an entry of at most so many bytes; more is not unpacked, however little it takes packed."""
    if archive.getinfo(name).file_size > most:
        raise _RefusedError(f"its entry {name} is larger than {most} bytes")
    with archive.open(name) as file:
        return file.read(most)


def _exactly(file: io.BytesIO, size: int) -> bytes:
    data = file.read(size) if 0 <= size <= _LARGEST_BYTES else b""
    if len(data) != size:
        raise _RefusedError("it is cut off")
    return data


def _unpickled(file: io.BytesIO) -> Any:
    """Return the next object, after a look at every instruction that makes it."""
    start = file.tell()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of escapes that are none
        _look_at_instructions(file)
    end = file.tell()
    file.seek(start)
    try:
        return _Reader(io.BytesIO(file.read(end - start))).load()
    except (TypeError, AttributeError, IndexError, RecursionError, OverflowError) as error:
        raise _RefusedError(f"the description of its tensors is damaged ({error})") from None


def _look_at_instructions(file: io.BytesIO) -> None:
    start = file.tell()
    for opcode, argument, place in pickletools.genops(file):
        if opcode.name not in _OPCODES:
            raise _RefusedError(f"it asks for {opcode.name}, which weights do not need")
        if opcode.name == "GLOBAL" and tuple(str(argument).split(" ")) not in _ALLOWED:
            raise _RefusedError(f"it asks to run {str(argument).replace(' ', '.')}")
        if opcode.name == "LONG_BINPUT" and int(argument or 0) > _LARGEST_MEMO:
            raise _RefusedError("it asks for more memory than it can need")
        if (place or 0) - start > _LARGEST_PICKLE:
            raise _RefusedError("the description of its tensors is larger than 16 MiB")


class _Reader(pickle.Unpickler):
    """Gives descriptions of storages and tensors in the place of PyTorch's objects."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for an import; everything else has been refused before."""
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> _Numbers:
        """Return the storage that ``pid`` describes: kind, type, key, place, count and more."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise _RefusedError("a storage is described in a way that is not known")
        _, dtype, key, _, count = pid[:5]
        if len(pid) > 5 and pid[5] is not None:
            raise _RefusedError("one storage is a part of another one")
        if dtype not in _DTYPES.values() or type(count) is not int or count < 0 or type(key) is not str:
            raise _RefusedError("a storage is described in a way that is not known")
        return _Numbers(key, dtype, count)


class _Table(dict[Any, Any]):
    """Stands for ``collections.OrderedDict``."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Leave out what PyTorch notes beside the tensors: versions of the modules."""


class _Tensor:
    """Stands for ``torch._utils._rebuild_tensor_v2``."""

    __slots__ = ()

    def __call__(self, numbers: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _View:
        """Return where the elements are; what follows behind that is about gradients.

        Raises:
            _RefusedError: The elements lie outside the storage, or there are more of them than it has.
        """
        known = type(numbers) is _Numbers and type(shape) is tuple and type(strides) is tuple
        whole = (offset, *shape, *strides) if known else (None,)
        if not all(type(value) is int and value >= 0 for value in whole) or len(shape) != len(strides):
            raise _RefusedError("a tensor is described in a way that is not known")
        count = math.prod(shape)
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if len(shape) > _MOST_DIMENSIONS or count > numbers.length or (count and last >= numbers.length):
            raise _RefusedError(
                f"a tensor {list(shape)} does not lie in its storage of {numbers.length} numbers"
            )
        return _View(numbers, offset, shape, strides)


class _Parameter:
    """Stands for ``torch._utils._rebuild_parameter``."""

    __slots__ = ()

    def __call__(self, view: Any, *_: Any) -> Any:
        """Return the tensor itself."""
        return view


_ALLOWED: dict[tuple[str, ...], Any] = {
    ("collections", "OrderedDict"): _Table,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor(),
    ("torch._utils", "_rebuild_parameter"): _Parameter(),
    **{("torch", name): code for name, code in _DTYPES.items()},
}


def _views(loaded: Any) -> dict[str, _View]:
    """Return the tensors of a state dictionary, which may lie in a dictionary of other things."""
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not loaded:
        raise _RefusedError("it holds no dictionary of tensors")
    for name, view in loaded.items():
        if not isinstance(name, str) or not isinstance(view, _View):
            raise _RefusedError(f"{name!r} is no tensor")
    described: dict[str, _Numbers] = {}
    for view in loaded.values():
        if described.setdefault(view.numbers.key, view.numbers) != view.numbers:
            raise _RefusedError(f"storage {view.numbers.key} is described twice")
    return dict(loaded)


def _array(view: _View, numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    size = numbers.itemsize
    strided = np.lib.stride_tricks.as_strided(
        numbers[view.offset :], view.shape, [stride * size for stride in view.strides], writeable=False
    )
    return np.ascontiguousarray(strided).reshape(view.shape)
