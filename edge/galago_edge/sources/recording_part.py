"""A part of a recording, under its own times and indexes."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap, Item, samples_to_ns
from galago_edge.sources.capture.frame_server import Turns
from galago_edge.sources.recording_damage import DamagedError, DamagedStretch, with_stretches
from galago_edge.sources.source import Source

_REASONS = {
    ("camera", "unreadable"): Reason.VIDEO_UNREADABLE,
    ("camera", "truncated"): Reason.VIDEO_TRUNCATED,
    ("microphone", "unreadable"): Reason.AUDIO_UNREADABLE,
    ("microphone", "truncated"): Reason.AUDIO_TRUNCATED,
}
"""Of damage in a part; that of a picture in a folder says its reason itself."""


class RecordingPart:
    """What of a recording lies from ``from_ns`` to before ``to_ns``, and at most so many frames a second.

    What comes before is decoded and passed over, so windows begin with the first frame or sample that is not;
    what comes behind is not read. Notices about the whole recording, which come before its first frame or
    sample, are handed on, gaps are cut. Damage that reaches into the part is told and fails it, whether the
    end of the recording was read or not; damage that lies before it does not.
    """

    live = False

    def __init__(
        self,
        source: Source,
        *,
        from_ns: int = 0,
        to_ns: int | None = None,
        fps: float | None = None,
        sha256: str | None = None,
        shown: str = "",
    ) -> None:
        """Take the part of ``source``.

        ``fps`` leaves frames out as a device with this limit would; ``sha256`` is of the whole recording.
        ``shown`` is what errors call the recording, if not by its name alone.
        """
        self._source = source
        self._from_ns, self._to_ns = from_ns, to_ns
        self._fps = fps
        self._sha256 = sha256
        self._whole = from_ns == 0 and to_ns is None
        self.shown = shown
        """What errors call the recording; empty for its name alone."""
        self._damage: list[DamagedStretch] = []
        self._given = False
        """Whether a frame or sample of the part was handed on."""
        self.begins = (0, 0)
        """Index and time at which the part begins, as far as what is before it has been passed over."""
        self.modality: Modality = source.modality

    def description(self) -> dict[str, Any]:
        """Return what is known of the recording, and which part of it this is."""
        said = {
            "sha256": self._sha256,
            "from_ns": self._from_ns or None,
            "to_ns": self._to_ns,
            "fps_limit": self._fps,
        }
        return self._source.description() | {key: value for key, value in said.items() if value is not None}

    def conversion(self) -> dict[str, Any] | None:
        """Return what the source says."""
        return self._source.conversion()

    def __iter__(self) -> Generator[Item, None, None]:
        """Yield what lies in the part.

        Raises:
            InputError: VIDEO_UNREADABLE, VIDEO_TRUNCATED, AUDIO_UNREADABLE, AUDIO_TRUNCATED,
                IMAGE_UNREADABLE; the part is damaged.
            GalagoError: As the source says, if it is read to where it says so.
        """
        turns = Turns(self._fps)
        try:
            for item in self._items():
                if not (isinstance(item, Frame) and not turns.due(item.captured_ns)):
                    self._given = self._given or isinstance(item, Frame | AudioBlock)
                    yield item
        except DamagedError:
            if self._from_ns == 0:  # it was read from end to end
                raise
        if self._damage:
            raise self._damaged()

    def summary(self) -> dict[str, Any]:
        """Return what the source says, of what was read; damage is counted in the part alone."""
        counts = self._source.summary()
        if self._whole:
            return counts
        lost = sum(
            stretch.frames_in(self._from_ns, self._to_ns)
            for stretch in self._damage
            if stretch.notice.state == "unreadable"
        )
        if "unreadable" in counts:
            return counts | {"unreadable": lost}
        counts.pop("damaged_frames", None)
        return counts | ({"damaged_frames": lost} if lost and self.modality == "camera" else {})

    def stop(self) -> None:
        """End soon."""
        self._source.stop()

    def _items(self) -> Generator[Item, None, None]:
        begun = False
        last_ns = -1
        with closing(iter(self._source)) as items:
            for item in with_stretches(items):
                if self._to_ns is not None and _begin_ns(item) >= self._to_ns:
                    return
                if isinstance(item, DamagedStretch):
                    yield from self._told(item, last_ns)
                    continue
                if isinstance(item, Frame | AudioBlock):
                    begun, last_ns = True, item.captured_ns
                if (part := self._cut(item, whole=not begun)) is not None:
                    yield part
                elif isinstance(item, Frame):
                    self.begins = (item.index + 1, self._from_ns)
                elif isinstance(item, AudioBlock):
                    self.begins = (item.first_sample + len(item.samples), self._from_ns)

    def _told(self, stretch: DamagedStretch, last_ns: int) -> Iterator[Item]:
        """Yield what of damage is in the part, and remember it; ``last_ns``: of the last frame before."""
        if stretch.gap is None:  # its pictures are shown, and were handed on
            if max(stretch.notice.ns, last_ns) >= self._from_ns:
                yield stretch.notice
        elif stretch.reaches(self._from_ns):
            self._damage.append(stretch)
            yield stretch.notice
            if (gap := self._cut(stretch.gap, whole=False)) is not None:
                yield gap

    def _damaged(self) -> InputError:
        """Return what fails the part."""
        notices = [stretch.notice for stretch in self._damage]
        worst = next((notice for notice in notices if notice.state == "truncated"), notices[0])
        said = worst.detail.get("reason")
        places = f"{len(notices)} place{'s' * (len(notices) > 1)}"
        first_s = max(notices[0].ns, self._from_ns) / NS_PER_S
        found = f"is damaged in {places} of the part that was asked for, the first at {first_s:.3f} s"
        if worst.state == "truncated":
            before = " before the part that was asked for" if worst.ns <= self._from_ns else ""
            damaged = len(notices) - 1
            also = f"; the part is damaged in {damaged} place{'s' * (damaged > 1)}" if damaged else ""
            found = f"ends early, at {worst.ns / NS_PER_S:.3f} s{before}{also}"
        return InputError(
            _REASONS[self.modality, worst.state] if said is None else Reason(said),
            f"{self.shown or self._source.description().get('name', 'the recording')} {found}",
            hint=f"record or copy it again{'; what is whole is taken' if self._given else ''}",
        )

    def _cut(self, item: Item, *, whole: bool) -> Item | None:
        """Return what of the item is in the part; ``whole``: nothing else has come yet."""
        from_ns, to_ns = self._from_ns, self._to_ns
        if isinstance(item, AudioBlock):
            return self._cut_block(item)
        if isinstance(item, Gap):
            begin_ns = max(item.from_ns, from_ns)
            end_ns = item.to_ns if to_ns is None else min(item.to_ns, to_ns)
            there = begin_ns < end_ns or begin_ns == item.from_ns
            return Gap(begin_ns, end_ns, item.cause) if there else None
        return item if whole or _begin_ns(item) >= from_ns else None

    def _cut_block(self, block: AudioBlock) -> AudioBlock | None:
        def place(at_ns: int) -> int:
            """Return the first sample of the block that is not before."""
            return max(0, -(-(at_ns - block.captured_ns) * block.rate_hz // NS_PER_S))

        begin = place(self._from_ns)
        end = len(block.samples) if self._to_ns is None else min(place(self._to_ns), len(block.samples))
        if begin == 0 and end == len(block.samples):
            return block
        if begin >= end:
            return None
        first = block.first_sample + begin
        shift_ns = block.captured_ns - samples_to_ns(block.first_sample, block.rate_hz)
        captured_ns = shift_ns + samples_to_ns(first, block.rate_hz)
        return AudioBlock(block.samples[begin:end], first, captured_ns, block.rate_hz)


def _begin_ns(item: Item | DamagedStretch) -> int:
    if isinstance(item, DamagedStretch):
        return item.notice.ns
    if isinstance(item, Frame | AudioBlock):
        return item.captured_ns
    return item.from_ns if isinstance(item, Gap) else item.ns
