"""Events of a replay against what really happened.

Matching is one to one and best possible (research term: maximum bipartite matching, not greedy): as many
true events as can be found are found, and among those solutions the one with the least delay counts. Every
event beyond that, a repeat included, is false.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from galago_edge.contract.errors import InputError, Reason, disk_error
from galago_edge.contract.modality import Modality
from galago_edge.contract.records import EventRecord, Record, decode_record
from galago_edge.contract.streams import NS_PER_S
from galago_workstation.demo.truth import TrueEvent

_NOT_ADMISSIBLE = 1e9  # seconds: more than any sum of delays


@dataclass(frozen=True, slots=True)
class EventScore:
    """One true event and the event that found it, if one did."""

    true: TrueEvent
    event: EventRecord | None

    @property
    def delay_s(self) -> float | None:
        """Seconds from the pattern's completion to the decision; None when missed."""
        if self.event is None:
            return None
        return (self.event.end_ns - self.true.complete_ns) / NS_PER_S


@dataclass(frozen=True, slots=True)
class Score:
    """How one stream did."""

    outcomes: tuple[EventScore, ...]
    false: tuple[EventRecord, ...]
    """Events that match nothing: alarms without a cause, wrong labels, repeats."""

    @property
    def expected(self) -> int:
        """Number of true events."""
        return len(self.outcomes)

    @property
    def found(self) -> int:
        """Number of true events that have an event of their own."""
        return sum(outcome.event is not None for outcome in self.outcomes)

    @property
    def delay_s_p50(self) -> float | None:
        """Median delay of what was found, in seconds; None when nothing was."""
        delays = [outcome.delay_s for outcome in self.outcomes if outcome.delay_s is not None]
        return statistics.median(delays) if delays else None

    @property
    def exactly_one(self) -> int:
        """Number of true events during which the right event came once and nothing else."""
        return sum(
            outcome.event is not None and not any(_during(outcome.true, event) for event in self.false)
            for outcome in self.outcomes
        )

    def summary(self, recording: str, bundle: str) -> dict[str, Any]:
        """Return one entry of ``summary.json``."""
        delay_s = self.delay_s_p50
        return {
            "recording": recording,
            "bundle": bundle,
            "expected": self.expected,
            "found": self.found,
            "missed": self.expected - self.found,
            "false": len(self.false),
            "delay_s_p50": None if delay_s is None else round(delay_s, 3),
        }


@dataclass(frozen=True, slots=True)
class Bar:
    """Something that must hold, and whether it does."""

    text: str
    holds: bool


def score(true: Sequence[TrueEvent], events: Sequence[EventRecord]) -> Score:
    """Match events to what happened.

    An event can find a true event of its label when it was decided (``end_ns``) between the onset and the
    deadline, both included.
    """
    from scipy.optimize import linear_sum_assignment

    cost = np.full((len(true), len(events)), _NOT_ADMISSIBLE)
    for row, what in enumerate(true):
        for column, event in enumerate(events):
            if event.label == what.label and _during(what, event):
                cost[row, column] = (event.end_ns - what.onset_ns) / NS_PER_S
    pairs = zip(*linear_sum_assignment(cost), strict=True)
    matched = {int(row): int(column) for row, column in pairs if cost[row, column] < _NOT_ADMISSIBLE}
    return Score(
        outcomes=tuple(
            EventScore(what, events[matched[row]] if row in matched else None)
            for row, what in enumerate(true)
        ),
        false=tuple(event for column, event in enumerate(events) if column not in matched.values()),
    )


def _during(what: TrueEvent, event: EventRecord) -> bool:
    return what.onset_ns <= event.end_ns <= what.deadline_ns


def bars(modality: Modality, result: Score) -> tuple[Bar, ...]:
    """Return what the demo promises for a stream."""
    if modality == "microphone":
        return (
            Bar(
                "every alarm is found within 6 s of its pattern's completion", result.found == result.expected
            ),
            Bar("no false alarm", not result.false),
        )
    share = result.exactly_one / max(1, result.expected)
    return (Bar(f"at least 95 % of the cards give exactly one, correct event ({share:.1%})", share >= 0.95),)


def read_records(path: Path) -> list[Record]:
    """Read the JSON lines that ``galago replay --out`` wrote.

    Raises:
        InputError: DATA_BAD; a line is not a record.
        LinkError: The file cannot be read.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    try:
        return [decode_record(line) for line in lines]
    except msgspec.DecodeError as error:
        raise InputError(
            Reason.DATA_BAD, f"{path}: {error}", hint="write it again with galago replay --out"
        ) from None


def events_of(records: Iterable[Record]) -> list[EventRecord]:
    """Return the events among the records."""
    return [record for record in records if isinstance(record, EventRecord)]
