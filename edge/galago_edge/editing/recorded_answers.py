"""Replays a recording made by a device, and compares with what the device decided then."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET

from galago_edge.bundle import Bundle
from galago_edge.contract.errors import CallerError, InputError, Reason
from galago_edge.contract.manifest import AudioPreprocess
from galago_edge.contract.records import (
    EventRecord,
    GapRecord,
    Record,
    ScoresRecord,
    StateRecord,
    decode_record,
    encode_record,
)
from galago_edge.contract.settings import ViewSettings
from galago_edge.pipeline import DecidingStream, batches, load
from galago_edge.recorded.about import OUT, RecordedStream
from galago_edge.recorded.record_walk import RecordWalk, StoredMessage
from galago_edge.recorded.recorded_items import recorded_sources
from galago_edge.sources.recorded_camera import RecordedCamera
from galago_edge.sources.recorded_microphone import RecordedMicrophone
from galago_edge.sources.source import Source
from galago_edge.sources.view_options import view_of
from galago_edge.sources.viewed_source import viewed

_COMPARED_SUBJECTS = ("gate", "source")
_LIVE_ONLY: dict[str, Any] = {
    "wall_ns": UNSET,
    "clock_synced": UNSET,
    "key": UNSET,
    "wall_corrected_ns": UNSET,
}


@dataclass(frozen=True, slots=True)
class AnswersReport:
    """Whether a replay says what the device said."""

    stream: str
    compared: int
    """Records of the device that were compared: events, scores, gaps, states of source, gate and labels."""
    left_out: int
    """Records of the device about itself: its start and end, backends, attachments, the governor, and gaps
    that it told of the process before."""
    difference: tuple[str, str] | None
    """The first record of the device that differs, and what the replay says there; either may be empty."""
    place: int = 0
    """Number of that record among those compared, from 0."""


def compare_answers(path: Path, bundle: Bundle, stream: str | None = None) -> AnswersReport:
    """Replay the source of a stream of ``path`` and compare record by record.

    Thresholds and view are those that the recording states; so are the frames and samples that the stream
    did not take in time. Of a recording that began later than the stream, as one around an event does, only
    what follows the first full smoothing and the longest refractory time is compared.

    Raises:
        CallerError: TARGET_UNKNOWN; it must be said which stream, or there is none of this name.
        InputError: RECORDING_UNREADABLE; no record of a device is in it. As the source says.
        BundleError, DeviceError: The bundle cannot be run here.
        LinkError: The disk fails.
    """
    chosen = _stream_of(path, stream)
    device, left_out = _of_the_device(path, chosen.name)
    with_scores = any(isinstance(record, ScoresRecord) for record in device)
    began = _began(path, chosen.name)
    loaded = load(bundle)
    try:
        deciding = DecidingStream(
            chosen.name, loaded, thresholds=_thresholds(chosen), scores=with_scores or not began
        )
        source = _source(path, chosen, bundle)
        with closing(batches(source, deciding)) as walk:
            replayed: Iterator[Record] = (
                plain for batch in walk for record in batch if (plain := _plain(record)) is not None
            )
            if not began:
                rest_ns = max(label.policy.refractory_ms for label in bundle.manifest.labels) * 1_000_000
                settled_ns, replayed = _settled(replayed, rest_ns)
                count = len(device)
                device = [record for record in device if _begin_ns(record) >= settled_ns]
                left_out += count - len(device)
                replayed = (one for one in replayed if with_scores or not isinstance(one, ScoresRecord))
            return _compared(chosen.name, device, replayed, left_out, shifted=not began)
    finally:
        loaded.close()


def _settled(replayed: Iterator[Record], rest_ns: int) -> tuple[int, Iterator[Record]]:
    """Return from when on a replay that began later than its stream must say the same, and what it says then.

    Before, it has not seen what the stream had seen: smoothing is not full, and a label may rest after an
    event that was not recorded.
    """
    for record in replayed:
        if isinstance(record, ScoresRecord) and not record.warm_up:
            settled_ns = record.end_ns + rest_ns
            return settled_ns, (one for one in replayed if _begin_ns(one) >= settled_ns)
    return 0, iter(())


def _begin_ns(record: Record) -> int:
    if isinstance(record, GapRecord):
        return record.from_ns
    return record.ns if isinstance(record, StateRecord) else record.start_ns


def _compared(
    name: str, device: list[Record], replayed: Iterator[Record], left_out: int, *, shifted: bool
) -> AnswersReport:
    """Compare; ``shifted``: the recording began later than the stream, so its counts do not begin at 0."""
    shifts: dict[str, int] = {}
    for place, (ours, theirs) in enumerate(itertools.zip_longest(device, replayed)):
        if shifted and ours is not None and theirs is not None:
            theirs = _shifted(ours, theirs, shifts)
        if ours != theirs:
            lines = tuple(
                "" if one is None else encode_record(one).decode().rstrip() for one in (ours, theirs)
            )
            return AnswersReport(name, len(device), left_out, (lines[0], lines[1]), place)
    return AnswersReport(name, len(device), left_out, None)


def _shifted(ours: Record, theirs: Record, shifts: dict[str, int]) -> Record:
    for kind, field in ((EventRecord, "seq"), (ScoresRecord, "window")):
        if isinstance(ours, kind) and isinstance(theirs, kind):
            number = getattr(theirs, field)
            shift = shifts.setdefault(field, getattr(ours, field) - number)
            return msgspec.structs.replace(theirs, **{field: number + shift})
    return theirs


def _plain(record: Record) -> Record | None:
    """Return what of a record must be the same in every replay; None for what a device says of itself."""
    if isinstance(record, GapRecord) and record.from_ns < 0:
        return None  # of the process before: it ends where this one's stream begins
    if isinstance(record, EventRecord | GapRecord):
        return msgspec.structs.replace(record, **_LIVE_ONLY)
    if isinstance(record, ScoresRecord):
        return msgspec.structs.replace(record, wall_ns=UNSET, clock_synced=UNSET)
    if not isinstance(record, StateRecord):
        return None
    if record.subject in _COMPARED_SUBJECTS or record.subject.startswith("label:"):
        return msgspec.structs.replace(record, **_LIVE_ONLY)
    return None


def _of_the_device(path: Path, name: str) -> tuple[list[Record], int]:
    """Return the comparable records of a stream, and the number of the others."""
    records: list[Record] = []
    left_out = 0
    for line in _lines(path, name):
        try:
            plain = _plain(decode_record(line))
        except msgspec.DecodeError:
            raise InputError(
                Reason.RECORDING_UNREADABLE,
                f"{path}: a record of stream {name} is none that this version knows: {line[:80]!r}",
                hint="compare with the version of galago-edge that recorded it",
            ) from None
        if plain is None:
            left_out += 1
        else:
            records.append(plain)
    return records, left_out


def _began(path: Path, name: str) -> bool:
    """Tell whether the recording holds the beginning of the stream."""
    first = next(_lines(path, name), b"")
    try:
        record = decode_record(first)
    except msgspec.DecodeError:
        return False
    return isinstance(record, StateRecord) and (record.subject, record.state) == ("stream", "started")


def _lines(path: Path, name: str) -> Iterator[bytes]:
    with RecordWalk(path) as walk:
        for message in walk.messages(lambda channel: channel.topic == OUT + name):
            if isinstance(message, StoredMessage):
                yield message.data


def _stream_of(path: Path, name: str | None) -> RecordedStream:
    with RecordWalk(path) as walk:
        stated = {} if walk.about is None else {stream.name: stream for stream in walk.about.streams}
        sources = recorded_sources(walk)
    if not stated:
        raise InputError(
            Reason.RECORDING_UNREADABLE,
            f"{path} says nothing of streams: no device decided while it was recorded",
            hint="galago replay decides on it",
        )
    if name is None and len(stated) == 1:
        name = next(iter(stated))
    if name not in stated:
        what = f"has no stream {name}" if name is not None else f"has {len(stated)} streams"
        raise CallerError(
            Reason.TARGET_UNKNOWN, f"{path} {what}", hint=f"--stream: one of {', '.join(stated)}"
        )
    if stated[name].source not in sources:
        raise InputError(
            Reason.RECORDING_UNREADABLE,
            f"{path} does not hold source {stated[name].source}, on which stream {name} decided",
            hint="galago recording info shows what it holds",
        )
    return stated[name]


def _source(path: Path, stream: RecordedStream, bundle: Bundle) -> Source:
    spec = bundle.spec
    if isinstance(spec, AudioPreprocess):
        return RecordedMicrophone(path, spec.sample_rate_hz, name=stream.source, stream=stream.name)
    view = msgspec.convert(stream.view, ViewSettings)
    return viewed(RecordedCamera(path, stream.source, stream.name), view_of({}, view))


def _thresholds(stream: RecordedStream) -> dict[str, dict[str, float]]:
    """Return the overrides as they are given, be they stated so or as records tell them."""
    return {
        label: {
            key: float(value["device"] if isinstance(value, dict) else value) for key, value in policy.items()
        }
        for label, policy in stream.overrides.items()
    }
