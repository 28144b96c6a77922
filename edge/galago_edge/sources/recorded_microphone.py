"""A microphone of a recording file, as it was when it was recorded."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from galago_edge.contract.errors import Reason
from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Gap, Item, Notice, samples_to_ns
from galago_edge.recorded.record_walk import RecordWalk
from galago_edge.recorded.recorded_items import StoredItems
from galago_edge.recorded.stored_items import Missing, StoredPicture
from galago_edge.sources.placed_conversion import PlacedConversion
from galago_edge.sources.recorded_source import OpenedRecording
from galago_edge.sources.taken_items import TakenItems, from_ns_of


class RecordedMicrophone(OpenedRecording):
    """Samples at the bundle's rate, in their own places."""

    modality: Modality = "microphone"
    _unreadable, _truncated = Reason.AUDIO_UNREADABLE, Reason.AUDIO_TRUNCATED

    def __init__(
        self,
        path: Path,
        rate_hz: int,
        block_samples: int | None = None,
        *,
        name: str | None = None,
        stream: str | None = None,
    ) -> None:
        """Open ``path``; blocks are as they were recorded, or of ``block_samples`` samples at most.

        Raises:
            GalagoError: As of any recorded source.
        """
        super().__init__(path, name, stream)
        self._rate_hz = rate_hz
        self._block_samples = block_samples
        self._up = self._source.mark is None or self._source.mark.origin != "device"
        """Whether it counts as a sound file does: its stream was one."""
        self._declaration: dict[str, Any] | None = None
        self._course: PlacedConversion | None = None
        self._own_hz = self._end_index = 0
        """Rate of the recorded samples; index at the bundle's rate behind what was converted."""
        self._first: dict[str, Any] | None = None if not self._up else self._declared_first()

    def conversion(self) -> dict[str, Any] | None:
        """Return how the first samples are converted, if it is an imported file; else a notice tells it."""
        return self._first

    def __iter__(self) -> Generator[Item, None, None]:
        """Yield blocks, gaps and notices as they were recorded; then say what was wrong.

        Raises:
            InputError: AUDIO_UNREADABLE, AUDIO_TRUNCATED.
            LinkError: The disk fails.
            DeviceError: EXTRA_MISSING; an odd rate needs soxr.
        """
        self._declaration = self._first
        taken = TakenItems(self._drops)
        for item in self._items():
            yield from self._beginning(item)
            if isinstance(item, StoredPicture):
                continue
            if isinstance(item, Notice):
                yield from self._noticed(item)
                continue
            begins = not isinstance(item, AudioBlock) or item.rate_hz != self._own_hz
            if begins or taken.dropped_before(item):
                yield from self._interrupted()
            if isinstance(item, Missing):
                yield from self._lost(item)
                continue
            yield from taken.before(from_ns_of(item))
            if isinstance(item, Gap):
                self._end_ns = max(self._end_ns, item.to_ns)
                yield self._placed_gap(item)
            elif (block := taken.samples(item)) is not None:
                yield from self._converted(block)
        yield from self._interrupted()
        yield from self._ending()
        self._judge()

    def _converted(self, block: AudioBlock) -> Iterator[Item]:
        if self._course is None:
            self._course = PlacedConversion(block, self._rate_hz, self._end_index, round_up=self._up)
            self._own_hz = block.rate_hz
            yield from self._told(self._course, block)
        self._given += len(block.samples)
        self._next_index = block.first_sample + len(block.samples)
        self._end_ns = samples_to_ns(self._next_index, block.rate_hz)
        yield from self._cut(self._course.convert(block))

    def _interrupted(self) -> Iterator[Item]:
        """Yield what is still being converted: what follows does not belong to it."""
        if self._course is not None:
            yield from self._cut(self._course.rest())
            self._end_index, self._course = self._course.next_index, None

    def _noticed(self, notice: Notice) -> Iterator[Item]:
        """Yield a notice; that of a file counts in the bundle's samples, as it does when the file is read."""
        if not self._up or self._own_hz in (0, self._rate_hz):
            yield notice
            return
        if notice.state in ("truncated", "unreadable"):
            yield from self._interrupted()
        index = self._end_index if self._course is None else self._course.next_index
        yield replace(notice, index=index, ns=samples_to_ns(index, self._rate_hz))

    def _placed_gap(self, gap: Gap) -> Gap:
        """Return a gap; that of a file lies between the bundle's samples, as when the file is read."""
        if not self._up or self._own_hz in (0, self._rate_hz):
            return gap
        from_ns = samples_to_ns(self._end_index, self._rate_hz)
        if gap.cause == "truncated":
            return Gap(from_ns, max(from_ns, gap.to_ns), gap.cause)
        own = -(-gap.to_ns * self._own_hz // NS_PER_S)
        self._end_index = max(self._end_index, -(-own * self._rate_hz // self._own_hz))
        return Gap(from_ns, samples_to_ns(self._end_index, self._rate_hz), gap.cause)

    def _told(self, course: PlacedConversion, block: AudioBlock) -> Iterator[Notice]:
        declaration = course.declaration()
        if declaration is not None and declaration != self._declaration:
            yield Notice("converted", course.next_index, block.captured_ns, declaration)
        self._declaration = declaration

    def _declared_first(self) -> dict[str, Any] | None:
        """Return the conversion of the first block, as sound files declare it before anything else."""
        with RecordWalk(self._path) as walk:
            for item in StoredItems(walk, self._source):
                if isinstance(item, AudioBlock):
                    return PlacedConversion(item, self._rate_hz, 0).declaration()
        return None

    def _cut(self, blocks: Iterator[AudioBlock]) -> Iterator[AudioBlock]:
        size = self._block_samples
        for block in blocks:
            if size is None or len(block.samples) <= size:
                yield block
                continue
            for at in range(0, len(block.samples), size):
                first = block.first_sample + at
                ns = samples_to_ns(first, block.rate_hz)
                yield AudioBlock(block.samples[at : at + size], first, ns, block.rate_hz)
