"""What a source gave last, so that the recording of an event holds what came before it. Bounded memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from galago_edge.contract.streams import AudioBlock
from galago_edge.recording.tap_things import Shot, Thing, begins_here, bytes_of, end_ns_of


@dataclass(frozen=True, slots=True)
class RingPlace:
    """One thing and its number, counted since the beginning."""

    number: int
    thing: Thing


class TapRing:
    """The things of the last seconds, from a place on at which a recording may begin."""

    def __init__(self, span_ns: int, most_bytes: int) -> None:
        """Keep what is at most ``span_ns`` old, in at most ``most_bytes``."""
        self._span_ns, self._most_bytes = span_ns, most_bytes
        self._places: deque[RingPlace] = deque()
        self._entries: deque[tuple[int, int]] = deque()
        """Number and stream time of each thing with which a recording may begin."""
        self._next = self._bytes = 0

    @property
    def next_number(self) -> int:
        """Number of the thing that comes next."""
        return self._next

    def push(self, thing: Thing) -> None:
        """Take the next thing; the oldest go, a key frame with all that leans on it."""
        if isinstance(thing, Shot | AudioBlock) and begins_here(thing):
            self._entries.append((self._next, end_ns_of(thing)))
        self._places.append(RingPlace(self._next, thing))
        self._next += 1
        self._bytes += bytes_of(thing)
        horizon_ns = end_ns_of(thing) - self._span_ns
        while len(self._entries) > 1 and self._entries[1][1] <= horizon_ns:
            self._forget_first()
        while self._bytes > self._most_bytes and self._places:
            self._forget_first()

    def since(self, from_ns: int) -> tuple[list[RingPlace], bool]:
        """Return everything from the last place at or before ``from_ns`` on at which a recording may begin.

        And whether it reaches back that far: if not, it is everything from the first such place on.
        """
        before = [number for number, ns in self._entries if ns <= from_ns]
        if before:
            return [place for place in self._places if place.number >= before[-1]], True
        if self._places and self._places[0].number == 0:  # the source had just begun
            return list(self._places), True
        first = self._entries[0][0] if self._entries else self._next
        return [place for place in self._places if place.number >= first], False

    def _forget_first(self) -> None:
        """Forget everything before the second place at which a recording may begin; all, if there is none."""
        if self._entries:
            self._entries.popleft()
        first = self._entries[0][0] if self._entries else self._next
        while self._places and self._places[0].number < first:
            self._bytes -= bytes_of(self._places.popleft().thing)
