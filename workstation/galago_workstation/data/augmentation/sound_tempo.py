"""Speed, tempo and pitch of a sound: one resampling and one stretching, composed of all three."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from galago_workstation.data.augmentation.augment_options import AudioAugment
from galago_workstation.data.augmentation.random_draws import spread

Sound = npt.NDArray[np.float32]

FRAME_S = 0.03
"""Pieces of which a stretched sound is put together: two to four periods of a voice."""
_NO_CHANGE = 0.002
"""A length that changes by less than this share is left as it is."""


def drawn_rates(rng: np.random.Generator, chance: float, options: AudioAugment) -> tuple[float, float]:
    """Return by what to resample a sound (above 1: shorter and higher) and by what to stretch it then.

    Args:
        rng: Decides.
        chance: A draw; below ``share`` tempo and pitch change, too.
        options: The bounds.
    """
    speed, tempo, pitch = (spread(draw) for draw in rng.random(3))
    resampling, stretching = 1.0 + speed * options.speed, 1.0
    if chance < options.share:
        higher = 2.0 ** (pitch * options.pitch_semitones / 12.0)
        resampling *= higher
        stretching = higher / (1.0 + tempo * options.tempo)
    return resampling, stretching


def resampled(sound: Sound, factor: float) -> Sound:
    """Return the sound played ``factor`` times as fast: shorter and higher above 1, all of it.

    What would lie above half the rate is filtered out.
    """
    import soxr

    if abs(factor - 1.0) < _NO_CHANGE or not len(sound):
        return sound
    return np.asarray(soxr.resample(sound, factor, 1.0, "MQ"), np.float32)


def stretched(sound: Sound, factor: float, rate_hz: int) -> Sound:
    """Return the sound ``factor`` times as long at the same pitch.

    WSOLA (Verhelst and Roelands 1993): overlapping pieces are put at other distances, each taken from where
    it continues the one before it best. A sound of less than two pieces is left as it is.
    """
    half = round(FRAME_S * rate_hz / 2.0)
    if abs(factor - 1.0) < _NO_CHANGE or len(sound) < 4 * half:
        return sound
    reach = half // 2
    count = round(len(sound) * factor)
    # room for pieces that begin before the sound and end behind it
    room = half + reach
    given = np.pad(sound, (room, room + 3 * half))
    window = (0.5 - 0.5 * np.cos(np.pi * np.arange(2 * half) / half)).astype(np.float32)
    pieces = -(-count // half) + 1
    made = np.zeros((pieces + 1) * half, np.float32)
    taken = room - half
    for piece in range(pieces):
        if piece:
            wanted = min(room + round((piece - 1) * half / factor), len(given) - 2 * half - reach)
            taken = _best_place(given, taken + half, wanted, half, reach)
        made[piece * half : (piece + 2) * half] += window * given[taken : taken + 2 * half]
    return made[half : half + count]


def _best_place(given: Sound, follows: int, wanted: int, half: int, reach: int) -> int:
    """Return where, near ``wanted``, a piece is most like what follows the one before."""
    pattern = given[follows : follows + 2 * half]
    looked_at = given[wanted - reach : wanted + reach + 2 * half]
    if len(pattern) < 2 * half or not pattern.any():
        return wanted
    likeness = np.correlate(looked_at, pattern, "valid")
    energy = np.cumsum(np.square(looked_at, dtype=np.float64))
    energy = energy[2 * half - 1 :] - np.concatenate(([0.0], energy[: -2 * half]))
    return wanted - reach + int(np.argmax(likeness / np.sqrt(np.maximum(energy, 1.0))))
