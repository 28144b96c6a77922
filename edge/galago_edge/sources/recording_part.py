"""A part of a recording, under its own times and indexes."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import Any

from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap, Item, samples_to_ns
from galago_edge.sources.capture.frame_server import Turns
from galago_edge.sources.source import Source


class RecordingPart:
    """What of a recording lies from ``from_ns`` to before ``to_ns``, and at most so many frames a second.

    What comes before is decoded and passed over, so windows begin with the first frame or sample that is not;
    what comes behind is not read. Notices about the whole recording, which come before its first frame or
    sample, are handed on, gaps are cut.
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
    ) -> None:
        """Take the part of ``source``.

        ``fps`` leaves frames out as a device with this limit would; ``sha256`` is of the whole recording.
        """
        self._source = source
        self._from_ns, self._to_ns = from_ns, to_ns
        self._fps = fps
        self._sha256 = sha256
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
            GalagoError: As the source says, if it is read to where it says so.
        """
        turns = Turns(self._fps)
        begun = False
        with closing(iter(self._source)) as items:
            for item in items:
                begins_ns = item.from_ns if isinstance(item, Gap) else _begin_ns(item)
                if self._to_ns is not None and begins_ns >= self._to_ns:
                    return
                begun = begun or isinstance(item, Frame | AudioBlock)
                part = self._cut(item, whole=not begun)
                if part is not None and not (isinstance(part, Frame) and not turns.due(part.captured_ns)):
                    yield part

    def summary(self) -> dict[str, Any]:
        """Return what the source says, of what was read."""
        return self._source.summary()

    def stop(self) -> None:
        """End soon."""
        self._source.stop()

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


def _begin_ns(item: Item) -> int:
    if isinstance(item, Frame | AudioBlock):
        return item.captured_ns
    return item.from_ns if isinstance(item, Gap) else item.ns
