"""How long to wait before a lost source is tried again: doubling, with jitter, and a breaker."""

from __future__ import annotations

import random
from collections.abc import Callable

from galago_edge.contract.settings import SourceSettings

_JITTER = 0.2


class Backoff:
    """Pauses between attempts.

    Jitter only shortens a pause, so that ``backoff_max_s`` and ``breaker_s`` bound how long a source that
    is back may go unnoticed. It keeps the devices of one site from asking their camera server in step.
    """

    def __init__(self, settings: SourceSettings, draw: Callable[[], float] = random.random) -> None:
        """``draw`` gives numbers in ``[0, 1)``."""
        self._settings = settings
        self._draw = draw

    def pause_s(self, failures: int) -> float:
        """Return the pause after so many failed attempts in a row; none before the first attempt."""
        settings = self._settings
        if failures <= 0:
            return 0.0
        if failures >= settings.breaker:
            longest = settings.breaker_s
        else:
            # 2 ** 60 of the shortest pause is beyond any limit; a larger power would be no float
            longest = min(settings.backoff_s * 2.0 ** min(failures - 1, 60), settings.backoff_max_s)
        return longest * (1.0 - _JITTER * self._draw())
