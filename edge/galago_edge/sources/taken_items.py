"""What of a recorded source one stream took in time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from galago_edge.contract.streams import AudioBlock, Gap, Notice, samples_to_ns
from galago_edge.recorded.stored_items import DropMessage, Missing, StoredPicture, UnrecordedGap


class TakenItems:
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
        return waiting[0].to_ns <= from_ns_of(item) + length_ns_of(item)

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


def from_ns_of(item: Gap | Notice | AudioBlock | StoredPicture | Missing | UnrecordedGap) -> int:
    """Return the stream time at which an item begins."""
    if isinstance(item, Gap):
        return item.from_ns
    if isinstance(item, Notice):
        return item.ns
    if isinstance(item, AudioBlock | StoredPicture):
        return item.captured_ns
    return item.gap.from_ns if isinstance(item, UnrecordedGap) else item.to_ns or 0


def length_ns_of(item: Gap | AudioBlock) -> int:
    """Return how long an item is, for what may follow it."""
    return 0 if isinstance(item, Gap) else len(item.samples) * 1_000_000_000 // item.rate_hz
