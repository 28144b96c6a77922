"""What became of each thing that was really there, and what was said though nothing was: the plain rule.

The one place where a verdict asks for it: anything of the type :data:`OutcomesOf` can take the place of
:func:`plain_outcomes`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.records import EventRecord
from galago_edge.contract.streams import NS_PER_S
from galago_workstation.qa.replayed import Replayed, Stretch, Truth

POST_NS = NS_PER_S
"""How long after the end of what was there, and one window, it may still be found."""


@dataclass(frozen=True, slots=True)
class TruthOutcome:
    """One thing that was really there, and the event that found it."""

    truth: Truth
    event: EventRecord | None

    @property
    def found(self) -> bool:
        """Whether an event found it."""
        return self.event is not None

    @property
    def delay_ns(self) -> int | None:
        """From its start to the decision, in stream time; None when missed."""
        return None if self.event is None else self.event.end_ns - self.truth.start_ns


@dataclass(frozen=True, slots=True)
class RecordingOutcomes:
    """All of one recording."""

    outcomes: tuple[TruthOutcome, ...]
    """In the order of the truth list: two bundles on one recording can be compared one by one."""
    false_alarms: tuple[EventRecord, ...]
    """Events of nothing that was there, cross-triggers included, repeats not. By time."""
    valid_ns: int
    """Stream time that was watched and is judged."""


OutcomesOf = Callable[[Replayed], RecordingOutcomes]


def plain_outcomes(replayed: Replayed) -> RecordingOutcomes:
    """Match events to truth: one to one, same label, decided between start and end + window + ``POST_NS``.

    Each event in order of time takes what can be found by it and ends first: that finds as many as can be
    found. Another event of the same label in that span is a repeat and no false alarm. Nothing is judged in
    ignored stretches, in gaps and before the first whole window.

    Raises:
        InputError: DATA_BAD; nobody has labelled the recording.
    """
    if replayed.truth is None:
        raise InputError(
            Reason.DATA_BAD, f"{replayed.recording} has no labels",
            hint="label it, or leave it out of gates that need labels",
        )  # fmt: skip
    out = merged([*replayed.truth.ignored, *((gap.from_ns, gap.to_ns) for gap in replayed.gaps),
                  (0, replayed.receptive_ns)], replayed.duration_ns)  # fmt: skip
    judged = [each for each in replayed.truth.events if not _inside(each.start_ns, out)]
    late_ns = replayed.receptive_ns + POST_NS
    found: dict[int, EventRecord] = {}
    false: list[EventRecord] = []
    for event in sorted(replayed.events, key=lambda each: (each.end_ns, each.label)):
        reach = [
            (each.end_ns, index)
            for index, each in enumerate(judged)
            if each.label == event.label and each.start_ns <= event.end_ns <= each.end_ns + late_ns
        ]
        free = [each for each in reach if each[1] not in found]
        if free:
            found[min(free)[1]] = event
        elif not reach and not _inside(event.end_ns, out):
            false.append(event)
    return RecordingOutcomes(
        tuple(TruthOutcome(each, found.get(index)) for index, each in enumerate(judged)),
        tuple(false),
        replayed.duration_ns - sum(end - start for start, end in out),
    )


def merged(stretches: Sequence[Stretch], end_ns: int) -> list[Stretch]:
    """Return the stretches within ``[0, end_ns)``, by start, joined where they touch or overlap.

    >>> merged([(5, 9), (0, 2), (1, 3)], 8)
    [(0, 3), (5, 8)]
    """
    found: list[Stretch] = []
    for start, end in sorted((max(0, start), min(end, end_ns)) for start, end in stretches):
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _inside(moment: int, stretches: Sequence[Stretch]) -> bool:
    return any(start <= moment < end for start, end in stretches)
