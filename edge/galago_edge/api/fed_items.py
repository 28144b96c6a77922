"""Arrays that a program hands in, made into the frames and blocks of a stream: where they lie, and when."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.streams import LATEST_NS, NS_PER_S, AudioBlock, Frame, Gap, Item, samples_to_ns
from galago_edge.sources.address_options import frame_rate as read_rate
from galago_edge.sources.image_folder import frame_ns
from galago_edge.sources.sample_conversion import Converter, PcmFormat

FrameRate = int | float | str | Fraction


def frame_rate(fps: FrameRate) -> Fraction:
    """Return frames per second, exactly what was written.

    Raises:
        ValueError: Not from 1/1000 to 1000, or no number.

    >>> frame_rate(29.97), frame_rate("30000/1001")
    (Fraction(2997, 100), Fraction(30000, 1001))
    """
    try:
        return read_rate(str(fps))
    except ValueError as error:
        raise ValueError(f"fps is {fps!r}, {error}") from None


class FedFrames:
    """Counts frames and gives each its time: by the frame rate, or what the program says."""

    live = False

    def __init__(self, rate: Fraction | None, start_ns: int) -> None:
        self._rate = rate
        self._start_ns = start_ns
        self._next_index = 0
        self._frames = 0
        self.end_ns = start_ns
        """Time of the last frame, or where the last gap ends."""

    def description(self) -> dict[str, Any]:
        """Return how the frames are timed."""
        return {"kind": "frames", "fps": None if self._rate is None else str(self._rate)}

    def conversion(self) -> None:
        """Return None: frames are taken as they are."""
        return

    def summary(self) -> dict[str, Any]:
        """Return how many frames came."""
        return {"frames": self._frames}

    def items(self, pixels: npt.NDArray[np.uint8], time_ns: int | None, index: int | None) -> Iterator[Item]:
        """Yield the frame.

        Raises:
            ValueError: It would lie before the last one, or nothing says when it was taken.
        """
        at = self._next_index if index is None else index
        if at < self._next_index:
            raise ValueError(f"index is {at}, expected at least {self._next_index}: frames come in order")
        if time_ns is None:
            if self._rate is None:
                raise ValueError(
                    "nothing says when the frame was taken; expected fps=... for the stream or time_ns=..."
                )
            time_ns = max(self.end_ns, self._start_ns + frame_ns(at, self._rate))
            if time_ns >= LATEST_NS:
                raise ValueError(f"index is {at}, which is {time_ns // NS_PER_S} s after the start")
        if time_ns < self.end_ns:
            raise ValueError(f"time_ns is {time_ns}, expected at least {self.end_ns}: time does not go back")
        self._next_index, self.end_ns = at + 1, time_ns
        self._frames += 1
        yield Frame(pixels, at, time_ns)

    def gap(self, to_ns: int, cause: str) -> Iterator[Item]:
        """Yield a gap from the last frame on; the next frame's time is not before its end.

        Raises:
            ValueError: It would end before it begins.
        """
        check_gap(self.end_ns, to_ns)
        yield Gap(self.end_ns, to_ns, cause)
        self.end_ns = to_ns
        if self._rate is not None:
            whole = -((self._start_ns - to_ns) * self._rate // NS_PER_S)  # first index not before to_ns
            self._next_index = max(self._next_index, int(whole))

    def rest(self) -> Iterator[Item]:
        """Yield nothing: a frame is whole when it comes."""
        return iter(())


class FedSamples:
    """Counts samples, converts them to the bundle's rate, and notices when some are missing."""

    live = False

    def __init__(self, rate_hz: int, wanted_hz: int, start_ns: int) -> None:
        """Prepare for samples at ``rate_hz``.

        Raises:
            DeviceError: EXTRA_MISSING; an odd rate needs soxr, which is not installed.
        """
        self._rate_hz, self._wanted_hz, self._start_ns = rate_hz, wanted_hz, start_ns
        self._converter = self._new_converter()
        self._next_sample = 0  # of what comes in
        self._position = 0  # of what goes on
        self._samples = 0

    def description(self) -> dict[str, Any]:
        """Return the format of what comes in."""
        return {"kind": "samples", "encoding": "s16", "channels": 1, "rate_hz": self._rate_hz}

    def conversion(self) -> dict[str, Any] | None:
        """Return the declared conversion, if the rates differ."""
        return self._converter.declaration()

    def summary(self) -> dict[str, Any]:
        """Return how many samples came."""
        return {"samples": self._samples}

    @property
    def end_ns(self) -> int:
        """Time of the sample behind the last one that went on."""
        return self._ns(self._position)

    def items(self, samples: npt.NDArray[np.int16], first_sample: int | None) -> Iterator[Item]:
        """Yield the block, and before it what was still being converted if samples are missing between.

        Raises:
            ValueError: It would lie before what came already.
        """
        first = self._next_sample if first_sample is None else first_sample
        if first < self._next_sample:
            raise ValueError(
                f"first_sample is {first}, expected at least {self._next_sample}: samples come in order"
            )
        if (at_ns := self._start_ns + samples_to_ns(first, self._rate_hz)) >= LATEST_NS:
            raise ValueError(f"first_sample is {first}, which is {at_ns // NS_PER_S} s after the start")
        if first > self._next_sample:  # the stream says the gap, for it sees the jump
            yield from self.rest()
            self._go_to(first)
        self._next_sample = first + len(samples)
        self._samples += len(samples)
        yield from self._block(self._converter.convert(samples.reshape(-1, 1)))

    def gap(self, to_ns: int, cause: str) -> Iterator[Item]:
        """Yield a gap; the next sample is the first one not before its end.

        Raises:
            ValueError: It would end before it begins.
        """
        check_gap(self.end_ns, to_ns)
        yield from self.rest()
        yield Gap(self.end_ns, max(self.end_ns, to_ns), cause)
        first = -((self._start_ns - to_ns) * self._rate_hz // NS_PER_S)
        self._go_to(max(first, self._next_sample))

    def rest(self) -> Iterator[Item]:
        """Yield what was still being converted."""
        yield from self._block(self._converter.convert(np.empty((0, 1), np.int16), last=True))

    def _go_to(self, sample: int) -> None:
        """Go on at another sample: what comes next is not converted together with what came before."""
        self._converter = self._new_converter()
        self._next_sample = sample
        self._position = max(self._position, -(-sample * self._wanted_hz // self._rate_hz))

    def _block(self, converted: npt.NDArray[np.int16]) -> Iterator[Item]:
        if len(converted):
            block = AudioBlock(converted, self._position, self.end_ns, self._wanted_hz)
            self._position += len(converted)
            yield block

    def _ns(self, position: int) -> int:
        return self._start_ns + samples_to_ns(position, self._wanted_hz)

    def _new_converter(self) -> Converter:
        return Converter(PcmFormat("s16", 1, self._rate_hz), self._wanted_hz)


def check_gap(from_ns: int, to_ns: int) -> None:
    """Refuse a gap that would end before it begins.

    Raises:
        ValueError: It would.
    """
    if to_ns < from_ns:
        raise ValueError(f"the gap would end at {to_ns}, expected at least {from_ns}, where it begins")
