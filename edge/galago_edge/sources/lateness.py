"""How late samples come for their count: what is lost is told from what comes late, and from a slow clock."""

from __future__ import annotations

from collections import deque

from galago_edge.contract.streams import NS_PER_S

_LATE_WINDOW_NS = 3 * NS_PER_S
"""Samples may be handed over late; those that were lost are still missing after so long."""
_DRIFT_PPM = 500
"""How far a sound card's clock may be off without samples being lost. Crystals: below 200."""


class Lateness:
    """How late blocks come for their count: jitter passes, a slow crystal is followed, a loss stays."""

    def __init__(self) -> None:
        """Know nothing: the first lateness is the usual one."""
        self._notes: deque[tuple[int, int]] = deque()
        self._from_ns: int | None = None
        self._baseline_ns: int | None = None
        self._baseline_at_ns = 0

    def note(self, at_ns: int, late_ns: int) -> None:
        """Remember how late what came at ``at_ns`` was."""
        if self._from_ns is None:
            self._from_ns = at_ns
        # ascending lateness: the first is the least of the window
        while self._notes and self._notes[-1][1] >= late_ns:
            self._notes.pop()
        self._notes.append((at_ns, late_ns))
        while at_ns - self._notes[0][0] > _LATE_WINDOW_NS:
            self._notes.popleft()

    def excess_ns(self) -> int:
        """Return how much later even the timeliest block of the window is than what is usual."""
        if self._from_ns is None:
            return 0
        at_ns, least_ns = self._notes[-1][0], self._notes[0][1]
        if self._baseline_ns is None or least_ns <= self._baseline_ns:
            self._baseline_ns, self._baseline_at_ns = least_ns, at_ns
            return 0
        if at_ns - self._from_ns < _LATE_WINDOW_NS:
            return 0
        drift_ns = (at_ns - self._baseline_at_ns) * _DRIFT_PPM // 1_000_000
        excess_ns = least_ns - self._baseline_ns
        self._baseline_ns += min(excess_ns, drift_ns)
        self._baseline_at_ns = at_ns
        return max(0, excess_ns - drift_ns)

    def forget(self) -> None:
        """Begin a new window: the count has been put right, so lateness is the usual one again."""
        self._notes.clear()
        self._from_ns = None
