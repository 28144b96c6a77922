"""What of one source is in a recording: the items of its stream in their order, with pictures still encoded.

Nothing is decoded here, so that a recording can be checked, cut and copied as it is. Every item has a number in
its stream, so whatever is missing between two items shows, whether anybody has said so or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import CallerError, InputError, Reason
from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import GAP_CAUSES, LATEST_NS, AudioBlock, Gap, Notice, samples_to_ns
from galago_edge.recorded.about import CAM, DROPS, FORMAT, GAPS, MIC, SourceMark, read_mark
from galago_edge.recorded.record_walk import DamagedBytes, RecordWalk, StoredChannel, StoredMessage, not_mcap
from galago_edge.recorded.well_known import (
    AUDIO,
    HIDDEN,
    KEY,
    KINDS,
    VIDEO,
    MessageError,
    WireMessage,
    decode_message,
)

_NUMBERS = 1 << 32
"""Numbers of items are counted modulo this (``sequence`` of MCAP)."""
_MOST_JUMP = 1 << 31


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """One picture as the camera sent it."""

    index: int
    captured_ns: int
    format: str
    """``jpeg``, ``png``, ``h264`` ..."""
    data: bytes
    hidden: bool = False
    """No stream saw it: later ones lean on it."""
    key: bool = True
    """It leans on nothing before."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Items that were recorded, or should have been, and are not there."""

    items: int
    """0: nobody knows how many."""
    to_ns: int | None
    """Stream time up to which they reached at least; None: nobody knows."""
    why: str


@dataclass(frozen=True, slots=True)
class UnrecordedGap:
    """The recorder itself lost these items, and says so."""

    gap: Gap
    items: int


class MarkMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message of ``/gaps/<source>``."""

    kind: str
    """``gap`` or ``notice``."""
    from_ns: int = 0
    to_ns: int = 0
    cause: str = ""
    lost_items: int = 0
    """Of a gap: so many items the recorder could not keep."""
    state: str = ""
    index: int = 0
    ns: int = 0
    detail: dict[str, Any] = {}


class DropMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message of ``/drops/<source>``: a stream did not take these in time."""

    stream: str
    first: int
    """Index of the first frame or sample."""
    end: int
    """Behind the last."""
    from_ns: int
    to_ns: int
    cause: str = ""
    """Of the gap that the stream was told; empty where it was told none."""


Stored = StoredPicture | AudioBlock | Gap | Notice | UnrecordedGap | Missing


@dataclass(frozen=True, slots=True)
class RecordedSource:
    """One source of a recording."""

    name: str
    modality: Modality
    topics: frozenset[str]
    """Of its pictures or samples."""
    mark: SourceMark | None
    """None: another program recorded it."""

    @property
    def start_ns(self) -> int:
        """Log time at stream time 0, as far as the file says it."""
        return 0 if self.mark is None else self.mark.start_ns


def recorded_sources(walk: RecordWalk) -> dict[str, RecordedSource]:
    """Return the sources of a recording by name, in order of their names; walks through it without an index.

    Raises:
        InputError: RECORDING_UNREADABLE; a later version of Galago wrote it.
        LinkError: The disk fails.
    """
    channels: dict[StoredChannel, None] = {}
    if walk.summary is not None:
        channels = dict.fromkeys(walk.summary.channels)
    if not channels:
        with RecordWalk(walk.path) as other:
            for message in other.messages():
                if isinstance(message, StoredMessage):
                    channels[message.channel] = None
    if walk.about is not None and walk.about.format > FORMAT:
        raise not_mcap(walk.path, f"is of format {walk.about.format}, expected at most {FORMAT}")
    found: dict[str, RecordedSource] = {}
    for channel in channels:
        if (source := _source_of(channel)) is not None:
            known = found.get(source.name)
            topics = source.topics | (known.topics if known is not None else frozenset())
            found[source.name] = RecordedSource(source.name, source.modality, topics, source.mark)
    return dict(sorted(found.items()))


def choose_source(
    sources: Mapping[str, RecordedSource], path: Path, modality: Modality, wanted: str | None
) -> RecordedSource:
    """Return the source that is meant.

    Raises:
        CallerError: CONFIG_BAD; there are several, or none of this name.
        InputError: SOURCE_MISMATCH; none gives what is wanted.
    """
    fitting = {name: source for name, source in sources.items() if source.modality == modality}
    if wanted is not None and wanted not in fitting:
        names = ", ".join(fitting) or "none"
        raise CallerError(
            Reason.CONFIG_BAD,
            f"{path} holds no {modality} {wanted} (it holds: {names})",
            hint=f"{path.name}?source=NAME",
        )
    if wanted is not None:
        return fitting[wanted]
    if not fitting:
        raise InputError(
            Reason.SOURCE_MISMATCH,
            f"{path} holds nothing of a {modality}",
            hint="galago recording info shows what it holds",
        )
    if len(fitting) > 1:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"{path} holds several sources of a {modality}: {', '.join(fitting)}",
            hint=f"choose one: {path.name}?source={next(iter(fitting))}",
        )
    return next(iter(fitting.values()))


class ItemCourse:
    """Puts the messages of one source in order, as the file gives them, and sees what is missing."""

    def __init__(self, source: RecordedSource) -> None:
        """Begin before the first message."""
        self.source = source
        self.topics = source.topics | ({GAPS + source.name} if source.mark is not None else frozenset())
        """Where its messages are."""
        self._next_number = 0
        self._damage = ""
        self._foreign = _ForeignClock(source.modality)
        self.unreadable = 0
        """Messages that made no sense, or are missing for certain."""
        self.items = 0

    def damaged(self, why: str) -> None:
        """Note that some of the file cannot be read: items of this source may be missing."""
        self._damage = self._damage or why

    def take(self, message: StoredMessage) -> list[Stored]:
        """Return what a message of this source says, behind what is missing before it."""
        if self.source.mark is None:
            return self._of_another_program(message)
        try:
            item = _own_item(message, self.source)
        except (MessageError, msgspec.DecodeError):
            self.damaged("a message that makes no sense")
            return []  # its number is missing, which the next one shows
        jump = (message.sequence - self._next_number) % _NUMBERS
        if jump >= _MOST_JUMP:
            self.damaged("a message that is there twice")
            return []
        missing = jump - (item.items if isinstance(item, UnrecordedGap) else 0)
        found: list[Stored] = [item]
        if missing > 0:
            self.unreadable += missing
            found.insert(0, Missing(missing, _begin_ns(item), self._damage or "items that are not there"))
        self._damage = ""
        self._next_number = (message.sequence + 1) % _NUMBERS
        self.items += 1
        return found

    def rest(self, walk: RecordWalk) -> list[Stored]:
        """Return what the index counts and nobody saw; ``walk`` has come to its end."""
        summary = walk.summary
        if summary is None or not walk.whole or self.source.mark is None:
            return [Missing(0, None, self._damage)] if self._damage and walk.whole else []
        counted = sum(summary.messages.get(topic, 0) for topic in self.topics)
        if (missing := counted - self.items - self.unreadable) <= 0:
            return []
        self.unreadable += missing
        to_ns = summary.to_ns - self.source.start_ns
        return [Missing(missing, to_ns if 0 <= to_ns < LATEST_NS else None, self._damage or "missing")]

    def _of_another_program(self, message: StoredMessage) -> list[Stored]:
        try:
            found = self._foreign.item(message)
        except MessageError:
            self.unreadable += 1
            self.damaged("a message that makes no sense")
            return []
        if self._damage:
            found.insert(0, Missing(0, _begin_ns(found[-1]), self._damage))
            self._damage = ""
        self.items += 1
        return found


class StoredItems:
    """The items of one source of one file; iterated once."""

    def __init__(self, walk: RecordWalk, source: RecordedSource) -> None:
        """Prepare to walk; ``walk`` belongs to this now."""
        self._walk = walk
        self._course = ItemCourse(source)

    def __iter__(self) -> Iterator[Stored]:
        """Yield what is there and what is not; at the end of a file that is not whole, nothing more.

        Raises:
            LinkError: The disk fails.
        """
        topics = self._course.topics
        for message in self._walk.messages(lambda channel: channel.topic in topics):
            if isinstance(message, DamagedBytes):
                self._course.damaged(message.why)
            else:
                yield from self._course.take(message)
        yield from self._course.rest(self._walk)

    @property
    def whole(self) -> bool:
        """Afterwards: whether the end of the file was met."""
        return self._walk.whole


def drops_of(path: Path, source: RecordedSource, stream: str | None = None) -> list[DropMessage]:
    """Return what streams (or this one) did not take of a source, in the order of the file.

    Raises:
        LinkError: The disk fails.
    """
    found: list[DropMessage] = []
    topic = DROPS + source.name
    with RecordWalk(path) as walk:
        for message in walk.messages(lambda channel: channel.topic == topic):
            if isinstance(message, StoredMessage):
                try:
                    drop = from_json(message.data, type=DropMessage)
                except msgspec.DecodeError:
                    continue
                if stream in (None, drop.stream):
                    found.append(drop)
    return found


def _source_of(channel: StoredChannel) -> RecordedSource | None:
    mark = read_mark(channel.metadata)
    if mark is not None:
        own = channel.topic.startswith((CAM, MIC))
        topics = frozenset({channel.topic}) if own else frozenset()
        return RecordedSource(mark.name, mark.modality, topics, mark)
    if channel.encoding != "protobuf" or channel.schema not in KINDS:
        return None
    modality: Modality = "microphone" if channel.schema == AUDIO.name else "camera"
    return RecordedSource(channel.topic, modality, frozenset({channel.topic}), None)


def _own_item(message: StoredMessage, source: RecordedSource) -> Stored:
    if message.channel.topic.startswith(GAPS):
        return _mark_item(from_json(message.data, type=MarkMessage))
    kind = KINDS.get(message.channel.schema)
    if kind is None:
        raise MessageError("of an unknown kind")
    wire = decode_message(kind, message.data)
    index, ns = wire.index, wire.time_ns
    if index is None or ns is None or not 0 <= index < LATEST_NS or not 0 <= ns < LATEST_NS:
        raise MessageError("it has no place in the stream")
    if kind is AUDIO:
        return _block(wire, index, ns)
    still = kind is not VIDEO
    return StoredPicture(
        index, ns, wire.format, wire.data, bool(wire.flags & HIDDEN), still or bool(wire.flags & KEY)
    )


def _mark_item(mark: MarkMessage) -> Stored:
    if not 0 <= mark.from_ns <= mark.to_ns < LATEST_NS or not 0 <= mark.ns < LATEST_NS:
        raise MessageError("its times cannot be")
    if mark.kind == "gap":
        if mark.cause not in GAP_CAUSES:
            raise MessageError("a gap without a cause")
        gap = Gap(mark.from_ns, mark.to_ns, mark.cause)
        return UnrecordedGap(gap, mark.lost_items) if mark.lost_items else gap
    if mark.kind != "notice" or not mark.state:
        raise MessageError("neither gap nor notice")
    return Notice(mark.state, mark.index, mark.ns, dict(mark.detail))


def _block(wire: WireMessage, first: int, ns: int) -> AudioBlock:
    """Return samples; those of several channels are their mean, as everywhere."""
    channels = wire.channels or 1
    if wire.format != "pcm-s16" or not 1 <= channels <= 64 or len(wire.data) % (2 * channels):
        raise MessageError("no 16-bit samples")
    if not 1_000 <= wire.rate_hz <= 1_000_000:
        raise MessageError("no rate of sound")
    samples = np.frombuffer(wire.data, "<i2").astype(np.int16)
    if channels > 1:
        total = samples.reshape(-1, channels).sum(axis=1, dtype=np.int64)
        samples = ((2 * total + channels) // (2 * channels)).astype(np.int16)  # pcm/2, step 2
    return AudioBlock(samples, first, ns, wire.rate_hz)


class _ForeignClock:
    """Places the messages of another program by their log times, counted from the first."""

    def __init__(self, modality: Modality) -> None:
        self._modality = modality
        self._from_ns: int | None = None
        self._next = 0
        self._end_ns = 0
        self._rate_hz = 0

    def item(self, message: StoredMessage) -> list[Stored]:
        """Return the message's item, with the gap before it, if samples are missing there.

        Raises:
            MessageError: It makes no sense.
        """
        wire = decode_message(KINDS[message.channel.schema], message.data)
        if self._from_ns is None:
            self._from_ns = message.log_ns
        at_ns = message.log_ns - self._from_ns
        if at_ns >= LATEST_NS:
            raise MessageError("its time cannot be")
        if self._modality == "microphone":
            return self._sound(wire, at_ns)
        index, self._next = self._next, self._next + 1
        told: list[Stored] = []
        if at_ns < self._end_ns:  # told once for each: stream time never goes back
            told.append(Notice("stamps", index, self._end_ns, {"fault": "went back"}))
        self._end_ns = max(self._end_ns, at_ns)
        key = message.channel.schema != VIDEO.name or is_key_unit(wire.data)
        return [*told, StoredPicture(index, self._end_ns, wire.format, wire.data, key=key)]

    def _sound(self, wire: WireMessage, at_ns: int) -> list[Stored]:
        block = _block(wire, 0, 0)
        told: list[Stored] = []
        if self._rate_hz and self._rate_hz != block.rate_hz:
            self._next = -(-self._end_ns * block.rate_hz // 1_000_000_000)
        self._rate_hz = block.rate_hz
        by_clock = at_ns * block.rate_hz // 1_000_000_000
        if by_clock - self._next > max(len(block.samples) // 2, block.rate_hz // 50):
            from_ns = self._end_ns
            self._next = by_clock
            told.append(Gap(from_ns, samples_to_ns(by_clock, block.rate_hz), "missing"))
        first = self._next
        self._next += len(block.samples)
        self._end_ns = samples_to_ns(self._next, block.rate_hz)
        return [*told, AudioBlock(block.samples, first, samples_to_ns(first, block.rate_hz), block.rate_hz)]


def is_key_unit(data: bytes) -> bool:
    """Tell whether an H.264 access unit in Annex B leans on nothing: it holds an IDR slice (7.4.1.2.4)."""
    at = data.find(b"\x00\x00\x01")
    while at >= 0 and at + 3 < len(data):
        if data[at + 3] & 0x1F == 5:
            return True
        at = data.find(b"\x00\x00\x01", at + 3)
    return False


def _begin_ns(item: Stored) -> int:
    if isinstance(item, StoredPicture | AudioBlock):
        return item.captured_ns
    if isinstance(item, UnrecordedGap):
        return item.gap.from_ns
    if isinstance(item, Gap):
        return item.from_ns
    return item.ns if isinstance(item, Notice) else item.to_ns or 0
