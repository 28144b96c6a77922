"""What waits for the disk is done beside the loop that must not wait."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

_LOG = logging.getLogger(__name__)


class Errands:
    """One thread for what waits for the disk: one thing at a time, in order."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="errands", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def do(self, errand: Callable[[], None]) -> None:
        """Do ``errand`` behind those that were given before."""
        self._queue.put(errand)

    def stop(self, timeout_s: float) -> None:
        """End when everything is done, or after ``timeout_s``."""
        self._queue.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (errand := self._queue.get()) is not None:
            try:
                errand()
            except Exception:  # noqa: BLE001 a fault here must not end what runs
                _LOG.exception("an errand failed")
