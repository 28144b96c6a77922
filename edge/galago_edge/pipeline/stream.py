"""One stream: frames or samples in, records out. The same for a live source and for a replay."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from galago_edge.contract.errors import GalagoError
from galago_edge.contract.records import EventRecord, GapRecord, Record, ScoresRecord, StateRecord
from galago_edge.contract.streams import Gap, Item, Notice, Span
from galago_edge.decision import ONE, Decider, Ended, Fired
from galago_edge.engine import runtime
from galago_edge.pipeline.loading import LoadedBundle
from galago_edge.pipeline.overrides import Overrides, override
from galago_edge.pipeline.windows import windows_of
from galago_edge.sources import Source

_SCORE_DIGITS = 6  # Q16 steps are 0.000015


class Stream:
    """Decides on one source with one bundle. Used by one thread at a time; starts no thread, reads no clock.

    What it answers depends on the items alone, not on how audio is cut into blocks.
    """

    def __init__(
        self, name: str, loaded: LoadedBundle, *, overrides: Overrides | None = None, scores: bool = False
    ) -> None:
        """Prepare a stream called ``name``; ``scores`` adds a record for every window.

        Raises:
            CallerError: CONFIG_BAD; ``overrides`` names no label of the bundle, or crosses thresholds.
        """
        self.name = name
        self._loaded = loaded
        labels, self._differences = override(loaded.manifest.labels, overrides or {})
        self._decider = Decider(labels)
        self._cut = windows_of(loaded.preprocessor, loaded.engine)
        self._with_scores = scores
        self.windows = 0
        """Decided so far."""
        self.events = 0
        self.gaps = 0

    def start(self, source: Source) -> list[Record]:
        """Return the first records: what this stream decides with, and on what."""
        manifest, ran_by = self._loaded.manifest, runtime()
        detail = {
            "bundle": self._loaded.id,
            "name": manifest.bundle.name,
            "version": manifest.bundle.version,
            "preprocess": manifest.preprocess.sha256,
            "backend": self._loaded.engine.backend,
            "runtime": {"package": ran_by.package, "version": ran_by.version},
            "overrides": self._differences,
            "source": source.description(),
        }
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
        for span in self._cut.feed(item):
            self._decide(span, records)
        return records

    def absent(self, failure: GalagoError) -> list[Record]:
        """Return the only record of a stream whose source could not be opened."""
        return [self._state("stream", "failed", _failure(failure))]

    def finish(self, source: Source, failure: GalagoError | None = None) -> list[Record]:
        """Return the last records: what the whole stream came to, and how it ended."""
        detail: dict[str, Any] = {
            "windows": self.windows,
            "events": self.events,
            "gaps": self.gaps,
            "source": source.summary(),
        }
        if failure is None:
            return [self._state("stream", "ended", detail)]
        # a recording's message holds the path where it lies today; standard error has it
        told = _failure(failure) if source.live else {"reason": str(failure.reason)}
        return [self._state("stream", "failed", told | detail)]

    def _decide(self, span: Span, records: list[Record]) -> None:
        """Run the model on the window that the tensor holds."""
        loaded = self._loaded
        loaded.engine.invoke()
        logits = loaded.engine.logits()
        scores = loaded.activation.scores(logits)
        changes = self._decider.step(scores, span)
        if self._with_scores:
            records.append(
                ScoresRecord(
                    stream=self.name,
                    window=self.windows,
                    start_index=span.start_index,
                    end_index=span.end_index,
                    start_ns=span.start_ns,
                    end_ns=span.end_ns,
                    logits=logits.tolist(),
                    scores=[_score(score) for score in scores.tolist()],
                    warm_up=self._decider.warm_up,
                )
            )
        self.windows += 1
        for change in changes:
            records.append(self._event(change) if isinstance(change, Fired) else self._off(change))

    def _event(self, fired: Fired) -> EventRecord:
        record = EventRecord(
            stream=self.name,
            seq=self.events,
            label=fired.label,
            score=_score(fired.score_q16),
            start_index=fired.span.start_index,
            end_index=fired.span.end_index,
            start_ns=fired.span.start_ns,
            end_ns=fired.span.end_ns,
            bundle=self._loaded.id,
            backend=self._loaded.engine.backend,
            backend_reason=self._loaded.engine.reason or UNSET,
            overrides=self._differences.get(fired.label, UNSET),
        )
        self.events += 1
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
        """Say the gap, and begin anew behind it: smoothing must not join what does not belong together."""
        self.gaps += 1
        records: list[Record] = [self._off(ended) for ended in self._decider.reset()]
        self._cut.reset()
        records.append(GapRecord(stream=self.name, from_ns=gap.from_ns, to_ns=gap.to_ns, cause=gap.cause))
        return records

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
        return StateRecord(
            stream=self.name,
            subject=subject,
            state=state,
            index=self._cut.next_index,
            ns=self._cut.end_ns,
            detail=detail,
        )


def _failure(error: GalagoError) -> dict[str, Any]:
    return {"reason": str(error.reason), "message": str(error)}


def _score(q16: int) -> float:
    return round(q16 / ONE, _SCORE_DIGITS)
