"""Makes a camera or microphone that comes and goes one stream that never ends by itself."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from typing import Any

from galago_edge.contract.errors import GalagoError, Reason
from galago_edge.contract.modality import Modality
from galago_edge.contract.settings import SourceSettings
from galago_edge.contract.status import SourceStatus
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap, Item, Notice
from galago_edge.host.credentials import Secrets
from galago_edge.sources.background_open import Connecting
from galago_edge.sources.continuity import Continuity, FrameContinuity, SampleContinuity
from galago_edge.sources.doubt import Doubt, News
from galago_edge.sources.liveness import LivenessChange, LivenessMachine
from galago_edge.sources.plausibility import Checks, FrameChecks, SoundChecks
from galago_edge.sources.retry_schedule import RetrySchedule
from galago_edge.sources.sight import ViewKeeper
from galago_edge.sources.source import Capture

_LOOK_AFTER_S = 0.25
"""How long a silent source may delay ``stop``."""
_RATE_WINDOW_S = 10


class Supervised:
    """A live source: opened, watched, closed when it fails or falls silent, and reopened, for ever.

    What it gives is continuous: indexes and times go on over all connections, and whatever is missing is a
    Gap from the end of the last item to the beginning of the next, caused by ``connecting``, ``stall``,
    ``disconnect``, ``overrun``, ``drop`` or ``restart``. Changes of liveness and of plausibility are Notices.

    It is walked by one thread; ``status`` and ``stop`` are for any.
    """

    live = True

    def __init__(
        self,
        name: str,
        open: Callable[[], Capture],
        modality: Modality,
        settings: SourceSettings,
        *,
        keeper: ViewKeeper | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        random: Callable[[], float] = random.random,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        """Prepare to supervise what ``open`` opens; nothing is opened before the first item is asked for.

        ``keeper`` keeps what a camera usually sees. ``wait`` takes seconds and may return sooner when
        ``stop`` was called.
        """
        self.modality: Modality = modality
        self._name = name
        self._open = open
        self.settings = settings
        self._kind = settings.address.partition(":")[0]
        self._clock_ns = clock_ns
        self._stopping = threading.Event()
        self._wait = wait or self._stopping.wait
        self._backoff = RetrySchedule(settings, random)
        self._lock = threading.Lock()
        now_ns = clock_ns()
        self._liveness = LivenessMachine(settings, now_ns)
        self._continuity = _continuity(modality, settings, now_ns)
        self._checks = _checks(modality, settings, keeper)
        self._meter = _Meter(now_ns)
        self._connects = self._failures = self._items = 0
        self._described: dict[str, Any] = {}
        self._secrets = Secrets(settings.address.partition(":")[2], settings.password)

    @property
    def zero_ns(self) -> int:
        """The moment of the monotonic clock at which its stream time is 0: when it began to be walked."""
        with self._lock:
            return self._continuity.start_ns

    def description(self) -> dict[str, Any]:
        """Return the source's kind and name, and what the device said of itself when it was opened last."""
        with self._lock:
            return {"kind": self._kind, "name": self._name} | self._described

    def conversion(self) -> None:
        """Return None: what the device gives is given on as it is."""
        return

    def __iter__(self) -> Generator[Item, None, None]:
        """Yield items until ``stop``, beginning with the Gap before the first one. To be called once."""
        with self._lock:
            now_ns = self._clock_ns()
            self._continuity = _continuity(self.modality, self.settings, now_ns)
            self._liveness = LivenessMachine(self.settings, now_ns)
            self._meter = _Meter(now_ns)
        while not self._stopping.is_set():
            capture = yield from self._connect()
            if capture is None:
                break
            try:
                yield from self._watch(capture)
            finally:
                self._close(capture)
        yield from map(self._told, self._checks.ended())
        yield from self._continuity.finish(self._clock_ns())

    def summary(self) -> dict[str, Any]:
        """Return how much arrived and how often it was opened."""
        with self._lock:
            unit = "frames" if self.modality == "camera" else "samples"
            return {
                f"captured_{unit}": self._items,
                f"dropped_{unit}": self._continuity.dropped,
                "connects": self._connects,
                "failures": self._failures,
            }

    def stop(self) -> None:
        """End soon: in a pause, in the middle of a silence, and while it is being opened too."""
        self._stopping.set()

    def status(self) -> SourceStatus:
        """Return how the source is now."""
        with self._lock:
            now_ns = self._clock_ns()
            liveness = self._liveness
            return SourceStatus(
                name=self._name,
                kind=self._kind,
                liveness=liveness.state,
                for_s=round(max(0, now_ns - liveness.since_ns) / NS_PER_S, 3),
                fault=liveness.fault,
                alarms=self._checks.alarms,
                learning=bool(self._checks.learning),
                unjudged=self._checks.unjudged,
                items=self._items,
                dropped=self._continuity.dropped,
                connects=self._connects,
                failures=self._failures,
                rate_hz=self._meter.rate_hz(now_ns),
                level_dbfs=self._checks.level_dbfs,
                missing_s=self._continuity.missing_s(now_ns),
            )

    def open_gap(self) -> Gap | None:
        """Return what is missing now and is not told yet, in stream time."""
        with self._lock:
            return self._continuity.open_gap(self._clock_ns())

    def _connect(self) -> Generator[Item, None, Capture | None]:
        """Open until it works; return None when the end comes first."""
        while not self._stopping.is_set():
            if pause_s := self._backoff.pause_s(self._liveness.failures):
                self._wait(pause_s)
                if self._stopping.is_set():
                    break
            try:
                return self._opened()
            except Exception as error:  # noqa: BLE001 - whatever it is: told, and tried again
                if not self._stopping.is_set():  # else its end is ours
                    yield from self._lost("disconnect", error)
        return None

    def _opened(self) -> Capture | None:
        """Return the new capture; None when the end comes first."""
        connecting = Connecting(self._open)
        while not connecting.wait(_LOOK_AFTER_S):
            if self._stopping.is_set():
                connecting.abandon()
                return None
        capture = connecting.capture()
        try:
            described = capture.description()
        except BaseException:  # whatever it was, the device must not stay open
            self._close(capture)
            raise
        with self._lock:
            self._connects += 1
            self._described = {key: value for key, value in described.items() if key not in ("kind", "name")}
            self._continuity.connected()
            self._checks.connected()
        return capture

    def _watch(self, capture: Capture) -> Generator[Item, None, None]:
        """Yield what ``capture`` gives until it breaks, falls silent, or the end comes."""
        silent_ns = 0
        # a device may need as long for its first picture as for being opened
        patience_s = max(self.settings.stall_s, self.settings.open_s)
        while not self._stopping.is_set():
            asked_ns = self._clock_ns()
            try:
                item = capture.read(_LOOK_AFTER_S)
            except Exception as error:  # noqa: BLE001 - one bad picture must not end the source
                if not self._stopping.is_set():
                    yield from self._lost("disconnect", error)
                return
            now_ns = self._clock_ns()
            if item is not None:
                yield from self._take(item, now_ns)
            if item is None or isinstance(item, Gap):
                silent_ns += now_ns - asked_ns  # not what the streams took: they are not the source's fault
                if silent_ns >= patience_s * NS_PER_S:
                    unit = "frame" if self.modality == "camera" else "sample"
                    yield from self._lost("stall", f"no {unit} for {silent_ns / NS_PER_S:.1f} s")
                    return
            else:
                silent_ns = 0
                usual_s = 3 * self._continuity.usual_ns() / NS_PER_S
                patience_s = max(self.settings.stall_s, usual_s)

    def _take(self, item: Frame | AudioBlock | Gap, now_ns: int) -> list[Item]:
        """Return ``item`` in its place, with what it shows about the source."""
        checks = self._checks
        with self._lock:
            doubts: list[Doubt | News] = []
            if isinstance(item, AudioBlock):
                doubts += checks.arrived(item)
            placed = self._continuity.place(item)
            told: list[Item] = []
            for part in placed:
                if isinstance(part, Gap):
                    checks.interrupted()
                    told.append(part)
                elif isinstance(part, Frame | AudioBlock):
                    count = len(part.samples) if isinstance(part, AudioBlock) else 1
                    self._items += count
                    self._meter.add(now_ns, count)
                    doubts += checks.look(part)
                    if (change := self._liveness.item(now_ns)) is not None:
                        told.append(self._notice(change, part))
                    told.append(part)
            if doubts:
                told += map(self._told, doubts)
                self._continuity.believe_rate("rate" not in checks.alarms)
        return told

    def _lost(self, cause: str, why: Exception | str) -> list[Item]:
        """Note a failure and return the notice of it, if it changes anything."""
        mismatch = isinstance(why, GalagoError) and why.reason is Reason.SOURCE_MISMATCH
        fault = self._shown(why)
        with self._lock:
            self._failures += 1
            self._continuity.lost(cause, by_damage=mismatch)
            change = self._liveness.lost(self._clock_ns(), fault)
            return [] if change is None else [self._notice(change)]

    def _notice(self, change: LivenessChange, before: Frame | AudioBlock | None = None) -> Notice:
        detail = change.detail
        if change.state == "healthy":
            detail = {"source": {"kind": self._kind, "name": self._name} | self._described} | detail
        if before is None:
            ns = self._continuity.stream_ns(self._clock_ns())
            return Notice(change.state, self._continuity.next_index, ns, detail)
        index = before.index if isinstance(before, Frame) else before.first_sample
        return Notice(change.state, index, before.captured_ns, detail)

    def _told(self, doubt: Doubt | News) -> Notice:
        place = self._continuity
        if isinstance(doubt, News):
            return Notice(doubt.state, place.next_index, place.end_ns, doubt.detail)
        state = "implausible" if doubt.implausible else "plausible"
        return Notice(state, place.next_index, place.end_ns, {"what": doubt.what} | doubt.detail)

    def _close(self, capture: Capture) -> None:
        try:
            capture.close()
        except Exception:  # noqa: BLE001 - it is being given up anyway; that must not end the source
            with self._lock:
                self._failures += 1

    def _shown(self, why: Exception | str) -> str:
        """Return one line without credentials."""
        if isinstance(why, GalagoError):
            text = why.line if why.reason is Reason.PLUGIN_BAD else str(why)
        else:
            text = why if isinstance(why, str) else f"{type(why).__name__}: {why}"
        return self._secrets.hidden(text)


class _Meter:
    """Items a second over the last ten seconds, in buckets of one."""

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._buckets: deque[tuple[int, int]] = deque(maxlen=_RATE_WINDOW_S + 1)

    def add(self, now_ns: int, count: int) -> None:
        second = now_ns // NS_PER_S
        if self._buckets and self._buckets[-1][0] == second:
            self._buckets[-1] = (second, self._buckets[-1][1] + count)
        else:
            self._buckets.append((second, count))

    def rate_hz(self, now_ns: int) -> float:
        """Return the rate over the seconds that are over, ten at most."""
        second = now_ns // NS_PER_S
        seconds = min(_RATE_WINDOW_S, second - self._start_ns // NS_PER_S)
        if seconds < 1:
            return 0.0
        counted = sum(count for at, count in self._buckets if second - seconds <= at < second)
        return round(counted / seconds, 2)


def _continuity(modality: Modality, settings: SourceSettings, start_ns: int) -> Continuity:
    return (FrameContinuity if modality == "camera" else SampleContinuity)(settings, start_ns)


def _checks(modality: Modality, settings: SourceSettings, keeper: ViewKeeper | None) -> Checks:
    if modality == "camera":
        return FrameChecks(settings.plausibility, settings.steady_s, keeper)
    return SoundChecks(settings.plausibility, settings.steady_s)
