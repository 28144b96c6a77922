"""Noise and its level against a sound."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Sound = npt.NDArray[np.float32]

QUIETEST_RMS = 10.0
"""int16 steps, about -70 dB: noise is set against at least that, so that silence gets some noise too."""
_SILENT_RMS = 1.0
"""A piece of noise of less is silence, which no gain makes noise of."""


def level_rms(sound: Sound) -> float:
    """Return the root mean square of a sound ``(n,)``, at least ``QUIETEST_RMS``."""
    if not len(sound):
        return QUIETEST_RMS
    return max(QUIETEST_RMS, float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))))


def at_ratio(noise: Sound, rms: float, snr_db: float) -> Sound:
    """Return noise ``(n,)`` at ``snr_db`` below a sound of this root mean square; silence stays silent."""
    own = float(np.sqrt(np.mean(np.square(noise, dtype=np.float64)))) if len(noise) else 0.0
    if own < _SILENT_RMS:
        return np.zeros_like(noise)
    return noise * np.float32(rms * 10.0 ** (-snr_db / 20.0) / own)


def synthetic_noise(rng: np.random.Generator, count: int) -> Sound:
    """Return noise ``(count,)`` of root mean square 1000, of a random colour between white and pink."""
    tilt = rng.random()
    spectrum = np.fft.rfft(rng.standard_normal(count))
    spectrum[1:] *= np.arange(1, len(spectrum)) ** (-tilt / 2.0)
    spectrum[0] = 0.0
    noise = np.fft.irfft(spectrum, count)
    noise *= 1_000.0 / max(float(np.sqrt(np.mean(noise**2))), 1e-9)
    return noise.astype(np.float32)


def with_soft_ends(sound: Sound, count: int) -> Sound:
    """Return the sound with its first and last ``count`` samples faded, so that its cut is no click."""
    count = min(count, len(sound) // 2)
    if count == 0:
        return sound
    made = sound.copy()
    ramp = ((np.arange(count) + 0.5) / count).astype(np.float32)
    made[:count] *= ramp
    made[-count:] *= ramp[::-1]
    return made
