"""Alarm signals by their standards' own patterns, and what a room does to them.

All signals are float32 at 16 kHz, shape ``(n,)``, unless said otherwise.

* Smoke: temporal-three of ISO 8201 (also ANSI S3.41): three pulses of 0.5 s, 0.5 s apart, then 1.5 s
  of silence. Sounders give about 3.1 kHz (piezo) or, for heavy sleepers, a 520 Hz square wave.
* Carbon monoxide: temporal-four of NFPA 720: four pulses of 0.1 s, 0.1 s apart, then 5 s of silence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import fftconvolve

RATE_HZ = 16_000

SIREN_KNOWN_S = 3.0
"""Seconds after which a siren has shown what it is: most of its slowest sweep."""

Sound = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Rhythm:
    """A signal that repeats: pulses of one length, a gap between them, a pause after the last."""

    pulses: int
    on_s: float
    gap_s: float
    pause_s: float

    @property
    def pattern_s(self) -> float:
        """Seconds from the first pulse's begin to the last one's end: then the pattern is complete."""
        return self.pulses * self.on_s + (self.pulses - 1) * self.gap_s

    @property
    def cycle_s(self) -> float:
        """Seconds from one pattern to the next."""
        return self.pattern_s + self.pause_s


TEMPORAL_THREE = Rhythm(pulses=3, on_s=0.5, gap_s=0.5, pause_s=1.5)
TEMPORAL_FOUR = Rhythm(pulses=4, on_s=0.1, gap_s=0.1, pause_s=5.0)


@dataclass(frozen=True, slots=True)
class Sounder:
    """What one device sounds like: partials at multiples of a frequency."""

    frequency_hz: float
    partials: tuple[tuple[int, float], ...]
    """(multiple, amplitude) pairs; those above half the sampling rate are left out."""
    attack_s: float = 0.004

    def tone(self, seconds: float) -> Sound:
        """Return one pulse with soft edges, peak about 1."""
        t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
        wave = np.zeros(t.size)
        for multiple, amplitude in self.partials:
            if multiple * self.frequency_hz < 0.48 * RATE_HZ:
                wave += amplitude * np.sin(2 * np.pi * multiple * self.frequency_hz * t)
        edge = np.minimum(1.0, np.minimum(t, t[::-1]) / self.attack_s)
        return (wave * edge).astype(np.float32)

    def signal(self, rhythm: Rhythm, cycles: int) -> Sound:
        """Return ``cycles`` repetitions without the last pause."""
        out = np.zeros(round(((cycles - 1) * rhythm.cycle_s + rhythm.pattern_s) * RATE_HZ), np.float32)
        pulse = self.tone(rhythm.on_s)
        for cycle in range(cycles):
            for number in range(rhythm.pulses):
                at = round((cycle * rhythm.cycle_s + number * (rhythm.on_s + rhythm.gap_s)) * RATE_HZ)
                part = out[at : at + pulse.size]
                part += pulse[: part.size]
        return out


def piezo(rng: np.random.Generator) -> Sounder:
    """Return one of the usual sounders: 2.9 to 3.4 kHz, a little of the second partial."""
    partials = ((1, 1.0), (2, float(rng.uniform(0.02, 0.25))))
    return Sounder(float(rng.uniform(2_900, 3_400)), partials, float(rng.uniform(0.002, 0.01)))


def square_520(rng: np.random.Generator) -> Sounder:
    """Return a low-frequency sounder: square wave of 520 Hz, within its tolerance of 10 %."""
    partials = tuple((k, 1.0 / k) for k in range(1, 15, 2))
    return Sounder(float(rng.uniform(495, 545)), partials)


def siren(rng: np.random.Generator, seconds: float) -> Sound:
    """Return a wail (slow sweep) or a yelp (fast sweep)."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    low, high = rng.uniform(450, 750), rng.uniform(1_150, 1_700)
    period_s = rng.uniform(2.5, 5.0) if rng.random() < 0.5 else rng.uniform(0.25, 0.5)
    position = 0.5 - 0.5 * np.cos(2 * np.pi * (t / period_s + rng.uniform()))
    phase = 2 * np.pi * np.cumsum(low + (high - low) * position) / RATE_HZ
    wave = np.zeros(t.size)
    for multiple in range(1, 6):
        wave += np.sin(multiple * phase) / multiple ** rng.uniform(1.0, 1.8)
    return wave.astype(np.float32)


def in_room(sound: Sound, rng: np.random.Generator) -> Sound:
    """Return ``sound`` with the echoes of a random room (decay by 60 dB in 0.15 to 0.5 s); same length."""
    decay_s = rng.uniform(0.15, 0.5)
    t = np.arange(round(decay_s * RATE_HZ)) / RATE_HZ
    tail = rng.standard_normal(t.size) * 10.0 ** (-3.0 * t / decay_s)
    tail *= rng.uniform(0.2, 0.7) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return np.asarray(fftconvolve(sound, tail.astype(np.float32))[: sound.size], np.float32)


def rms(sound: Sound) -> float:
    """Return the root mean square, never 0."""
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))) + 1e-9


def loud_rms(sound: Sound) -> float:
    """Return the root mean square over the loudest quarter of 50 ms pieces: pulses without their pauses."""
    piece = RATE_HZ // 20
    pieces = sound[: sound.size // piece * piece].reshape(-1, piece)
    power = np.sort(np.mean(np.square(pieces, dtype=np.float64), axis=1))
    return float(np.sqrt(power[-max(1, power.size // 4) :].mean())) + 1e-9


def mix(alarm: Sound, background: Sound, snr_db: float) -> Sound:
    """Return the sum; ``snr_db`` compares the alarm while it sounds with the whole background."""
    gain = rms(background) * 10.0 ** (snr_db / 20.0) / loud_rms(alarm)
    return background + np.float32(gain) * alarm


def to_int16(sound: Sound) -> npt.NDArray[np.int16]:
    """Return samples for a WAV file; full scale is 1.0, louder saturates as a microphone does."""
    samples: npt.NDArray[np.int16] = np.rint(sound * 32_767.0).clip(-32_768, 32_767).astype(np.int16)
    return samples
