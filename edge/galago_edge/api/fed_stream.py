"""A stream that a program feeds: the pipeline of ``galago run``, with arrays for a source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from galago_edge.api.arguments import (
    check_emit,
    checked_bundle,
    checked_cause,
    checked_name,
    checked_thresholds,
)
from galago_edge.api.arrays import ColorOrder, checked_integer, checked_pixels, checked_rate, checked_samples
from galago_edge.api.fed_items import FedFrames, FedSamples, FrameRate, frame_rate
from galago_edge.api.sole_user import SoleUser
from galago_edge.bundle import Bundle
from galago_edge.contract.errors import GalagoError, InputError, Reason
from galago_edge.contract.manifest import AudioPreprocess
from galago_edge.contract.records import EventRecord, Record
from galago_edge.contract.streams import Item
from galago_edge.pipeline import DecidingStream, load

Emit = Callable[[Sequence[Record]], None]


class Stream:
    """Decides on frames or samples as a program hands them in, and gives the events. To be closed.

    ``feed_frame`` or ``feed_samples`` return the events that were decided with what came; ``emit`` gets
    every record in order: these events, where labels end, gaps, and first and last what the stream began
    and ended with. How samples are cut into pieces changes no record.

    Leaving the ``with`` block ends the stream: its last record is ``ended``, or ``failed`` when a
    GalagoError ends the block. Any other exception breaks it off without a last record.

    One thread at a time may use it; threads that want to work side by side take a stream each. ``emit`` is
    called in the thread that feeds, and must not feed itself.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        name: str = "stream",
        fps: FrameRate | None = None,
        rate_hz: int | None = None,
        start_ns: int = 0,
        thresholds: Mapping[str, Mapping[str, float]] | None = None,
        scores: bool = False,
        emit: Emit | None = None,
    ) -> None:
        """Load the model of ``bundle``, which may be closed afterwards.

        Args:
            bundle: What decides.
            name: The stream's name in its records: as in ``galago.toml``, 1 to 64 letters, digits, ``_``,
                ``.`` or ``-``, first a letter or digit.
            fps: Frames per second, for a camera's bundle: a number, or exact as ``30000/1001``. Without it
                every frame needs its ``time_ns``.
            rate_hz: Samples per second, for a microphone's bundle; the bundle's own without it. Others are
                converted, which needs ``galago-edge[recording]``.
            start_ns: Stream time of frame 0 or sample 0, in nanoseconds, not negative.
            thresholds: Label to ``{"on": ..., "off": ...}``, either or both, instead of the bundle's:
                numbers from 0 to 1.
            scores: True adds a record for every window, to what ``emit`` gets.
            emit: Called with the records, before the call that led to them returns.

        Raises:
            BundleError: PREPROCESS_MISMATCH, TENSOR_MISMATCH or MODEL_BAD; it cannot be run here.
            DeviceError: EXTRA_MISSING; RUNTIME_MISSING, OP_UNSUPPORTED.
            CallerError: CONFIG_BAD; ``thresholds`` names no label of the bundle, or crosses on and off.
            InputError: SOURCE_MISMATCH; ``fps`` for a microphone's bundle, ``rate_hz`` for a camera's.
            TypeError, ValueError: ``bundle`` is none or closed; a number is none, or out of range; a name
                with other characters; a threshold of another word than ``on`` and ``off``; ``emit`` cannot
                be called.
        """
        checked_bundle(bundle)
        checked_name(name)
        check_emit(emit)
        overrides = checked_thresholds(thresholds)
        if (start := checked_integer("start_ns", start_ns)) < 0:
            raise ValueError(f"start_ns is {start}, expected 0 or more")
        self._feed = _feed_for(bundle, fps, rate_hz, start)
        self._loaded = load(bundle)
        self._stream = DecidingStream(name, self._loaded, thresholds=overrides, scores=scores)
        self._emit = emit
        self._emit_failed = False
        self._started = False
        self._use = SoleUser(f"the stream {name!r}")

    def __enter__(self) -> Self:
        with self._use():
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif not self._use.closed:
            with self._use():
                self._end(error)

    def feed_frame(
        self,
        pixels: npt.NDArray[np.uint8],
        *,
        color: ColorOrder = "bgr",
        time_ns: int | None = None,
        index: int | None = None,
    ) -> list[EventRecord]:
        """Take the next frame; return the events that it leads to.

        Args:
            pixels: numpy array of uint8, shape ``(height, width, 3)``, of any size.
            color: Order of the last axis: ``bgr`` as OpenCV gives it, or ``rgb``.
            time_ns: When it was taken, in nanoseconds of the stream's time, never before the frame before;
                by index and ``fps`` without it.
            index: Its number in the stream; without it the one behind the last. A jump says that frames
                between were dropped.

        Raises:
            TypeError: ``pixels`` is no array of uint8, or a number is no integer.
            ValueError: Another shape or order; time or index goes back, or nothing says when the frame was
                taken; the stream is closed.
            InputError: SOURCE_MISMATCH; the bundle is for a microphone.
            BundleError: MODEL_BAD; the model failed.
        """
        feed = self._feed
        if not isinstance(feed, FedFrames):
            raise _mismatch("a microphone", "a frame of a camera")
        checked = checked_pixels(pixels, color)
        when = None if time_ns is None else checked_integer("time_ns", time_ns)
        at = None if index is None else checked_integer("index", index)
        with self._use():
            return self._push(feed.items(checked, when, at))

    def feed_samples(
        self, samples: npt.NDArray[np.int16], *, first_sample: int | None = None
    ) -> list[EventRecord]:
        """Take the next samples, as many as there are; return the events that they lead to.

        Args:
            samples: numpy array of int16, shape ``(n,)``: one channel at the stream's ``rate_hz``. It is
                copied, so the buffer may be used again.
            first_sample: Number of ``samples[0]`` in the stream; without it the one behind the last. A jump
                says that samples between are lost, which becomes a gap ``drop``.

        Raises:
            TypeError: ``samples`` is no array of int16, or ``first_sample`` no integer.
            ValueError: Another shape; ``first_sample`` goes back; the stream is closed.
            InputError: SOURCE_MISMATCH; the bundle is for a camera.
            BundleError: MODEL_BAD; the model failed.
        """
        feed = self._feed
        if not isinstance(feed, FedSamples):
            raise _mismatch("a camera", "samples of a microphone")
        checked = checked_samples(samples)
        first = None if first_sample is None else checked_integer("first_sample", first_sample)
        with self._use():
            return self._push(feed.items(checked, first))

    def feed_gap(self, to_ns: int, *, cause: str = "drop") -> list[EventRecord]:
        """Say that nobody watched from the last item to ``to_ns``; return the events of what came before.

        Labels that are on end, and smoothing starts over behind it. What comes next lies at ``to_ns`` or
        later. ``cause`` is one of the words of docs/events.md: ``connecting``, ``disconnect``, ``stall``,
        ``restart``, ``drop``, ``overrun``, ``truncated``, ``unreadable``.

        Raises:
            TypeError: ``to_ns`` is no integer, or ``cause`` no text.
            ValueError: ``to_ns`` lies before what came already; ``cause`` is another word; the stream is
                closed.
            BundleError: MODEL_BAD; the model failed.
        """
        end_ns = checked_integer("to_ns", to_ns)
        checked_cause(cause)
        with self._use():
            return self._push(self._feed.gap(end_ns, cause))

    def finish(self) -> list[EventRecord]:
        """Say that nothing more comes; return the events of what was still being converted, and close.

        Only sound at another rate than the bundle's is still being converted. A second time is fine.

        Raises:
            BundleError: MODEL_BAD; the model failed.
        """
        if self._use.closed:
            return []
        with self._use():
            try:
                events = self._push(self._feed.rest())
            except BaseException as error:  # raised again: a stream that broke decides nothing more
                self._end(error)
                raise
            self._end(None)
            return events

    def close(self) -> None:
        """End the stream as :meth:`finish` does, and let go of the model; a second time is fine."""
        self.finish()

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._hand_on(self._stream.start(self._feed))

    def _push(self, items: Iterable[Item]) -> list[EventRecord]:
        self._start()
        events: list[EventRecord] = []
        for item in items:
            if records := self._stream.push(item):
                events += [record for record in records if isinstance(record, EventRecord)]
                self._hand_on(records)
        return events

    def _end(self, error: BaseException | None) -> None:
        """Write the last record and close; where it would be untrue or cannot be written, only close."""
        self._use.closed = True
        try:
            if (error is None or isinstance(error, GalagoError)) and not self._emit_failed:
                self._start()
                self._hand_on(self._stream.finish(self._feed, error))
        finally:
            self._loaded.close()

    def _hand_on(self, records: Sequence[Record]) -> None:
        if self._emit is None:
            return
        self._emit_failed = True
        self._emit(records)
        self._emit_failed = False


def _feed_for(
    bundle: Bundle, fps: FrameRate | None, rate_hz: int | None, start_ns: int
) -> FedFrames | FedSamples:
    spec = bundle.spec
    if isinstance(spec, AudioPreprocess):
        if fps is not None:
            raise _mismatch("a microphone", f"frames, {fps} a second")
        rate = spec.sample_rate_hz if rate_hz is None else checked_rate(rate_hz)
        return FedSamples(rate, spec.sample_rate_hz, start_ns)
    if rate_hz is not None:
        raise _mismatch("a camera", f"samples, {rate_hz} a second")
    return FedFrames(None if fps is None else frame_rate(fps), start_ns)


def _mismatch(wanted: str, met: str) -> InputError:
    return InputError(
        Reason.SOURCE_MISMATCH,
        f"the bundle is for {wanted}, the program gives {met}",
        hint="ask the bundle for its modality, or take another bundle",
    )
