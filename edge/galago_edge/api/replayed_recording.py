"""What a bundle would have said to a recording: ``galago replay``, for programs."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Self

from galago_edge.api.arguments import checked_bundle, checked_name, checked_thresholds
from galago_edge.api.replayed_part import WHOLE, ReplayedPart, replayed_part
from galago_edge.api.sole_user import SoleUser
from galago_edge.api.trusted_bundle import FilePath
from galago_edge.bundle import Bundle
from galago_edge.contract.errors import GalagoError
from galago_edge.contract.records import Record, dated
from galago_edge.contract.settings import ViewSettings
from galago_edge.contract.streams import WindowSeen
from galago_edge.pipeline import Batches, DecidingStream, ThresholdOverrides, batches, hand_on, load
from galago_edge.pipeline.stage_hashes import StageHashes, TakeLogits
from galago_edge.sources import Source, open_source, parse_source
from galago_edge.sources.faults.fault_file import FaultPlan
from galago_edge.sources.faults.faulted_clock import FaultedClock
from galago_edge.sources.recording_damage import DamagedError
from galago_edge.sources.recording_digest import recording_sha256
from galago_edge.sources.recording_part import RecordingPart
from galago_edge.sources.view_options import AS_IT_IS, view_settings

if TYPE_CHECKING:
    from galago_edge.sources.faults.faulted_source import FaultedSource


class Replay:
    """One recording on its way through one bundle, made by :func:`replay`; walked through once.

    Iterating gives the records in order, as fast as this computer can, in stream time: the same recording
    and bundle always give the same records. A damaged recording is decided as far as it can be read; its
    last record is ``failed`` then, and the error is raised behind it. One thread at a time may use it.
    """

    def __init__(
        self,
        recording: FilePath,
        bundle: Bundle,
        *,
        name: str = "replay",
        scores: bool = False,
        block_samples: int | None = None,
        part: ReplayedPart = WHOLE,
        view: ViewSettings = AS_IT_IS,
        thresholds: ThresholdOverrides | None = None,
        faults: FaultPlan | None = None,
    ) -> None:
        """Open the recording and load the bundle; see :func:`replay`."""
        checked_bundle(bundle)
        if faults is not None:
            faults.check(bundle.modality, dated=part.started_ns is not None)
        checked_name(name)
        text = os.fspath(recording)
        address = parse_source(text)
        self._faults = faults
        self._faulted: FaultedSource | None = None
        played = None if faults is None else self._with_faults
        source = open_source(text, bundle.spec, block_samples=block_samples, view=(view,), played=played)
        self._source = RecordingPart(
            source,
            from_ns=part.from_ns,
            to_ns=part.to_ns,
            fps=part.max_fps,
            sha256=recording_sha256(Path(address.target)) if address.described.is_path else None,
            shown=address.shown if address.described.is_path else "",
        )
        self._started_ns = part.started_ns
        self._loaded = load(bundle)
        try:
            self._stream = DecidingStream(name, self._loaded, thresholds=thresholds, scores=scores)
        except BaseException:  # whatever it was, the model must not stay loaded
            self._loaded.close()
            raise
        self._walk: Batches | None = None
        self._hashes: StageHashes | None = None
        self._use = SoleUser(f"the replay of {text}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Record]:
        """Yield every record; then raise what was wrong with the recording, if anything was.

        Raises:
            GalagoError: The recording is damaged, or the model failed; everything before was yielded.
            ValueError: It was walked through already, or is closed.
        """
        failure: GalagoError | None = None
        with closing(self._begun()) as walk:
            while True:
                with self._use():
                    try:
                        records = next(walk)
                    except StopIteration as end:
                        failure = end.value
                        break
                yield from records
        self.close()
        if failure is not None:
            raise failure

    def write(self, emit: Callable[[Sequence[Record]], None]) -> GalagoError | None:
        """Hand every record to ``emit``, some at a time; return what was wrong with the recording.

        Raises:
            ValueError: It was walked through already, or is closed.
        """
        with closing(self._begun()) as walk, self._use():
            return hand_on(walk, emit)

    def observe(self, observe: Callable[[WindowSeen], None]) -> None:
        """Let ``observe`` see every window with its exact scores, in order; before the walk.

        What is hashed and observed beside the decisions changes none.
        """
        with self._use():
            self._stream.observe = observe

    def hash_stages(self, take_logits: TakeLogits | None = None) -> StageHashes:
        """Return what hashes every stage, which costs time; before the walk, behind :meth:`observe`.

        ``take_logits`` is given the model's int8 output, run by run.
        """
        with self._use():
            self._hashes = StageHashes(take_logits)
            return self._hashes

    @property
    def windows(self) -> int:
        """So many windows were decided up to now."""
        return self._stream.tally.windows

    @property
    def events(self) -> int:
        """So many events there were up to now."""
        return self._stream.tally.events

    @property
    def gaps(self) -> int:
        """So many gaps there were up to now."""
        return self._stream.tally.gaps

    def close(self) -> None:
        """Let go of recording and model; a second time is fine."""
        if self._use.closed:
            return
        with self._use():
            self._use.closed = True
            if self._walk is not None:
                self._walk.close()
            self._loaded.close()

    def _begun(self) -> Batches:
        with self._use():
            if self._walk is not None:
                raise ValueError("this replay was walked through already; make a new one with replay(...)")
            hashes = self._hashes
            stream = self._stream if hashes is None else hashes.watch(self._stream, self._loaded.engine)
            walk = self._dated(batches(self._source, stream))
            self._walk = walk if self._faulted is None else _reached(walk, self._faulted)
            return self._walk

    def _with_faults(self, source: Source) -> Source:
        from galago_edge.sources.faults.faulted_source import FaultedSource  # here: it supervises as a device

        assert self._faults is not None
        self._faulted = FaultedSource(source, self._faults)
        return self._faulted

    def _dated(self, walk: Batches) -> Batches:
        """Yield the same with wall time, if it is known."""
        if self._started_ns is None:
            return walk
        started_ns = self._started_ns
        if self._faults is not None and (of_clock := self._faults.of_clock()):
            return _with_wall_time(walk, FaultedClock(started_ns, of_clock).dated)
        return _with_wall_time(walk, lambda records: dated(records, started_ns))


def _reached(walk: Batches, faulted: FaultedSource) -> Batches:
    """Yield the same; fail behind it where a fault was never met, beside what was wrong with the recording.

    Behind any other failure nobody knows what the faults would have met.
    """
    with closing(walk):
        failure: GalagoError | None = yield from walk
    unreached = faulted.unreached()
    if unreached is None or failure is None:
        return failure or unreached
    if not isinstance(failure, DamagedError):
        return failure
    hint = "; ".join(filter(None, (failure.hint, unreached.hint)))
    return DamagedError(failure.reason, f"{failure}; {unreached}", hint=hint)


def _with_wall_time(walk: Batches, date: Callable[[Sequence[Record]], list[Record]]) -> Batches:
    with closing(walk):
        while True:
            try:
                records = next(walk)
            except StopIteration as end:
                failure: GalagoError | None = end.value
                return failure
            yield date(records)


def replay(
    recording: FilePath,
    bundle: Bundle,
    *,
    name: str = "replay",
    scores: bool = False,
    block_samples: int | None = None,
    from_ns: int = 0,
    to_ns: int | None = None,
    start_time: datetime.datetime | None = None,
    max_fps: float | None = None,
    thresholds: Mapping[str, Mapping[str, float]] | None = None,
    rotate: int | None = None,
    region: Sequence[float] | None = None,
    mask: Sequence[Sequence[float]] | None = None,
    faults: FaultPlan | None = None,
) -> Replay:
    """Decide on a recording as a device would; iterate over the result for the records.

    Args:
        recording: A sound file, a folder of images or a video, with options as on the command line:
            ``"frames/?fps=10"`` (docs/sources.md).
        bundle: What decides; it may be closed as soon as this returns.
        name: The stream's name in the records.
        scores: True adds a record for every window.
        block_samples: Length of the blocks that sound is cut into; changes no record.
        from_ns: Stream time in nanoseconds at which the first window begins; what is before is passed over.
            Indexes and times stay those of the recording.
        to_ns: Stream time at which it ends; what is behind is not read.
        start_time: When the recording's first frame or sample was taken, with its time zone. Records have a
            ``wall_ns`` then.
        max_fps: Leaves out frames above this rate, as ``fps`` of ``[source.NAME]`` does on a device.
        thresholds: Label to ``{"on": ..., "off": ...}``, either or both, instead of the bundle's.
        rotate: Degrees clockwise, 90, 180 or 270, for recordings of a camera that hangs otherwise.
        region: What is kept of each picture: fractions of width and height, left, top, right, bottom, or
            x and y of each corner of a polygon.
        mask: What is blacked out: any number of such shapes.
        faults: What goes wrong with the source, as ``galago_edge.sources.faults.fault_file.read_faults``
            reads it (docs/replay-faults.md).

    Raises:
        CallerError: CONFIG_BAD; the recording is of no known form, or is live; ``thresholds`` names no label
            of the bundle, or crosses on and off; the source cannot have such faults. At the end: a fault was
            never met.
        InputError: SOURCE_MISMATCH, or the recording cannot be read.
        LinkError: SOURCE_MISSING, or the disk fails.
        BundleError: PREPROCESS_MISMATCH, TENSOR_MISMATCH or MODEL_BAD; the bundle cannot be run here.
        DeviceError: EXTRA_MISSING; RUNTIME_MISSING, OP_UNSUPPORTED.
        TypeError: ``bundle`` is none, or a number is no integer.
        ValueError: ``name`` is none that ``galago.toml`` takes; ``block_samples`` is below 1;
            a time is negative, ``to_ns`` not behind ``from_ns``,
            ``start_time`` without a time zone; ``max_fps``, ``rotate``, ``region`` or ``mask`` out of range
            or without area;
            the bundle is closed.
    """
    if block_samples is not None and block_samples < 1:
        raise ValueError(f"block_samples is {block_samples}, expected at least 1")
    return Replay(
        recording,
        bundle,
        name=name,
        scores=scores,
        block_samples=block_samples,
        part=replayed_part(from_ns, to_ns, start_time, max_fps),
        view=view_settings(rotate, region, mask),
        thresholds=checked_thresholds(thresholds),
        faults=faults,
    )
