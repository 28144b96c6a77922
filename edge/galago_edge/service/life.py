"""Where a service stands between its start and its end, and why it ends."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from enum import Enum, IntEnum


class Phase(Enum):
    """What a service is doing with its streams."""

    STARTING = "starting"
    """The store, the sinks and the streams are being opened."""
    RUNNING = "running"
    """Sources are captured, and what they give is decided."""
    STOPPING = "stopping"
    """Nothing new is captured; what is there already is decided and delivered."""
    ENDED = "ended"
    """Every stream has ended; what is open is closed."""


NEXT: Mapping[Phase, frozenset[Phase]] = {
    Phase.STARTING: frozenset({Phase.RUNNING}),  # a start that fails raises, and stays one
    Phase.RUNNING: frozenset({Phase.STOPPING, Phase.ENDED}),  # told to stop, or all recordings were read
    Phase.STOPPING: frozenset({Phase.ENDED}),
    Phase.ENDED: frozenset(),
}
"""Which phase may follow which."""


class Cause(IntEnum):
    """Why a service ends with a failure, beginning with the one that is told when there are several."""

    RECORDS = 1
    """Records could not be written where the command line wants them."""
    FAULT = 2
    """A stream met a fault of our own."""
    MEMORY = 3
    """The process has grown beyond what it may."""


class Life:
    """The phase of one service and what speaks against its going on. Asked and told by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._phase = Phase.STARTING
        self._failures: dict[Cause, BaseException] = {}

    @property
    def phase(self) -> Phase:
        """Where it stands now."""
        return self._phase

    @property
    def started(self) -> bool:
        """Whether everything runs, or did."""
        return self._phase is not Phase.STARTING

    @property
    def stopping(self) -> bool:
        """Whether nothing new is begun any more."""
        return self._phase in (Phase.STOPPING, Phase.ENDED)

    @property
    def failure(self) -> BaseException | None:
        """What it ends with; None when all went well."""
        with self._lock:
            return self._failures[min(self._failures)] if self._failures else None

    def go(self, phase: Phase) -> None:
        """Go on to another phase.

        Raises:
            RuntimeError: It may not follow the present one.
        """
        with self._lock:
            if phase not in NEXT[self._phase]:
                raise RuntimeError(f"a service that is {self._phase.value} cannot be {phase.value} next")
            self._phase = phase

    def failed(self, cause: Cause, failure: BaseException) -> bool:
        """Note a failure; return whether it is the first of its cause, which is the one that counts."""
        with self._lock:
            first = cause not in self._failures
            self._failures.setdefault(cause, failure)
        return first

    def met(self, cause: Cause) -> bool:
        """Tell whether there was a failure of this cause."""
        with self._lock:
            return cause in self._failures
