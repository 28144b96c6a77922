"""Blanked times and bands of features (SpecAugment, Park et al. 2019)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int8]


def masked(codes: Codes, rng: np.random.Generator, time_share: float, band_share: float) -> Codes:
    """Return features ``(frames, bands)`` with one time and one group of bands at the window's mean code.

    Each is as wide as chance says, at most the given share.
    """
    draws = rng.random(4)
    changed = codes.copy()
    mean = round(float(codes.mean()))
    for axis, share, (size, place) in ((0, time_share, draws[:2]), (1, band_share, draws[2:])):
        width = int(size * (round(share * codes.shape[axis]) + 1))
        start = int(place * (codes.shape[axis] - width + 1))
        changed[(slice(None),) * axis + (slice(start, start + width),)] = mean
    return changed
