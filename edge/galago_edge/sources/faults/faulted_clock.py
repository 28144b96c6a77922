"""The wall clock of a replay in which somebody turns it: a label on records, by which nothing is decided."""

from __future__ import annotations

from collections.abc import Sequence

from galago_edge.contract.records import Record, stamped, told_ns
from galago_edge.sources.faults.fault_file import PlannedFault


class FaultedClock:
    """What the wall clock says at a stream time, and whether it is known to be right."""

    def __init__(self, started_ns: int, faults: Sequence[PlannedFault]) -> None:
        """``started_ns`` is the Unix time at stream time 0; ``faults`` are those of the clock."""
        self._started_ns, self._faults = started_ns, faults

    def wall_ns(self, at_ns: int) -> int:
        """Return Unix time in nanoseconds."""
        steps = (one.step_ns for one in self._faults if one.kind == "clock_step" and one.from_ns <= at_ns)
        return self._started_ns + at_ns + sum(steps)

    def synced(self, at_ns: int) -> bool:
        """Tell whether it is known to be right."""
        return not any(
            one.kind == "clock_unsure" and one.from_ns <= at_ns and (one.to_ns is None or at_ns < one.to_ns)
            for one in self._faults
        )

    def dated(self, records: Sequence[Record]) -> list[Record]:
        """Return the records with the wall time at which each stood, as a device stamps them."""
        return [
            dated
            for record in records
            for dated in stamped([record], self.wall_ns(told_ns(record)), self.synced(told_ns(record)))
        ]
