"""How much of each day a stream really watched, and why it did not watch the rest.

A stream's time is the sum of what it watched and of its gaps: nothing else exists. Days are UTC days of
the wall clock, which is a label only; the sums themselves are stream time.
"""

from __future__ import annotations

import datetime
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from galago_edge.contract.status import CoverageStatus
from galago_edge.contract.streams import NS_PER_S, Gap

_DAY_NS = 86_400 * NS_PER_S
_DAYS_KEPT = 8


class Day(msgspec.Struct):
    """One day of one stream, in nanoseconds of stream time."""

    watched_ns: int = 0
    gap_ns: dict[str, int] = {}


Days = dict[str, Day]
"""ISO date to what was watched on it."""


@dataclass(slots=True)
class _Sum:
    watched_ns: int = 0
    gap_ns: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))


class Coverage:
    """The account of one stream. Written by its thread, read by others."""

    def __init__(self, wall_ns: Callable[[], int], days: Days | None = None) -> None:
        """Continue ``days`` of an earlier process, if there was one."""
        self._wall_ns = wall_ns
        self._lock = threading.Lock()
        self._end_ns = 0
        self._days: dict[str, _Sum] = {}
        for name, day in (days or {}).items():
            self._days[name] = _Sum(day.watched_ns, defaultdict(int, day.gap_ns))

    @property
    def end_ns(self) -> int:
        """Stream time up to which everything is accounted for."""
        return self._end_ns

    def watched(self, until_ns: int) -> None:
        """Count everything from the last call up to ``until_ns`` as watched."""
        with self._lock:
            for name, length in self._split(self._end_ns, until_ns):
                self._day(name).watched_ns += length
            self._end_ns = max(self._end_ns, until_ns)

    def gap(self, gap: Gap) -> None:
        """Count a gap; what lies between the last call and its beginning was watched."""
        self.watched(gap.from_ns)
        with self._lock:
            # what was counted already is not counted twice; before 0 there was no stream at all
            start = gap.from_ns if gap.from_ns < 0 else max(gap.from_ns, self._end_ns)
            for name, length in self._split(start, gap.to_ns):
                self._day(name).gap_ns[gap.cause] += length
            self._end_ns = max(self._end_ns, gap.to_ns)

    def days(self) -> Days:
        """Return the sums, to be kept."""
        with self._lock:
            return {name: Day(day.watched_ns, dict(day.gap_ns)) for name, day in self._days.items()}

    def status(self, missing_s: float = 0.0) -> tuple[CoverageStatus, ...]:
        """Return one entry a day, today last.

        ``missing_s`` is how long the source has been away now; it is shown as a gap ``ongoing``.
        """
        days = self.days()
        for name, length in self._split(0, int(missing_s * NS_PER_S)):
            days.setdefault(name, Day(0, {})).gap_ns["ongoing"] = length
        return tuple(
            CoverageStatus(
                day=name,
                watched_s=day.watched_ns / NS_PER_S,
                gap_s={cause: length / NS_PER_S for cause, length in sorted(day.gap_ns.items())},
            )
            for name, day in sorted(days.items())
        )

    def _split(self, from_ns: int, to_ns: int) -> list[tuple[str, int]]:
        """Return the days that a stretch ending now falls on, each with its share."""
        end = self._wall_ns()
        shares = []
        left = to_ns - from_ns
        while left > 0:
            share = min(left, end % _DAY_NS or _DAY_NS)
            shares.append((_date(end - 1), share))
            end -= share
            left -= share
        return shares

    def _day(self, name: str) -> _Sum:
        if name not in self._days:
            self._days[name] = _Sum()
            for old in sorted(self._days)[:-_DAYS_KEPT]:
                del self._days[old]
        return self._days.get(name, _Sum())  # a clock that jumped back: too old to be kept


def _date(wall_ns: int) -> str:
    day = max(0, wall_ns) // _DAY_NS
    return (datetime.date(1970, 1, 1) + datetime.timedelta(days=min(day, 2_900_000))).isoformat()
