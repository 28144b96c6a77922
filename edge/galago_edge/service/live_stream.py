"""A stream that goes on: with a new bundle, after a failure of its model, at the governor's pace."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from galago_edge.contract.errors import GalagoError
from galago_edge.contract.manifest import Manifest
from galago_edge.contract.records import GapRecord, Record, StateRecord
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap, Item, Notice, WindowSeen
from galago_edge.pipeline import LoadedBundle, Stream
from galago_edge.service.coverage import Coverage
from galago_edge.service.trial import Judge, end_of
from galago_edge.sources import Source

_RETRY_NS = NS_PER_S
_RETRY_LONGEST_NS = 60 * NS_PER_S
_TAKE_OVER_LONGEST_NS = 30 * NS_PER_S
"""Stream time after which a new bundle takes over, whether a label is on or not."""


class Collector(Protocol):
    """Keeps samples for retraining; see ``galago_edge.recording``."""

    def item(self, item: Item) -> None:
        """Take what the stream gets."""

    def window(self, seen: WindowSeen) -> None:
        """Take what was decided."""

    def status(self) -> dict[str, Any]:
        """Return what was kept."""
        ...

    def close(self) -> None:
        """Hand over what is waiting."""


@dataclass(frozen=True, slots=True)
class Build:
    """A bundle that is loaded for one stream, and how to load it again."""

    loaded: LoadedBundle
    stream: Stream
    again: Callable[[], Build]
    judge: Judge | None = None
    """While the bundle is on trial."""
    release: Callable[[], None] = lambda: None
    """Lets go of the bundle's folder, which nobody may remove before."""

    def close(self) -> None:
        """Give back what the engine holds, and the bundle's folder."""
        self.loaded.close()
        self.release()


class LiveStream:
    """What ``galago_edge.pipeline.drive`` walks a live source through: one :class:`Stream` after another.

    Used by the stream's thread; :meth:`offer`, :meth:`pace` and the properties by others.
    """

    def __init__(
        self,
        build: Build,
        coverage: Coverage,
        *,
        collect: Callable[[Build], Collector] | None = None,
        down_ns: int | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Begin with ``build``.

        ``collect`` makes what keeps samples of a build's bundle. ``down_ns`` is how long nobody watched
        before this process, if known.
        """
        self.name = build.stream.name
        self.build = build
        self.coverage = coverage
        self._collect = collect
        self.collector = collect(build) if collect is not None else None
        self.failure: BaseException | None = None
        """Why it does not decide now; it is tried again by itself."""
        self.busy_since_ns: int | None = None
        """Monotonic time since which one item is being worked on."""
        self.working: Build | None = None
        """What works on it."""
        self.items = 0
        self.started = False
        self._down_ns = down_ns
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._offered: Build | None = None
        self._at_once = False
        self._withdrawn: str | None = None
        self._doubts: frozenset[str] = frozenset()
        self._candidate: Build | None = None
        self._candidate_ns = 0
        self._notes: list[tuple[str, str, dict[str, Any]]] = []
        self._source: Source | None = None
        self.refused: BaseException | None = None
        """Why the last bundle that was to take over did not; None when it did, or may yet."""
        self._retry_ns = 0
        self._failed_ns = 0
        self._retry_pause_ns = _RETRY_NS
        self._last = (0, 0)
        """Index and stream time of the last frame or block; both at once, for other threads look."""
        self._observe(build, decides=True)

    # from other threads

    @property
    def manifest(self) -> Manifest:
        """The manifest that decides now."""
        return self.build.loaded.manifest

    def dropped(self) -> int:
        """Return how many frames or samples the stream's own buffer has given up."""
        return int(getattr(self._source, "dropped", 0))

    def offer(self, build: Build, *, at_once: bool = False) -> None:
        """Let another bundle take over between two windows, once it has seen enough to decide.

        ``at_once``: at the next item, because what decides now is no good.
        """
        with self._lock:
            self.refused = None
            offered, self._offered = self._offered, build
            self._at_once = at_once
        if offered is not None:
            offered.close()

    def withdraw(self, bundle_id: str) -> None:
        """Let go of a bundle that was offered and has not taken over, at the next item."""
        with self._lock:
            self._withdrawn = bundle_id

    def pace(self, every: int, detail: dict[str, Any]) -> None:
        """Decide every ``every``-th window from the next item on."""
        self.note("governor", "step", {"every": every, **detail})

    def reload_failed(self, failure: BaseException, *, to: str | None = None) -> StateRecord:
        """Return the record of a bundle that could not take over here; ``to``: its id, where it is known."""
        reason = str(failure.reason) if isinstance(failure, GalagoError) else "INTERNAL"
        detail = {"name": self.manifest.bundle.name}
        if to is not None:
            detail["to"] = to
        detail |= {"reason": reason, "message": str(failure) or type(failure).__name__}
        return self._state("bundle", "reload_failed", detail)

    def note(self, subject: str, state: str, detail: dict[str, Any]) -> None:
        """Let the stream say something at its next item."""
        with self._lock:
            self._notes.append((subject, state, detail))

    # from the stream's thread

    def start(self, source: Source) -> list[Record]:
        """Return the first records, with the gap since the last process."""
        self._source = source
        records = self.build.stream.start(source)
        if self._down_ns:
            records += self._gap(Gap(-self._down_ns, 0, "restart"))
        self.started = True
        return records

    def absent(self, failure: GalagoError) -> list[Record]:
        """Return the only record of a stream whose source could not be opened."""
        self.failure = failure
        return self.build.stream.absent(failure)

    def finish(self, source: Source, failure: GalagoError | None = None) -> list[Record]:
        """Return the last records."""
        self.failure = failure or self.failure
        return self.build.stream.finish(source, failure)

    def push(self, item: Item) -> list[Record]:
        """Take the next item; whatever goes wrong in the model becomes a record and a gap."""
        self.busy_since_ns = self._clock_ns()
        try:
            return self._push(item)
        finally:
            self.items += 1
            self.busy_since_ns = self.working = None

    def close(self) -> None:
        """Give back what the engines hold."""
        if self.collector is not None:
            self.collector.close()
        for build in (self.build, self._candidate, self._offered):
            if build is not None:
                build.close()

    def _push(self, item: Item) -> list[Record]:
        records = self._told()
        if self.collector is not None:
            self.collector.item(item)
        if isinstance(item, Gap):
            records += self._gap(item)
        elif isinstance(item, Frame | AudioBlock):
            self._last = (item.index if isinstance(item, Frame) else item.first_sample, item.captured_ns)
            records += self._decide(item)
            if self.failure is None:
                self.coverage.watched(end_of(item))
        else:
            records += self._notice(item)
        records += self._switch(item)
        return records

    def _decide(self, item: Frame | AudioBlock) -> list[Record]:
        if self.failure is not None:
            if self._clock_ns() < self._retry_ns:
                return []
            return self._recover(item)
        try:
            records = self._fed(self.build, item)
        except Exception as failure:
            if not self._walked().live:
                raise
            return self._failed(failure, item.captured_ns)
        self._retry_pause_ns = _RETRY_NS
        return records

    def _fed(self, build: Build, item: Frame | AudioBlock) -> list[Record]:
        """Let one bundle take an item, under the eyes of its judge."""
        self.working, judge = build, build.judge
        if judge is None or judge.decided:
            return build.stream.push(item)
        judge.item(item, self._doubts)
        since_ns = self._clock_ns()
        try:
            records = build.stream.push(item)
        except Exception as failure:
            judge.failed(failure)
            raise
        judge.pushed(self._clock_ns() - since_ns)
        return records

    def _notice(self, notice: Notice) -> list[Record]:
        if notice.state in ("implausible", "plausible"):
            what = frozenset((str(notice.detail["what"]),))
            self._doubts = self._doubts | what if notice.state == "implausible" else self._doubts - what
        return self.build.stream.push(notice)

    def _failed(self, failure: BaseException, ns: int) -> list[Record]:
        self.failure = failure
        self._retry_ns = self._clock_ns() + self._retry_pause_ns
        self._retry_pause_ns = min(2 * self._retry_pause_ns, _RETRY_LONGEST_NS)
        self._failed_ns = ns
        reason = str(failure.reason) if isinstance(failure, GalagoError) else "INTERNAL"
        detail = {"reason": reason, "message": str(failure) or type(failure).__name__}
        return [self._state("stream", "failed", detail)]

    def _recover(self, item: Frame | AudioBlock) -> list[Record]:
        """Load everything anew and go on behind a gap."""
        before = self.build
        try:
            build = before.again()
        except Exception as failure:  # noqa: BLE001 tried again later, whatever it was
            return self._failed(failure, self._failed_ns)
        before.close()
        self._take(build)
        self.failure = None
        records = [self._placed(record) for record in build.stream.start(self._walked())]
        return records + self._gap(Gap(self._failed_ns, item.captured_ns, "restart")) + self._decide(item)

    def _gap(self, gap: Gap) -> list[Record]:
        self.coverage.gap(gap)
        for build in (self._candidate, self.build):
            if build is not None:
                if build.judge is not None:
                    build.judge.item(gap)
                records = build.stream.push(gap)
        return records

    def _told(self) -> list[Record]:
        with self._lock:
            notes, self._notes = self._notes, []
        for subject, _, detail in notes:
            if subject == "governor":
                self.build.stream.every = detail["every"]
        return [self._state(*note) for note in notes]

    def _switch(self, item: Item) -> list[Record]:
        """Feed the bundle that is to take over, and let it when it can."""
        self._adopt()
        candidate = self._candidate
        if candidate is None or not isinstance(item, Frame | AudioBlock):
            return []
        try:
            self._fed(candidate, item)  # its decisions do not count yet: the other one's do
        except Exception as failure:  # noqa: BLE001 the one that runs goes on, whatever it was
            return self._refused(candidate, failure)
        waited = self._last[1] - self._candidate_ns
        if self.failure is None and not self._at_once and waited < _TAKE_OVER_LONGEST_NS:
            # what is on now was told by the old bundle and would be told again by the new one
            told = any(level.active for level in self.build.stream.levels() if not level.background)
            if told or candidate.stream.warm_up:
                return []
        return self._take_over(candidate, item)

    def _adopt(self) -> None:
        """Make what was offered the candidate, unless it was withdrawn since."""
        with self._lock:
            offered, self._offered = self._offered, None
            withdrawn, self._withdrawn = self._withdrawn, None
        if self._candidate is not None and (offered or self._candidate.loaded.id == withdrawn):
            self._candidate.close()
            self._candidate = None
        if offered is not None and offered.loaded.id == withdrawn:
            offered.close()
        elif offered is not None:
            self._candidate, self._candidate_ns = offered, self._last[1]
            self._observe(offered, decides=False)

    def _refused(self, candidate: Build, failure: BaseException) -> list[Record]:
        self._candidate = None
        candidate.close()
        self.refused = failure
        return [self.reload_failed(failure, to=candidate.loaded.id)]

    def _take_over(self, candidate: Build, item: Frame | AudioBlock) -> list[Record]:
        before = self.build
        records: list[Record] = []
        if self.failure is not None:  # nobody watched since then
            gap = Gap(self._failed_ns, item.captured_ns, "restart")
            self.coverage.gap(gap)
            before.stream.gaps += 1
            records.append(GapRecord(stream=self.name, from_ns=gap.from_ns, to_ns=gap.to_ns, cause=gap.cause))
        records += before.stream.finish(self._walked())
        detail = {
            "from": before.loaded.id,
            "to": candidate.loaded.id,
            "version": candidate.loaded.manifest.bundle.version,
        }
        self._take(candidate)
        self.refused = None
        self._candidate = None
        self._at_once = False
        self.failure = None
        records.append(self._state("bundle", "reloaded", detail))
        records += [self._placed(record) for record in candidate.stream.start(self._walked())]
        before.close()
        return records

    def _take(self, build: Build) -> None:
        """Let ``build`` decide; counts go on where they were."""
        old, new = self.build.stream, build.stream
        new.events, new.windows, new.gaps = old.events, old.windows, old.gaps
        new.skipped, new.left_out = old.skipped, old.left_out
        new.every = old.every
        old.observe = None
        if self.collector is not None and self._collect is not None:
            self.collector.close()
            self.collector = self._collect(build)
        self.build = build
        self._observe(build, decides=True)

    def _observe(self, build: Build, *, decides: bool) -> None:
        """Show each window of ``build`` to its judge and, when it ``decides``, to the collector."""
        judge, collector, engine = build.judge, self.collector if decides else None, build.loaded.engine

        def seen(window: WindowSeen) -> None:
            if collector is not None:
                collector.window(window)
            if judge is not None and not judge.decided:
                judge.window(engine.logits(), skipped=window.skipped, warm_up=window.warm_up)

        build.stream.observe = seen if judge is not None or collector is not None else None

    def _walked(self) -> Source:
        if self._source is None:
            raise RuntimeError("push before start")
        return self._source

    def _state(self, subject: str, state: str, detail: dict[str, Any]) -> StateRecord:
        index, ns = self._last
        return StateRecord(stream=self.name, subject=subject, state=state, index=index, ns=ns, detail=detail)

    def _placed(self, record: Record) -> Record:
        """Return a first record of a later bundle, where in the stream it really stands."""
        if isinstance(record, StateRecord):
            index, ns = self._last
            return msgspec.structs.replace(record, index=index, ns=ns)
        return record
