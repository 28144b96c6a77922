"""Which part of a recording a program wants to be decided, and when it was recorded."""

from __future__ import annotations

import datetime
import numbers
from dataclasses import dataclass

from galago_edge.api.arrays import checked_integer

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_US = datetime.timedelta(microseconds=1)
_NS_PER_US = 1_000
_LATEST = datetime.datetime(2200, 1, 1, tzinfo=datetime.UTC)
"""Of what began then, the times of the longest recording fit 64 bits."""
_SLOWEST, _FASTEST = 0.001, 1_000.0


@dataclass(frozen=True, slots=True)
class ReplayedPart:
    """What was asked for, checked."""

    from_ns: int = 0
    to_ns: int | None = None
    started_ns: int | None = None
    """Unix time of the recording's first frame or sample, in nanoseconds; None when nobody says."""
    max_fps: float | None = None


WHOLE = ReplayedPart()


def replayed_part(
    from_ns: int, to_ns: int | None, start_time: datetime.datetime | None, max_fps: float | None
) -> ReplayedPart:
    """Return what the arguments say.

    Raises:
        TypeError: A number is none; ``start_time`` is no ``datetime``.
        ValueError: One is out of range; the part is empty; ``start_time`` has no time zone.
    """
    begin_ns = _time("from_ns", from_ns)
    end_ns = None if to_ns is None else _time("to_ns", to_ns)
    if end_ns is not None and end_ns <= begin_ns:
        raise ValueError(f"to_ns is {end_ns}, expected more than from_ns, {begin_ns}")
    if max_fps is not None:
        if not isinstance(max_fps, numbers.Real):
            raise TypeError(f"max_fps is {max_fps!r}, expected a number")
        if not _SLOWEST <= max_fps <= _FASTEST:
            raise ValueError(f"max_fps is {max_fps!r}, expected from 0.001 to 1000")
    return ReplayedPart(begin_ns, end_ns, None if start_time is None else unix_ns(start_time), max_fps)


def _time(name: str, given: int) -> int:
    if (at_ns := checked_integer(name, given)) < 0:
        raise ValueError(f"{name} is {at_ns}, expected 0 or more, in nanoseconds")
    return at_ns


def unix_ns(moment: datetime.datetime) -> int:
    """Return a moment as a record has it.

    Raises:
        TypeError: It is none.
        ValueError: It has no time zone, or lies before 1970 or after 2199.
    """
    if not isinstance(moment, datetime.datetime):
        raise TypeError(f"start_time is {moment!r}, expected a datetime with its time zone")
    if moment.utcoffset() is None:
        raise ValueError(f"start_time {moment.isoformat()} has no time zone")
    if not _EPOCH <= moment < _LATEST:
        raise ValueError(f"start_time is {moment.isoformat()}, expected a time from 1970 to 2199")
    return (moment - _EPOCH) // _US * _NS_PER_US
