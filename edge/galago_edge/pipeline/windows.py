"""Cuts a stream into windows, and writes those that are decided straight into the model's input tensor."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.streams import AudioBlock, Frame, Span, samples_to_ns
from galago_edge.decision import LevelSensor, MotionSensor, Sensor
from galago_edge.engine import Backend
from galago_edge.preprocess import ImagePreprocessor, LogMelFrontend

_NS_PER_MS = 1_000_000

Samples = npt.NDArray[np.int16]


class FrameWindows:
    """A frame is a window when its stream time enters a new cell of ``hop_ms``; all are when that is 0."""

    def __init__(self, preprocessor: ImagePreprocessor, engine: Backend) -> None:
        self._hop_ns = preprocessor.spec.hop_ms * _NS_PER_MS
        self._preprocessor = preprocessor
        self._engine = engine
        self._cell = -1
        self._frame: Frame | None = None
        self.next_index = 0
        self.end_ns = 0
        self.needed = 1
        """Frames of one window."""
        self.longest = 0
        """Most frames without a gap, up to what a window needs."""

    def feed(self, item: Frame | AudioBlock, *, lazy: bool = False) -> Iterator[Span]:
        """Yield what the window covers, once, when the frame is one.

        Until it goes on, :meth:`fill` and :meth:`sense` are about that window. ``lazy`` makes no
        difference: nothing is computed before :meth:`fill`.

        Raises:
            InputError: SOURCE_MISMATCH; not a frame.
        """
        if not isinstance(item, Frame):
            raise _mismatch("a camera", "samples of a microphone")
        self.next_index, self.end_ns = item.index + 1, item.captured_ns
        self.longest = 1
        if self._hop_ns:
            cell = item.captured_ns // self._hop_ns
            if cell == self._cell:
                return
            self._cell = cell
        self._frame = item
        yield Span(item.index, item.index + 1, item.captured_ns, item.captured_ns)
        self._frame = None

    def fill(self) -> None:
        """Write the window that was yielded last to the input tensor.

        Raises:
            InputError: SOURCE_MISMATCH; the pixels are not those of a BGR picture.
        """
        if self._frame is None:
            raise RuntimeError("no window is being fed")
        self._preprocessor.into(self._frame.pixels, self._engine.input_view())

    def sense(self, sensor: Sensor) -> None:
        """Show the window that was yielded last to a gate's sensor, once.

        Raises:
            InputError: SOURCE_MISMATCH; the pixels are not those of a BGR picture.
        """
        if not isinstance(sensor, MotionSensor):
            raise TypeError(f"a camera has no {sensor.kind} gate")
        if self._frame is None:
            raise RuntimeError("no window is being fed")
        sensor.look(self._frame.pixels, self._frame.captured_ns)

    def missing(self, item: Frame | AudioBlock) -> bool:
        """Tell whether something is missing before ``item`` that makes what was seen before useless.

        Never for frames: each stands for itself, and the source says when there were none for long.
        """
        return False

    def reset(self) -> None:
        """Begin a new cell after a gap."""
        self._cell = -1


class AudioWindows:
    """Window i is the frontend's frames ``[i * hop, i * hop + n)``, counted from the start or the last gap.

    Each frame is computed once, however many windows it is in; with ``lazy`` feeding only those of windows
    that are filled. Either way a window's tensor is the same. Samples below are counted from the start or
    the last gap too.
    """

    def __init__(self, frontend: LogMelFrontend, engine: Backend) -> None:
        self._spec = spec = frontend.spec
        self._length = spec.window_samples
        self._hop = spec.hop_frames * spec.frame_hop_samples
        self._frontend = frontend
        self._engine = engine
        self._empty = np.empty((0, spec.mel_bands), np.int8)
        self.next_index = 0
        self.end_ns = 0
        self.needed = self._length
        """Samples of one window."""
        self.longest = 0
        """Most samples without a gap."""
        self.reset()

    def reset(self) -> None:
        """Start over with the next block, wherever in the stream it lies."""
        self._frontend.reset()
        self._frames = self._empty
        self._first_frame = 0
        self._window_frame = 0  # where the next window begins, in frames and in samples
        self._begin = 0
        self._pending: list[Samples] = []  # not pushed into the frontend yet, without holes
        self._pending_start = 0
        self._pushed = 0  # the frontend has had everything before this sample that it needs
        self._sensed = 0
        self._anchored = False
        self._anchor_sample = self._anchor_ns = 0

    def missing(self, item: Frame | AudioBlock) -> bool:
        """Tell whether samples are missing between the last block and ``item``."""
        return self._anchored and isinstance(item, AudioBlock) and item.first_sample != self.next_index

    def feed(self, item: Frame | AudioBlock, *, lazy: bool = False) -> Iterator[Span]:
        """Yield what each window covers that the block completes.

        Until it goes on, :meth:`fill` and :meth:`sense` are about that window. ``lazy`` keeps samples as
        they are until a window is filled: for streams that leave windows out.

        Raises:
            InputError: SOURCE_MISMATCH; not samples, or at another rate than the bundle's.
        """
        if not isinstance(item, AudioBlock):
            raise _mismatch("a microphone", "frames of a camera")
        if item.rate_hz != self._spec.sample_rate_hz:
            raise _mismatch(f"{self._spec.sample_rate_hz} Hz", f"{item.rate_hz} Hz")
        if not self._anchored:
            self._anchored = True
            self._anchor_sample, self._anchor_ns = item.first_sample, item.captured_ns
        self.next_index = item.first_sample + len(item.samples)
        self.end_ns = self._ns(self.next_index)
        available = self.next_index - self._anchor_sample
        self.longest = max(self.longest, available)
        if lazy or self._pending or self._begin > self._pushed:
            if len(item.samples):
                self._pending.append(item.samples)
            if not lazy:
                self._push(available)
        else:
            self._compute(item.samples)
            self._pending_start = self._pushed = available
        while available >= self._begin + self._length:
            yield self._span()
            self._window_frame += self._spec.hop_frames
            self._begin += self._hop
        if self._pending:
            self._drop(max(self._begin, self._pushed))
        # the next window may begin behind the frames that are here
        if done := min(self._window_frame - self._first_frame, len(self._frames)):
            self._frames = self._frames[done:]
            self._first_frame += done

    def fill(self) -> None:
        """Compute the window that was yielded last as far as it is not yet, and write it to the input tensor.

        Raises:
            InputError: SOURCE_MISMATCH; the samples are not one-dimensional int16.
        """
        end = self._begin + self._length
        if self._pushed < end:
            self._push(end)
        start = self._window_frame - self._first_frame
        self._engine.input_view()[...] = self._frames[start : start + self._spec.window_frames]

    def sense(self, sensor: Sensor) -> None:
        """Let a gate's sensor hear what no window before did: once, before :meth:`fill`, and lazily fed."""
        if not isinstance(sensor, LevelSensor):
            raise TypeError(f"a microphone has no {sensor.kind} gate")
        begin, end = max(self._sensed, self._begin), self._begin + self._length
        self._sensed = end
        while begin < end:
            stop = end - max(0, (end - begin) // self._hop - 1) * self._hop
            sensor.hear(self._stretch(begin, stop), self._ns(self._anchor_sample + stop))
            begin = stop

    def _push(self, end: int) -> None:
        """Give the frontend the pending samples before ``end`` that the next window needs."""
        if self._begin > self._pushed:  # what lies between is in no window that is filled
            if end <= self._begin:
                return
            self._frontend.reset()
            self._frames, self._first_frame = self._empty, self._window_frame
            self._pushed = self._begin
        if parts := self._stretch(self._pushed, end):
            self._compute(parts[0] if len(parts) == 1 else np.concatenate(parts))
            self._pushed = end
            self._drop(end)

    def _compute(self, samples: Samples) -> None:
        frames = self._frontend.push(samples)
        if len(frames):
            self._frames = np.concatenate((self._frames, frames)) if len(self._frames) else frames

    def _stretch(self, begin: int, end: int) -> list[Samples]:
        """Return the pending samples from ``begin`` to ``end`` as they lie in the blocks, without a copy."""
        parts = []
        start = self._pending_start
        for block in self._pending:
            part = block[max(0, begin - start) : max(0, end - start)]
            if len(part):
                parts.append(part)
            start += len(block)
        return parts

    def _drop(self, before: int) -> None:
        """Let go of the pending samples before this one."""
        pending = self._pending
        while pending and self._pending_start + len(pending[0]) <= before:
            self._pending_start += len(pending.pop(0))
        if pending and self._pending_start < before:
            pending[0] = pending[0][before - self._pending_start :]
            self._pending_start = before

    def _span(self) -> Span:
        start = self._anchor_sample + self._begin
        end = start + self._length
        return Span(start, end, self._ns(start), self._ns(end))

    def _ns(self, sample: int) -> int:
        return self._anchor_ns + samples_to_ns(sample - self._anchor_sample, self._spec.sample_rate_hz)


def windows_of(
    preprocessor: ImagePreprocessor | LogMelFrontend, engine: Backend
) -> FrameWindows | AudioWindows:
    """Return the windows of a bundle's kind."""
    if isinstance(preprocessor, ImagePreprocessor):
        return FrameWindows(preprocessor, engine)
    return AudioWindows(preprocessor, engine)


def _mismatch(wanted: str, met: str) -> InputError:
    return InputError(
        Reason.SOURCE_MISMATCH,
        f"the bundle is for {wanted}, the source gives {met}",
        hint="give the stream another source or another bundle",
    )
