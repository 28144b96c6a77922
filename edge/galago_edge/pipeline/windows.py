"""Cuts a stream into windows and writes each straight into the model's input tensor."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.streams import AudioBlock, Frame, Span, samples_to_ns
from galago_edge.engine import Backend
from galago_edge.preprocess import ImagePreprocessor, LogMelFrontend

_NS_PER_MS = 1_000_000


class FrameWindows:
    """A frame is a window when its stream time enters a new cell of ``hop_ms``; all are when that is 0."""

    def __init__(self, preprocessor: ImagePreprocessor, engine: Backend) -> None:
        self._hop_ns = preprocessor.spec.hop_ms * _NS_PER_MS
        self._preprocessor = preprocessor
        self._engine = engine
        self._cell = -1
        self.next_index = 0
        self.end_ns = 0

    def feed(self, item: Frame | AudioBlock) -> Iterator[Span]:
        """Yield what the window covers, once, when the frame is one; the tensor holds it then.

        Raises:
            InputError: SOURCE_MISMATCH; not a frame.
        """
        if not isinstance(item, Frame):
            raise _mismatch("a camera", "samples of a microphone")
        self.next_index, self.end_ns = item.index + 1, item.captured_ns
        if self._hop_ns:
            cell = item.captured_ns // self._hop_ns
            if cell == self._cell:
                return
            self._cell = cell
        self._preprocessor.into(item.pixels, self._engine.input_view())
        yield Span(item.index, item.index + 1, item.captured_ns, item.captured_ns)

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

    Each frame is computed once, however many windows it is in.
    """

    def __init__(self, frontend: LogMelFrontend, engine: Backend) -> None:
        self._spec = frontend.spec
        self._frontend = frontend
        self._engine = engine
        self._empty = np.empty((0, frontend.spec.mel_bands), np.int8)
        self.next_index = 0
        self.end_ns = 0
        self.reset()

    def reset(self) -> None:
        """Begin anew with the next block, wherever in the stream it lies."""
        self._frontend.reset()
        self._frames = self._empty
        self._first_frame = 0
        self._window_frame = 0
        self._anchored = False
        self._anchor_sample = self._anchor_ns = 0

    def missing(self, item: Frame | AudioBlock) -> bool:
        """Tell whether samples are missing between the last block and ``item``."""
        return self._anchored and isinstance(item, AudioBlock) and item.first_sample != self.next_index

    def feed(self, item: Frame | AudioBlock) -> Iterator[Span]:
        """Yield what each window covers that the block completes; the tensor holds that window then.

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
        frames = self._frontend.push(item.samples)
        if not len(frames):
            return
        self._frames = np.concatenate((self._frames, frames)) if len(self._frames) else frames
        size, hop = self._spec.window_frames, self._spec.hop_frames
        while self._first_frame + len(self._frames) >= self._window_frame + size:
            start = self._window_frame - self._first_frame
            self._engine.input_view()[...] = self._frames[start : start + size]
            yield self._span()
            self._window_frame += hop
        # frames before the next window are done with; it may begin behind those that are here
        done = min(self._window_frame - self._first_frame, len(self._frames))
        self._frames = self._frames[done:]
        self._first_frame += done

    def _span(self) -> Span:
        start = self._anchor_sample + self._window_frame * self._spec.frame_hop_samples
        end = start + self._spec.window_samples
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
