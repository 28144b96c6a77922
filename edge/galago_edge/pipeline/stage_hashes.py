"""One hash for each stage on the way from a recording to its events, so that what differs first has a name.

None of them depends on how sound is cut into blocks, on paths or on names. Two replays whose hashes of a
stage are equal gave the same bytes there; the first stage that differs is where two machines, versions or
recordings part.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import GalagoError
from galago_edge.contract.records import EventRecord, GapRecord, Record
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Item, Notice, WindowSeen
from galago_edge.pipeline.driver import Decides
from galago_edge.pipeline.failover import FailoverEngine
from galago_edge.pipeline.stage_marks import MarkedHash, StageMarks
from galago_edge.pipeline.stream import DecidingStream, TooShort
from galago_edge.sources import Source

_Observe = Callable[[WindowSeen], None]
TakeLogits = Callable[[npt.NDArray[np.int8]], None]
"""Called with the logits of each run, shape ``(labels,)``, in order."""

STAGES = ("items", "decoded", "tensors", "logits", "scores", "smoothed", "events")
"""In the order in which a stream goes through them:

* ``items``: index, time and size of every frame, and the camera's own bytes where the source has them; rate,
  index and time at which sound begins, anew after each hole, and where it ends; notices of the source; gaps;
* ``decoded``: the pixels of every frame as the stream sees them, or the samples at the bundle's rate;
* ``tensors``: the model's input, run by run;
* ``logits``: its int8 output;
* ``scores``: span, gate and Q16 scores of every window;
* ``smoothed``: the same after smoothing;
* ``events``: label, score and span of every event.
"""


def first_difference(one: Mapping[str, str], other: Mapping[str, str]) -> str | None:
    """Return the first of :data:`STAGES` in which two replays differ; None when they are equal.

    >>> first_difference({"items": "a", "logits": "b"}, {"items": "a", "logits": "c"})
    'logits'
    """
    return next((stage for stage in STAGES if one.get(stage) != other.get(stage)), None)


class StageHashes:
    """SHA-256 of each of :data:`STAGES`, computed beside one stream; for one thread."""

    def __init__(self, take_logits: TakeLogits | None = None) -> None:
        """Begin; ``take_logits`` is given what each run of the model gives."""
        self._hashes = {stage: MarkedHash() for stage in STAGES}
        self._next_sample: int | None = None
        self._take_logits = take_logits
        self._runs: deque[tuple[npt.NDArray[Any], npt.NDArray[np.int8]]] = deque()
        """Of the windows that are not decided yet, one for each: its time is known with it."""

    def watch(self, stream: DecidingStream, engine: FailoverEngine) -> Decides:
        """Return what is to be driven in place of ``stream``, whose model is in ``engine``."""
        engine.observe = self._ran
        stream.observe = _both(stream.observe, self._window)
        return _Watched(stream, self)

    def hexdigests(self) -> dict[str, str]:
        """Return what the hashes are by now, in hexadecimal, in the order of the stages."""
        found = {stage: one.copy_hash() for stage, one in self._hashes.items()}
        if self._next_sample is not None:
            found["items"].update(f"end {self._next_sample}\n".encode())
        return {stage: one.hexdigest() for stage, one in found.items()}

    def marks(self) -> dict[str, StageMarks]:
        """Return what says where a stage and that of another replay part, in the order of the stages."""
        return {stage: one.marks() for stage, one in self._hashes.items()}

    def item(self, item: Item) -> None:
        """Take what the source gave."""
        if isinstance(item, Frame):
            at_ns = item.captured_ns
            height, width = item.pixels.shape[:2]
            self._line("items", at_ns, "frame", item.index, item.captured_ns, height, width)
            if item.encoded is not None:
                self._line("items", at_ns, "encoded", hashlib.sha256(item.encoded).hexdigest())
            self._hashes["decoded"].update(np.ascontiguousarray(item.pixels).data, at_ns)
        elif isinstance(item, AudioBlock):
            if item.first_sample != self._next_sample:
                words = ("sound", item.rate_hz, item.first_sample, item.captured_ns)
                self._line("items", item.captured_ns, *words)
            self._next_sample = item.first_sample + len(item.samples)
            self._samples(item)
        elif isinstance(item, Notice):
            detail = msgspec.json.encode(item.detail, order="sorted").decode()
            self._line("items", item.ns, "notice", item.state, item.index, item.ns, detail)

    def records(self, records: Sequence[Record]) -> None:
        """Take what the stream said: gaps are told here, those between two blocks too."""
        for record in records:
            if isinstance(record, GapRecord):
                self._line("items", record.from_ns, "gap", record.from_ns, record.to_ns, record.cause)
            elif isinstance(record, EventRecord):
                span = (record.start_index, record.end_index, record.start_ns, record.end_ns)
                self._line("events", record.end_ns, record.label, record.score, *span)

    def _samples(self, block: AudioBlock) -> None:
        """Take samples second by second, by their position: blocks may be cut anywhere."""
        samples, at = np.ascontiguousarray(block.samples, "<i2"), block.first_sample
        while len(samples):
            second, into = divmod(at, block.rate_hz)
            part, samples = samples[: block.rate_hz - into], samples[block.rate_hz - into :]
            self._hashes["decoded"].update(part.data, second * NS_PER_S)
            at += len(part)

    def _ran(self, given: npt.NDArray[Any], logits: npt.NDArray[np.int8]) -> None:
        self._runs.append((given, logits))

    def _window(self, seen: WindowSeen) -> None:
        span = seen.span
        if not seen.skipped:
            given, logits = self._runs.popleft()
            self._hashes["tensors"].update(given.data, span.end_ns)
            self._hashes["logits"].update(logits.data, span.end_ns)
            if self._take_logits is not None:
                self._take_logits(logits)
        places = (span.start_index, span.end_index, span.start_ns, span.end_ns, int(seen.skipped))
        self._line("scores", span.end_ns, *places, *seen.scores.tolist())
        self._line("smoothed", span.end_ns, *places, *seen.smoothed.tolist())

    def _line(self, stage: str, at_ns: int, *words: object) -> None:
        self._hashes[stage].update((" ".join(map(str, words)) + "\n").encode(), at_ns)


class _Watched:
    """A stream whose items and records are hashed on their way."""

    def __init__(self, stream: DecidingStream, hashes: StageHashes) -> None:
        self._stream, self._hashes = stream, hashes

    def start(self, source: Source) -> list[Record]:
        return self._stream.start(source)

    def push(self, item: Item) -> list[Record]:
        self._hashes.item(item)
        records = self._stream.push(item)
        self._hashes.records(records)
        return records

    def too_short(self) -> TooShort | None:
        return self._stream.too_short()

    def finish(self, source: Source, failure: GalagoError | None = None) -> list[Record]:
        return self._stream.finish(source, failure)


def _both(first: _Observe | None, second: _Observe) -> _Observe:
    if first is None:
        return second
    other = first

    def observe(seen: WindowSeen) -> None:
        other(seen)
        second(seen)

    return observe
