"""What a stream gave last, so that a sample can hold what came before it. Bounded memory."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from galago_edge.contract.streams import AudioBlock, Frame

Samples = npt.NDArray[np.int16]
ROLL_PICTURES = 3
"""So many pictures stand for the time before a sample, and as many for the time after it."""


class SoundRing:
    """The newest samples of one microphone, addressed by their index in the stream."""

    def __init__(self, capacity: int) -> None:
        """Keep at least the newest ``capacity`` samples."""
        self._wanted = capacity
        self._samples = np.zeros(capacity, np.int16)
        self._start = self.end = 0
        """``end``: index behind the newest sample."""

    def push(self, block: AudioBlock) -> None:
        """Take the next block; what came before a jump is forgotten."""
        count = len(block.samples)
        if block.first_sample != self.end:
            self._start = self.end = block.first_sample
        self._fit(count)
        capacity = len(self._samples)
        position = block.first_sample % capacity
        head = min(count, capacity - position)
        self._samples[position : position + head] = block.samples[:head]
        self._samples[: count - head] = block.samples[head:]
        self.end = block.first_sample + count
        self._start = max(self._start, self.end - capacity)

    def cut(self, start: int, end: int) -> tuple[int, Samples]:
        """Return what is there of ``[start, end)`` as a copy, and the index of its first sample."""
        start, end = max(start, self._start), min(end, self.end)
        if start >= end:
            return start, np.empty(0, np.int16)
        # take(mode="wrap") would subtract the length again and again: minutes, for an index of some weeks
        return start, self._samples[np.arange(start, end) % len(self._samples)]

    def forget(self) -> None:
        """Keep nothing of what came so far."""
        self._start = self.end

    def _fit(self, block: int) -> None:
        """Grow when blocks are long: the first window of a block is asked for after all of it came."""
        if self._wanted + block <= len(self._samples):
            return
        start, kept = self.cut(self._start, self.end)
        self._samples = np.zeros(self._wanted + 2 * block, np.int16)
        self._samples[np.arange(start, start + len(kept)) % len(self._samples)] = kept


class PictureRing:
    """A few frames of the last seconds, evenly in time."""

    def __init__(self, span_ns: int) -> None:
        """Keep at most :data:`ROLL_PICTURES` frames that are at most ``span_ns`` old."""
        self._span_ns = span_ns
        self._step_ns = span_ns // ROLL_PICTURES
        self._frames: deque[Frame] = deque(maxlen=ROLL_PICTURES)

    def push(self, frame: Frame) -> None:
        """Take the next frame; most are not kept."""
        if not self._span_ns:
            return
        if not self._frames or frame.captured_ns - self._frames[-1].captured_ns >= self._step_ns:
            self._frames.append(frame)

    def before(self, frame: Frame) -> list[Frame]:
        """Return what is kept of the time before ``frame``, the oldest first."""
        oldest = frame.captured_ns - self._span_ns
        return [kept for kept in self._frames if kept.index < frame.index and kept.captured_ns >= oldest]

    def clear(self) -> None:
        """Forget everything."""
        self._frames.clear()
