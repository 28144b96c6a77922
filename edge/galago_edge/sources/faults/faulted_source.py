"""A recording with faults: it plays the camera or microphone of a device, whose own code supervises it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import NS_PER_S, Gap, Item, Notice
from galago_edge.sources.faults.fault_file import FaultPlan, PlannedFault
from galago_edge.sources.faults.played_capture import open_played
from galago_edge.sources.faults.played_recording import PlayedRecording, is_mark
from galago_edge.sources.source import Source
from galago_edge.sources.supervised_source import Supervised

FORGIVEN_NS = NS_PER_S
"""So much earlier than people read it off a recording may end: its last frame does not last."""
_NO_CHANCE = 0.5
"""Instead of chance: a replay draws the same pauses every time."""


class FaultedSource:
    """What a device's supervision gives of a camera or microphone that does as a recording does, with faults.

    Where no fault lasts and none has effects, frames, samples and gaps are those of the recording. Nobody
    waits: time is the recording's.
    """

    live = False

    def __init__(self, source: Source, plan: FaultPlan) -> None:
        """Play ``source``, which ``plan.check`` has found to have such faults."""
        self.modality: Modality = source.modality
        self._source, self._plan = source, plan
        said = source.description()
        self._withheld: Gap | None = None
        """Where the recording is damaged, as far as no gap has said so; told at the end."""
        self._name = str(said.get("name", said.get("kind", "the recording")))
        self._played = played = PlayedRecording(source, plan, lambda: self._supervised.stop())
        self._supervised = Supervised(
            self._name,
            lambda: open_played(played, self._name, conceal=plan.settings.damaged == "conceal"),
            self.modality,
            plan.settings,
            clock_ns=lambda: played.now_ns,
            random=lambda: _NO_CHANCE,
            wait=played.wait,
        )

    def description(self) -> dict[str, Any]:
        """Return what is known of the recording, and what tells these faults from others."""
        return self._source.description() | {"faults": self._plan.digest}

    def conversion(self) -> dict[str, Any] | None:
        """Return what the source says."""
        return self._source.conversion()

    def __iter__(self) -> Generator[Item, None, None]:
        """Yield what the supervision gives, and what the recording says of itself in between; once.

        Raises:
            GalagoError: As the recording says, at its end.
        """
        played = self._played
        try:
            with closing(iter(self._supervised)) as items:
                for item in items:
                    yield from self._of_recording()
                    if not self._is_beginning(item):
                        yield item
            yield from self._of_recording()
            if self._withheld is not None:
                at_ns = max(played.end_ns, self._withheld.to_ns)
                yield Gap(at_ns, at_ns, self._withheld.cause)
        finally:
            played.close()
        if played.failure is not None:
            raise played.failure

    def summary(self) -> dict[str, Any]:
        """Return what the source says, what the supervision counted, and what each fault took or damaged."""
        hits = {str(one.number): one.hits for one in self._played.faults}
        return self._source.summary() | {"capture": self._supervised.summary(), "faults": hits}

    def stop(self) -> None:
        """End soon."""
        self._source.stop()
        self._supervised.stop()

    def unreached(self) -> CallerError | None:
        """Return which faults had no effect, or lie behind the end; to be asked at the end."""
        hits = {one.number: one.hits for one in self._played.faults}
        unmet = [
            f"fault {number}, {fault}, {found}"
            for number, fault in enumerate(self._plan.faults, 1)
            if (found := self._unmet(fault, hits.get(number)))
        ]
        if not unmet:
            return None
        more = f"; and {len(unmet) - 1} more" if len(unmet) > 1 else ""
        return CallerError(Reason.CONFIG_BAD, f"{unmet[0]}{more}", hint="correct its times")

    def _unmet(self, fault: PlannedFault, hits: int | None) -> str:
        """Return why a fault had no effect; empty where it had. ``hits``: None for one of the clock."""
        end_ns = self._played.end_ns
        if max(fault.from_ns, (fault.to_ns or 0) - FORGIVEN_NS) >= end_ns:
            return f"lies behind the end of what was replayed, {end_ns / NS_PER_S:g} s"
        # a source may be away where no item would have come; behind a cut nobody knows
        if hits == 0 and (fault.kind != "disconnect" or fault.from_ns >= self._played.recorded_ns):
            return f"met no {'frame' if self.modality == 'camera' else 'sample'}"
        return ""

    def _of_recording(self) -> Iterator[Notice | Gap]:
        told = self._played.told
        while told:
            item = told.popleft()
            if isinstance(item, Notice) or not self._played.disturbed:
                yield item
            elif isinstance(item, Gap) and is_mark(item):  # may lie in a gap of a fault that is still to come
                self._withheld = item

    def _is_beginning(self, item: Item) -> bool:
        """Tell whether it is the Gap before the first item that no fault has made: a recording is open."""
        return isinstance(item, Gap) and item.cause == "connecting" and not self._played.disturbed
