"""Sounds of a home that are no alarm: talk, music, machines, knocks, single beeps.

Nothing is recorded: all of it is synthesised, so a result on it says that the patterns are told apart
from such sounds, not what happens in a real home. float32 at 16 kHz, shape ``(n,)``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.signal import lfilter

from galago_workstation.demo.sounds import RATE_HZ, Rhythm, Sound, Sounder, rms

# First three formants of eight vowels in Hz: Peterson and Barney (1952), men's means, rounded.
_VOWELS = (
    (270, 2290, 3010), (390, 1990, 2550), (530, 1840, 2480), (660, 1720, 2410),
    (730, 1090, 2440), (570, 840, 2410), (300, 870, 2240), (490, 1350, 1690),
)  # fmt: skip


def talk(rng: np.random.Generator, samples: int) -> Sound:
    """Return speech-like sound: voiced syllables with moving formants, hisses, pauses."""
    out = np.zeros(samples, np.float32)
    pitch_hz = rng.uniform(85, 240)
    stretch = rng.uniform(0.95, 1.2)  # shorter vocal tracts have higher formants
    at = int(rng.uniform(0, 0.5) * RATE_HZ)
    while at < samples:
        if rng.random() < 0.12:
            at += int(rng.uniform(0.3, 1.2) * RATE_HZ)
            continue
        piece = _hiss(rng) if rng.random() < 0.25 else _syllable(rng, pitch_hz, stretch)
        part = out[at : at + piece.size]
        part += piece[: part.size]
        at += int(piece.size * rng.uniform(0.8, 1.1))
    return out


def _syllable(rng: np.random.Generator, pitch_hz: float, stretch: float) -> Sound:
    size = int(rng.uniform(0.09, 0.3) * RATE_HZ)
    ramp = np.linspace(0.0, 1.0, size, dtype=np.float32)
    f0 = np.float32(pitch_hz * rng.uniform(0.85, 1.2)) * (1 + np.float32(rng.uniform(-0.2, 0.2)) * ramp)
    phase = _phase(f0)
    first, last = (
        np.array(_VOWELS[int(i)], np.float32) * stretch for i in rng.integers(len(_VOWELS), size=2)
    )
    wave = np.zeros(size, np.float32)
    multiples = np.arange(1, int(4_000 / pitch_hz), dtype=np.float32)[:, None]
    # the gains of a harmonic change slowly: enough to know them at nine moments
    moments = np.linspace(0.0, 1.0, 9, dtype=np.float32)
    gains = np.zeros((multiples.size, 9), np.float32)
    for a, b, level, width in zip(first, last, (1.0, 0.5, 0.25), (90.0, 120.0, 180.0), strict=True):
        formant = a * (1 - moments) + b * moments
        gains += level / (1 + ((multiples * f0[:: max(1, size // 9)][:9] - formant) / width) ** 2)
    for multiple, gain in zip(multiples[:, 0], gains, strict=True):
        wave += np.interp(ramp, moments, gain).astype(np.float32) * np.sin(multiple * phase)
    swell = np.sqrt(np.maximum(0, np.sin(np.float32(np.pi) * ramp)))
    return np.asarray(wave * swell * np.float32(rng.uniform(0.5, 1.0)), np.float32)


def _hiss(rng: np.random.Generator) -> Sound:
    size = int(rng.uniform(0.05, 0.16) * RATE_HZ)
    noise = np.diff(white(rng, size + 1))  # more treble, as an s has
    return np.float32(0.15) * noise * np.sin(np.linspace(0, np.pi, size, dtype=np.float32))


def music(rng: np.random.Generator, samples: int) -> Sound:
    """Return chords, a melody and a beat in one key."""
    out = np.zeros(samples, np.float32)
    beat = int(rng.uniform(0.28, 0.6) * RATE_HZ)
    scale = np.array([0, 2, 4, 5, 7, 9, 11]) if rng.random() < 0.5 else np.array([0, 2, 3, 5, 7, 8, 10])
    root_hz = rng.uniform(90, 180)
    brightness = rng.uniform(0.8, 2.0)
    for number, at in enumerate(range(0, samples, beat)):
        notes: list[tuple[int, float]] = []
        if number % 4 == 0:
            degree = int(rng.integers(7))
            notes += [(degree, 3.5), (degree + 2, 3.5), (degree + 4, 3.5)]
        if rng.random() < 0.8:
            notes.append((int(rng.integers(7, 21)), float(rng.choice([0.5, 1.0, 1.5]))))
        for degree, beats in notes:
            note_hz = root_hz * 2 ** ((scale[degree % 7] + 12 * (degree // 7)) / 12)
            _add(out, at, _note(note_hz, int(beats * beat), brightness))
        if number % 2:
            _add(out, at, _knock(rng, 180.0 if number % 4 == 1 else 900.0, 0.08))
    return out


def _note(note_hz: float, size: int, brightness: float) -> Sound:
    t = np.arange(size, dtype=np.float32) / RATE_HZ
    phase = _phase(np.full(size, note_hz, np.float32))
    wave = np.zeros(size, np.float32)
    for multiple in range(1, 8):
        if multiple * note_hz < 0.45 * RATE_HZ:
            wave += np.sin(np.float32(multiple) * phase) / np.float32(multiple**brightness)
    return np.asarray(wave * np.exp(-3 * t / t[-1]) * np.minimum(1, 100 * t) * np.float32(0.4), np.float32)


def _phase(frequency_hz: Sound) -> Sound:
    """Return the running phase in radians, wrapped, so that float32 keeps it exact enough."""
    turns = np.cumsum(frequency_hz, dtype=np.float64) / RATE_HZ
    return np.asarray(2 * np.pi * (turns % 1.0), np.float32)


def machine(rng: np.random.Generator, samples: int) -> Sound:
    """Return a fan, a fridge or running water: coloured noise, hum, slow changes."""
    pole = rng.uniform(0.3, 0.97)
    noise = lfilter(np.array([1 - pole], np.float32), np.array([1, -pole], np.float32), white(rng, samples))
    hum_hz = float(rng.choice([50.0, 60.0, rng.uniform(80, 300)]))
    phase = _phase(np.full(samples, hum_hz, np.float32))
    hum = np.sin(phase) + np.sin(2 * phase) / 2 + np.sin(3 * phase) / 3 + np.sin(5 * phase) / 5
    hum *= np.float32(rng.uniform(0, 1) * rms(noise))
    swell = np.sin(_phase(np.full(samples, rng.uniform(0.05, 2.0), np.float32)))
    return np.asarray((noise + hum) * (1 + np.float32(rng.uniform(0, 0.5)) * swell), np.float32)


def white(rng: np.random.Generator, samples: int) -> Sound:
    """Return white noise of deviation 1."""
    return rng.standard_normal(samples, np.float32)


def knocks(rng: np.random.Generator, samples: int) -> Sound:
    """Return knocks, steps, dishes and keys: short resonances, alone and in rows."""
    out = np.zeros(samples, np.float32)
    at = int(rng.uniform(0, 1.0) * RATE_HZ)
    while at < samples:
        pitch_hz = float(10 ** rng.uniform(2.0, 3.75))
        spacing = rng.uniform(0.12, 0.6)
        for _ in range(int(rng.integers(1, 6))):
            _add(out, at, _knock(rng, pitch_hz, rng.uniform(0.02, 0.25)) * np.float32(rng.uniform(0.4, 1.0)))
            at += int(spacing * rng.uniform(0.85, 1.15) * RATE_HZ)
        at += int(rng.uniform(0.2, 2.5) * RATE_HZ)
    return out


def _knock(rng: np.random.Generator, pitch_hz: float, decay_s: float) -> Sound:
    t = np.arange(int(3 * decay_s * RATE_HZ), dtype=np.float32) / RATE_HZ
    wave = white(rng, t.size) * np.exp(-t / np.float32(0.15 * decay_s)) * np.float32(0.5)
    for ratio in (1.0, rng.uniform(1.4, 1.7), rng.uniform(2.1, 2.9)):
        if ratio * pitch_hz < 0.45 * RATE_HZ:
            ring = np.exp(-t * np.float32(ratio / decay_s)) / np.float32(ratio)
            wave += np.sin(np.float32(2 * np.pi * ratio * pitch_hz) * t) * ring
    return wave


def beeps(rng: np.random.Generator, samples: int) -> Sound:
    """Return appliances that report now and then; their rhythms are no alarm's."""
    out = np.zeros(samples, np.float32)
    at = int(rng.uniform(0, 3.0) * RATE_HZ)
    while at < samples:
        signal = appliance(any_sounder(rng), rng)
        _add(out, at, signal)
        at += signal.size + int(rng.uniform(2.0, 9.0) * RATE_HZ)
    return out


def any_sounder(rng: np.random.Generator) -> Sounder:
    """Return a beeper of any pitch, the alarms' pitches among them."""
    frequency_hz = float(rng.choice([520.0, 1_000.0, 2_048.0, 3_100.0]) * rng.uniform(0.85, 1.15))
    overtones = tuple((k, float(rng.uniform(0, 0.3))) for k in (2, 3))
    return Sounder(frequency_hz, ((1, 1.0), *overtones))


def appliance(sounder: Sounder, rng: np.random.Generator) -> Sound:
    """Return what something other than an alarm would say with ``sounder``."""
    kind = int(rng.integers(5))
    if kind == 0:  # a chirp for an empty battery, a key of a microwave oven
        rhythm = Rhythm(1, float(rng.uniform(0.05, 0.25)), 0.0, 0.0)
    elif kind == 1:  # a long beep
        rhythm = Rhythm(1, float(rng.uniform(0.4, 1.5)), 0.0, 0.0)
    elif kind == 2:  # a door bell, a locked car
        rhythm = Rhythm(2, float(rng.uniform(0.08, 0.25)), float(rng.uniform(0.08, 0.25)), 0.0)
    elif kind == 3:  # a finished microwave oven
        on_s, gap_s = rng.uniform(0.9, 1.4, 2)
        rhythm = Rhythm(int(rng.integers(2, 5)), float(on_s), float(gap_s), 0.0)
    else:  # a kitchen timer, an alarm clock
        on_s, gap_s = rng.uniform(0.03, 0.05, 2)
        rhythm = Rhythm(int(rng.integers(8, 16)), float(on_s), float(gap_s), 0.0)
    return sounder.signal(rhythm, 1)


def _add(out: Sound, at: int, piece: Sound) -> None:
    part = out[at : at + piece.size]
    part += piece[: part.size]


KINDS: dict[str, Callable[[np.random.Generator, int], Sound]] = {
    "talk": talk,
    "music": music,
    "machine": machine,
    "knocks": knocks,
    "beeps": beeps,
}


def scene(
    rng: np.random.Generator, samples: int, *, level_dbfs: tuple[float, float] = (-45.0, -24.0)
) -> Sound:
    """Return one to three kinds at once over a faint hiss, at a random level (RMS re full scale)."""
    mixed = machine(rng, samples) * np.float32(0.05)
    for name in rng.choice(list(KINDS), size=int(rng.integers(1, 4)), replace=False):
        sound = KINDS[str(name)](rng, samples)
        mixed += sound * np.float32(10.0 ** (rng.uniform(-12.0, 0.0) / 20.0) / rms(sound))
    return mixed * np.float32(10.0 ** (rng.uniform(*level_dbfs) / 20.0) / rms(mixed))
