"""Sums of watched and missing time by day; what no believable clock has named is set aside.

Time is entered as it passes, up to the present moment. While the wall clock is not believed (not
synchronised, or before this software was made) it is not dated at all: as soon as the clock is right, the
clock since the boot tells when it was. What was dated and turns out to lie in the future, because the clock
had jumped ahead and was set back, is set aside for good, and so is what was still undated when a process
ended. Nothing that is set aside ever counts for a day or takes the place of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from galago_edge.contract.status import Aside, Doubt
from galago_edge.contract.streams import NS_PER_S
from galago_edge.host.time_zone import TimeZone
from galago_edge.service.day_clock import Moment

DAYS_SHOWN = 8
_ENTRIES_KEPT = 64
_ASIDE_KEPT = 8
_KEPT_NS = 9 * 86_400 * NS_PER_S
"""A day that was written to so long ago, by the time that was entered since, may go."""
_UNDATED_NS = 2 * 86_400 * NS_PER_S
_UNDATED_PARTS = 512
_SOON_NS = 3_600 * NS_PER_S
"""A day that begins so soon is not in the future: clocks are set back by seconds around midnight."""


class Portion(msgspec.Struct):
    """Time of one stream in nanoseconds."""

    watched_ns: int = 0
    gap_ns: dict[str, int] = {}
    """By cause."""

    @property
    def total_ns(self) -> int:
        """All of it."""
        return self.watched_ns + sum(self.gap_ns.values())

    def add(self, length_ns: int, cause: str | None) -> None:
        """Count so much as watched, or as missing for this cause."""
        if cause is None:
            self.watched_ns += length_ns
        else:
            self.gap_ns[cause] = self.gap_ns.get(cause, 0) + length_ns

    def join(self, other: Portion) -> None:
        """Count what ``other`` holds as well."""
        self.watched_ns += other.watched_ns
        for cause, length_ns in other.gap_ns.items():
            self.add(length_ns, cause)


class Day(Portion):
    """One day as it is kept between two processes."""

    aside: dict[Aside, Portion] = {}
    """What does not count for the day, by why."""
    age_ns: int = 0
    """Time that was entered for other days since."""


Days = dict[str, Day]
"""ISO date to what was entered for it."""


@dataclass(slots=True)
class _Entry:
    portion: Portion = field(default_factory=Portion)
    touched_ns: int = 0


@dataclass(slots=True)
class _Stretch:
    """Time that is not dated yet."""

    end_boot_ns: int
    length_ns: int
    cause: str | None


@dataclass(frozen=True, slots=True)
class SetAside:
    """What a day has lost just now."""

    day: str
    why: Aside
    portion: Portion


class DayBook:
    """The sums of one stream. Not for several threads."""

    def __init__(self, zone: TimeZone, days: Days | None = None) -> None:
        """Go on with ``days`` of an earlier process, if there was one."""
        self._zone = zone
        self._entered_ns = 0
        self._days: dict[str, _Entry] = {}
        self._aside: dict[tuple[str, Aside], _Entry] = {}
        self._undated: list[_Stretch] = []
        for name, day in (days or {}).items():
            if day.total_ns:
                self._days[name] = _Entry(Portion(day.watched_ns, dict(day.gap_ns)), -day.age_ns)
            for why, portion in day.aside.items():
                self._aside[name, why] = _Entry(portion, -day.age_ns)

    def enter(self, now: Moment, length_ns: int, cause: str | None) -> None:
        """Count the time that ends now as watched, or as missing for ``cause``."""
        if length_ns <= 0:
            return
        self._entered_ns += length_ns
        if now.doubt is None:
            for name, share_ns in split(self._zone, now.wall_ns, length_ns):
                self._add(name, share_ns, cause)
            self._tidy()
            return
        last = self._undated[-1] if self._undated else None
        if last is not None and last.cause == cause:
            last.end_boot_ns, last.length_ns = now.boot_ns, last.length_ns + length_ns
        else:
            self._undated.append(_Stretch(now.boot_ns, length_ns, cause))
        undated_ns = sum(part.length_ns for part in self._undated)
        if undated_ns > _UNDATED_NS or len(self._undated) > _UNDATED_PARTS:
            self._settle(now, now.doubt)

    def take_back(self, now: Moment, length_ns: int) -> int:
        """Uncount the newest watched time, for it was none; return how much there was to take."""
        left_ns = length_ns
        portions = [self._days[name].portion for name, _ in split(self._zone, now.wall_ns, length_ns)
                    if name in self._days]  # fmt: skip
        for watched in (part for part in reversed(self._undated) if part.cause is None):
            share_ns = min(left_ns, watched.length_ns)
            watched.length_ns -= share_ns
            left_ns -= share_ns
        for portion in portions if now.doubt is None else ():
            share_ns = min(left_ns, portion.watched_ns)
            portion.watched_ns -= share_ns
            left_ns -= share_ns
        self._entered_ns -= length_ns - left_ns
        return length_ns - left_ns

    def look(self, now: Moment) -> list[SetAside]:
        """Date what was not dated, when the clock is right now; return what is set aside from now on."""
        if now.doubt is not None:
            return []
        for part in self._undated:
            end_ns = now.wall_ns - (now.boot_ns - part.end_boot_ns)
            for name, share_ns in split(self._zone, end_ns, part.length_ns):
                self._add(name, share_ns, part.cause)
        self._undated.clear()
        latest = self._zone.day(now.wall_ns + _SOON_NS)
        news = []
        for name in sorted(name for name in self._days if name > latest):
            portion = self._days.pop(name).portion
            self._put_aside(name, "future", portion)
            news.append(SetAside(name, "future", portion))
        return news

    def shown(self, now: Moment) -> dict[str, Portion]:
        """Return what was entered for the last days, today last; today is the day of the present clock.

        While the clock is not believed, what it has named counts as well.
        """
        today = self._zone.day(now.wall_ns)
        found = {name: _copy(entry.portion) for name, entry in self._days.items() if name <= today}
        found.setdefault(today, Portion())
        if now.doubt is not None:
            for (name, why), entry in self._aside.items():
                if why == now.doubt and name <= today:
                    found.setdefault(name, Portion()).join(entry.portion)
            for name, part in self._named(now):
                if name <= today:
                    found.setdefault(name, Portion()).join(part)
        return dict(sorted(found.items())[-DAYS_SHOWN:])

    def aside(self, now: Moment) -> list[SetAside]:
        """Return what is set aside and not among what is shown."""
        found = [
            SetAside(name, why, _copy(entry.portion))
            for (name, why), entry in self._aside.items()
            if why != now.doubt
        ]
        return sorted(found, key=lambda one: (one.day, one.why))

    def days(self, now: Moment) -> Days:
        """Return everything, to be kept; what is not dated is set aside in it."""
        kept: Days = {}
        for name, entry in self._days.items():
            age_ns = self._entered_ns - entry.touched_ns
            kept[name] = Day(entry.portion.watched_ns, dict(entry.portion.gap_ns), age_ns=age_ns)
        for (name, why), entry in self._aside.items():
            day = kept.setdefault(name, Day(age_ns=self._entered_ns - entry.touched_ns))
            day.aside[why] = _copy(entry.portion)
        if now.doubt is not None:
            for name, part in self._named(now):
                aside = kept.setdefault(name, Day()).aside
                aside.setdefault(now.doubt, Portion()).join(part)
        return kept

    def _named(self, now: Moment) -> Iterator[tuple[str, Portion]]:
        """Yield what is not dated, by the days that the present clock would give it."""
        for part in self._undated:
            end_ns = now.wall_ns - (now.boot_ns - part.end_boot_ns)
            for name, share_ns in split(self._zone, end_ns, part.length_ns):
                portion = Portion()
                portion.add(share_ns, part.cause)
                yield name, portion

    def _settle(self, now: Moment, why: Doubt) -> None:
        for name, portion in list(self._named(now)):
            self._put_aside(name, why, portion)
        self._undated.clear()

    def _add(self, name: str, length_ns: int, cause: str | None) -> None:
        entry = self._days.setdefault(name, _Entry())
        entry.portion.add(length_ns, cause)
        entry.touched_ns = self._entered_ns

    def _put_aside(self, name: str, why: Aside, portion: Portion) -> None:
        entry = self._aside.setdefault((name, why), _Entry())
        entry.portion.join(portion)
        entry.touched_ns = self._entered_ns
        while len(self._aside) > _ASIDE_KEPT:
            del self._aside[min(self._aside, key=lambda key: self._aside[key].touched_ns)]

    def _tidy(self) -> None:
        """Forget old days: never one that was written to in the last days, wherever the clock stood since."""
        if len(self._days) <= DAYS_SHOWN:
            return
        before_ns = self._entered_ns - _KEPT_NS
        for name in sorted(self._days)[:-DAYS_SHOWN]:
            if self._days[name].touched_ns <= before_ns:
                del self._days[name]
        while len(self._days) > _ENTRIES_KEPT:  # a clock that jumps all the time
            del self._days[min(self._days, key=lambda name: self._days[name].portion.total_ns)]


def split(zone: TimeZone, end_ns: int, length_ns: int) -> Iterable[tuple[str, int]]:
    """Return the days that a stretch of the wall clock falls on, the last first, each with its share."""
    shares = []
    left_ns = length_ns
    while left_ns > 0:
        start_ns = zone.day_start_ns(end_ns - 1)
        share_ns = min(left_ns, end_ns - start_ns)
        if share_ns <= 0:  # before the first day or after the last one that has a name
            share_ns = left_ns
        shares.append((zone.day(end_ns - 1), share_ns))
        end_ns -= share_ns
        left_ns -= share_ns
    return shares


def _copy(portion: Portion) -> Portion:
    return Portion(portion.watched_ns, dict(portion.gap_ns))
