"""The sources of a recording, and what of each is there, in its order.

Nothing is decoded here, so that a recording can be checked, cut and copied as it is. Every item has a number
in its stream, so whatever is missing between two items shows, whether anybody has said so or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import CallerError, InputError, Reason
from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import LATEST_NS
from galago_edge.recorded.about import CAM, DROPS, FORMAT, GAPS, MIC, SourceMark, read_mark
from galago_edge.recorded.file_summary import StoredChannel
from galago_edge.recorded.item_decoding import ForeignClock, own_item
from galago_edge.recorded.record_walk import DamagedBytes, RecordWalk, StoredMessage, not_mcap
from galago_edge.recorded.stored_items import DropMessage, Missing, Stored, UnrecordedGap, begin_ns_of
from galago_edge.recorded.well_known import (
    AUDIO,
    KINDS,
    MessageError,
)

_NUMBERS = 1 << 32
"""Numbers of items are counted modulo this (``sequence`` of MCAP)."""
_MOST_JUMP = 1 << 31


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


def about_is_lost(walk: RecordWalk, sources: Mapping[str, RecordedSource]) -> bool:
    """Tell whether Galago wrote the file, and what it says of itself cannot be read any more."""
    return walk.about is None and any(source.mark is not None for source in sources.values())


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
        self._foreign = ForeignClock(source.modality)
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
            item = own_item(message)
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
            found.insert(0, Missing(missing, begin_ns_of(item), self._damage or "items that are not there"))
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
            found.insert(0, Missing(0, begin_ns_of(found[-1]), self._damage))
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
