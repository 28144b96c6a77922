"""A recording cut into the windows that a bundle would see, with gaps and times, before there is a model.

It goes through the device's own stream; only the model's place is taken by what keeps its inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from galago_edge.contract.manifest import AudioPreprocess, Label, Preprocess
from galago_edge.contract.records import GapRecord, Record, StateRecord
from galago_edge.contract.streams import Span, WindowSeen
from galago_edge.decision import Activation
from galago_edge.engine import BackendChange
from galago_edge.pipeline import DecidingStream, batches, hand_on
from galago_edge.preprocess import ImagePreprocessor, LogMelFrontend, fingerprint
from galago_edge.sources import open_source
from galago_workstation.data.augmentation.scratch_file import ScratchFile
from galago_workstation.qa.corpus_rows import CorpusRecording
from galago_workstation.qa.label_file import read_labels
from galago_workstation.qa.replay_work import receptive_ns
from galago_workstation.qa.replayed import Replayed, WindowScores

_NO_BUNDLE = "0" * 64


@dataclass(frozen=True, slots=True)
class RecordedWindows:
    """One recording."""

    replayed: Replayed
    """As a model would leave it that says nothing: scores of 0, no events."""
    start: int
    """Where its inputs begin in the scratch file."""
    shape: tuple[int, ...]
    """Of one input."""
    dtype: np.dtype[Any]

    def inputs(self, scratch: ScratchFile, at_once: int) -> Iterator[npt.NDArray[Any]]:
        """Yield the model inputs, ``(n, *shape)`` uint8 pixels or int8 features, so many at once at most."""
        size = int(np.prod(self.shape)) * self.dtype.itemsize
        assert self.replayed.scores is not None
        count = len(self.replayed.scores.span)
        for first in range(0, count, at_once):
            some = min(at_once, count - first)
            content = scratch.read(self.start + first * size, some * size)
            yield np.frombuffer(content, self.dtype).reshape(some, *self.shape)


def cut_recording(
    one: CorpusRecording, spec: Preprocess, labels: Sequence[Label], scratch: ScratchFile
) -> RecordedWindows:
    """Cut a labelled recording; its inputs go to ``scratch``.

    The activity gate is left out: every window is cut.

    Raises:
        GalagoError: The recording is damaged or too short, or its labels cannot be used.
        LinkError: The disk fails.
    """
    preprocessor = LogMelFrontend(spec) if isinstance(spec, AudioPreprocess) else ImagePreprocessor(spec)
    shape, dtype = _input_of(preprocessor)
    engine = _InputKeeper(shape, dtype, len(labels), scratch)
    stream = _stream(spec, labels, preprocessor, engine)
    spans: list[Span] = []
    restarts: list[bool] = []

    def note(seen: WindowSeen) -> None:
        spans.append(seen.span)
        restarts.append(seen.restart)

    stream.observe = note
    records: list[Record] = []
    failure = hand_on(batches(open_source(one.address, spec), stream), records.extend)
    if failure is not None:
        raise failure
    scores = WindowScores(
        span=np.array(
            [(one.start_index, one.end_index, one.start_ns, one.end_ns) for one in spans], np.int64
        ),
        q16=np.zeros((len(spans), len(labels)), np.int32),
        skipped=np.zeros(len(spans), np.bool_),
        restart=np.array(restarts, np.bool_),
    )
    states = tuple(record for record in records if isinstance(record, StateRecord))
    gaps = tuple(record for record in records if isinstance(record, GapRecord))
    duration_ns = max([state.ns for state in states] + [gap.to_ns for gap in gaps])
    assert one.labels is not None
    replayed = Replayed(
        recording=one.name,
        sha256=one.sha256,
        bundle=_NO_BUNDLE,
        labels=tuple(labels),
        receptive_ns=receptive_ns(spec),
        duration_ns=duration_ns,
        events=(),
        gaps=gaps,
        states=states,
        scores=scores,
        truth=read_labels(one.labels, sha256=one.sha256, duration_ns=duration_ns).truth,
    )
    return RecordedWindows(replayed, engine.start, shape, dtype)


class _InputKeeper:
    """Takes the place of a model: keeps what it would be given, and says nothing."""

    backend, reason = "cpu", None

    def __init__(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], labels: int, scratch: ScratchFile
    ) -> None:
        self._input = np.zeros(shape, dtype)
        self._logits = np.zeros(labels, np.int8)
        self._scratch = scratch
        self.start = scratch.append(b"")

    def input_view(self) -> npt.NDArray[Any]:
        """Return where the next input is to be written."""
        return self._input

    def invoke(self) -> None:
        """Keep it."""
        self._scratch.append(self._input.tobytes())

    def logits(self) -> npt.NDArray[np.int8]:
        """Return nothing."""
        return self._logits

    def changes(self) -> list[BackendChange]:
        """Return no changes."""
        return []


def _input_of(preprocessor: ImagePreprocessor | LogMelFrontend) -> tuple[tuple[int, ...], np.dtype[Any]]:
    if isinstance(preprocessor, ImagePreprocessor):
        return preprocessor.shape, np.dtype(np.uint8)
    return (preprocessor.spec.window_frames, preprocessor.spec.mel_bands), np.dtype(np.int8)


def _stream(
    spec: Preprocess,
    labels: Sequence[Label],
    preprocessor: ImagePreprocessor | LogMelFrontend,
    engine: _InputKeeper,
) -> DecidingStream:
    """Return a stream for a bundle that is not there yet; it is asked for no more than stands here."""
    from msgspec import UNSET

    manifest = SimpleNamespace(
        bundle=SimpleNamespace(name="validation", version="0"),
        labels=tuple(labels),
        gate=UNSET,
        preprocess=SimpleNamespace(spec=spec, sha256=fingerprint(spec)),
    )
    loaded = SimpleNamespace(
        id=_NO_BUNDLE,
        manifest=manifest,
        engine=engine,
        activation=Activation("softmax", 1.0, 0),
        preprocessor=preprocessor,
        spec=spec,
    )
    return DecidingStream("validation", cast(Any, loaded))
