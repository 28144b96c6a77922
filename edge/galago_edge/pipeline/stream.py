"""One stream: frames or samples in, records out. The same for a live source and for a replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from msgspec import UNSET

from galago_edge.contract.errors import GalagoError
from galago_edge.contract.printable import on_one_line
from galago_edge.contract.records import EventRecord, GapRecord, Record, ScoresRecord, StateRecord
from galago_edge.contract.status import GateStatus, LabelLevel
from galago_edge.contract.streams import Gap, Item, Notice, Span, WindowSeen
from galago_edge.decision import ONE, Decider, Ended, Fired, Sensor, sensor_of
from galago_edge.engine import runtime
from galago_edge.pipeline.loaded_bundle import LoadedBundle
from galago_edge.pipeline.model_run import ModelRun
from galago_edge.pipeline.threshold_overrides import ThresholdOverrides, override_thresholds
from galago_edge.pipeline.windows import windows_of
from galago_edge.sources.recording_part import RecordingPart

_SCORE_DIGITS = 6  # Q16 steps are 0.000015
_RUNS_AT_ONCE = 64  # a recording may be cut into blocks of any length


class SourceAccount(Protocol):
    """What the records tell of a source: the part of :class:`~galago_edge.sources.Source` they need."""

    @property
    def live(self) -> bool:
        """Whether a failure's message may be in the records; a recording's holds the path where it lies."""
        ...

    def description(self) -> dict[str, Any]:
        """Return what is known before the first item."""
        ...

    def conversion(self) -> dict[str, Any] | None:
        """Return how samples are converted to what the bundle needs; None when they are not."""
        ...

    def summary(self) -> dict[str, Any]:
        """Return the counts that are known afterwards."""
        ...


@dataclass(slots=True)
class StreamTally:
    """What a stream has counted so far; handed on when another bundle goes on with it."""

    windows: int = 0
    """Decided, skipped ones included."""
    skipped: int = 0
    """Decided without the model, because the gate was closed."""
    left_out: int = 0
    """Not decided, because of ``DecidingStream.every``."""
    events: int = 0
    gaps: int = 0


@dataclass(frozen=True, slots=True)
class TooShort:
    """A stream that ended before one window was full."""

    found: int
    """Most frames or samples without a gap."""
    needed: int
    """Frames or samples of one window."""
    index: int
    """Where it ended."""
    ns: int


class DecidingStream:
    """Decides on one source with one bundle. Used by one thread at a time; starts no thread, reads no clock.

    What it answers depends on the items alone (and on ``every``), not on how audio is cut into blocks.
    :meth:`levels` and :meth:`gate_status` may be asked, and ``every`` may be set, from other threads.

    Where the manifest has a gate, neither preprocessing nor model is run on a window for which it is closed;
    every label then counts as score 0. The gate stays open while a label is on.
    """

    def __init__(
        self,
        name: str,
        loaded: LoadedBundle,
        *,
        thresholds: ThresholdOverrides | None = None,
        scores: bool = False,
    ) -> None:
        """Prepare a stream called ``name``; ``scores`` adds a record for every window.

        Raises:
            CallerError: CONFIG_BAD; ``thresholds`` names no label of the bundle, or crosses thresholds.
        """
        self.name = name
        self._loaded = loaded
        labels, self._differences = override_thresholds(loaded.manifest.labels, thresholds or {})
        self._labels = labels
        self._decider = Decider(labels)
        self._cut = windows_of(loaded.preprocessor, loaded.engine)
        self._with_scores = scores
        gate = loaded.manifest.gate
        self._sensor = None if gate is UNSET else sensor_of(gate)
        self._gate_open = False
        self._gate_windows = 0  # windows since the gate last opened or closed
        self._silence = np.zeros(len(labels), np.int64)
        self._no_logits = np.empty(0, np.int8)
        self._turn = 0
        self.every = 1
        """Every so many windows one is decided, the others are left out: the governor's divisor."""
        self.observe: Callable[[WindowSeen], None] | None = None
        """Called after each decided window, in the stream's thread."""
        self.tally = StreamTally()
        self._part: RecordingPart | None = None

    @property
    def warm_up(self) -> bool:
        """True while too few windows have been seen, since the start or the last gap, to decide anything."""
        return self._decider.warm_up

    def levels(self) -> tuple[LabelLevel, ...]:
        """Return where each label stands now, in label order."""
        smoothed, on = self._decider.smoothed().tolist(), self._decider.on().tolist()
        return tuple(
            LabelLevel(
                label=label.name,
                score=_score(smoothed[index]),
                on=label.policy.on,
                off=label.policy.off,
                active=on[index],
                background=label.background,
            )
            for index, label in enumerate(self._labels)
        )

    def gate_status(self) -> GateStatus | None:
        """Return where the gate stands now; None when the bundle has none."""
        sensor = self._sensor
        if sensor is None:
            return None
        return GateStatus(
            kind=sensor.kind, open=self._gate_open, level=sensor.level, threshold=sensor.threshold
        )

    def go_on_from(self, before: DecidingStream) -> None:
        """Count on, and at the same pace, where ``before`` has stopped; it is not to be used any more."""
        self.tally, self.every = before.tally, before.every
        before.observe = None

    def start(self, source: SourceAccount) -> list[Record]:
        """Return the first records: what this stream decides with, and on what."""
        self._part = source if isinstance(source, RecordingPart) else None
        manifest, ran_by = self._loaded.manifest, runtime()
        detail = {
            "bundle": self._loaded.id,
            "name": manifest.bundle.name,
            "version": manifest.bundle.version,
            "preprocess": manifest.preprocess.sha256,
            "backend": self._loaded.engine.backend,
            "runtime": {"package": ran_by.package, "version": ran_by.version},
            "overrides": self._differences,
            "source": {key: _told(value) for key, value in source.description().items()},
        }
        if self._sensor is not None:
            detail["gate"] = self._sensor.kind
        records: list[Record] = [self._state("stream", "started", detail)]
        if (conversion := source.conversion()) is not None:
            records.append(self._state("source", "converted", conversion))
        return records

    def push(self, item: Item) -> list[Record]:
        """Take the next item and return what it leads to, in stream order.

        Raises:
            InputError: SOURCE_MISMATCH; the item is not of the bundle's kind or rate.
            BundleError: MODEL_BAD; the model failed.
        """
        if isinstance(item, Gap):
            return self._gap(item)
        if isinstance(item, Notice):
            return [self._notice(item)]
        records: list[Record] = []
        if self._cut.missing(item):
            records += self._gap(Gap(self._cut.end_ns, item.captured_ns, "drop"))
        every, sensor = self.every, self._sensor
        # decided behind the model's runs, not between them: each of those drives everything else out of the
        # processor's caches. A gate has to know what was decided.
        runs: list[ModelRun] = []
        try:
            for span in self._cut.feed(item, lazy=every > 1 or sensor is not None):
                if every > 1 and self._left_out(every):
                    continue
                if sensor is not None and not self._opened(sensor, span, records):
                    self._step(self._skip(span), self._silence, records)
                    continue
                runs.append(self._run(span))
                if sensor is not None or len(runs) == _RUNS_AT_ONCE:
                    self._decide(runs, records)
        finally:
            self._decide(runs, records)
        return records

    def absent(self, failure: GalagoError) -> list[Record]:
        """Return the only record of a stream whose source could not be opened."""
        return [self._state("stream", "failed", _failure(failure))]

    def too_short(self) -> TooShort | None:
        """Return how much more there should have been, when what came gave not a single window."""
        if self.tally.windows or self.tally.left_out:
            return None
        return TooShort(self._cut.longest, self._cut.needed, *self._place())

    def finish(self, source: SourceAccount, failure: GalagoError | None = None) -> list[Record]:
        """Return the last records: what the whole stream came to, and how it ended."""
        detail: dict[str, Any] = {
            "windows": self.tally.windows,
            "events": self.tally.events,
            "gaps": self.tally.gaps,
            "source": source.summary(),
        }
        if self._sensor is not None:
            detail["skipped"] = self.tally.skipped
        if self.tally.left_out:
            detail["left_out"] = self.tally.left_out
        if failure is None:
            return [self._state("stream", "ended", detail)]
        # a recording's message holds the path where it lies today; standard error has it
        told = _failure(failure) if source.live else {"reason": str(failure.reason)}
        return [self._state("stream", "failed", told | detail)]

    def _left_out(self, every: int) -> bool:
        """Tell whether this window is one that the governor spares; the first one is decided."""
        left_out = self._turn % every != 0
        self._turn += 1
        self.tally.left_out += left_out
        return left_out

    def _opened(self, sensor: Sensor, span: Span, records: list[Record]) -> bool:
        """Tell whether the gate is open for this window, and say so when that changes."""
        self._cut.sense(sensor)
        # a label that is on keeps the gate open, or it would end although nothing says so
        is_open = sensor.open_at(span.end_ns) or self._decider.active
        if is_open is not self._gate_open:
            counted = {"skipped" if is_open else "run": self._gate_windows, "level": sensor.level}
            records.append(self._at(span, "gate", "open" if is_open else "closed", counted))
            self._gate_open, self._gate_windows = is_open, 0
        self._gate_windows += 1
        return is_open

    def _run(self, span: Span) -> ModelRun:
        """Run the model on this window."""
        engine = self._loaded.engine
        self._cut.fill()
        engine.invoke()
        logits, changes = engine.logits(), engine.changes()
        return ModelRun(span, logits, engine.backend, engine.reason, changes)

    def _skip(self, span: Span) -> ModelRun:
        """Return what stands for a run on this window, in which there is nothing."""
        engine = self._loaded.engine
        return ModelRun(span, self._no_logits, engine.backend, engine.reason, skipped=True)

    def _decide(self, runs: list[ModelRun], records: list[Record]) -> None:
        """Decide on what the model said, and empty the list."""
        if not runs:
            return
        scores = self._loaded.activation.scores(np.array([run.logits for run in runs]))
        for run, row in zip(runs, scores, strict=True):
            self._step(run, row, records)
        runs.clear()

    def _step(self, run: ModelRun, scores: npt.NDArray[np.int64], records: list[Record]) -> None:
        """Take the scores of the next window."""
        for changed in run.changes:
            records.append(self._at(run.span, "backend", changed.state, changed.detail))
        changes = self._decider.step(scores, run.span)
        if self._with_scores:
            records.append(self._scores(run, scores))
        self.tally.windows += 1
        self.tally.skipped += run.skipped
        for change in changes:
            records.append(self._event(change, run) if isinstance(change, Fired) else self._off(change))
        if self.observe is not None:
            self._show(self.observe, run, scores, changes)

    def _show(
        self,
        observe: Callable[[WindowSeen], None],
        run: ModelRun,
        scores: npt.NDArray[np.int64],
        changes: list[Fired | Ended],
    ) -> None:
        fired = tuple(change.label for change in changes if isinstance(change, Fired))
        decider = self._decider
        smoothed, warm_up, restarted = decider.smoothed(), decider.warm_up, decider.restarted
        observe(WindowSeen(run.span, run.logits, scores, smoothed, run.skipped, warm_up, fired, restarted))

    def _scores(self, run: ModelRun, scores: npt.NDArray[np.int64]) -> ScoresRecord:
        return ScoresRecord(
            stream=self.name,
            window=self.tally.windows,
            start_index=run.span.start_index,
            end_index=run.span.end_index,
            start_ns=run.span.start_ns,
            end_ns=run.span.end_ns,
            logits=run.logits.tolist(),
            scores=[] if run.skipped else [_score(score) for score in scores.tolist()],
            warm_up=self._decider.warm_up,
            skipped="gate" if run.skipped else UNSET,
        )

    def _event(self, fired: Fired, run: ModelRun) -> EventRecord:
        record = EventRecord(
            stream=self.name,
            seq=self.tally.events,
            label=fired.label,
            score=_score(fired.score_q16),
            start_index=fired.span.start_index,
            end_index=fired.span.end_index,
            start_ns=fired.span.start_ns,
            end_ns=fired.span.end_ns,
            bundle=self._loaded.id,
            backend=run.backend,
            backend_reason=run.backend_reason or UNSET,
            overrides=self._differences.get(fired.label, UNSET),
        )
        self.tally.events += 1
        return record

    def _off(self, ended: Ended) -> StateRecord:
        return StateRecord(
            stream=self.name,
            subject=f"label:{ended.label}",
            state="off",
            index=ended.span.end_index,
            ns=ended.span.end_ns,
        )

    def _gap(self, gap: Gap) -> list[Record]:
        """Say the gap, and start over behind it: smoothing must not join what does not belong together."""
        self.tally.gaps += 1
        records: list[Record] = [self._off(ended) for ended in self._decider.reset()]
        self._cut.reset()
        self._turn = 0
        if self._sensor is not None:
            self._sensor.reset()
        records.append(GapRecord(stream=self.name, from_ns=gap.from_ns, to_ns=gap.to_ns, cause=gap.cause))
        return records

    def _at(self, span: Span, subject: str, state: str, detail: dict[str, Any]) -> StateRecord:
        return StateRecord(
            stream=self.name,
            subject=subject,
            state=state,
            index=span.end_index,
            ns=span.end_ns,
            detail=detail,
        )

    def _notice(self, notice: Notice) -> StateRecord:
        return StateRecord(
            stream=self.name,
            subject="source",
            state=notice.state,
            index=notice.index,
            ns=notice.ns,
            detail=notice.detail,
        )

    def _state(self, subject: str, state: str, detail: dict[str, Any]) -> StateRecord:
        index, ns = self._place()
        return StateRecord(stream=self.name, subject=subject, state=state, index=index, ns=ns, detail=detail)

    def _place(self) -> tuple[int, int]:
        """Return index and time of what was taken last; of a part, where it begins, before anything was."""
        met = (self._cut.next_index, self._cut.end_ns)
        return self._part.begins if self._part is not None and met == (0, 0) else met


def _failure(error: GalagoError) -> dict[str, Any]:
    return {"reason": str(error.reason), "message": str(error)}


def _told(value: Any) -> Any:
    """Return what a record can hold: a file may have any name."""
    return on_one_line(value) if isinstance(value, str) else value


def _score(q16: int) -> float:
    return round(q16 / ONE, _SCORE_DIGITS)
