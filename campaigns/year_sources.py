"""The year's camera and microphone: what they give, and how they fail, on a simulated clock."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from campaigns.year_plan import CUE_S, Fault, Plan
from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap

RATE_HZ = 8_000
_SIDE = 8
_BANK = 8
_PHASE_NS = NS_PER_S // 4
"""The camera's pictures are taken a quarter of a second after each full one."""
_NEVER_NS = 1 << 62


class Turns:
    """A stream's clock, and its turn: the stream's thread runs while the clock has not come to ``limit``."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns
        """True time."""
        self._limit_ns = now_ns
        self._go = threading.Event()
        self._arrived = threading.Event()
        self.ended = self.stopped = False

    def advance(self, to_ns: int) -> None:
        """Let the clock go on; from the stream's thread, which waits here for its next turn.

        When the stream is to end the clock stands, and this returns at once.
        """
        while to_ns > self._limit_ns and not self.stopped:
            self._arrived.set()
            self._go.wait()
            self._go.clear()
        if not self.stopped:
            self.now_ns = max(self.now_ns, to_ns)

    def run(self, limit_ns: int) -> None:
        """Let the stream's thread come to ``limit_ns``; from the thread that looks after everything."""
        if self.ended:
            return
        self._limit_ns = limit_ns
        self._arrived.clear()
        self._go.set()
        self._arrived.wait()
        self.now_ns = max(self.now_ns, limit_ns)

    def stop(self) -> None:
        """Let no more time pass, and the stream's thread go on to its end."""
        self.stopped = True
        self._go.set()

    def end(self) -> None:
        """Say that the stream's thread has ended."""
        self.ended = True
        self._arrived.set()


class Spans:
    """What a source really gave: from when to when, in true nanoseconds, without a hole."""

    def __init__(self, stream: str, file: IO[str]) -> None:
        self._stream, self._file = stream, file
        self._from_ns = self._to_ns = -1

    def extend(self, from_ns: int, to_ns: int) -> None:
        """Take what was given without a hole since the last one."""
        if self._from_ns < 0:
            self._from_ns = from_ns
        self._to_ns = to_ns

    def close(self) -> None:
        """Something is missing from here on."""
        if self._from_ns >= 0:
            line = {"stream": self._stream, "from_ns": self._from_ns, "to_ns": self._to_ns}
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        self._from_ns = -1


class _Faults:
    """The faults of one source, by time."""

    def __init__(self, plan: Plan, stream: str, now_ns: int) -> None:
        self._left: Iterator[Fault] = iter([fault for fault in plan.faults if fault.stream == stream])
        self._next()
        while self.to_ns <= now_ns:
            self._next()

    def _next(self) -> None:
        fault = next(self._left, None)
        self.kind = "" if fault is None else fault.kind.partition(" ")[0]
        self.from_ns = _NEVER_NS if fault is None else round(fault.from_s * NS_PER_S)
        self.to_ns = _NEVER_NS if fault is None else round(fault.to_s * NS_PER_S)

    def past(self, now_ns: int) -> None:
        """Go on to the next one that is not over."""
        while self.to_ns <= now_ns:
            self._next()

    def now(self, now_ns: int) -> str:
        """Return what is broken now; empty: nothing."""
        self.past(now_ns)
        return self.kind if self.from_ns <= now_ns else ""


class Device:
    """What a stream's source is plugged into: opens it while it is there."""

    def __init__(self, plan: Plan, stream: str, turns: Turns, boot_ns: int, spans: Spans) -> None:
        """``boot_ns``: true time at which the monotonic clock was 0."""
        self._plan, self._stream, self.turns, self.boot_ns, self.spans = plan, stream, turns, boot_ns, spans
        self.faults = _Faults(plan, stream, turns.now_ns)
        self.cues = [second * NS_PER_S for second in plan.cues(stream)]
        self._cue = 0

    def open(self) -> _Connection:
        """Return a connection.

        Raises:
            LinkError: SOURCE_LOST; it is not there.
        """
        if self.faults.now(self.turns.now_ns) == "unplug":
            raise LinkError(Reason.SOURCE_LOST, "nobody answers")
        return (_Camera if self._stream == "door" else _Microphone)(self)

    def shows(self, at_ns: int) -> bool:
        """Tell whether there is something to be seen or heard. To be asked in the order of time."""
        while self._cue < len(self.cues) and self.cues[self._cue] + CUE_S * NS_PER_S <= at_ns:
            self._cue += 1
        return self._cue < len(self.cues) and self.cues[self._cue] <= at_ns


class _Connection:
    """One connection, until it breaks."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def description(self) -> dict[str, Any]:
        """Return what it says of itself."""
        return {"kind": "year", "name": "year"}

    def close(self) -> None:
        """What comes from the next connection does not join."""
        self.device.spans.close()

    def read(self, timeout_s: float) -> Frame | AudioBlock | Gap | None:
        """Return the next item, when it comes.

        Raises:
            LinkError: SOURCE_LOST; it was unplugged.
        """
        turns, faults = self.device.turns, self.device.faults
        faults.past(turns.now_ns)
        due_ns = self.due_ns()
        turns.advance(min(due_ns, faults.from_ns))
        if turns.stopped:
            return None
        if due_ns <= faults.from_ns:
            return self.item()
        if faults.kind == "unplug":
            self.device.spans.close()
            raise LinkError(Reason.SOURCE_LOST, "the cable was pulled")
        if faults.kind == "stall":  # nothing of it comes later either: the device has stopped
            to_ns = min(turns.now_ns + round(timeout_s * NS_PER_S), faults.to_ns)
            turns.advance(to_ns)
            if to_ns == faults.to_ns and not turns.stopped:
                self.skip(to_ns, told=False)
            return None
        self.device.spans.close()
        from_ns = faults.from_ns
        damaged, to_ns = faults.kind == "damage", faults.to_ns
        turns.advance(to_ns)
        if turns.stopped:
            return None
        self.skip(to_ns, told=True)
        return (
            Gap(from_ns - self.device.boot_ns, to_ns - self.device.boot_ns, "unreadable") if damaged else None
        )

    def due_ns(self) -> int:
        """Return when the next item comes."""
        raise NotImplementedError

    def item(self) -> Frame | AudioBlock:
        """Return the next item."""
        raise NotImplementedError

    def skip(self, to_ns: int, *, told: bool) -> None:
        """Lose what would have come until ``to_ns``; ``told``: the numbering shows that."""
        raise NotImplementedError


class _Camera(_Connection):
    """Frames of 8 x 8 pixels, one a second."""

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self._index = 0
        self._at_ns = self._first(device.turns.now_ns)

    @staticmethod
    def _first(now_ns: int) -> int:
        return -(-(now_ns - _PHASE_NS) // NS_PER_S) * NS_PER_S + _PHASE_NS

    def due_ns(self) -> int:
        return self._at_ns

    def item(self) -> Frame:
        at_ns = self._at_ns
        bank = _BRIGHT if self.device.shows(at_ns) else _USUAL
        frame = Frame(bank[self._index % _BANK], self._index, at_ns - self.device.boot_ns)
        self.device.spans.extend(at_ns, at_ns)
        self._index += 1
        self._at_ns += NS_PER_S
        return frame

    def skip(self, to_ns: int, *, told: bool) -> None:
        self.device.spans.close()
        at_ns = self._first(to_ns)
        if told:
            self._index += (at_ns - self._at_ns) // NS_PER_S
        self._at_ns = at_ns


class _Microphone(_Connection):
    """Blocks of one second, from the moment on at which it is opened."""

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self._begin_ns = device.turns.now_ns
        self._sample = 0
        self._block = 0

    def _at(self, sample: int) -> int:
        return self._begin_ns + sample * NS_PER_S // RATE_HZ

    def due_ns(self) -> int:
        return self._at(self._sample + RATE_HZ)

    def item(self) -> AudioBlock:
        from_ns, to_ns = self._at(self._sample), self._at(self._sample + RATE_HZ)
        bank = _LOUD if self.device.shows(from_ns) else _QUIET
        block = AudioBlock(bank[self._block % _BANK], self._sample, from_ns - self.device.boot_ns, RATE_HZ)
        self.device.spans.extend(from_ns, to_ns)
        self._sample += RATE_HZ
        self._block += 1
        return block

    def skip(self, to_ns: int, *, told: bool) -> None:
        self.device.spans.close()
        lost = (to_ns - self._at(self._sample)) * RATE_HZ // NS_PER_S
        if told:
            self._sample += max(0, lost)
        else:  # it counts on where it stopped, later
            self._begin_ns += max(0, lost) * NS_PER_S // RATE_HZ


def _pictures(level: int) -> list[Any]:
    """Return pictures of one scene, light from above: noise moves nothing."""
    rng = np.random.default_rng(level)
    scene = np.linspace(level - 20, level + 20, _SIDE)[:, None, None]
    return [
        np.clip(scene + rng.normal(0, 1, (_SIDE, _SIDE, 3)), 0, 255).astype(np.uint8) for _ in range(_BANK)
    ]


def _sounds(tones_hz: tuple[int, ...]) -> list[Any]:
    """Return tones over a dull noise, which has nothing in the upper half of the bands."""
    rng = np.random.default_rng(len(tones_hz))
    time_s = np.arange(RATE_HZ) / RATE_HZ
    sound = sum((4_000 * np.sin(2 * np.pi * hz * time_s) for hz in tones_hz), np.zeros(RATE_HZ))
    dull = np.convolve(rng.normal(0, 60, RATE_HZ + 31), np.hanning(32) / 16, "valid")
    return [np.rint(np.roll(sound + dull, 97 * number)).astype(np.int16) for number in range(_BANK)]


_USUAL, _BRIGHT = _pictures(128), _pictures(225)
_QUIET, _LOUD = _sounds(()), _sounds((2_100, 2_500, 3_000, 3_400))
