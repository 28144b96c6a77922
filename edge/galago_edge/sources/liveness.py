"""Whether a live source is alive, as a state machine without clock and without I/O.

```
            lost              tried again            retries           breaker
 healthy ----------> alarmed ------------> recovering -------> escalated -------> failed
    ^                   |                     |                    |                |
    +-------------------+---------------------+--------------------+----------------+
                        items have flowed for steady_s
```

It gets worse step by step and better only as a whole, when items have flowed for ``steady_s`` without a
loss. So a source that comes and goes is told as at most four changes, not as hundreds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from galago_edge.contract.settings import SourceSettings
from galago_edge.contract.status import Liveness
from galago_edge.contract.streams import NS_PER_S

_RANK: dict[Liveness, int] = {"healthy": 0, "alarmed": 1, "recovering": 2, "escalated": 3, "failed": 4}


@dataclass(frozen=True, slots=True)
class LivenessChange:
    """A change of the state, to be told."""

    state: Liveness
    detail: dict[str, Any]


class LivenessMachine:
    """One source's state. Its times are nanoseconds of any clock that only goes forward."""

    def __init__(self, settings: SourceSettings, now_ns: int) -> None:
        """Begin with a source that is about to be opened for the first time, which is no change to tell."""
        self._settings = settings
        self.state: Liveness = "recovering"
        self.since_ns = now_ns
        """When ``state`` last changed."""
        self.fault = ""
        """What was wrong last; empty while healthy."""
        self.failures = 0
        """Failed attempts in a row: opening failed, or what was opened did not last ``steady_s``."""
        self._was_lost = False
        self._lost_ns = now_ns
        self._flowing_since_ns: int | None = None

    def lost(self, now_ns: int, fault: str) -> LivenessChange | None:
        """Note that an attempt to open failed, or that an open connection broke or fell silent."""
        if not self._was_lost:
            self._lost_ns = now_ns
        if self.state != "healthy":
            self.failures += 1
        self.fault = fault
        self._flowing_since_ns = None
        first, self._was_lost = not self._was_lost, True
        detail = {"fault": fault, "failures": self.failures}
        if self.failures >= self._settings.breaker:
            return self._worse("failed", now_ns, detail)
        if self.failures >= self._settings.retries:
            return self._worse("escalated", now_ns, detail)
        if first:
            return self._enter("alarmed", now_ns, detail)
        return self._worse("recovering", now_ns, detail)

    def item(self, now_ns: int) -> LivenessChange | None:
        """Note that a frame or samples arrived."""
        if self.state == "healthy":
            return None
        if self._flowing_since_ns is None:
            self._flowing_since_ns = now_ns
        if self._was_lost and now_ns - self._flowing_since_ns < self._settings.steady_s * NS_PER_S:
            return self._worse("recovering", now_ns, {"fault": self.fault, "failures": self.failures})
        detail: dict[str, Any] = {}
        if self._was_lost:
            detail = {
                "fault": self.fault,
                "failures": self.failures,
                "lost_s": round((self._flowing_since_ns - self._lost_ns) / NS_PER_S, 3),
            }
        self.fault, self.failures, self._was_lost = "", 0, False
        return self._enter("healthy", now_ns, detail)

    def _worse(self, state: Liveness, now_ns: int, detail: dict[str, Any]) -> LivenessChange | None:
        return self._enter(state, now_ns, detail) if _RANK[state] > _RANK[self.state] else None

    def _enter(self, state: Liveness, now_ns: int, detail: dict[str, Any]) -> LivenessChange:
        self.state, self.since_ns = state, now_ns
        return LivenessChange(state, detail)
