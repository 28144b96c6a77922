"""The scores of every window on a disk: collected in bounded memory, and read back."""

from __future__ import annotations

import ast
import math
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import InputError, Reason, disk_error
from galago_edge.contract.streams import WindowSeen
from galago_edge.decision.activation import ONE
from galago_workstation.qa.replayed import WindowScores

_AT_ONCE = 4_096
"""Windows that are held in memory."""
_SPAN_FIELDS = 4
_NPY = b"\x93NUMPY\x01\x00"
_LONGEST_HEADER = 1_024
_LATEST = 1 << 62
"""Nanoseconds or samples: a century and more."""


def _shapes(labels: int) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
    """Return type and shape of a row of each array."""
    return {
        "span": (np.int64, (_SPAN_FIELDS,)),
        "q16": (np.int32, (labels,)),
        "skipped": (np.bool_, ()),
        "restart": (np.bool_, ()),
    }


class ScoreCollector:
    """Takes the windows of one replay and makes ``scores.npz`` of them; memory does not grow with them.

    Used as a context: what lies in ``folder`` meanwhile is gone afterwards.
    """

    def __init__(self, folder: Path, labels: int) -> None:
        """Collect windows of so many labels, beside the file that is made."""
        self._folder = folder
        self._shapes = _shapes(labels)
        self._windows: list[WindowSeen] = []
        self._count = 0
        self._files: dict[str, IO[bytes]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for name in self._shapes:
            self._files[name] = self._stack.enter_context(self._raw(name).open("wb"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        for name in self._shapes:
            self._raw(name).unlink(missing_ok=True)

    def take(self, seen: WindowSeen) -> None:
        """Take the next window: what ``Replay.observe`` calls.

        Raises:
            OSError: The disk refuses.
        """
        self._windows.append(seen)
        if len(self._windows) == _AT_ONCE:
            self._spill()

    def save(self, path: Path) -> None:
        """Write what was taken; the same windows give the same bytes. Nothing is taken afterwards.

        Raises:
            OSError: The disk refuses.
        """
        self._spill()
        self._stack.close()
        # np.savez would hold each array in memory as a whole
        with zipfile.ZipFile(path, "w") as archive:
            for name, (dtype, shape) in self._shapes.items():
                header = {
                    "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
                    "fortran_order": False,
                    "shape": (self._count, *shape),
                }
                inner = zipfile.ZipInfo(f"{name}.npy")
                with archive.open(inner, "w", force_zip64=True) as out, self._raw(name).open("rb") as raw:
                    np.lib.format.write_array_header_1_0(out, header)
                    shutil.copyfileobj(raw, out)

    def _spill(self) -> None:
        windows, self._windows = self._windows, []
        for name, rows in self._rows(windows):
            dtype, shape = self._shapes[name]
            self._files[name].write(np.array(rows, dtype).reshape(len(windows), *shape).tobytes())
        self._count += len(windows)

    def _rows(self, windows: list[WindowSeen]) -> Iterator[tuple[str, list[object]]]:
        spans = [seen.span for seen in windows]
        yield "span", [(one.start_index, one.end_index, one.start_ns, one.end_ns) for one in spans]
        yield "q16", [seen.scores for seen in windows]
        yield "skipped", [seen.skipped for seen in windows]
        yield "restart", [seen.restart for seen in windows]

    def _raw(self, name: str) -> Path:
        return self._folder / f"{name}.raw"


def read_scores(path: Path, labels: int, end_ns: int) -> WindowScores:
    """Return what ``scores.npz`` holds of so many labels; the arrays are read only.

    ``end_ns``: where the recording ends in stream time, behind which no window can end.

    Only what a replay writes is read: arrays that are not compressed, of known types and shapes. So it takes
    no more memory than the file has bytes.

    Raises:
        InputError: RUN_BAD; it is not what a replay writes, or not of this recording.
        LinkError: It cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {
                name: _stored_array(archive, name, np.dtype(dtype), shape)
                for name, (dtype, shape) in _shapes(labels).items()
            }
            found = WindowScores(**arrays)
            _check_arrays(found, end_ns)
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    except (ValueError, KeyError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
        raise InputError(
            Reason.RUN_BAD, f"{path} holds no scores: {error}", hint="remove it and replay again"
        ) from None
    return found


def _stored_array(
    archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], row: tuple[int, ...]
) -> npt.NDArray[Any]:
    """Return one array, read only.

    Raises:
        ValueError: It is not of this type and shape, or is compressed.
        KeyError: There is none of this name.
        zipfile.BadZipFile: It is damaged.
    """
    inner = archive.getinfo(f"{name}.npy")
    if inner.compress_type != zipfile.ZIP_STORED or inner.flag_bits & 1:
        raise ValueError(f"{name} is compressed or encrypted")
    with archive.open(inner) as file:
        data = file.read()
    found, begin = _header(data, name)
    size = dtype.itemsize * math.prod(row)
    count = (len(data) - begin) // size
    expected = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (count, *row)}
    if found != expected or begin + count * size != len(data):
        raise ValueError(f"{name} is {found} with {len(data) - begin} bytes, expected {expected}")
    return np.frombuffer(data, dtype, offset=begin).reshape(count, *row)


def _header(data: bytes, name: str) -> tuple[Any, int]:
    """Return what the header of an array in NumPy's format 1.0 says, and where its content begins.

    Source: numpy.lib.format, "Format Version 1.0".

    Raises:
        ValueError: It is none.
    """
    if data[:8] != _NPY or len(data) < 10:
        raise ValueError(f"{name} is no array")
    end = 10 + int.from_bytes(data[8:10], "little")
    if not end <= _LONGEST_HEADER:
        raise ValueError(f"{name} has a header of {end} bytes")
    try:
        return ast.literal_eval(data[10:end].decode("latin-1").strip()), end
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(f"{name} has a header that makes no sense") from None


def _check_arrays(found: WindowScores, end_ns: int) -> None:
    """Check that the arrays belong together.

    Raises:
        ValueError: What a replay does not write.
    """
    count = len(found.span)
    for name, array in (("q16", found.q16), ("skipped", found.skipped), ("restart", found.restart)):
        if len(array) != count:
            raise ValueError(f"{name} is of {count_of(len(array), 'window')}, and span of {count}")
    if not count:
        return
    if not (int(found.q16.min(initial=0)) >= 0 and int(found.q16.max(initial=0)) <= ONE):
        raise ValueError(f"a score lies outside 0 to {ONE}")
    span = found.span
    starts, ends = span[:, [0, 2]], span[:, [1, 3]]
    if not (bool((starts >= 0).all()) and bool((ends >= starts).all()) and int(ends.max()) < _LATEST):
        raise ValueError("a window ends before it begins, or where no recording is")
    if (latest_ns := int(span[:, 3].max())) > end_ns:
        raise ValueError(f"a window ends at {latest_ns} ns, and the recording at {end_ns} ns")
    if bool((np.diff(starts, axis=0) < 0).any()):
        raise ValueError("the windows are not in order")
