"""What of a source is recorded: everything, or what is around the events of its streams."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from galago_edge.contract.records import EventRecord
from galago_edge.contract.settings import RecordingSettings
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Gap
from galago_edge.recording.tap_files import LATE_NS
from galago_edge.recording.tap_ring import TapRing
from galago_edge.recording.tap_things import Shot, Thing, end_ns_of, is_about

_LATE_NS = 10 * NS_PER_S
"""So long before its record an event may begin: a label that needs several windows, a busy device."""


@dataclass(frozen=True, slots=True)
class Late:
    """A record or drop about what is in the recording that has just ended."""

    thing: Thing


class TapPlan(Protocol):
    """Chooses things, in their order. Used by the tap's thread."""

    short: int
    """Events whose recording had to begin later than it should: there was no room for what came before."""

    def chosen(self, thing: Thing) -> Iterator[Thing | Late | None]:
        """Yield what is to be written now that ``thing`` came; None: the recording ends here.

        None again: nothing more comes that is about it.
        """
        ...


class EveryThing:
    """``mode = "always"``."""

    short = 0

    def chosen(self, thing: Thing) -> Iterator[Thing | Late | None]:
        """Yield it."""
        yield thing


class AroundEvents:
    """``mode = "events"``: from ``before_s`` before an event to ``after_s`` behind the last one."""

    def __init__(self, settings: RecordingSettings, ring_bytes: int) -> None:
        """Keep what came before in at most ``ring_bytes``."""
        self._settings = settings
        self._before_ns = round(settings.before_s * NS_PER_S)
        self._after_ns = round(settings.after_s * NS_PER_S)
        self._ring = TapRing(self._before_ns + _LATE_NS, ring_bytes)
        self._until_ns: int | None = None
        self._written = 0
        """Number in the ring of the first thing that is in no recording yet."""
        self._ended_ns = -1
        """Where the last recording ended."""
        self._awaits = False
        """Records about it may still come."""
        self.short = 0

    def chosen(self, thing: Thing) -> Iterator[Thing | Late | None]:
        """Yield it while an event is being recorded, and what was before one with that event."""
        if isinstance(thing, Shot | AudioBlock | Gap):
            now_ns = end_ns_of(thing)
            if self._until_ns is not None and now_ns > self._until_ns:
                self._ended_ns, self._until_ns, self._awaits = self._until_ns, None, True
                yield None
            elif self._until_ns is None and self._awaits and now_ns > self._ended_ns + LATE_NS:
                self._awaits = False
                yield None
        self._ring.push(thing)
        began = False
        if isinstance(thing, EventRecord) and self._wanted(thing):
            until_ns = thing.end_ns + self._after_ns
            began = self._until_ns is None
            self._until_ns = until_ns if began else max(until_ns, self._until_ns or 0)
        if began:
            assert isinstance(thing, EventRecord)
            yield from self._from(thing.start_ns - self._before_ns)
        elif self._until_ns is not None:
            yield thing
        elif self._awaits and self._is_told(thing):
            yield Late(thing)
        if self._until_ns is not None:
            self._written = self._ring.next_number

    def _is_told(self, thing: Thing) -> bool:
        """Tell whether it is about what the recording before has, which therefore has it too."""
        return is_about(thing) and end_ns_of(thing) <= self._ended_ns

    def _wanted(self, event: EventRecord) -> bool:
        settings = self._settings
        return (not settings.labels or event.label in settings.labels) and (
            not settings.streams or event.stream in settings.streams
        )

    def _from(self, from_ns: int) -> Iterator[Thing]:
        """Yield what is in the ring since then. What an earlier recording has is not told twice.

        Of that only packets come again on which later frames lean.
        """
        places, whole = self._ring.since(from_ns)
        if not whole and (not places or places[0].number > self._written):
            self.short += 1
        for place in places:
            if place.number >= self._written:
                if not self._is_told(place.thing):
                    yield place.thing
            elif isinstance(place.thing, Shot) and place.thing.coded is not None:
                yield replace(place.thing, index=None)
