"""A recording that plays a camera or microphone, with a clock of its own and with what goes wrong."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from galago_edge.contract.streams import (
    GAPS_OF_DAMAGE,
    NS_PER_S,
    AudioBlock,
    Frame,
    Gap,
    Item,
    Notice,
    samples_to_ns,
)
from galago_edge.sources.faults.fault_file import FaultPlan, PlannedFault
from galago_edge.sources.faults.sound_pieces import SoundPieces
from galago_edge.sources.source import Source

_OF_SUPERVISION = ("healthy", "alarmed", "recovering", "escalated", "failed", "implausible", "plausible")
"""States that a supervision tells. Those that a recording holds of its own are not told beside them."""


@dataclass(slots=True)
class LivedFault:
    """A fault of the source, and what came of it."""

    number: int
    """Among the faults of the stream, from 1."""
    fault: PlannedFault
    hits: int = 0
    """Frames or samples that it took or damaged."""

    def covers(self, at_ns: int) -> bool:
        """Tell whether it lasts at this stream time."""
        to_ns = self.fault.to_ns
        return self.fault.from_ns <= at_ns and (to_ns is None or at_ns < to_ns)


class PlayedRecording:
    """What a source gives, at its own times; the clock stands where whoever captures it has come.

    All times are stream time. Used by one thread at a time.
    """

    def __init__(self, source: Source, plan: FaultPlan, ended: Callable[[], None]) -> None:
        """Play ``source``; ``ended`` is called when nothing more comes."""
        self.now_ns = 0
        self.end_ns = 0
        """How far the recording has come."""
        self.recorded_ns = 0
        """How far its frames or samples have: behind a cut it may miss much that it promised."""
        self.faults = [LivedFault(number, fault) for number, fault in plan.of_source()]
        self.told: deque[Notice | Gap] = deque()
        """What the recording says of itself, to be handed on before what is captured next."""
        self.failure: Exception | None = None
        """What was wrong with the recording."""
        self.given = self.disturbed = self.over = False
        """Whether anything was captured; whether a fault had an effect; whether nothing more comes."""
        self._ended = ended
        self._walk: Generator[Item, None, None] = iter(source)
        self._pieces = self._played()
        self._next: Frame | AudioBlock | Gap | None = None

    def peek(self) -> Frame | AudioBlock | Gap | None:
        """Return what comes next; None at the end, where the clock then stands."""
        if self._next is None and not self.over:
            self._next = next(self._pieces, None)
            if self._next is None:
                self._end()
        return self._next

    def take(self) -> None:
        """Pass over what comes next."""
        self._next = None

    def wait(self, seconds: float) -> None:
        """Let time pass; what comes in it is gone."""
        until_ns = self.now_ns + round(seconds * NS_PER_S)
        self._lose_before(until_ns)
        if not self.over:
            self.now_ns = until_ns

    def away(self) -> LivedFault | None:
        """Return the disconnect that lasts now; None when the source can be opened."""
        self._lose_before(self.now_ns)
        found = next((one for one in self._disconnects() if one.covers(self.now_ns)), None)
        self.disturbed |= found is not None
        return found

    def breaks(self, until_ns: int) -> LivedFault | None:
        """Return the disconnect that comes next, if it begins up to a time."""
        for one in self._disconnects():
            if one.fault.from_ns <= until_ns and (one.fault.to_ns is None or one.fault.to_ns > self.now_ns):
                self.disturbed = True
                return one
        return None

    def lasting(self, item: Frame | AudioBlock | Gap) -> LivedFault | None:
        """Return the fault in which an item begins; what the recording itself misses is in none."""
        at_ns = begin_of(item)
        return (
            None if isinstance(item, Gap) else next((one for one in self.faults if one.covers(at_ns)), None)
        )

    def hit(self, lived: LivedFault, item: Frame | AudioBlock | Gap) -> None:
        """Count what a fault took or damaged."""
        lived.hits += len(item.samples) if isinstance(item, AudioBlock) else 1
        self.disturbed = True

    def fail(self, error: Exception) -> None:
        """End here: a fault cannot be played on this recording."""
        self.failure, self._next = error, None
        self._end()

    def close(self) -> None:
        """Let go of the recording."""
        self._walk.close()

    def _end(self) -> None:
        self.over, self.now_ns = True, self.end_ns
        self._ended()

    def _disconnects(self) -> Iterator[LivedFault]:
        return (one for one in self.faults if one.fault.kind == "disconnect")

    def _lose_before(self, at_ns: int) -> None:
        while (item := self.peek()) is not None and begin_of(item) < at_ns:
            if (lived := self.lasting(item)) is not None:
                self.hit(lived, item)
            self.take()

    def _played(self) -> Iterator[Frame | AudioBlock | Gap]:
        """Yield what the recording gives; what is wrong with it is kept until the end."""
        edges = [one.fault.from_ns for one in self.faults]
        edges += [one.fault.to_ns for one in self.faults if one.fault.to_ns is not None]
        pieces = SoundPieces(edges)
        try:
            for item in self._walk:
                yield from self._given_by(item, pieces)
        except Exception as error:  # noqa: BLE001 a supervision would try again for ever: raised by who walks
            self.failure = error
        yield from map(self._passed, pieces.rest())

    def _given_by(self, item: Item, pieces: SoundPieces) -> Iterator[Frame | AudioBlock | Gap]:
        if isinstance(item, AudioBlock):
            yield from map(self._passed, pieces.take(item))
            return
        yield from map(self._passed, pieces.rest())
        if isinstance(item, Notice):
            if item.state not in _OF_SUPERVISION:
                self.told.append(item)
        elif isinstance(item, Gap) and (not self.given or is_mark(item)):
            self.told.append(item)  # nobody could capture before the first item, or what has no length
        else:
            yield self._passed(item)

    def _passed(self, item: Frame | AudioBlock | Gap) -> Frame | AudioBlock | Gap:
        self.end_ns = max(self.end_ns, item.to_ns if isinstance(item, Gap) else arrival_of(item))
        if not isinstance(item, Gap):
            self.recorded_ns = self.end_ns
        return item


def is_mark(item: Item) -> bool:
    """Tell whether an item is a gap without a length that says where a recording is damaged."""
    return isinstance(item, Gap) and item.cause in GAPS_OF_DAMAGE and item.from_ns == item.to_ns


def begin_of(item: Frame | AudioBlock | Gap) -> int:
    """Return the stream time at which an item begins."""
    return item.from_ns if isinstance(item, Gap) else item.captured_ns


def arrival_of(item: Frame | AudioBlock | Gap) -> int:
    """Return the stream time at which a device has it."""
    if isinstance(item, AudioBlock):
        return item.captured_ns + samples_to_ns(len(item.samples), item.rate_hz)
    return begin_of(item)
