"""A camera or a microphone of a recording file, as it was when it was recorded."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap, Item, Notice, samples_to_ns
from galago_edge.recorded.record_walk import RecordWalk, not_mcap
from galago_edge.recorded.stored_items import (
    DropMessage,
    Missing,
    RecordedSource,
    Stored,
    StoredItems,
    StoredPicture,
    UnrecordedGap,
    choose_source,
    drops_of,
    recorded_sources,
)
from galago_edge.sources.file_content import check_plain
from galago_edge.sources.media.recorded_video import RecordedVideo
from galago_edge.sources.placed_conversion import PlacedConversion
from galago_edge.sources.recording_damage import DamagedError
from galago_edge.sources.still_image import decode_picture


class _Recorded:
    """What both have in common: which source, what is missing, how it ends."""

    modality: Modality
    live = False
    _unreadable: Reason
    _truncated: Reason

    def __init__(self, path: Path, name: str | None, stream: str | None = None) -> None:
        """Open ``path``; ``name`` of the source, if there are several. With ``stream``, what that stream did
        not take is left out.

        Raises:
            InputError: RECORDING_UNREADABLE; SOURCE_MISMATCH; nothing of this modality is in it.
            CallerError: CONFIG_BAD; there are several sources, or none of that name.
            LinkError: SOURCE_MISSING, or the disk fails.
            DeviceError: EXTRA_MISSING.
        """
        check_plain(path)
        self._path = path
        self._walk = RecordWalk(path)
        try:
            sources = recorded_sources(self._walk)
            if not sources:
                raise not_mcap(path, "holds no pictures and no sound that can be read")
            self._source: RecordedSource = choose_source(sources, path, self.modality, name)
            self._drops = [] if stream is None else drops_of(path, self._source, stream)
        except BaseException:  # whatever it was, the file must not stay open
            self._walk.close()
            raise
        self._stream = stream
        self._stopped = False
        self._next_index = 0
        self._end_ns = 0
        self._begun = False
        self._given = self._missing = 0
        self._first_damage: int | None = None
        self._cut_ns: int | None = None
        self._told_damage: tuple[Reason, int] | None = None
        """What was wrong with the file that this one was imported from: the reason, and where."""

    def description(self) -> dict[str, Any]:
        """Return name of the file and of the source, and what the source said of itself."""
        mark = self._source.mark
        said: dict[str, Any] = {"kind": "mcap", "name": self._path.name, "source": self._source.name}
        if mark is None:
            said["recorded_by"] = "another program"
        elif mark.described:
            said["recorded"] = mark.described
        return said | ({} if self._stream is None else {"drops": self._stream})

    def summary(self) -> dict[str, Any]:
        """Return how much was read, and how many recorded items are missing."""
        unit = "frames" if self.modality == "camera" else "samples"
        counts = {f"recorded_{unit}": self._given}
        return counts | ({"unreadable": self._missing} if self._missing else {})

    def stop(self) -> None:
        """End after the current item."""
        self._stopped = True

    def _items(self) -> Iterator[StoredPicture | AudioBlock | Gap | Notice | Missing]:
        """Yield what is stored, up to ``stop``; what the recorder lost is a gap."""
        stored = StoredItems(self._walk, self._source)
        try:
            for item in stored:
                if self._stopped:
                    return
                if isinstance(item, Notice):
                    self._remember(item)
                yield item.gap if isinstance(item, UnrecordedGap) else item
        finally:
            self._walk.close()
        if not stored.whole:
            self._cut_ns = self._end_ns

    def _remember(self, notice: Notice) -> None:
        """Keep in mind what fails a file of which this is a copy."""
        mark = self._source.mark
        if mark is None or mark.origin == "device" or notice.state not in ("truncated", "unreadable"):
            return
        reason = self._truncated if notice.state == "truncated" else self._unreadable
        if (said := str(notice.detail.get("reason"))) in Reason.__members__:
            reason = Reason(said)
        if self._told_damage is None or notice.state == "truncated":
            self._told_damage = (reason, notice.ns)

    def _beginning(self, item: Stored) -> Iterator[Gap]:
        """Say what was not recorded before the first item: the stream's time began before."""
        if self._begun or isinstance(item, Missing | Notice) or self._source.mark is None:
            return
        self._begun = True
        from_ns = item.captured_ns if isinstance(item, StoredPicture | AudioBlock) else _from_ns(item)
        if from_ns > self._end_ns:
            yield Gap(self._end_ns, from_ns, "missing")

    def _lost(self, missing: Missing) -> Iterator[Item]:
        """Say what cannot be read any more."""
        self._begun = True
        self._missing += missing.items
        if self._first_damage is None:
            self._first_damage = self._end_ns
        detail = {"items": missing.items, "fault": missing.why}
        yield Notice("unreadable", self._next_index, self._end_ns, detail)
        yield Gap(self._end_ns, max(self._end_ns, missing.to_ns or 0), "unreadable")
        self._end_ns = max(self._end_ns, missing.to_ns or 0)

    def _ending(self) -> Iterator[Item]:
        """Say that the file ends early, if it does."""
        if self._cut_ns is None:
            return
        unit = "frames" if self.modality == "camera" else "samples"
        yield Notice("truncated", self._next_index, self._end_ns, {unit: self._given})
        yield Gap(self._end_ns, self._end_ns, "truncated")

    def _judge(self) -> None:
        """Say what was wrong with the whole.

        Raises:
            DamagedError: The reason of the modality.
        """
        hint = "galago recording check says where; what is whole was decided"
        if self._cut_ns is not None:
            also = f", and {self._missing} items before are missing" if self._missing else ""
            text = f"{self._path} ends early, at {self._cut_ns / 1e9:.3f} s: its recorder was ended{also}"
            raise DamagedError(self._truncated, text, hint=hint)
        if self._first_damage is not None:
            many = f"{self._missing} of its items" if self._missing else "some of it"
            first_s = self._first_damage / 1e9
            text = f"{self._path} is damaged: {many} cannot be read, the first at {first_s:.3f} s"
            raise DamagedError(self._unreadable, text, hint=hint)
        if self._told_damage is not None:
            reason, at_ns = self._told_damage
            text = f"{self._path} is a whole copy of a file that was damaged, at {at_ns / 1e9:.3f} s"
            raise DamagedError(reason, text, hint="record it again; what is whole was decided")


class RecordedCamera(_Recorded):
    """Frames with their own indexes and times, from the camera's own bytes."""

    modality: Modality = "camera"
    _unreadable, _truncated = Reason.VIDEO_UNREADABLE, Reason.VIDEO_TRUNCATED

    def conversion(self) -> None:
        """Return None: pictures are decoded as a live camera's are."""
        return

    def __iter__(self) -> Generator[Item, None, None]:
        """Yield frames, gaps and notices as they were recorded; then say what was wrong.

        Raises:
            InputError: VIDEO_UNREADABLE, VIDEO_TRUNCATED; SOURCE_MISMATCH, pictures of an unknown kind.
            LinkError: The disk fails.
            DeviceError: EXTRA_MISSING.
        """
        video: RecordedVideo | None = None
        taken = _Taken(self._drops)
        mark = self._source.mark
        conceal = mark is not None and mark.conceal
        for item in self._items():
            yield from self._beginning(item)
            if isinstance(item, StoredPicture) and item.format not in _STILL:
                if video is None:
                    video = RecordedVideo(item.format, str(self._path), conceal=conceal)
                for picture, frame in video.decode(item):
                    yield from self._shown(picture, frame, taken)
                continue
            if video is not None:
                for picture, frame in video.rest(lost=isinstance(item, Missing)):
                    yield from self._shown(picture, frame, taken)
            if isinstance(item, StoredPicture):
                if not item.hidden:
                    yield from self._shown(item, self._still(item, conceal), taken)
            elif isinstance(item, Missing):
                yield from self._lost(item)
            else:
                yield from taken.before(_from_ns(item))
                self._end_ns = max(self._end_ns, item.to_ns if isinstance(item, Gap) else 0)
                yield item
        if video is not None:
            for picture, frame in video.rest():
                yield from self._shown(picture, frame, taken)
        yield from self._ending()
        self._judge()

    def _shown(self, picture: StoredPicture, pixels: Any, taken: _Taken) -> Iterator[Item]:
        """Yield one picture, or that it cannot be decoded."""
        if not taken.takes(picture.index):
            return
        yield from taken.before(picture.captured_ns)
        self._next_index, self._end_ns = picture.index + 1, picture.captured_ns
        if pixels is None:
            self._missing += 1
            if self._first_damage is None:
                self._first_damage = picture.captured_ns
            yield Notice("unreadable", picture.index, picture.captured_ns, {"frames": 1})
            yield Gap(picture.captured_ns, picture.captured_ns, "unreadable")
            return
        self._given += 1
        encoded = picture.data if picture.format == "jpeg" else None
        yield Frame(pixels, picture.index, picture.captured_ns, encoded)

    def _still(self, picture: StoredPicture, conceal: bool) -> Any:
        """Return the pixels of a JPEG or PNG, by the code that decodes a live camera's; None for damage."""
        from galago_edge.sources.media.picture_reader import LARGEST_PIXELS

        try:
            pixels, whole = decode_picture(picture.data, str(self._path), largest_pixels=LARGEST_PIXELS)
        except InputError:
            return None
        return pixels if whole or conceal else None


class RecordedMicrophone(_Recorded):
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
        taken = _Taken(self._drops)
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
            yield from taken.before(_from_ns(item))
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
        """Return a gap; that of a file lies between the bundle's samples, as it does when the file is read."""
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


class _Taken:
    """What one stream did not take in time, in the order of the stream."""

    def __init__(self, drops: list[DropMessage]) -> None:
        self._drops = drops
        self._told = 0

    def takes(self, index: int) -> bool:
        """Tell whether the stream took a frame."""
        return not any(drop.first <= index < drop.end for drop in self._drops)

    def dropped_before(self, item: Gap | AudioBlock | Missing) -> bool:
        """Tell whether a gap of drops is to be told before the item."""
        waiting = self._drops[self._told :]
        if isinstance(item, Missing) or not waiting:
            return False
        return waiting[0].to_ns <= _from_ns(item) + _length_ns(item)

    def samples(self, block: AudioBlock) -> AudioBlock | None:
        """Return what of a block the stream took; None for nothing."""
        keep = np.ones(len(block.samples), np.bool_)
        for drop in self._drops:
            begin, end = drop.first - block.first_sample, drop.end - block.first_sample
            keep[max(0, begin) : max(0, end)] = False
        if keep.all():
            return block
        kept = np.flatnonzero(keep)
        if not len(kept):
            return None
        first = block.first_sample + int(kept[0])
        return AudioBlock(block.samples[keep], first, samples_to_ns(first, block.rate_hz), block.rate_hz)

    def before(self, at_ns: int) -> Iterator[Gap]:
        """Yield the gaps of drops that the stream was told before this time."""
        while self._told < len(self._drops) and self._drops[self._told].to_ns <= at_ns:
            drop = self._drops[self._told]
            self._told += 1
            if drop.cause:
                yield Gap(drop.from_ns, drop.to_ns, drop.cause)


_STILL = ("jpeg", "png", "webp")


def _from_ns(item: Gap | Notice | AudioBlock | StoredPicture | Missing | UnrecordedGap) -> int:
    if isinstance(item, Gap):
        return item.from_ns
    if isinstance(item, Notice):
        return item.ns
    if isinstance(item, AudioBlock | StoredPicture):
        return item.captured_ns
    return item.gap.from_ns if isinstance(item, UnrecordedGap) else item.to_ns or 0


def _length_ns(item: Gap | AudioBlock) -> int:
    return 0 if isinstance(item, Gap) else len(item.samples) * 1_000_000_000 // item.rate_hz
