"""The scores of every window on a disk: collected in bounded memory, and read back."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np

from galago_edge.contract.errors import InputError, Reason, disk_error
from galago_edge.contract.streams import WindowSeen
from galago_edge.decision.activation import ONE
from galago_workstation.qa.replayed import WindowScores

_AT_ONCE = 4_096
"""Windows that are held in memory."""
_SPAN_FIELDS = 4


class ScoreCollector:
    """Takes the windows of one replay and makes ``scores.npz`` of them; memory does not grow with them.

    Used as a context: what lies in ``folder`` meanwhile is gone afterwards.
    """

    def __init__(self, folder: Path, labels: int) -> None:
        """Collect windows of so many labels, beside the file that is made."""
        self._folder = folder
        self._shapes: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
            "span": (np.int64, (_SPAN_FIELDS,)),
            "q16": (np.int32, (labels,)),
            "skipped": (np.bool_, ()),
            "restart": (np.bool_, ()),
        }
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


def _check_arrays(found: WindowScores) -> None:
    """Check types, shapes and bounds.

    Raises:
        ValueError: What a replay does not write.
    """
    count = len(found.span)
    for name, array, dtype, shape in (
        ("span", found.span, np.int64, (count, _SPAN_FIELDS)),
        ("q16", found.q16, np.int32, (count, *found.q16.shape[1:2])),
        ("skipped", found.skipped, np.bool_, (count,)),
        ("restart", found.restart, np.bool_, (count,)),
    ):
        if array.dtype != dtype or array.shape != shape:
            expected = f"{np.dtype(dtype)} {list(shape)}"
            raise ValueError(f"{name} is {array.dtype} {list(array.shape)}, expected {expected}")
    if count and not (int(found.q16.min()) >= 0 and int(found.q16.max()) <= ONE):
        raise ValueError(f"a score lies outside 0 to {ONE}")


def read_scores(path: Path) -> WindowScores:
    """Return what ``scores.npz`` holds; the arrays are read only.

    Raises:
        InputError: RUN_BAD; it is not what a replay writes.
        LinkError: It cannot be read.
    """
    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as stored:
            found = WindowScores(
                span=stored["span"], q16=stored["q16"], skipped=stored["skipped"], restart=stored["restart"]
            )
            _check_arrays(found)
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    except (MemoryError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            Reason.RUN_BAD, f"{path} holds no scores: {error}", hint="remove it and replay again"
        ) from None
    for array in (found.span, found.q16, found.skipped, found.restart):
        array.flags.writeable = False
    return found
