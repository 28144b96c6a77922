"""What microphones, amplifiers and lines do to a sound: clipping, narrow bands, few bits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from galago_workstation.data.augmentation.augment_options import Codec
from galago_workstation.data.augmentation.random_draws import between

Sound = npt.NDArray[np.float32]

TELEPHONE_HZ = 8_000
TELEPHONE_BAND_HZ = (300.0, 3_400.0)
"""ITU-T G.712."""
_MU = 255.0
_FULL_SCALE = 32_768.0
_LOW_RATE_SHARES = (0.25, 0.5)


def clipped(sound: Sound, rng: np.random.Generator, largest_db: float) -> Sound:
    """Return the sound with its peaks cut off at up to ``largest_db`` below the highest."""
    peak = float(np.abs(sound).max(initial=0.0))
    limit = np.float32(peak * 10.0 ** (-rng.random() * largest_db / 20.0))
    return sound.clip(-limit, limit)


def through_codec(sound: Sound, rng: np.random.Generator, codecs: tuple[Codec, ...], rate_hz: int) -> Sound:
    """Return the sound ``(n,)`` behind one of the named codecs, at the same rate and in the same place."""
    which, how = rng.random(2)
    if codecs[int(which * len(codecs))] == "telephone":
        return telephone(sound, rate_hz)
    return through_rate(sound, rate_hz, round(rate_hz * between(how, _LOW_RATE_SHARES)))


def telephone(sound: Sound, rate_hz: int) -> Sound:
    """Return the sound as a telephone line leaves it: 300 to 3400 Hz, 8 bits in mu-law at 8 kHz."""
    from scipy.signal import butter, sosfiltfilt

    highest = min(TELEPHONE_BAND_HZ[1], 0.45 * rate_hz)
    band = butter(2, (TELEPHONE_BAND_HZ[0], highest), "bandpass", fs=rate_hz, output="sos")
    narrow = sosfiltfilt(band, sound, padtype=None).astype(np.float32)  # forwards and back: nothing moves
    return through_rate(narrow, rate_hz, min(TELEPHONE_HZ, rate_hz), law=mu_law)


def mu_law(sound: Sound) -> Sound:
    """Return the sound in the 256 steps of mu-law, as it is decoded (the formula of ITU-T G.711).

    >>> mu_law(np.array([0.0, 5.0, 32_768.0], np.float32)).tolist()
    [0.0, 4.0..., 32768.0]
    """
    shares = (np.abs(sound) / _FULL_SCALE).clip(0.0, 1.0)
    steps = np.rint(127.0 * np.log1p(_MU * shares) / np.log1p(_MU)) / 127.0
    decoded: Sound = np.expm1(steps * np.log1p(_MU)) / _MU * _FULL_SCALE
    return np.copysign(decoded, sound).astype(np.float32)


def through_rate(
    sound: Sound, rate_hz: int, low_hz: int, law: Callable[[Sound], Sound] | None = None
) -> Sound:
    """Return the sound ``(n,)`` behind a lower rate, at which ``law`` may change it."""
    import soxr

    low = sound if low_hz == rate_hz else soxr.resample(sound, rate_hz, low_hz, "MQ")
    if law is not None:
        low = law(low)
    back = low if low_hz == rate_hz else soxr.resample(low, low_hz, rate_hz, "MQ")
    made = np.zeros(len(sound), np.float32)
    made[: min(len(sound), len(back))] = back[: len(sound)]
    return made
