"""How much of each day a stream really watched, and why it did not watch the rest.

A stream's time is the sum of what it watched and of its gaps: nothing else exists. How long a gap was is said
by the stream; everything else that passed **by the clock** while items came was watched. A device's samples
are no clock: a crystal may be slow, a few samples may be lost without a word, and the first ones may come
late, which would be counted twice. A recording has no clock but its own.

Days are named by the wall clock (:mod:`galago_edge.service.day_book`), which is a label only.
"""

from __future__ import annotations

import threading

from galago_edge.contract.status import CoverageStatus, SetAsideStatus
from galago_edge.contract.streams import NS_PER_S, Gap
from galago_edge.service.day_book import DayBook, Days, Portion, SetAside, split
from galago_edge.service.day_clock import DayClock, Moment

SUSPENDED = "suspended"
"""Cause of what passed while the whole machine slept, which no stream knows of."""
_ASLEEP_NS = NS_PER_S // 10  # two clocks are never read at one moment


class Coverage:
    """The account of one stream. Written by its thread, read by others."""

    def __init__(self, clock: DayClock, days: Days | None = None, *, live: bool = False) -> None:
        """Continue ``days`` of an earlier process, if there was one.

        ``live``: time is the clock's. Else it is the stream's, which may run faster.
        """
        self._clock = clock
        self._live = live
        self._lock = threading.Lock()
        self._book = DayBook(clock.zone, days)
        self._end_ns = 0
        self._counted_ns: int | None = None
        """Time awake up to which everything is counted."""
        self._asleep_ns = clock.boot_ns() - clock.awake_ns()
        self._news: list[SetAside] = []

    @property
    def end_ns(self) -> int:
        """Stream time up to which everything is accounted for."""
        return self._end_ns

    def watched(self, until_ns: int) -> None:
        """Count everything from the last call up to ``until_ns`` as watched."""
        with self._lock:
            if until_ns <= self._end_ns:
                return
            now = self._look()
            self._book.enter(now, self._passed(now, until_ns - self._end_ns), None)
            self._end_ns = until_ns

    def gap(self, gap: Gap) -> None:
        """Count a gap; what lies between the last call and its beginning was watched."""
        with self._lock:
            now = self._look()
            before_ns = max(0, gap.from_ns - self._end_ns)
            # what was counted already is not counted twice; before 0 there was no stream at all
            start_ns = gap.from_ns if gap.from_ns < 0 else max(gap.from_ns, self._end_ns)
            length_ns = max(0, gap.to_ns - start_ns)
            if gap.from_ns < 0:
                self._book.enter(now.before(-gap.to_ns), length_ns, gap.cause)
            elif length_ns or before_ns:
                passed_ns = self._passed(now, before_ns + length_ns)
                if passed_ns < length_ns:  # it began before what was counted last, which came late
                    length_ns = passed_ns + self._book.take_back(now, length_ns - passed_ns)
                    passed_ns = length_ns
                self._book.enter(now.before(length_ns), passed_ns - length_ns, None)
                self._book.enter(now, length_ns, gap.cause)
            self._end_ns = max(self._end_ns, gap.to_ns)

    def uncounted_ns(self) -> int:
        """Return how much time awake has passed since everything was counted."""
        with self._lock:
            return 0 if self._counted_ns is None else max(0, self._clock.awake_ns() - self._counted_ns)

    def days(self) -> Days:
        """Return the sums, to be kept."""
        with self._lock:
            return self._book.days(self._clock.now())

    def news(self) -> list[SetAside]:
        """Return what was set aside since the last call."""
        with self._lock:
            news, self._news = self._news, []
            return news

    def status(self, missing_s: float = 0.0) -> tuple[CoverageStatus, ...]:
        """Return one entry a day; the last one is today by the present clock.

        ``missing_s`` is how long the source has been away now; it is shown as a gap ``ongoing``.
        """
        with self._lock:
            now = self._look()
            shown = self._book.shown(now)
        for name, length_ns in split(self._clock.zone, now.wall_ns, int(missing_s * NS_PER_S)):
            if name in shown:
                shown[name].gap_ns["ongoing"] = length_ns
        return tuple(
            CoverageStatus(
                day=name, watched_s=portion.watched_ns / NS_PER_S, gap_s=_seconds(portion), doubt=now.doubt
            )
            for name, portion in shown.items()
        )

    def aside(self) -> tuple[SetAsideStatus, ...]:
        """Return what counts for no day, and why."""
        with self._lock:
            found = self._book.aside(self._look())
        return tuple(
            SetAsideStatus(
                day=one.day,
                why=one.why,
                watched_s=one.portion.watched_ns / NS_PER_S,
                gap_s=_seconds(one.portion),
            )
            for one in found
        )

    def _look(self) -> Moment:
        now = self._clock.now()
        self._news += self._book.look(now)
        return now

    def _passed(self, now: Moment, stream_ns: int) -> int:
        """Return how much time has passed since the last call, of which the stream says ``stream_ns``."""
        if not self._live:
            return stream_ns
        awake_ns = self._clock.awake_ns()
        asleep_ns = now.boot_ns - awake_ns
        if asleep_ns - self._asleep_ns >= _ASLEEP_NS:
            self._book.enter(now, asleep_ns - self._asleep_ns, SUSPENDED)
            self._asleep_ns = asleep_ns
        before_ns, self._counted_ns = self._counted_ns, awake_ns
        return stream_ns if before_ns is None else awake_ns - before_ns


def _seconds(portion: Portion) -> dict[str, float]:
    return {cause: length_ns / NS_PER_S for cause, length_ns in sorted(portion.gap_ns.items())}
