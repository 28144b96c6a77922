"""A new bundle on trial: judged by what it does with live input, then committed or rolled back.

Only time in which a source gives something to decide on counts. While a camera is away, black or frozen,
a microphone silent, or the gate closed, nothing speaks for the bundle and nothing against it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import BundleError, DeviceError, GalagoError, Reason
from galago_edge.contract.manifest import Manifest
from galago_edge.contract.settings import PlausibilitySettings
from galago_edge.contract.status import TrialStatus
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap, Item, Notice, samples_to_ns
from galago_edge.service.limits import resident_mb
from galago_edge.service.memory_share import MemoryShare
from galago_edge.sources.plausibility import FrameChecks
from galago_edge.sources.source import AHEAD_NS

_OWN_GAPS = ("drop", "overrun")
"""Gaps that come from a stream that does not keep up; that time counts."""
RECORDED = "ahead"
"""The source's notice that its stream runs ahead of the clock, as no live one can: it is a recording."""
_NOTHING_THERE = frozenset({"dark", "frozen", "flat", RECORDED})
"""What makes input say nothing about a model; a wrong rate or an offset does not."""
_AT_ONCE = PlausibilitySettings(frozen_s=1e-9, dark_s=1e-9, moved_s=0, defocused_s=0, covered_s=0)
_LOOKED_NS = NS_PER_S // 5
"""One picture is not enough to tell whether a camera shows anything; after so long it was looked at twice."""
_LATENCIES_KEPT = 256
_SLOW_SHARE_OF_100 = 1
_LIVE_FOR_NS = 10 * NS_PER_S
"""A stream that got nothing believable for so long does not hold the others' verdict up."""
_GRID = 16
_OTHER_LEVELS = 32
_OTHER_CELLS_OF_8 = 1
"""A picture is another one when an eighth of its cells differ by 32 gray levels ..."""
_OTHER_LOUDNESS = 4.0
"""... a sound when it is four times as loud (12 dB)."""


class Judge:
    """What one stream sees of a bundle on trial. Fed by the stream's thread, asked by any."""

    def __init__(
        self,
        manifest: Manifest,
        *,
        trial_s: float | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        resident: Callable[[], float] = resident_mb,
    ) -> None:
        """Judge by the manifest's ``health``; ``trial_s`` replaces that of the manifest."""
        health = manifest.health
        self._subject = f"{manifest.bundle.name} {manifest.bundle.version}"
        self.needed: int = health.live.min_inferences
        self._within_ns = health.live.within_s * NS_PER_S
        self._limit_ns = health.live.max_p99_ms * NS_PER_S // 1_000
        self._trial_ns = round((health.trial_s if trial_s is None else trial_s) * NS_PER_S)
        self._clock_ns = clock_ns
        self.memory = MemoryShare(resident)
        self._frames = FrameChecks(_AT_ONCE, 0.0)
        self._doubts: frozenset[str] = frozenset()
        self._answers = _Answers(reacts=len({golden.expected.logits for golden in manifest.golden}) > 1)
        self._from_ns: int | None = None
        self._shown_ns: int | None = None  # since when pictures show something
        self._believed = False
        self._waiting_ns = 0  # live time since the last window
        self._since_ns: int | None = None  # monotonic time at which the first believable item began
        self._run = self._warm = 0  # windows of the item that is being pushed
        self._slow = 0
        self._busy_ns = 0
        self._latencies: deque[int] = deque(maxlen=_LATENCIES_KEPT)
        self._live_at_ns: int | None = None
        self.inferences = 0
        """Windows that the model decided on believable input, behind the warm-up."""
        self.live_ns = 0
        self.passed = False
        self.failure: GalagoError | None = None

    @property
    def decided(self) -> bool:
        """Whether there is a verdict; it stays."""
        return self.passed or self.failure is not None

    @property
    def live(self) -> bool:
        """Whether believable input flows now."""
        return self._live_at_ns is not None and self._clock_ns() - self._live_at_ns < _LIVE_FOR_NS

    @property
    def trial_s(self) -> float:
        """Time of believable input after which a healthy bundle passes."""
        return self._trial_ns / NS_PER_S

    @property
    def live_s(self) -> float:
        """Time of believable input, in stream time."""
        return self.live_ns / NS_PER_S

    def p99_ms(self) -> float:
        """Return the time that all but one in a hundred of the last windows took at most."""
        taken = sorted(self._latencies.copy())
        return taken[len(taken) - 1 - _allowed(len(taken))] / 1e6 if taken else 0.0

    # from the stream's thread

    def item(self, item: Item, doubts: frozenset[str] = frozenset()) -> None:
        """Take what the bundle gets next, before it gets it; ``doubts`` are the source's alarms."""
        self._run = self._warm = 0
        if isinstance(item, Gap):
            if item.cause not in _OWN_GAPS:
                self._frames.interrupted()
                self._from_ns = self._shown_ns = None
            return
        if isinstance(item, Notice):
            return
        self._believed = self._shows_something(item) and not doubts & _NOTHING_THERE
        if not self._believed:
            self._from_ns, self._waiting_ns = None, 0
            return
        end_ns = end_of(item)
        if self._from_ns is not None or isinstance(item, AudioBlock):
            begin_ns = item.captured_ns if self._from_ns is None else self._from_ns
            self._waiting_ns += max(0, end_ns - begin_ns)
        self._from_ns = end_ns
        self._live_at_ns = self._clock_ns()
        if self._since_ns is None:
            self._since_ns = self._live_at_ns - (end_ns - item.captured_ns)
        self._answers.item(item)

    def window(self, logits: npt.NDArray[np.int8], *, skipped: bool, warm_up: bool) -> None:
        """Take one window's answer; ``skipped`` when the gate was closed, so that there is none."""
        if skipped or not self._believed:
            self._waiting_ns = 0
            return
        self.live_ns += self._waiting_ns
        self._waiting_ns = 0
        self._run += 1
        if warm_up:
            self._warm += 1
        else:
            self._answers.window(logits)

    def pushed(self, took_ns: int) -> None:
        """Take how long the bundle took for the item, and decide if there is enough to decide on."""
        if not self._run or self.decided:
            return
        self._busy_ns += took_ns
        each_ns = took_ns // self._run
        counted = self._run - self._warm
        self.inferences += counted
        self._slow += counted * (each_ns > self._limit_ns)
        self._latencies.extend([each_ns] * counted)
        self._decide()

    def failed(self, failure: BaseException) -> None:
        """Take that the bundle could not be loaded or did not answer."""
        if self.decided:
            return
        self.failure = as_failure(self._subject, failure)

    def _decide(self) -> None:
        # no time passes faster in a live stream than on the clock; what was buffered comes at once, though
        passed_ns = 0 if self._since_ns is None else self._clock_ns() - self._since_ns
        if passed_ns < min(self.live_ns - AHEAD_NS, self._trial_ns):
            return
        enough = self.inferences >= self.needed
        if enough and self._slow > _allowed(self.inferences):
            self.failure = DeviceError(
                Reason.TOO_SLOW,
                f"{self._subject} took {self.p99_ms():.0f} ms for one window in a hundred on this device, "
                f"its manifest allows {self._limit_ns / 1e6:.0f} ms",
                hint="build it with a smaller model, or raise health.live.max_p99_ms",
            )
        elif not enough and self.live_ns >= self._within_ns and 2 * self._busy_ns >= self.live_ns:
            # with a model that is idle, the source is what gives too little; that is not the bundle's fault
            self.failure = DeviceError(
                Reason.TOO_SLOW,
                f"{self._subject} decided {self.inferences} windows in {self.live_s:.0f} s of input, "
                f"{self.needed} were expected",
                hint="build it with a smaller model, or lower health.live.min_inferences",
            )
        elif enough and min(self.live_ns, passed_ns) >= self._trial_ns:
            self._end_of_trial()

    def _end_of_trial(self) -> None:
        if self._answers.stuck:
            self.failure = BundleError(
                Reason.CONSTANT_ANSWER,
                f"{self._subject} gave the same answer to {self.inferences} windows of changing input",
                hint="look at its training and conversion; galago classify shows what it answers to files",
            )
        elif not self._answers.doubtful:
            self.passed = True

    def _shows_something(self, item: Frame | AudioBlock) -> bool:
        if isinstance(item, AudioBlock):
            samples = item.samples
            return len(samples) > 0 and bool(samples.min() != samples.max())
        self._frames.look(item)
        if self._frames.alarms:
            self._shown_ns = None
            return False
        if self._shown_ns is None:
            self._shown_ns = item.captured_ns
        return item.captured_ns - self._shown_ns >= _LOOKED_NS


class _Answers:
    """Whether the answers change when the input does."""

    def __init__(self, *, reacts: bool) -> None:
        """``reacts``: the bundle's golden samples have different answers, which were found on this device."""
        self._reacts = reacts
        self._first: npt.NDArray[np.int8] | None = None
        self._constant = True
        self._low: npt.NDArray[np.float64] | None = None
        self._high: npt.NDArray[np.float64] | None = None

    @property
    def stuck(self) -> bool:
        """The input was another one and the answer was not."""
        return self._constant and self._input_changed()

    @property
    def doubtful(self) -> bool:
        """Nothing changed, and nothing else shows that the model reacts to anything."""
        return self._constant and not self._reacts

    def item(self, item: Frame | AudioBlock) -> None:
        if not self._constant:
            return
        seen = _impression(item)
        if self._low is None or self._high is None or self._low.shape != seen.shape:
            self._low = self._high = seen
        else:
            self._low, self._high = np.minimum(self._low, seen), np.maximum(self._high, seen)

    def window(self, logits: npt.NDArray[np.int8]) -> None:
        if self._first is None:
            self._first = logits.copy()
        elif self._constant:
            self._constant = bool(np.array_equal(self._first, logits))

    def _input_changed(self) -> bool:
        if self._low is None or self._high is None:
            return False
        if self._low.size == 1:
            return bool(self._high[0] > _OTHER_LOUDNESS * max(self._low[0], 1.0))
        other = np.count_nonzero(self._high - self._low >= _OTHER_LEVELS)
        return 8 * int(other) >= _OTHER_CELLS_OF_8 * self._low.size


def _impression(item: Frame | AudioBlock) -> npt.NDArray[np.float64]:
    """Return gray levels of at most 16 x 16 cells, or the RMS of a block."""
    if isinstance(item, AudioBlock):
        wide = item.samples.astype(np.float64)
        return np.array([np.sqrt(np.mean(wide * wide))])
    rows, columns = (-(-length // _GRID) for length in item.pixels.shape[:2])
    return np.asarray(item.pixels[::rows, ::columns].mean(axis=2), np.float64)


@dataclass(slots=True)
class LiveTrial:
    """One bundle on trial in this service, on all streams that run it."""

    name: str
    bundle_id: str
    version: str
    left: int
    """How many more starts it may take to be judged."""
    trial_s: float | None = None
    """How long it is judged, where that is not what its manifest says."""
    aftercare: bool = False
    """Not on trial: it came back, and whether it is healthy is to be said."""
    judges: dict[str, Judge] = field(default_factory=dict)
    """By stream."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _failure: GalagoError | None = None

    def judge(self, stream: str, judge: Judge) -> Judge:
        """Let ``judge`` speak for ``stream``; what another one found there before still counts."""
        with self._lock:
            if (before := self.judges.get(stream)) is not None:
                self._failure = self._failure or before.failure
            self.judges[stream] = judge
        return judge

    def failed(self, failure: GalagoError) -> None:
        """Take a failure that no judge has seen: the bundle could not even be loaded."""
        with self._lock:
            self._failure = self._failure or failure

    def outgrew(self) -> bool:
        """Tell whether most of what the process has grown by came while this bundle was loaded or decided."""
        with self._lock:
            shares = [judge.memory for judge in self.judges.values()]
        own_mb = sum(share.own_mb for share in shares)
        return own_mb > 0 and 2 * own_mb >= max(share.grown_mb for share in shares)

    def verdict(self) -> GalagoError | bool:
        """Return why it must go; else whether it may stay.

        One stream's failure is enough. It may stay when a stream has found it healthy and no other that
        gets input now is still looking.
        """
        with self._lock:
            judges = list(self.judges.values())
            failure = self._failure
        for judge in judges:
            failure = failure or judge.failure
        if failure is not None:
            return failure
        return any(judge.passed for judge in judges) and all(
            judge.passed or not judge.live for judge in judges
        )

    def status(self, fault: str = "") -> TrialStatus:
        """Return how the trial is now."""
        with self._lock:
            judges = dict(self.judges)
        verdict = self.verdict()
        state: Literal["waiting", "judging", "passed", "failed"]
        if isinstance(verdict, GalagoError):
            state, fault = "failed", fault or verdict.line
        elif verdict:
            state = "passed"
        else:
            state = "judging" if any(judge.live for judge in judges.values()) else "waiting"
        return TrialStatus(
            name=self.name,
            bundle_id=self.bundle_id,
            version=self.version,
            state=state,
            left=self.left,
            streams=tuple(sorted(judges)),
            needed=max((judge.needed for judge in judges.values()), default=0),
            trial_s=max((judge.trial_s for judge in judges.values()), default=0.0),
            inferences=sum(judge.inferences for judge in judges.values()),
            live_s=round(max((judge.live_s for judge in judges.values()), default=0.0), 3),
            p99_ms=round(max((judge.p99_ms() for judge in judges.values()), default=0.0), 3),
            fault=fault,
        )


def as_failure(subject: str, failure: BaseException) -> GalagoError:
    """Return why a bundle is no good; a fault of our own that it alone meets is one of the bundle, too."""
    if isinstance(failure, GalagoError):
        return failure
    text = f"{subject} met a fault: {type(failure).__name__}: {failure}"
    return BundleError(Reason.TRIAL_FAILED, text, hint="galago history says what was rolled back")


def end_of(item: Frame | AudioBlock) -> int:
    """Return the stream time at which an item ends."""
    if isinstance(item, Frame):
        return item.captured_ns
    return item.captured_ns + samples_to_ns(len(item.samples), item.rate_hz)


def _allowed(windows: int) -> int:
    """Return how many of so many windows may be slower than the limit: one of the first hundred."""
    return -(-windows * _SLOW_SHARE_OF_100 // 100)
