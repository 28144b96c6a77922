"""Puts decoded sound on its time line: where the stamps jump something is missing, and how much is known."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from galago_edge.contract.streams import NS_PER_S
from galago_edge.sources.lateness import Lateness
from galago_edge.sources.media.sound_packets import DecodedSound, LostSound
from galago_edge.sources.sample_conversion import PcmFormat
from galago_edge.sources.sound_reader import Hole, SoundPiece, unreadable_sound

_JUMP_S = Fraction(1, 10)
_JUMP_PACKETS = 3
"""Stamps that are late by less than both are jitter of whoever wrote them, where they are no exact counts."""


class SoundSupply(Protocol):
    """Decodes the packets of one sound, in their order."""

    path: Path
    exact: bool
    """Whether stamps are numbers of samples."""
    whole: bool
    """Whether such a file never leaves anything out, so that what is missing was damaged."""
    counted: bool
    """Whether packets are only counted: stamps say nothing."""

    def __iter__(self) -> Iterator[DecodedSound | LostSound]:
        """Yield everything up to the end."""
        ...


class StampedSamples:
    """The samples of one sound from its first one on, with the holes between them."""

    def __init__(self, packets: SoundSupply) -> None:
        """Decode up to the first samples.

        Raises:
            InputError: AUDIO_UNREADABLE; nothing can be decoded.
        """
        self._packets = packets
        self._sounds = iter(packets)
        self._before = Fraction(0)
        self._first = self._find_first()
        self.format: PcmFormat = self._first.format
        self.first_stamp_s: Fraction | None = self._first.stamp
        self.position = 0
        """Samples of each channel up to here at the last format's rate, missing ones included."""
        self.lost_at_end = 0
        """Samples that were damaged behind the last good ones; known at the end."""
        self._base_s: Fraction = self._first.stamp or Fraction(0)
        self._back: Fraction | None = None
        self._lateness = Lateness()
        self._largest = 0

    @property
    def slack(self) -> int:
        """How many samples may be missing at the end without a word: a coder's own granularity."""
        return 0 if self._packets.exact else max(2 * self._largest, self.format.rate_hz // 20)

    def pieces(self) -> Iterator[SoundPiece]:
        """Yield samples, holes and changes of format. To be called once."""
        lost = self._before
        sound: DecodedSound | LostSound | None = self._first
        if lost:
            yield Hole(int(lost * self.format.rate_hz), "unreadable")
        damaged, lost = False, Fraction(0)
        while sound is not None:
            if isinstance(sound, LostSound):
                damaged, lost = True, lost + sound.seconds
            else:
                if sound.format != self.format:
                    yield from self._change(sound)
                hole = self._hole(sound, damaged, lost)
                if hole is not None:
                    self.position += hole.frames
                    yield hole
                damaged, lost = False, Fraction(0)
                self.position += len(sound.samples)
                self._largest = max(self._largest, len(sound.samples))
                yield sound.samples
            sound = next(self._sounds, None)
        if damaged:
            self.lost_at_end = max(1, round(lost * self.format.rate_hz))

    def _find_first(self) -> DecodedSound:
        for sound in self._sounds:
            if isinstance(sound, DecodedSound):
                return sound
            self._before += sound.seconds
        raise unreadable_sound(self._packets.path, "nothing of it can be decoded")

    def _change(self, sound: DecodedSound) -> Iterator[PcmFormat]:
        """Begin to count at another rate, where the stream is now."""
        self._base_s += Fraction(self.position, self.format.rate_hz)
        self.position, self._back, self._lateness = 0, None, Lateness()
        self.format = sound.format
        yield sound.format

    def _hole(self, sound: DecodedSound, damaged: bool, lost: Fraction) -> Hole | None:
        """Return what is missing before ``sound``."""
        rate_hz, count = self.format.rate_hz, len(sound.samples)
        if sound.stamp is None or self._packets.counted:
            return Hole(round(lost * rate_hz), "unreadable") if damaged else None
        at_s = sound.stamp - self._base_s
        late = round(at_s * rate_hz) - self.position
        if late < -self._jitter(count):
            self._went_back(late, count)
            return Hole(round(lost * rate_hz), "unreadable") if damaged else None
        returned, self._back = self._back is not None, None
        half = max(1, count // 2)
        if damaged or self._packets.exact:
            missing = late if late > half else 0
        else:
            missing = self._step(round(at_s * NS_PER_S), late, count)
        if damaged or (missing and (returned or self._packets.whole)):
            return Hole(missing, "unreadable")
        return Hole(missing, "missing") if missing else None

    def _step(self, at_ns: int, late: int, count: int) -> int:
        """Return how many samples are missing, by stamps that somebody wrote by a clock.

        A long jump counts at once. A short one may be jitter: it counts when all that follows is as late.
        """
        self._lateness.note(at_ns, late * NS_PER_S // self.format.rate_hz)
        steady = self._lateness.excess_ns() * self.format.rate_hz // NS_PER_S
        missing = late if late > self._jitter(count) else steady if steady > max(1, count // 2) else 0
        if missing:
            self._lateness = Lateness()
        return missing

    def _jitter(self, samples: int) -> int:
        return max(int(_JUMP_S * self.format.rate_hz), _JUMP_PACKETS * samples)

    def _went_back(self, late: int, samples: int) -> None:
        """Stamps that went back are one packet's damage, or those of another recording from here on.

        Time never goes back: the samples follow on those before. When the next ones agree, they count on.
        """
        shift = Fraction(late, self.format.rate_hz)
        if self._back is not None and abs(shift - self._back) * self.format.rate_hz <= samples:
            self._base_s += shift
            self._back, self._lateness = None, Lateness()
        else:
            self._back = shift
