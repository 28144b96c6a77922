"""From the time stamps of a recording to its stream time: integers only, never backwards.

Every time is that of the stamp, from the first picture on, rounded down to nanoseconds. A stamp that is
a whole number of the stated rate's intervals, as exactly as its ticks can tell, is taken as just that: files
that count in milliseconds round each stamp, and 29.97 pictures a second have exact times all the same.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from galago_edge.contract.streams import LATEST_NS, NS_PER_S

USUAL_OVER = 8
"""So many intervals make the usual one, their median."""
JUMP_INTERVALS = 5
"""A stamp that is more than so many usual intervals later says that pictures are missing."""
_LONGEST_PAUSE_NS = 366 * 24 * 3600 * NS_PER_S
"""A later stamp of the last picture of all, which no other confirms, is taken for a damaged one."""
_FEWEST_TICKS = 4
"""An interval of fewer ticks is not told from its neighbours by its stamp."""


@dataclass(frozen=True, slots=True)
class PlacedPicture:
    """Where a picture stands in stream time."""

    ns: int
    missing: tuple[int, int] | None = None
    """From and to: a stretch before it of which the recording has nothing."""
    restarted: bool = False
    """Its stamp was far before that of the picture before it: what follows is counted from here."""
    unstamped: bool = False
    """It has no stamp, or one that cannot be right: it follows the picture before after a usual interval."""
    implausible: bool = False
    """Its stamp is later than any time that there is, or jumps by more than a year at the very end."""


def usual_interval(stamps: Sequence[int]) -> int | None:
    """Return the median interval of some stamps, in their ticks; None when there are too few.

    >>> usual_interval([0, 100, 200, 4200, 4300])
    100
    """
    ordered = sorted(stamps)
    intervals = sorted(b - a for a, b in itertools.pairwise(ordered) if b > a)
    return intervals[len(intervals) // 2] if intervals else None


class PictureTimes:
    """Places one picture after the other, in the order of presentation."""

    def __init__(
        self, tick: Fraction, *, stated: Fraction | None, usual: int | None, longest: int | None = None
    ) -> None:
        """Begin a recording whose stamps count ``tick`` seconds.

        ``stated`` is its header's rate, ``usual`` the interval of its first pictures in ticks. A stamp that
        is later than ``longest`` ticks behind the first is not believed.
        """
        self._ns_per_tick = (NS_PER_S * tick.numerator, tick.denominator)
        slots = None if stated is None else tick * stated
        self._slots = slots if slots is not None and slots * _FEWEST_TICKS <= 1 else None
        if usual is not None and self._to_ns(usual) > _LONGEST_PAUSE_NS:  # one of two or three is damaged
            usual = None
        self._intervals: deque[int] = deque([usual] * USUAL_OVER if usual else [], USUAL_OVER)
        self._longest = longest
        self._origin: int | None = None
        self._begin_ns = 0
        self._last: int | None = None
        self._last_ns = -1
        self.first: int | None = None
        """Stamp of the first picture."""

    @property
    def usual_ns(self) -> int:
        """The usual interval between two pictures; 0 when nothing is known."""
        return self._to_ns(self._usual or 0)

    def place(
        self, stamp: int | None, following: int | None = None, *, begins: bool = False
    ) -> PlacedPicture:
        """Return the time of the next picture; ``following`` is the stamp of the one behind it, if known.

        With ``begins`` it is the first one of another recording behind the one before.
        A stamp that jumps, forward or back, is believed unless the following one goes on from the last. No
        time reaches ``LATEST_NS``.
        """
        usual, last = self._usual, self._last
        if last is None or self._origin is None or stamp is None:
            return self._follow(last) if stamp is None else self._begin(stamp)
        if begins:
            return self._restart(stamp)
        step = stamp - last
        if self._is_implausible(stamp, step, following):
            # where the next one goes on from it, the clock was set: how long it was, nobody knows
            confirmed = following is not None and 0 < following - stamp <= JUMP_INTERVALS * (usual or 0)
            placed = self._restart(stamp) if confirmed else self._follow(last + (usual or 1))
            return replace(placed, implausible=True)
        if usual is None or 0 < step <= JUMP_INTERVALS * usual:
            return self._at(stamp) if step > 0 else self._still()
        if -JUMP_INTERVALS * usual <= step <= 0:
            return self._still()
        goes_on = following is not None and 0 < following - last <= (JUMP_INTERVALS + 1) * usual
        if goes_on or (self._longest is not None and stamp - self._origin > self._longest):
            return self._follow(last + usual)
        if step < 0:
            return self._restart(stamp)
        from_ns = self._last_ns + self.usual_ns
        placed = self._at(stamp)
        return PlacedPicture(placed.ns, (min(from_ns, placed.ns), placed.ns))

    def _is_implausible(self, stamp: int, step: int, following: int | None) -> bool:
        assert self._origin is not None
        if following is None and self._to_ns(step) > _LONGEST_PAUSE_NS:
            return True
        return self._begin_ns + self._to_ns(stamp - self._origin) >= LATEST_NS

    def _restart(self, stamp: int) -> PlacedPicture:
        self._begin(stamp)
        return PlacedPicture(self._last_ns, restarted=True)

    def _begin(self, stamp: int) -> PlacedPicture:
        """Count from ``stamp`` on, which stands where the stream is now."""
        self.first = stamp if self.first is None else self.first
        self._begin_ns = self._next_ns()
        self._origin = self._last = stamp
        self._last_ns = self._begin_ns
        return PlacedPicture(self._begin_ns)

    def _at(self, stamp: int) -> PlacedPicture:
        assert self._origin is not None
        assert self._last is not None
        self._intervals.append(stamp - self._last)
        ns = self._begin_ns + self._exact_ns(stamp - self._origin)
        self._last, self._last_ns = stamp, max(ns, self._last_ns + 1)
        return PlacedPicture(self._last_ns)

    def _follow(self, stamp: int | None) -> PlacedPicture:
        """Place a picture without a stamp a usual interval behind the last one."""
        self._last, self._last_ns = stamp, self._next_ns()
        return PlacedPicture(self._last_ns, unstamped=True)

    def _still(self) -> PlacedPicture:
        """Place a picture whose stamp stands still, or goes back a little."""
        self._last_ns += 1
        return PlacedPicture(self._last_ns, unstamped=True)

    def _next_ns(self) -> int:
        return 0 if self._last_ns < 0 else self._last_ns + max(1, self.usual_ns)

    @property
    def _usual(self) -> int | None:
        return sorted(self._intervals)[len(self._intervals) // 2] if self._intervals else None

    def _to_ns(self, ticks: int) -> int:
        return ticks * self._ns_per_tick[0] // self._ns_per_tick[1]

    def _exact_ns(self, ticks: int) -> int:
        if self._slots is not None:
            ours, theirs = ticks * self._slots.numerator, self._slots.denominator
            slot = (2 * ours + theirs) // (2 * theirs)
            if abs(ours - slot * theirs) <= self._slots.numerator:  # within one tick
                scaled = slot * self._slots.denominator * self._ns_per_tick[0]
                return scaled // (self._slots.numerator * self._ns_per_tick[1])
        return self._to_ns(ticks)
