"""Cutting the one window that a model sees out of a clip."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]


def middle_window(clip: Samples, window_samples: int) -> Samples:
    """Return the middle of a clip; a clip shorter than the window lies in its middle, silence around it.

    >>> middle_window(np.arange(5, dtype=np.int16), 3), middle_window(np.ones(2, np.int16), 5)
    (array([1, 2, 3], dtype=int16), array([0, 1, 1, 0, 0], dtype=int16))
    """
    spare = len(clip) - window_samples
    return window_at(clip, spare // 2 if spare > 0 else -(-spare // 2), window_samples)


def window_at(clip: Samples, start: int, window_samples: int) -> Samples:
    """Return ``window_samples`` samples from ``start`` on, silence where the clip has none.

    >>> window_at(np.arange(1, 4, dtype=np.int16), -1, 3)
    array([0, 1, 2], dtype=int16)
    """
    window = np.zeros(window_samples, np.int16)
    first, last = max(0, start), min(len(clip), start + window_samples)
    if first < last:
        window[first - start : last - start] = clip[first:last]
    return window
