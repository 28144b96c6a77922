"""Whether what a live source gives can be believed: a dead camera or microphone often goes on giving.

Every check has its own time in ``PlausibilitySettings``. What is suspicious for so long is ``implausible``;
it is ``plausible`` again when nothing was suspicious for ``clear_s``. Looks are few and subsampled, so
that they cost next to nothing beside one decision.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.settings import PlausibilitySettings
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, samples_to_ns
from galago_edge.sources.doubt import Doubt, News, What
from galago_edge.sources.sight import Sight, ViewKeeper

_LOOK_NS = NS_PER_S // 5
"""Cameras: at most five looks a second, however fast the frames come."""
_GRID = 48
"""Cameras: at most so many rows and columns of pixels are looked at."""
_BLACK = 16
"""A picture is black when 95 % of its pixels are below this level in every channel."""
_EVEN = 8
"""A picture is one even colour when 90 % of its pixels lie within so many levels in every channel."""

_FULL_SCALE = 32_768
_CLIPPED_AT = 32_700
"""Some converters clip a little below full scale."""
_CLIPPED_SHARE = 0.01
_OFFSET = _FULL_SCALE // 10
_RATE_OFF = 0.02
_RATE_BACK = 0.01
_RATE_PARTS = 10
"""The rate is the median over so many parts of ``rate_s``: one loss is not a wrong rate."""
SILENCE_DBFS = -120.0
"""Level of digital silence, where a logarithm has no answer."""


class _Check:
    """Hysteresis in time: what is suspicious for ``after_s`` is an alarm, until it is not for ``clear_s``."""

    def __init__(self, what: What, after_s: float, clear_s: float) -> None:
        self.what = what
        self.alarmed = False
        self._after_ns = round(after_s * NS_PER_S)
        self._clear_ns = round(clear_s * NS_PER_S)
        self._since_ns: int | None = None

    def look(self, suspicious: bool, from_ns: int, to_ns: int, **detail: Any) -> list[Doubt]:
        """Take what was met from ``from_ns`` to ``to_ns`` and return the change that it leads to, if any."""
        if not self._after_ns or suspicious is self.alarmed:
            self._since_ns = None
            return []
        if self._since_ns is None:
            self._since_ns = from_ns
        if to_ns - self._since_ns < (self._clear_ns if self.alarmed else self._after_ns):
            return []
        self.alarmed, self._since_ns = suspicious, None
        return [Doubt(self.what, suspicious, detail)]

    def pause(self) -> None:
        """Forget how long: what comes next does not join what came last."""
        self._since_ns = None


class Checks:
    """What checks of frames and of sound have in common."""

    def __init__(self, *checks: _Check) -> None:
        self._checks = checks

    @property
    def alarms(self) -> tuple[str, ...]:
        """What is implausible now."""
        return tuple(check.what for check in self._checks if check.alarmed)

    @property
    def level_dbfs(self) -> float | None:
        """RMS of the last second of sound."""
        return None

    @property
    def learning(self) -> bool | None:
        """Whether a camera still learns what it usually sees; None where nothing is learned."""
        return None

    @property
    def unjudged(self) -> bool:
        """Whether a camera's pictures show too little to tell whether it is blind."""
        return False

    def arrived(self, block: AudioBlock) -> list[Doubt]:
        """Take a block as it came from the device, with its time by this computer's clock."""
        return []

    def connected(self) -> None:
        """Note that what comes next is from a new capture."""

    def look(self, item: Frame | AudioBlock) -> Sequence[Doubt | News]:
        """Take an item as it stands in the stream and return what changes."""
        raise NotImplementedError

    def ended(self) -> Sequence[News]:
        """Note that nothing comes any more."""
        return ()

    def interrupted(self) -> None:
        """Note that something is missing before the next item. An alarm stays for now."""
        for check in self._checks:
            check.pause()


class FrameChecks(Checks):
    """A camera that repeats itself, sees nothing, or no longer what is there to be seen."""

    def __init__(
        self, settings: PlausibilitySettings, clear_s: float, keeper: ViewKeeper | None = None
    ) -> None:
        """``keeper`` keeps what the camera usually sees; None: it is learned anew with every start."""
        self._frozen = _Check("frozen", settings.frozen_s, clear_s)
        self._dark = _Check("dark", settings.dark_s, clear_s)
        super().__init__(self._frozen, self._dark)
        self._sight = Sight(settings, clear_s, keeper)
        self._last: Frame | None = None

    @property
    def alarms(self) -> tuple[str, ...]:
        """What is implausible now."""
        blind = self._sight.alarm
        return super().alarms + (() if blind is None else (blind,))

    @property
    def learning(self) -> bool | None:
        """Whether it still learns what it usually sees."""
        return self._sight.learning

    @property
    def unjudged(self) -> bool:
        """Whether its pictures show too little to tell whether it is blind."""
        return self._sight.unjudged

    def look(self, item: Frame | AudioBlock) -> list[Doubt | News]:
        """Look at the frame before it, at its darkest and brightest pixels, and at its edges."""
        if not isinstance(item, Frame) or not item.pixels.size:
            return []
        last = self._last
        if last is not None and 0 <= item.captured_ns - last.captured_ns < _LOOK_NS:
            return []
        self._last = item
        from_ns = item.captured_ns if last is None else last.captured_ns
        doubts: list[Doubt | News] = []
        if last is not None:
            doubts += self._frozen.look(_same(last, item), from_ns, item.captured_ns)
        low, high = _range(_subsampled(item.pixels))
        sees_nothing = bool((high < _BLACK).all() or (high - low <= _EVEN).all())
        detail: dict[str, Any] = {"low": low.tolist(), "high": high.tolist()}
        blind: list[Doubt | News] = []
        if not sees_nothing:  # what is black is told as that
            blind = self._sight.look(item)
            if self._sight.blank:
                sees_nothing, detail = True, detail | {"noise": True}
        return [*doubts, *self._dark.look(sees_nothing, from_ns, item.captured_ns, **detail), *blind]

    def interrupted(self) -> None:
        """Compare the next frame with none from before the interruption."""
        super().interrupted()
        self._sight.interrupted()
        self._last = None

    def ended(self) -> list[News]:
        """Keep what was learned."""
        return self._sight.ended()


class SoundChecks(Checks):
    """A microphone that is dead, too loud, broken, or of another rate than it says."""

    def __init__(self, settings: PlausibilitySettings, clear_s: float) -> None:
        self._flat = _Check("flat", settings.flat_s, clear_s)
        self._clipped = _Check("clipped", settings.clipped_s, clear_s)
        self._offset = _Check("offset", settings.offset_s, clear_s)
        # the measurement has its own window: its first answer counts
        self._rate = _Check("rate", min(settings.rate_s, 1e-9), 0.0)
        super().__init__(self._flat, self._clipped, self._offset, self._rate)
        self._rate_s = settings.rate_s
        self._rates = _RateMeter(settings.rate_s)
        self._second: list[npt.NDArray[np.int16]] = []
        self._samples = 0
        self._from_ns = 0
        self._last_value: int | None = None
        self._level_dbfs: float | None = None

    @property
    def level_dbfs(self) -> float | None:
        """RMS of the last second; None before the first and after an interruption."""
        return self._level_dbfs

    def arrived(self, block: AudioBlock) -> list[Doubt]:
        """Compare how many samples come with how many the declared rate promises."""
        measured_hz = self._rates.measure(block)
        if measured_hz is None:
            return []
        off = abs(measured_hz / block.rate_hz - 1.0)
        wrong = off > (_RATE_BACK if self._rate.alarmed else _RATE_OFF)
        detail = {"measured_hz": round(measured_hz, 1), "declared_hz": block.rate_hz}
        return self._rate.look(wrong, 0, 1, **detail)

    def look(self, item: Frame | AudioBlock) -> list[Doubt]:
        """Judge the sound second by second."""
        if not isinstance(item, AudioBlock) or not len(item.samples):
            return []
        if not self._second:
            self._from_ns = item.captured_ns
        self._second.append(item.samples)
        self._samples += len(item.samples)
        if self._samples < item.rate_hz:
            return []
        samples = np.concatenate(self._second) if len(self._second) > 1 else self._second[0]
        to_ns = self._from_ns + samples_to_ns(self._samples, item.rate_hz)
        self._second, self._samples = [], 0
        return self._judge(samples, to_ns)

    def interrupted(self) -> None:
        """Begin a new second; what is known of the level is old."""
        super().interrupted()
        self._second, self._samples = [], 0
        self._last_value, self._level_dbfs = None, None

    def connected(self) -> None:
        """Measure the new connection's rate by itself."""
        self._rates = _RateMeter(self._rate_s)

    def _judge(self, samples: npt.NDArray[np.int16], to_ns: int) -> list[Doubt]:
        low, high = int(samples.min()), int(samples.max())
        wide = samples.astype(np.float64)
        mean = float(wide.mean())
        self._level_dbfs = _dbfs(math.sqrt(float(np.dot(wide, wide)) / len(wide)))
        # a line that jumps from one constant value to another is not flat
        flat = low == high and self._last_value in (None, low)
        self._last_value = int(samples[-1])
        clipped = 0.0
        if max(high, -low) >= _CLIPPED_AT:
            at_limit = (samples >= _CLIPPED_AT) | (samples <= -_CLIPPED_AT)
            clipped = int(np.count_nonzero(at_limit)) / len(samples)
        return [
            *self._flat.look(flat, self._from_ns, to_ns, value=low),
            *self._clipped.look(clipped > _CLIPPED_SHARE, self._from_ns, to_ns, share=round(clipped, 4)),
            *self._offset.look(abs(mean) > _OFFSET, self._from_ns, to_ns, share=round(mean / _FULL_SCALE, 4)),
        ]


class _RateMeter:
    """Measures the rate by this computer's clock, from the beginning of one block to that of another."""

    def __init__(self, window_s: float) -> None:
        self._part_ns = round(window_s * NS_PER_S / _RATE_PARTS)
        self._parts: deque[float] = deque(maxlen=_RATE_PARTS)
        self._from: tuple[int, int] | None = None
        self._rate_hz = 0

    def measure(self, block: AudioBlock) -> float | None:
        """Return samples a second over the last window, once for each part of it; None in between."""
        if not self._part_ns:
            return None
        if block.rate_hz != self._rate_hz:
            self._rate_hz = block.rate_hz
            self._parts.clear()
            self._from = None
        here = (block.captured_ns, block.first_sample)
        if self._from is None or here[1] < self._from[1]:
            self._from = here
            return None
        passed_ns = here[0] - self._from[0]
        if passed_ns < self._part_ns:
            return None
        self._parts.append((here[1] - self._from[1]) * NS_PER_S / passed_ns)
        self._from = here
        return median(self._parts) if len(self._parts) == _RATE_PARTS else None


def _same(one: Frame, other: Frame) -> bool:
    """Tell whether two frames are equal to the last bit."""
    if one.encoded is not None and other.encoded is not None:
        return one.encoded == other.encoded
    if one.pixels.shape != other.pixels.shape:
        return False
    # noise makes nearly every picture differ in the subsample already
    few, others = _subsampled(one.pixels), _subsampled(other.pixels)
    return bool(np.array_equal(few, others)) and bool(np.array_equal(one.pixels, other.pixels))


def _subsampled(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return at most ``_GRID`` x ``_GRID`` pixels, evenly spread; shape ``(h, w, 3)``."""
    rows, columns = (-(-length // _GRID) for length in pixels.shape[:2])
    return pixels[::rows, ::columns]


def _range(pixels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """Return the 5th and the 95th percentile of each channel, as they stand in the picture."""
    flat = pixels.reshape(-1, pixels.shape[-1])
    low, high = (len(flat) - 1) * 5 // 100, -(-(len(flat) - 1) * 95 // 100)
    ordered = np.partition(flat, (low, high), axis=0)
    return ordered[low].astype(np.int16), ordered[high].astype(np.int16)


def _dbfs(rms: float) -> float:
    return round(max(SILENCE_DBFS, 20.0 * math.log10(rms / _FULL_SCALE)), 1) if rms else SILENCE_DBFS
