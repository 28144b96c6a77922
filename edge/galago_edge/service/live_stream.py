"""A stream that goes on: with a new bundle, after a failure of its model, at the governor's pace."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from galago_edge.contract.errors import GalagoError
from galago_edge.contract.manifest import Manifest
from galago_edge.contract.records import GapRecord, Record, StateRecord
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap, Item, Notice
from galago_edge.pipeline import DecidingStream
from galago_edge.pipeline.stream import TooShort
from galago_edge.service.build import Build, Collector
from galago_edge.service.coverage import Coverage
from galago_edge.service.handover import Untold
from galago_edge.service.successor import Successor
from galago_edge.service.trial import RECORDED, end_of
from galago_edge.sources import Source

_RETRY_NS = NS_PER_S
_RETRY_LONGEST_NS = 60 * NS_PER_S


class LiveStream:
    """What ``galago_edge.pipeline.drive`` walks a live source through: one :class:`Build` after another.

    Used by the stream's thread; :meth:`offer`, :meth:`withdraw`, :meth:`pace`, :meth:`reload_failed` and the
    properties by others.
    """

    def __init__(
        self,
        build: Build,
        coverage: Coverage,
        *,
        collect: Callable[[Build], Collector] | None = None,
        before: Callable[[], Sequence[Gap]] = tuple,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Begin with ``build``.

        ``collect`` makes what keeps samples of a build's bundle. ``before`` tells, as the stream starts, what
        was missed before this process.
        """
        self.name = build.stream.name
        self.build = build
        self.coverage = coverage
        self.failure: BaseException | None = None
        """Why it does not decide now; it is tried again by itself."""
        self.refused: BaseException | None = None
        """Why the last bundle that was to take over did not; None when it did, or may yet."""
        self.busy_since_ns: int | None = None
        """Monotonic time since which one item is being worked on."""
        self.working: Build | None = None
        """What works on it."""
        self._collect = collect
        self._collector = collect(build) if collect is not None else None
        self._before = before
        self._clock_ns = clock_ns
        self._source: Source | None = None
        self._doubts: frozenset[str] = frozenset()
        self.position = _Position(self.name)
        self.outage = _Outage(clock_ns)
        self._successor = Successor()
        self._paces: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        build.observe(self._collector)

    # from other threads

    @property
    def manifest(self) -> Manifest:
        """The manifest that decides now."""
        return self.build.manifest

    @property
    def bundle_id(self) -> str:
        """Sha256 of the manifest that decides now."""
        return self.build.bundle_id

    @property
    def stream(self) -> DecidingStream:
        """What decides now."""
        return self.build.stream

    def dropped(self) -> int:
        """Return how many frames or samples the stream's own buffer has given up."""
        return int(getattr(self._source, "dropped", 0))

    def offer(self, build: Build, *, at_once: bool = False) -> None:
        """Let another bundle take over between two windows, once it has seen enough to decide.

        ``at_once``: at the next item, because what decides now is no good.
        """
        self.refused = None
        self._successor.offer(build, at_once=at_once)

    def withdraw(self, bundle_id: str) -> None:
        """Let go of a bundle that was offered and has not taken over, at the next item."""
        self._successor.withdraw(bundle_id)

    def reload_failed(self, failure: BaseException, *, to: str | None = None) -> StateRecord:
        """Return the record of a bundle that could not take over here; ``to``: its id, where it is known."""
        detail = {"name": self.manifest.bundle.name}
        if to is not None:
            detail["to"] = to
        return self.position.state("bundle", "reload_failed", detail | _words(failure))

    def pace(self, every: int, detail: dict[str, Any]) -> None:
        """Decide every ``every``-th window from the next item on."""
        with self._lock:
            self._paces.append({"every": every, **detail})

    # from the stream's thread

    def start(self, source: Source) -> list[Record]:
        """Return the first records, with the gap since the last process."""
        self._source = source
        records = self.stream.start(source)
        for gap in self._before():
            records += self._gap(gap)
        return records

    def absent(self, failure: GalagoError) -> list[Record]:
        """Return the only record of a stream whose source could not be opened."""
        self.failure = failure
        return self.stream.absent(failure)

    def too_short(self) -> TooShort | None:
        """Return what was missing when not a single window was full."""
        return self.stream.too_short() if self.failure is None else None

    def finish(self, source: Source, failure: GalagoError | None = None) -> list[Record]:
        """Return the last records."""
        self.failure = failure or self.failure
        return self.stream.finish(source, failure)

    def push(self, item: Item) -> list[Record]:
        """Take the next item; whatever goes wrong in the model becomes a record and a gap."""
        self.busy_since_ns = self._clock_ns()
        try:
            return self._push(item)
        finally:
            self.busy_since_ns = self.working = None

    def close(self) -> None:
        """Give back what the engines hold."""
        if self._collector is not None:
            self._collector.close()
        self.build.close()
        self._successor.close()

    def _push(self, item: Item) -> list[Record]:
        records = self._paced()
        if self._collector is not None:
            self._collector.item(item)
        if isinstance(item, Gap):
            records += self._gap(item)
        elif isinstance(item, Notice):
            self._doubts = _doubts_after(item, self._doubts)
            records += self.stream.push(item)
        else:
            self.position.move(item)
            records += self._decide(item)
            if self.failure is None:
                self.coverage.watched(end_of(item))
        records += self._try_successor(item)
        return records + _set_aside(self.coverage, self.position)

    def _paced(self) -> list[Record]:
        with self._lock:
            paces, self._paces = self._paces, []
        for pace in paces:
            self.stream.every = pace["every"]
        return [self.position.state("governor", "step", pace) for pace in paces]

    def _gap(self, gap: Gap) -> list[Record]:
        self.coverage.gap(gap)
        if self._successor.build is not None:
            self._successor.build.push(gap)
        return self.build.push(gap)

    # what decides, and what happens when it does not

    def _decide(self, item: Frame | AudioBlock) -> list[Record]:
        if self.failure is not None:
            return self._recover(item) if self.outage.may_retry else []
        self.working = self.build
        try:
            records = self.build.push(item, self._doubts, self._clock_ns)
        except Exception as failure:  # a live stream outlives whatever its bundle does
            if not self._walked().live:
                raise
            return self._failed(failure, item.captured_ns)
        self.outage.over()
        return records

    def _failed(self, failure: BaseException, since_ns: int) -> list[Record]:
        self.failure = failure
        self.outage.begin(since_ns)
        return [self.position.state("stream", "failed", _words(failure))]

    def _recover(self, item: Frame | AudioBlock) -> list[Record]:
        """Load everything again and go on behind a gap."""
        before, since_ns = self.build, self.outage.since_ns
        try:
            build = before.again()
        except Exception as failure:  # noqa: BLE001 tried again later, whatever it was
            return self._failed(failure, since_ns)
        before.close()
        records = self._take(build)
        return records + self._gap(Gap(since_ns, item.captured_ns, "restart")) + self._decide(item)

    # what is to take over

    def _try_successor(self, item: Item) -> list[Record]:
        """Feed the bundle that is to take over, and let it when it can."""
        successor, ns = self._successor, self.position.ns
        successor.adopt(ns)
        candidate = successor.build
        if candidate is None or not isinstance(item, Frame | AudioBlock):
            return []
        self.working = candidate
        try:
            candidate.push(item, self._doubts, self._clock_ns)  # its decisions do not count yet
        except Exception as failure:  # noqa: BLE001 the one that runs goes on, whatever it was
            successor.drop()
            self.refused = failure
            return [self.reload_failed(failure, to=candidate.bundle_id)]
        if successor.may_take_over(self.stream, ns, failing=self.failure is not None):
            return self._take_over(candidate, item)
        return []

    def _take_over(self, candidate: Build, item: Frame | AudioBlock) -> list[Record]:
        before = self.build
        records: list[Record] = []
        if self.failure is not None and self.outage.since_ns < item.captured_ns:  # nobody watched since then
            gap = Gap(self.outage.since_ns, item.captured_ns, "restart")
            self.coverage.gap(gap)
            before.stream.tally.gaps += 1
            records.append(GapRecord(stream=self.name, from_ns=gap.from_ns, to_ns=gap.to_ns, cause=gap.cause))
        records += before.stream.finish(self._walked())
        version = candidate.manifest.bundle.version
        detail = {"from": before.bundle_id, "to": candidate.bundle_id, "version": version}
        records.append(self.position.state("bundle", "reloaded", detail))
        self._successor.taken()
        self.refused = None
        records += self._take(candidate)
        before.close()
        return records

    def _take(self, build: Build) -> list[Record]:
        """Let ``build`` decide from here on, and return its first records."""
        build.stream.go_on_from(self.stream)
        if self._collector is not None and self._collect is not None:
            self._collector.close()
            self._collector = self._collect(build)
        self.build = build
        build.observe(self._collector)
        self.failure = None
        return [self.position.placed(record) for record in build.stream.start(self._walked())]

    def _walked(self) -> Source:
        if self._source is None:
            raise RuntimeError("push before start")
        return self._source


def untold_of(live: LiveStream, open_gap: Gap | None) -> Untold | None:
    """Return what a stream is missing now and has not told; ``open_gap``: what its source says of that.

    From any thread.
    """
    if live.failure is None:
        return None if open_gap is None else Untold(open_gap.to_ns - open_gap.from_ns, open_gap.cause)
    to_ns = live.position.ns if open_gap is None else open_gap.to_ns
    return Untold(max(0, to_ns - live.outage.since_ns))


class _Position:
    """Where in the stream the last frame or block began, and the records that say so."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._at = (0, 0)  # index and ns, replaced as one: other threads look too

    @property
    def ns(self) -> int:
        """Stream time."""
        return self._at[1]

    def move(self, item: Frame | AudioBlock) -> None:
        self._at = (item.index if isinstance(item, Frame) else item.first_sample, item.captured_ns)

    def state(self, subject: str, state: str, detail: dict[str, Any]) -> StateRecord:
        index, ns = self._at
        return StateRecord(
            stream=self._stream, subject=subject, state=state, index=index, ns=ns, detail=detail
        )

    def placed(self, record: Record) -> Record:
        """Return a first record of a later bundle, where in the stream it really stands."""
        if isinstance(record, StateRecord):
            index, ns = self._at
            return msgspec.structs.replace(record, index=index, ns=ns)
        return record


def _set_aside(coverage: Coverage, position: _Position) -> list[Record]:
    """Say what was taken from a day: the clock that had named it was set back."""
    return [
        position.state(
            "coverage",
            "set_aside",
            {
                "day": one.day,
                "why": one.why,
                "watched_ns": one.portion.watched_ns,
                "gap_ns": sum(one.portion.gap_ns.values()),
            },
        )
        for one in coverage.news()
    ]


class _Outage:
    """Since when nothing decides, and when to load everything again: ever more rarely."""

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self.since_ns = 0
        """Stream time."""
        self._clock_ns = clock_ns
        self._pause_ns = _RETRY_NS
        self._retry_ns = 0

    @property
    def may_retry(self) -> bool:
        return self._clock_ns() >= self._retry_ns

    def begin(self, since_ns: int) -> None:
        self.since_ns = since_ns
        self._retry_ns = self._clock_ns() + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, _RETRY_LONGEST_NS)

    def over(self) -> None:
        self._pause_ns = _RETRY_NS


def _doubts_after(notice: Notice, doubts: frozenset[str]) -> frozenset[str]:
    if notice.state == RECORDED:
        return doubts | {RECORDED}
    if notice.state not in ("implausible", "plausible"):
        return doubts
    what = frozenset((str(notice.detail["what"]),))
    return doubts | what if notice.state == "implausible" else doubts - what


def _words(failure: BaseException) -> dict[str, str]:
    reason = str(failure.reason) if isinstance(failure, GalagoError) else "INTERNAL"
    return {"reason": reason, "message": str(failure) or type(failure).__name__}
