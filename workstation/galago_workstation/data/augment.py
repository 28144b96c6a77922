"""Random changes of training samples; every one follows from seed, epoch and sample number alone.

So the same sample in the same epoch is changed in the same way whatever the batch, the order and the
number of workers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from galago_workstation.data.clip_window import Samples, window_at
from galago_workstation.training_config import AudioAugment, ImageAugment

Pictures = npt.NDArray[np.uint8]

FULL_SCALE = 255.0
_QUIETEST_RMS = 10.0
"""int16 steps, about -70 dB: noise is set against at least that, so that silence gets some noise too."""


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the generator that decides all changes of one sample in one epoch."""
    return np.random.default_rng((seed, epoch, index))


def augment_pictures(
    pictures: Pictures, rngs: Sequence[np.random.Generator], options: ImageAugment
) -> Pictures:
    """Return changed copies of ``(n, height, width, channels)``; ``rngs`` holds one generator a picture."""
    draws = np.array([rng.random(5) for rng in rngs]).reshape(len(rngs), 5)  # always five: see below
    spread = draws * 2.0 - 1.0
    result = pictures
    # each change reads its own columns, so that switching one off leaves the others as they were
    if options.flip:
        result = np.where((draws[:, 0] < 0.5)[:, None, None, None], result[:, :, ::-1], result)
    if options.shift > 0.0:
        result = _shift(result, spread[:, 1], spread[:, 2], options.shift)
    if options.brightness > 0.0:
        result = _brightness(result, spread[:, 3], spread[:, 4], options.brightness)
    if options.noise > 0.0:
        result = _noise(result, rngs, options.noise)
    return result


def _shift(
    pictures: Pictures, down: npt.NDArray[np.float64], right: npt.NDArray[np.float64], share: float
) -> Pictures:
    _, height, width, _ = pictures.shape
    rows = np.arange(height) - np.rint(down * share * height).astype(np.int64)[:, None]
    columns = np.arange(width) - np.rint(right * share * width).astype(np.int64)[:, None]
    rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)  # border pixels are repeated
    shifted = np.empty_like(pictures)
    for picture, row, column, moved in zip(pictures, rows, columns, shifted, strict=True):
        np.take(picture[row], column, axis=1, out=moved, mode="clip")  # 4 x faster than one gather of all
    return shifted


def _brightness(
    pictures: Pictures, gain: npt.NDArray[np.float64], offset: npt.NDArray[np.float64], share: float
) -> Pictures:
    codes = np.arange(256) * (1.0 + gain * share)[:, None] + (offset * share * FULL_SCALE)[:, None]
    table = np.rint(codes).clip(0, 255).astype(np.uint8)
    return table[np.arange(len(pictures))[:, None, None, None], pictures]


def _noise(pictures: Pictures, rngs: Sequence[np.random.Generator], largest: float) -> Pictures:
    result = np.empty_like(pictures)
    for picture, rng, changed in zip(pictures, rngs, result, strict=True):
        deviation = np.float32(rng.random() * largest)
        noise = rng.standard_normal(picture.shape, dtype=np.float32) * deviation
        changed[:] = np.rint(picture + noise).clip(0, 255)
    return result


def augment_clip(
    clip: Samples, rng: np.random.Generator, options: AudioAugment, *, rate_hz: int, window_samples: int
) -> Samples:
    """Return one changed window ``(window_samples,)`` of a clip ``(n,)``.

    A clip that is longer than the window gives a random part of it, with or without ``options``; a shorter
    one lies anywhere in the window, as a stream shows it.
    """
    position, shift, gain, chance, ratio, tilt = rng.random(6)  # always six: see augment_pictures
    spare = len(clip) - window_samples
    start = int(position * (spare + 1)) if spare > 0 else -int(position * (1 - spare))
    start -= round((shift * 2.0 - 1.0) * options.shift_ms * rate_hz / 1000.0)
    window = window_at(clip, start, window_samples)
    if options.gain_db == 0.0 and options.noise_snr_db is None:
        return window
    changed = window.astype(np.float64)
    if options.noise_snr_db is not None and chance < options.noise_share:
        lowest, highest = options.noise_snr_db
        rms = max(_QUIETEST_RMS, float(np.sqrt(np.mean(changed**2))))
        level = rms * 10.0 ** (-(lowest + ratio * (highest - lowest)) / 20.0)
        changed += _tilted_noise(rng, window_samples, tilt) * level
    changed *= 10.0 ** ((gain * 2.0 - 1.0) * options.gain_db / 20.0)
    return np.rint(changed).clip(-32768, 32767).astype(np.int16)


def _tilted_noise(rng: np.random.Generator, count: int, tilt: float) -> npt.NDArray[np.float64]:
    """Return noise of root mean square 1 whose power falls with frequency to the power of ``tilt``."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    spectrum[1:] *= np.arange(1, len(spectrum)) ** (-tilt / 2.0)
    spectrum[0] = 0.0
    noise: npt.NDArray[np.float64] = np.fft.irfft(spectrum, count)
    noise /= np.sqrt(np.mean(noise**2))
    return noise
