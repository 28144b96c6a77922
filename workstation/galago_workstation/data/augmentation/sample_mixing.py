"""Two samples in one, with both labels: mixup and cutmix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galago_workstation.data.augmentation.augment_options import Augment, ImageAugment

Pixels = npt.NDArray[np.uint8]
Sound = npt.NDArray[np.float32]

_SILENT_RMS = 10.0
"""int16 steps: what is quieter is not brought to the level of the other sound."""


@dataclass(frozen=True, slots=True)
class Mixing:
    """Which other sample a sample is mixed with, and how much of it stays."""

    partner: int
    """Position among the training samples."""
    share: float
    """Of the sample itself, at least a half: its label stays the one with the larger share."""
    box: tuple[slice, slice] | None = None
    """With cutmix: the rows and columns that are the partner's."""


def drawn_mixing(
    rng: np.random.Generator, options: Augment, index: int, count: int, shape: tuple[int, ...] = ()
) -> Mixing | None:
    """Return how sample ``index`` of ``count`` is mixed; None: not at all.

    Mixup (Zhang et al. 2018) draws its share from a beta distribution, cutmix (Yun et al. 2019) an area
    alike. ``shape`` of a picture: ``(height, width, ...)``.
    """
    chance, which, area, down, right = rng.random(5)
    cutmix = options.cutmix if isinstance(options, ImageAugment) else 0.0
    if count < 2 or chance >= options.mixup + cutmix:
        return None
    partner = (index + 1 + int(which * (count - 1))) % count
    if chance < cutmix:
        return _cutmix(partner, area / 2.0, (down, right), shape)
    share = rng.beta(options.mix_alpha, options.mix_alpha)
    return Mixing(partner, float(max(share, 1.0 - share)))


def _cutmix(partner: int, area: float, place: tuple[float, float], shape: tuple[int, ...]) -> Mixing | None:
    sides = [round(np.sqrt(area) * side) for side in shape[:2]]
    starts = [int(where * (side - part + 1)) for where, side, part in zip(place, shape, sides, strict=False)]
    rows, columns = (slice(start, start + part) for start, part in zip(starts, sides, strict=True))
    taken = sides[0] * sides[1] / (shape[0] * shape[1])
    return Mixing(partner, 1.0 - taken, (rows, columns)) if taken > 0.0 else None


def mixed_pictures(picture: Pixels, partner: Pixels, mixing: Mixing) -> Pixels:
    """Return both pictures ``(height, width, channels)`` in one."""
    import cv2

    if mixing.box is not None:
        changed = picture.copy()
        changed[mixing.box] = partner[mixing.box]
        return changed
    found = cv2.addWeighted(picture, mixing.share, partner, 1.0 - mixing.share, 0.0)
    return np.asarray(found, np.uint8).reshape(picture.shape)


def mixed_sounds(sound: Sound, partner: Sound, share: float) -> Sound:
    """Return both sounds ``(n,)`` in one, as loud as the first.

    The partner is brought to the same level first, so that the share is what is heard (Tokozume et al. 2018);
    amplitudes are then divided such that the level stays.
    """
    own, other = _rms(sound), _rms(partner)
    gain = own / other if min(own, other) >= _SILENT_RMS else 1.0
    together: Sound = np.float32(share) * sound + np.float32((1.0 - share) * gain) * partner
    together *= np.float32(1.0 / np.hypot(share, 1.0 - share))
    return together


def _rms(sound: Sound) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))) if len(sound) else 0.0
