"""Makes a whole recording file of a part of one, or of what is left of a damaged one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Gap, samples_to_ns
from galago_edge.editing.file_check import topics_of
from galago_edge.editing.new_recording import new_recording, put_stored, stored_begin_ns, stored_end_ns
from galago_edge.recorded.about import DROPS, OUT, AboutRecording, SourceMark
from galago_edge.recorded.record_walk import DamagedBytes, RecordWalk, StoredMessage, not_mcap
from galago_edge.recorded.recorded_items import ItemCourse, RecordedSource, about_is_lost, recorded_sources
from galago_edge.recorded.stored_items import DropMessage, Missing, Stored, StoredPicture
from galago_edge.recording.recording_writer import RecordingWriter


@dataclass(slots=True)
class CopyReport:
    """What was taken over, and what was not."""

    items: dict[str, int] = field(default_factory=dict)
    """By source."""
    records: int = 0
    missing: int = 0
    """Recorded items that could not be read, or lean on some that could not."""
    damaged_bytes: int = 0
    ended_early: bool = False
    about_lost: bool = False
    """What the recording said of itself (device, streams, wall time) could not be read."""

    @property
    def lossy(self) -> bool:
        """Whether something that was recorded is not in the copy, or may not be."""
        return bool(self.missing or self.damaged_bytes or self.ended_early or self.about_lost)


def recover_file(path: Path, target: Path) -> CopyReport:
    """Write to ``target`` all that can be read of ``path``; what is missing is a gap ``unreadable`` in it.

    Raises:
        InputError: RECORDING_UNREADABLE; nothing can be read.
        CallerError: EXISTS.
        LinkError: SOURCE_MISSING, or the disk fails.
        DeviceError: EXTRA_MISSING.
    """
    return _copied(path, target, lambda sources: dict.fromkeys(sources, (0, None)))


def cut_file(
    path: Path, target: Path, from_ns: int, to_ns: int | None, source: str | None = None
) -> CopyReport:
    """Write to ``target`` what lies between two stream times of ``source``, and of others then.

    Indexes and times stay those of the recording. Pictures that lean on others begin with their key frame;
    those before ``from_ns`` are hidden. ``source`` need not be given where all began at the same moment.

    Raises:
        CallerError: EXISTS; TARGET_UNKNOWN, there is no such source, or it must be said which one counts.
            CONFIG_BAD; nothing lies there.
        GalagoError: As :func:`recover_file`.
    """

    def part(sources: dict[str, RecordedSource]) -> dict[str, tuple[int, int | None]]:
        starts = {one.start_ns for one in sources.values()}
        if source not in sources and (source is not None or len(starts) > 1):
            known = ", ".join(sources)
            what = f"has no source {source}" if source is not None else "has sources that began one by one"
            raise CallerError(
                Reason.TARGET_UNKNOWN, f"{path} {what}", hint=f"--source: whose times count, of {known}"
            )
        counts_from = sources[source].start_ns if source is not None else next(iter(starts), 0)
        return {
            name: (
                max(0, from_ns + counts_from - one.start_ns),
                None if to_ns is None else max(0, to_ns + counts_from - one.start_ns),
            )
            for name, one in sources.items()
        }

    return _copied(path, target, part, cut=True)


def _copied(
    path: Path,
    target: Path,
    part_of: Callable[[dict[str, RecordedSource]], dict[str, tuple[int, int | None]]],
    *,
    cut: bool = False,
) -> CopyReport:
    with RecordWalk(path) as walk:
        sources = recorded_sources(walk)
        if not sources:
            raise not_mcap(path, "holds no pictures and no sound that can be read")
        parts = part_of(sources)
        report = CopyReport(dict.fromkeys(sources, 0), about_lost=about_is_lost(walk, sources))
        about = walk.about or _about_of(sources)
        with new_recording(target, about) as writer:
            copies = {name: _Copy(source, parts[name], writer) for name, source in sources.items()}
            of_topic = topics_of({name: copy.course for name, copy in copies.items()})
            for message in walk.messages():
                if isinstance(message, DamagedBytes):
                    report.damaged_bytes += message.end - message.at
                    for copy in copies.values():
                        copy.course.damaged(message.why)
                elif (name := of_topic.get(message.channel.topic)) is not None:
                    copies[name].take(copies[name].course.take(message))
                else:
                    report.records += _beside(message, writer, copies)
            for copy in copies.values():
                copy.take(copy.course.rest(walk))
                if not walk.whole:
                    copy.end_early()
            left_out = writer.account.lost  # what leans on a key frame that is not there
            report.items = {name: copy.items - left_out[name] for name, copy in copies.items()}
            report.missing = left_out.total() + sum(copy.course.unreadable for copy in copies.values())
            report.ended_early = not walk.whole
            if cut and not any(report.items.values()):
                raise _nothing_there(path, copies)
    return report


def _nothing_there(path: Path, copies: dict[str, _Copy]) -> CallerError:
    end_s = max(copy.seen_ns for copy in copies.values()) / NS_PER_S
    return CallerError(
        Reason.CONFIG_BAD,
        f"nothing of {path} lies in that part, so nothing is written; it ends at {end_s:.3f} s",
        hint="galago recording info shows from when to when its sources go",
    )


def _about_of(sources: dict[str, RecordedSource]) -> AboutRecording:
    """Return what is known of a recording that says nothing, or nothing any more, of itself."""
    origins = {source.mark.origin for source in sources.values() if source.mark is not None}
    if origins == {"device"}:
        return AboutRecording()
    return AboutRecording(origin="import", clock="stream")


class _Copy:
    """One source on its way into the new file."""

    def __init__(self, source: RecordedSource, part: tuple[int, int | None], writer: RecordingWriter) -> None:
        self.course = ItemCourse(source)
        self.name = source.name
        self.from_ns, self.to_ns = part
        self.items = 0
        self._writer = writer
        self._end_ns = 0
        self.seen_ns = 0
        """How far the recording goes, whatever is taken of it."""
        self._leading: list[StoredPicture] = []
        """Pictures before the part that those in it lean on."""
        self.mark = source.mark or SourceMark(name=source.name, modality=source.modality, origin="import")
        writer.source(self.mark)

    def within_log(self, log_ns: int) -> bool:
        """Tell whether a log time lies in the part; what is told of the time before 0 does in the first."""
        at_ns = max(0, log_ns - self.mark.start_ns)
        return at_ns >= self.from_ns and (self.to_ns is None or at_ns < self.to_ns)

    def take(self, items: list[Stored]) -> None:
        """Write what lies in the part."""
        for item in items:
            begin_ns = stored_begin_ns(item)
            if not isinstance(item, Missing):
                self.seen_ns = max(self.seen_ns, stored_end_ns(item))
            if self.to_ns is not None and begin_ns >= self.to_ns and not isinstance(item, Missing):
                continue
            if isinstance(item, StoredPicture) and begin_ns < self.from_ns:
                self._leading = [item] if item.key else [*self._leading, item]
                continue
            if (kept := self._kept(item)) is None:
                continue
            if isinstance(kept, StoredPicture) and not kept.key:
                for picture in self._leading:
                    self._writer.picture(self.name, replace(picture, hidden=True))
            if isinstance(kept, StoredPicture):
                self._leading = []
            put_stored(self._writer, self.name, kept, self._end_ns)
            self.items += 1
            self._end_ns = max(self._end_ns, stored_end_ns(kept))

    def end_early(self) -> None:
        """Say in the copy that more was recorded than is there, as far as anybody knows."""
        self._writer.mark(self.name, Gap(self._end_ns, self._end_ns, "truncated"))

    def _kept(self, item: Stored) -> Stored | None:
        """Return what of an item lies in the part."""
        if isinstance(item, Gap):
            from_ns = max(item.from_ns, self.from_ns)
            to_ns = item.to_ns if self.to_ns is None else min(item.to_ns, self.to_ns)
            return Gap(from_ns, to_ns, item.cause) if from_ns < to_ns or from_ns == item.from_ns else None
        if isinstance(item, AudioBlock):
            return self._samples(item)
        if isinstance(item, Missing):
            end_ns = item.to_ns or self._end_ns
            return (
                item if end_ns > self.from_ns and (self.to_ns is None or self._end_ns < self.to_ns) else None
            )
        return item if stored_begin_ns(item) >= self.from_ns else None

    def _samples(self, block: AudioBlock) -> AudioBlock | None:
        def place(at_ns: int) -> int:
            """Return the first sample of the block that is not before."""
            return max(0, -(-(at_ns - block.captured_ns) * block.rate_hz // NS_PER_S))

        begin = place(self.from_ns)
        end = len(block.samples) if self.to_ns is None else min(place(self.to_ns), len(block.samples))
        if begin == 0 and end == len(block.samples):
            return block
        if begin >= end:
            return None
        shift_ns = block.captured_ns - samples_to_ns(block.first_sample, block.rate_hz)
        first = block.first_sample + begin
        at_ns = shift_ns + samples_to_ns(first, block.rate_hz)
        return AudioBlock(block.samples[begin:end], first, at_ns, block.rate_hz)


def _beside(message: StoredMessage, writer: RecordingWriter, copies: dict[str, _Copy]) -> int:
    """Take over what is no item of a source; return the number of records."""
    topic = message.channel.topic
    if not any(copy.within_log(message.log_ns) for copy in copies.values()):
        return 0
    if topic.startswith(OUT):
        writer.out(topic.removeprefix(OUT), message.data, message.log_ns)
        return 1
    if topic.startswith(DROPS) and (name := topic.removeprefix(DROPS)) in copies:
        try:
            writer.drop(name, from_json(message.data, type=DropMessage))
        except msgspec.DecodeError:
            return 0
    return 0
