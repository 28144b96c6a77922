"""Ctrl+C while a training runs: once ends it well, twice aborts it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self


class Interruption:
    """Takes Ctrl+C for as long as the block lasts; the second one does what it always does.

    In another thread than the main one, which gets no signals, nothing is changed.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._before: Any = None
        self.asked = False
        """Whether somebody wants the training to end well."""

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._first)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _first(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._restore()
        self._say("ends after this step and keeps the best epoch; Ctrl+C again aborts")

    def _restore(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None
