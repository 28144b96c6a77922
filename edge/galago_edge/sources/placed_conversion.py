"""Samples of a microphone become those of a bundle's rate, in their place in the stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.streams import AudioBlock, samples_to_ns
from galago_edge.sources.sample_conversion import Converter, PcmFormat


class PlacedConversion:
    """Converts what lies between two gaps."""

    def __init__(self, first: AudioBlock, rate_hz: int, not_before: int, *, round_up: bool = False) -> None:
        """Begin with the block ``first``, at no index below ``not_before``.

        ``round_up``: an index between two of the bundle's rate becomes the later one, as in sound files; else
        the earlier one, as in live streams.
        """
        self._converter = Converter(PcmFormat("s16", 1, first.rate_hz), rate_hz)
        self._rate_hz = rate_hz
        place = first.first_sample * rate_hz
        self.next_index = max(not_before, -(-place // first.rate_hz) if round_up else place // first.rate_hz)
        """Index, at the bundle's rate, of the next sample."""

    def declaration(self) -> dict[str, Any] | None:
        """Return what is done to the samples; None when nothing is."""
        return self._converter.declaration()

    def convert(self, block: AudioBlock) -> Iterator[AudioBlock]:
        """Yield what is ready behind the samples of ``block``."""
        return self._placed(self._converter.convert(block.samples.reshape(-1, 1)))

    def rest(self) -> Iterator[AudioBlock]:
        """Yield what the resampler still holds."""
        return self._placed(self._converter.convert(np.empty((0, 1), np.int16), last=True))

    def _placed(self, samples: npt.NDArray[np.int16]) -> Iterator[AudioBlock]:
        if len(samples):
            first = self.next_index
            self.next_index += len(samples)
            yield AudioBlock(samples, first, samples_to_ns(first, self._rate_hz), self._rate_hz)
