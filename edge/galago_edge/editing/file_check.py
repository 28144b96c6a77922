"""Says whether a recording file is what its recorder wrote, and what it holds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from galago_edge.contract.errors import disk_error
from galago_edge.contract.streams import AudioBlock, Gap
from galago_edge.editing.new_recording import stored_begin_ns, stored_end_ns
from galago_edge.recorded.about import DROPS, OUT, AboutRecording
from galago_edge.recorded.record_walk import DamagedBytes, RecordWalk, StoredMessage, not_mcap
from galago_edge.recorded.recorded_items import ItemCourse, RecordedSource, about_is_lost, recorded_sources
from galago_edge.recorded.stored_items import Missing, Stored, StoredPicture, UnrecordedGap

_NAMED = 1_000
"""So many damaged places, formats and topics are named at most; the others are counted."""
_MORE = "more"


@dataclass(slots=True)
class SourceReport:
    """What is there of one source."""

    modality: str
    formats: dict[str, int] = field(default_factory=dict)
    """Encoding of pictures that are frames, hidden ones left out, or rate of samples; and how many."""
    from_ns: int | None = None
    to_ns: int = 0
    gaps: dict[str, int] = field(default_factory=dict)
    """Cause and number."""
    gap_ns: int = 0
    missing: int = 0
    """Items that were recorded and are not there."""
    unrecorded: int = 0
    """Items that the recorder lost, by its own account."""
    disorder: int = 0
    """Items whose index or time goes back."""
    _last: int = -1
    _picture_ns: int = 0
    """When the last picture was taken."""

    def take(self, item: Stored) -> None:
        """Count an item."""
        if isinstance(item, Missing):
            self.missing += item.items
            self._gap("unreadable", max(0, (item.to_ns or 0) - self.to_ns))
        elif isinstance(item, UnrecordedGap):
            self.unrecorded += item.items
            self._gap(item.gap.cause, item.gap.to_ns - item.gap.from_ns)
        elif isinstance(item, Gap):
            self._gap(item.cause, item.to_ns - item.from_ns)
        elif isinstance(item, StoredPicture) and item.hidden:
            # it is no frame: its index says nothing, and it may have been taken while a gap went on
            self.disorder += item.captured_ns < self._picture_ns
        elif isinstance(item, StoredPicture | AudioBlock):
            sound = isinstance(item, AudioBlock)
            index = item.first_sample if isinstance(item, AudioBlock) else item.index
            back = index <= self._last or (item.captured_ns < self.to_ns and not sound)
            self.disorder += back
            self._last = index + (len(item.samples) - 1 if isinstance(item, AudioBlock) else 0)
            key = f"{item.rate_hz} Hz" if isinstance(item, AudioBlock) else item.format
            count = len(item.samples) if isinstance(item, AudioBlock) else 1
            _count(self.formats, key, count)
        if isinstance(item, StoredPicture):
            self._picture_ns = item.captured_ns
        if self.from_ns is None and not isinstance(item, Missing):
            self.from_ns = stored_begin_ns(item)
        self.to_ns = max(self.to_ns, stored_end_ns(item))

    def _gap(self, cause: str, length_ns: int) -> None:
        _count(self.gaps, cause)
        self.gap_ns += length_ns


@dataclass(slots=True)
class FileReport:
    """What a recording file holds, and what is wrong with it."""

    path: Path
    bytes: int
    about: AboutRecording | None
    about_lost: bool = False
    """Galago wrote it, and what it says of itself cannot be read."""
    whole: bool = False
    indexed: bool = False
    chunks: int = 0
    sha256: str = ""
    """``ok``, ``differs``, ``none`` (no file with it), or empty when nobody looked."""
    checksum: str = ""
    """That of all data: ``ok``, ``differs``, ``none`` (none is stated), or empty when nobody looked."""
    damaged: list[DamagedBytes] = field(default_factory=list)
    """The first places, at most ``_NAMED``."""
    damaged_more: int = 0
    """So many more there are."""
    sources: dict[str, SourceReport] = field(default_factory=dict)
    records: dict[str, int] = field(default_factory=dict)
    """Stream to number of records that the device decided."""
    drops: dict[str, int] = field(default_factory=dict)
    """Source to number of drops that were told."""
    others: dict[str, int] = field(default_factory=dict)
    """Topics that Galago does not read, and their messages."""

    def take_damage(self, damage: DamagedBytes) -> None:
        """Count a place that cannot be read."""
        if len(self.damaged) < _NAMED:
            self.damaged.append(damage)
        else:
            self.damaged_more += 1

    def faults(self) -> list[str]:
        """Return what is wrong, one line each; empty for a file that is as it was written."""
        found = [f"bytes {one.at} to {one.end}: {one.why}" for one in self.damaged]
        if self.damaged_more:
            found.append(f"bytes behind: {self.damaged_more} more places that cannot be read")
        if self.about_lost:
            found.append("what it says of itself cannot be read: device, streams and wall time")
        if not self.whole:
            found.append("it ends early: its recorder was ended, or it was cut off")
        if self.whole and not self.indexed:
            found.append("its index is damaged or missing; everything is read without it")
        if self.sha256 == "differs":
            found.append("it is not the file that its .sha256 is of")
        if self.checksum == "differs":
            found.append("the checksum of all data does not match")
        for name, source in self.sources.items():
            if source.missing:
                found.append(f"{name}: {source.missing} recorded items are not there")
            if source.disorder:
                found.append(f"{name}: index or time goes back {source.disorder} times")
        return found

    def data(self) -> dict[str, Any]:
        """Return it for programs."""
        plain: dict[str, Any] = {
            "file": self.path.name,
            "bytes": self.bytes,
            "about": None if self.about is None else msgspec.to_builtins(self.about),
            "whole": self.whole,
            "indexed": self.indexed,
            "chunks": self.chunks,
            "sha256": self.sha256,
            "checksum": self.checksum,
            "damaged": [{"from": one.at, "to": one.end, "why": one.why} for one in self.damaged],
            "damaged_more": self.damaged_more,
            "sources": {
                name: {key: getattr(source, key) for key in _TOLD} for name, source in self.sources.items()
            },
            "records": self.records,
            "drops": self.drops,
            "others": self.others,
            "faults": self.faults(),
        }
        return plain


_TOLD = (
    *("modality", "formats", "from_ns", "to_ns", "gaps", "gap_ns"),
    *("missing", "unrecorded", "disorder"),
)


def check_file(path: Path, *, thorough: bool = True) -> FileReport:
    """Read every chunk of ``path`` and count what is in it; ``thorough``: its checksums of the whole, too.

    Raises:
        InputError: RECORDING_UNREADABLE; it is no recording, or of a later format.
        LinkError: SOURCE_MISSING, or the disk fails.
        DeviceError: EXTRA_MISSING.
    """
    with RecordWalk(path) as walk:
        sources = recorded_sources(walk)
        report = FileReport(path, walk.size, walk.about, indexed=walk.summary is not None)
        report.about_lost = about_is_lost(walk, sources)
        courses = {name: ItemCourse(source) for name, source in sources.items()}
        report.sources = {name: SourceReport(source.modality) for name, source in sources.items()}
        of_topic = topics_of(courses)
        for message in walk.messages():
            if isinstance(message, DamagedBytes):
                report.take_damage(message)
                for course in courses.values():
                    course.damaged(message.why)
            elif (name := of_topic.get(message.channel.topic)) is not None:
                for item in courses[name].take(message):
                    report.sources[name].take(item)
            else:
                _count_beside(report, message, sources)
        for name, course in courses.items():
            for item in course.rest(walk):
                report.sources[name].take(item)
        report.whole, report.chunks = walk.whole, walk.chunks
        if not sources and not walk.chunks and not report.records:
            raise not_mcap(path, "is no recording: nothing in it can be read as MCAP")
        if thorough:
            report.sha256 = _sha256_state(path)
            if walk.whole and walk.data_crc:
                report.checksum = "ok" if walk.data_checksum() == walk.data_crc else "differs"
            elif walk.whole:
                report.checksum = "none"
    return report


def topics_of(courses: dict[str, ItemCourse]) -> dict[str, str]:
    """Return which source the messages of a topic are of."""
    return {topic: name for name, course in courses.items() for topic in course.topics}


def _count_beside(report: FileReport, message: StoredMessage, sources: dict[str, RecordedSource]) -> None:
    topic = message.channel.topic
    if topic.startswith(OUT):
        _count(report.records, topic.removeprefix(OUT))
    elif topic.startswith(DROPS) and topic.removeprefix(DROPS) in sources:
        _count(report.drops, topic.removeprefix(DROPS))
    else:
        _count(report.others, topic)


def _count(counts: dict[str, int], key: str, number: int = 1) -> None:
    """Add to the count of a name that the file gives, in bounded memory."""
    if key not in counts and len(counts) >= _NAMED:
        key = _MORE
    counts[key] = counts.get(key, 0) + number


def _sha256_state(path: Path) -> str:
    beside = path.with_name(path.name + ".sha256")
    try:
        stated = beside.read_text(encoding="ascii", errors="replace").split()
    except FileNotFoundError:
        return "none"
    except OSError as error:
        raise disk_error(error, f"read {beside}") from error
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    return "ok" if stated[:1] == [found] else "differs"
