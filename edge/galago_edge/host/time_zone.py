"""What a day is on this device, and how a moment is written: ``timezone`` in ``[device]`` decides for all.

The zones are the system's (``/usr/share/zoneinfo``), those of the package ``tzdata`` where a slim system has
none, and UTC without either. No decision depends on any of it: days and written times are for people.
"""

from __future__ import annotations

import functools
from datetime import UTC, date, datetime, timedelta, tzinfo

from galago_edge.contract.errors import CallerError, Reason

_NS = 1_000_000_000
_EARLIEST_S = 0
_LATEST_S = 253_402_214_400 - 2 * 86_400
"""A clock that was never set may stand anywhere: dates are those from 1970 to 9999."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_SPANS_KEPT = 4
_Span = tuple[int, int, str]
"""Where a day begins and ends, in Unix nanoseconds, and its name."""


class TimeZone:
    """One time zone."""

    def __init__(self, name: str = "UTC") -> None:
        """Take a name of the IANA data base, such as ``Europe/Berlin``.

        Raises:
            CallerError: CONFIG_BAD; there is no zone of this name here.
        """
        self.name = name
        self._info = _zone(name)
        self._spans: tuple[_Span, ...] = ()
        """Days that were asked for last: it is nearly always one of them."""

    def day(self, wall_ns: int) -> str:
        """Return the date of a moment of the wall clock, in Unix nanoseconds.

        >>> TimeZone("Europe/Berlin").day(1_795_390_200_000_000_000)  # 23:30 UTC on the 22nd
        '2026-11-23'
        """
        return self._span(wall_ns)[2]

    def day_start_ns(self, wall_ns: int) -> int:
        """Return when the day of a moment began. A day may have 23 or 25 hours."""
        return self._span(wall_ns)[0]

    def moment(self, wall_ns: int) -> datetime:
        """Return a moment as a date and time with its zone, to the second."""
        return (_EPOCH + timedelta(seconds=_believable_s(wall_ns // _NS))).astimezone(self._info)

    def written(self, wall_ns: int) -> str:
        """Return a moment as people and programs read it: ISO 8601 with how far its zone is from UTC.

        The names of zones are ambiguous: EST is in America and in Australia.

        >>> TimeZone("Europe/Berlin").written(1_795_390_200_000_000_000)
        '2026-11-23 00:30:00+01:00'
        >>> TimeZone().written(1_795_390_200_000_000_000)
        '2026-11-22 23:30:00Z'
        """
        moment = self.moment(wall_ns)
        if self.name == "UTC":
            return f"{moment:%Y-%m-%d %H:%M:%S}Z"
        return moment.isoformat(" ")

    def _span(self, wall_ns: int) -> _Span:
        for span in self._spans:  # replaced as a whole: any thread may ask
            if span[0] <= wall_ns < span[1]:
                return span
        day = self._date(wall_ns // _NS)
        found = (self._start_s(day) * _NS, self._start_s(day + _DAY) * _NS, day.isoformat())
        self._spans = (found, *self._spans)[:_SPANS_KEPT]
        return found

    def read(self, text: str) -> int:
        """Return an ISO 8601 date or time in Unix nanoseconds; of this zone where it names none.

        >>> TimeZone("Europe/Berlin").read("2026-11-23 00:30") == TimeZone().read("2026-11-22T23:30")
        True

        Raises:
            ValueError: It is no date and no time.
        """
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self._info)
        try:
            return (moment - _EPOCH) // timedelta(microseconds=1) * 1_000
        except OverflowError:  # the offset leads out of the calendar
            raise ValueError(f"{text!r} is no moment of the calendar") from None

    def _date(self, wall_s: int) -> date:
        """Return the day that holds a second, so that days follow each other without holes or overlaps.

        Mostly the date that the clock of the zone shows. Where clocks went back over midnight, they showed
        the day before once more; those minutes belong to the new day.
        """
        wall_s = _believable_s(wall_s)
        shown = (_EPOCH + timedelta(seconds=wall_s)).astimezone(self._info).date()
        if wall_s >= self._start_s(shown + _DAY):
            return shown + _DAY
        return shown

    def _start_s(self, day: date) -> int:
        # fold 0: the first midnight of two; where clocks skip midnight, the moment at which they do
        midnight = datetime(day.year, day.month, day.day, tzinfo=self._info)
        return int((midnight.astimezone(UTC) - _EPOCH).total_seconds())


def _believable_s(wall_s: int) -> int:
    return min(max(wall_s, _EARLIEST_S), _LATEST_S)


@functools.cache
def _zone(name: str) -> tzinfo:
    if name == "UTC":  # needs no data base
        return UTC
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        pass
    known = sorted(zoneinfo.available_timezones())
    if not known:
        hint = "this system has no time zones: pip install tzdata, or install the package tzdata"
    else:
        import difflib

        folded = {one.casefold(): one for one in known}
        near = difflib.get_close_matches(name.casefold(), folded, n=1)
        near += difflib.get_close_matches(name.casefold().rpartition("/")[2], folded, n=1)
        also = f"{folded[near[0]]}? " if near else ""
        hint = f"{also}It is a name of the IANA data base, such as Europe/Berlin, or UTC"
    raise CallerError(
        Reason.CONFIG_BAD, f"[device] timezone = {name!r} is not known here, expected a time zone", hint=hint
    )
