"""How long to wait before a lost source is tried again: backoff, and a breaker behind it."""

from __future__ import annotations

import random
from collections.abc import Callable

from galago_edge.contract.settings import SourceSettings
from galago_edge.host.backoff import backoff_s


class RetrySchedule:
    """Pauses between attempts."""

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
            return backoff_s(1, settings.breaker_s, settings.breaker_s, self._draw)
        return backoff_s(failures, settings.backoff_s, settings.backoff_max_s, self._draw)
