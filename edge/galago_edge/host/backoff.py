"""How long to wait before something that failed is tried again; the same for sources and for deliveries."""

from __future__ import annotations

import random
from collections.abc import Callable

_JITTER = 0.2
_DOUBLINGS = 60  # 2 ** 60 of the shortest pause is beyond any limit; a larger power would be no float


def backoff_s(
    failures: int, first_s: float, longest_s: float, draw: Callable[[], float] = random.random
) -> float:
    """Return the pause after so many failures in a row (1 or more): it doubles up to ``longest_s``.

    Each pause is up to 20 % shorter by chance: devices that lost the same server at the same moment must
    not come back to it in step. Jitter never makes it longer, so ``longest_s`` bounds how long something
    that is back goes unnoticed. ``draw`` gives numbers in ``[0, 1)``.
    """
    pause = min(first_s * 2.0 ** min(failures - 1, _DOUBLINGS), longest_s)
    return pause * (1.0 - _JITTER * draw())


class Backoff:
    """Pauses between attempts at one thing, until one succeeds."""

    def __init__(self, first_s: float, max_s: float, *, draw: Callable[[], float] = random.random) -> None:
        """``draw`` gives numbers in ``[0, 1)``."""
        self._first_s = first_s
        self._max_s = max_s
        self._draw = draw
        self._failures = 0

    def pause_s(self) -> float:
        """Return how long to wait now."""
        self._failures += 1
        return backoff_s(self._failures, self._first_s, self._max_s, self._draw)

    def reset(self) -> None:
        """Begin with the shortest pause again."""
        self._failures = 0
