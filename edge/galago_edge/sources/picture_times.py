"""``times.csv`` beside the pictures of a folder: when each was taken.

The first line is ``file,time_s`` or ``file,time_ns``, each other line a file name and its time: seconds with
any number of decimals (rounded down to nanoseconds), or integer nanoseconds. Times increase.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection
from decimal import Decimal, InvalidOperation
from pathlib import Path

from galago_edge.contract.errors import InputError, Reason, disk_error
from galago_edge.contract.streams import LATEST_NS, NS_PER_S

TIMES_NAME = "times.csv"
_HINT = "its first line is file,time_s or file,time_ns; then a line for each picture, in the order of time"


def read_times(path: Path, there: Collection[str]) -> dict[str, int]:
    """Return the time of each picture in nanoseconds, in order. ``there``: the names of all pictures.

    Raises:
        InputError: TIMES_BAD; it is not as the module says, or names a picture that is not there.
        LinkError: The disk fails.
    """
    times: dict[str, int] = {}
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = csv.reader(file)
            read = _reader(next(rows, []), path)
            last_ns = -1
            for row in rows:
                if not row:
                    continue
                name, last_ns = _row(row, read, f"{path}, line {rows.line_num}", last_ns)
                if name in times:
                    raise _bad(f"{path}, line {rows.line_num}", f"{name} is there twice")
                if name not in there:
                    raise _bad(f"{path}, line {rows.line_num}", f"there is no picture {name} beside it")
                times[name] = last_ns
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    except csv.Error as error:
        raise _bad(str(path), str(error)) from None
    if not times:
        raise _bad(str(path), "it names no picture")
    return times


def _reader(header: list[str], path: Path) -> Callable[[str], int]:
    if header == ["file", "time_s"]:
        return lambda text: int(Decimal(text) * NS_PER_S // 1)
    if header == ["file", "time_ns"]:
        return int
    raise _bad(f"{path}, line 1", f"met {','.join(header)[:80]!r}")


def _row(row: list[str], read: Callable[[str], int], where: str, last_ns: int) -> tuple[str, int]:
    if len(row) != 2:
        raise _bad(where, f"met {len(row)} fields, expected 2")
    name, text = row
    try:
        at_ns = read(text)
    except (ValueError, InvalidOperation, OverflowError):
        raise _bad(where, f"{text[:40]!r} is no time") from None
    if not 0 <= at_ns < LATEST_NS:
        raise _bad(where, f"{text[:40]} is out of range")
    if at_ns <= last_ns:
        raise _bad(where, f"{text[:40]} is not later than the line before")
    return name, at_ns


def _bad(where: str, what: str) -> InputError:
    return InputError(Reason.TIMES_BAD, f"{where}: {what}", hint=_HINT)
