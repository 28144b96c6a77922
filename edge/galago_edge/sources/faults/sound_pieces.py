"""Cuts sound as a microphone gives it, however a recording is cut into blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from galago_edge.contract.streams import NS_PER_S, AudioBlock, samples_to_ns

_BLOCKS_A_SECOND = 10


class SoundPieces:
    """Pieces end at every tenth of a second of the stream, and at ``edges`` (stream times)."""

    def __init__(self, edges_ns: Iterable[int]) -> None:
        self._edges_ns = tuple(edges_ns)
        self._held: list[AudioBlock] = []

    def take(self, block: AudioBlock) -> Iterator[AudioBlock]:
        """Yield what is whole now."""
        if self._held:
            last = self._held[-1]
            if last.rate_hz != block.rate_hz or last.first_sample + len(last.samples) != block.first_sample:
                yield from self.rest()
        rate_hz, first = block.rate_hz, block.first_sample
        end, size = first + len(block.samples), max(1, rate_hz // _BLOCKS_A_SECOND)
        shift_ns = block.captured_ns - samples_to_ns(first, rate_hz)
        cuts = {-(-(at_ns - shift_ns) * rate_hz // NS_PER_S) for at_ns in self._edges_ns}
        cuts = {cut for cut in cuts if first < cut <= end} | set(
            range(first - first % size + size, end + 1, size)
        )
        for stop in (*sorted(cuts), end):
            if first < stop:
                samples = block.samples[first - block.first_sample : stop - block.first_sample]
                at_ns = shift_ns + samples_to_ns(first, rate_hz)
                self._held.append(AudioBlock(samples, first, at_ns, rate_hz))
            if stop in cuts:
                yield from self.rest()
            first = stop

    def rest(self) -> Iterator[AudioBlock]:
        """Yield what is held: what comes next does not join it."""
        held, self._held = self._held, []
        if len(held) == 1:
            yield held[0]
        elif held:
            first = held[0]
            samples = np.concatenate([block.samples for block in held])
            yield AudioBlock(samples, first.first_sample, first.captured_ns, first.rate_hz)
