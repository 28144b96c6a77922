"""Makes one stream of many connections: continuous indexes and times, and a gap for whatever is missing.

A capture counts from its own beginning, in the monotonic clock. A stream counts from the start of the
supervision, over every connection. Between two items either nothing is missing or there is a Gap that
begins where the last item ended and ends where the next one begins. No Gap is of no length: where a stream
begins with what was captured before, nothing is missing, and what does not join what came before is at least
one sample or nanosecond behind it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from statistics import median

from msgspec import UNSET

from galago_edge.contract.settings import SourceSettings
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap, Item, samples_to_ns
from galago_edge.sources.lateness import Lateness

_NS_PER_MS = 1_000_000

_SLOW = 3
"""A camera is not late before three of its usual intervals have passed."""
_USUAL_OF = 15
_USUAL_FROM = 5
"""Intervals that are remembered, and how many of them say what is usual."""

_LATE_NS = 100 * _NS_PER_MS
"""Samples that are missing without a word from the driver are believed to be so from here on."""


class Continuity:
    """What frames and samples have in common: where the stream is, and why nothing comes."""

    def __init__(self, settings: SourceSettings, start_ns: int) -> None:
        self.start_ns = start_ns
        """The moment of the monotonic clock at which stream time is 0."""
        self._gap_ns = settings.gap_ms * _NS_PER_MS
        self._cause: str | None = "connecting"
        self.next_index = 0
        """Index of the frame or sample that comes next, if nothing is missing before it."""
        self.end_ns = 0
        """Stream time up to which everything was given or is in a Gap."""
        self.dropped = 0
        """Frames or samples that the device gave and the capture threw away."""

    def stream_ns(self, clock_ns: int) -> int:
        """Return the stream time of a moment of the monotonic clock."""
        return max(clock_ns - self.start_ns, self.end_ns)

    def connected(self) -> None:
        """Note that what comes next is from a new capture."""

    def lost(self, cause: str, *, by_damage: bool = False) -> None:
        """Note that what comes next does not join what came last. The first cause counts, but no overrun.

        ``by_damage``: nothing that came was whole, if anything came.
        """
        if self._cause is None or self._cause == "overrun":
            self._cause = cause

    def place(self, item: Frame | AudioBlock | Gap) -> list[Item]:
        """Return ``item`` as it stands in the stream, behind the Gap before it if there is one."""
        raise NotImplementedError

    def usual_ns(self) -> int:
        """Return the usual time between two items; 0 when it does not matter."""
        return 0

    def believe_rate(self, believed: bool) -> None:
        """Note whether the device's rate is right, so that the clock can say how many samples are missing."""

    def open_gap(self, clock_ns: int) -> Gap | None:
        """Return what is missing up to now, when that is or becomes a Gap."""
        now_ns = self.stream_ns(clock_ns)
        least_ns = 1 if self._cause is not None else max(self._gap_ns, _SLOW * self.usual_ns())
        if now_ns - self.end_ns < least_ns:
            return None
        return Gap(self.end_ns, now_ns, self._cause or "stall")

    def missing_s(self, clock_ns: int) -> float:
        """Return for how long nothing was given, when that is or becomes a Gap; else 0."""
        gap = self.open_gap(clock_ns)
        return 0.0 if gap is None else round((gap.to_ns - gap.from_ns) / NS_PER_S, 3)

    def finish(self, clock_ns: int) -> list[Item]:
        """Return the Gap that is still open when the supervision ends."""
        gap = self.open_gap(clock_ns)
        return [] if gap is None else self._close_gap(gap.to_ns, gap.cause)

    def _joins(self) -> bool:
        """Tell whether what comes next joins what came last, or the beginning: nothing need be missing."""
        return self._cause is None or not self.next_index

    def _close_gap(self, to_ns: int, cause: str) -> list[Item]:
        """Return the Gap up to ``to_ns``; nothing when it would be of no length."""
        gap = Gap(self.end_ns, to_ns, cause)
        self.end_ns, self._cause = to_ns, None
        return [gap] if gap.from_ns < gap.to_ns else []


class FrameContinuity(Continuity):
    """Frames: their index goes on over connections, their time is the clock's."""

    def __init__(self, settings: SourceSettings, start_ns: int) -> None:
        super().__init__(settings, start_ns)
        self._declared_ns = 0 if settings.fps is UNSET else round(NS_PER_S / settings.fps)
        self._intervals: deque[int] = deque(maxlen=_USUAL_OF)
        self._base = 0
        self._damaged = 0
        """Frames that arrived damaged behind the last whole one."""

    def connected(self) -> None:
        """Let the new capture's frame 0 be the stream's next frame."""
        self._base = self.next_index

    def lost(self, cause: str, *, by_damage: bool = False) -> None:
        """Note it; damaged frames that no frame of their capture follows are counted here.

        A loss is ``unreadable`` when damaged frames came and no others until it was given up.
        """
        damaged = self._take_damaged()
        super().lost("unreadable" if damaged and (by_damage or cause == "stall") else cause)

    def finish(self, clock_ns: int) -> list[Item]:
        """Return the Gap that is still open when the supervision ends."""
        if self._take_damaged() and self._cause is None and self.missing_s(clock_ns):
            self._cause = "unreadable"
        return super().finish(clock_ns)

    def place(self, item: Frame | AudioBlock | Gap) -> list[Item]:
        """Return the frame with its place in the stream.

        A frame that comes late is behind a Gap: ``unreadable`` when frames before it arrived damaged,
        ``drop`` when they were thrown away, else ``stall``.
        """
        if not isinstance(item, Frame):
            if isinstance(item, Gap) and item.cause == "unreadable":
                self._damaged += 1
            elif isinstance(item, Gap):
                super().lost(item.cause)
            return []
        at_ns = max(self.stream_ns(item.captured_ns), self.end_ns + (not self._joins()))
        index = max(self._base + item.index, self.next_index)
        missing, passed_ns = index - self.next_index, at_ns - self.end_ns
        placed: list[Item] = []
        if self._cause is not None:
            placed += self._close_gap(at_ns, self._cause)
        else:
            if passed_ns >= self._gap_ns and passed_ns >= _SLOW * self.usual_ns():
                cause = "unreadable" if self._damaged else "drop" if missing else "stall"
                placed += self._close_gap(at_ns, cause)
            self._intervals.append(passed_ns)
        self.next_index, self.end_ns, self._damaged = index + 1, at_ns, 0
        self.dropped += missing
        placed.append(replace(item, index=index, captured_ns=at_ns))
        return placed

    def usual_ns(self) -> int:
        """Return the declared or the met time between frames: a slow camera is not a dead one."""
        if self._declared_ns or len(self._intervals) < _USUAL_FROM:
            return self._declared_ns
        return int(median(self._intervals))

    def _take_damaged(self) -> int:
        """Count the damaged frames as dropped, each with an index of its own, and return how many."""
        damaged, self._damaged = self._damaged, 0
        self.next_index += damaged
        self.dropped += damaged
        return damaged


class SampleContinuity(Continuity):
    """Samples: the sample index is the stream time at the device's rate, over every gap.

    Inside a connection samples are counted, so the stream follows the device's own clock; at every Gap it
    falls into step with this computer's again.
    """

    def __init__(self, settings: SourceSettings, start_ns: int) -> None:
        super().__init__(settings, start_ns)
        self._rate_hz = 0
        self._expected: int | None = None
        self._lateness = Lateness()
        self._rate_believed = True

    def connected(self) -> None:
        """Let the new capture's samples begin where the clock says."""
        self._expected = None
        self._lateness = Lateness()

    def believe_rate(self, believed: bool) -> None:
        """Count what is missing by the clock, or not."""
        if believed is not self._rate_believed:
            self._rate_believed, self._lateness = believed, Lateness()

    def place(self, item: Frame | AudioBlock | Gap) -> list[Item]:
        """Return the samples with their place in the stream."""
        if not isinstance(item, AudioBlock):
            if isinstance(item, Gap):
                self.lost(item.cause)
            return []
        rate_hz = item.rate_hz
        if rate_hz != self._rate_hz:  # another microphone under the old name
            if self._rate_hz:
                self.lost("restart")
            self._rate_hz = rate_hz
            self._expected = None
            self._lateness = Lateness()
            self.next_index = -(-self.end_ns * rate_hz // NS_PER_S)  # rounded up: never back in time
        at_ns = item.captured_ns - self.start_ns
        placed: list[Item] = []
        missing = self._missing(item, at_ns)
        if not missing and not self._joins():  # less than a sample, by the clocks
            missing = int(samples_to_ns(self.next_index, rate_hz) <= self.end_ns)
        if missing or self._cause is not None:
            self.next_index += missing
            to_ns = max(samples_to_ns(self.next_index, rate_hz), self.end_ns)
            placed += self._close_gap(to_ns, self._cause or "overrun")
        first_ns = samples_to_ns(self.next_index, rate_hz)
        self._lateness.note(at_ns, at_ns - first_ns)
        placed.append(replace(item, first_sample=self.next_index, captured_ns=first_ns))
        self.next_index += len(item.samples)
        self.end_ns = samples_to_ns(self.next_index, rate_hz)
        self._expected = item.first_sample + len(item.samples)
        return placed

    def _missing(self, block: AudioBlock, at_ns: int) -> int:
        """Return how many samples are missing before ``block``."""
        if self._expected is not None:
            if (jump := block.first_sample - self._expected) > 0:
                self.dropped += jump
                self._lateness.forget()
                return jump
            if self._cause is None:
                late_ns = self._lateness.excess_ns()
                if late_ns < _LATE_NS or not self._rate_believed:
                    return 0
                self._lateness.forget()
                return late_ns * block.rate_hz // NS_PER_S
        self._lateness = Lateness()
        return max(0, at_ns * block.rate_hz // NS_PER_S - self.next_index)
