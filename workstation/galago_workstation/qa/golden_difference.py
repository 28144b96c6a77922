"""The first stage in which a replay is not the golden one: which, where in the recording, what is there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galago_edge.contract.streams import NS_PER_S
from galago_edge.pipeline.stage_hashes import first_difference
from galago_edge.pipeline.stage_marks import StageMarks, first_difference_ns
from galago_workstation.qa.baseline import BaselineEvent
from galago_workstation.qa.golden_file import GoldenRecording
from galago_workstation.qa.golden_replay import FreshReplay
from galago_workstation.qa.report_words import label_text

ENDING = "ending"
"""Stands for a stage: how the replay ended."""
_SHOWN_LABELS = 12
_SHOWN_HEX = 16


@dataclass(frozen=True, slots=True)
class StageDifference:
    """The first stage in which a replay is not the golden one, and where in the recording that begins."""

    stage: str
    """One of ``galago_edge.pipeline.stage_hashes.STAGES``, or ``ENDING``."""
    from_ns: int
    to_ns: int | None
    """Half-open; None: to the end."""
    windows: tuple[int, int] | None
    """Numbers of the windows that end there, from and before which; None where there is none."""
    expected: str
    found: str


def ending_text(one: GoldenRecording) -> str:
    """Return how a replay ended, in words."""
    return one.failure or "nothing wrong"


def first_stage(expected: GoldenRecording, fresh: FreshReplay, labels: int) -> StageDifference | None:
    """Return where a replay first is not the golden one; None when every stage is equal to the byte."""
    found = fresh.said
    stage = first_difference(expected.stages, found.stages)
    if stage is None:
        if expected.failure == found.failure:
            return None
        end_ns = found.duration_ns
        return StageDifference(ENDING, end_ns, None, None, ending_text(expected), ending_text(found))
    if stage == "logits":
        return _first_logits(expected, fresh, labels)
    if stage == "events":
        return _first_event(expected, fresh)
    marks = (StageMarks.parsed(one.marks[stage]) for one in (expected, found))
    from_ns, to_ns = first_difference_ns(*marks)
    hashes = (f"sha256 {one.stages[stage][:_SHOWN_HEX]}…" for one in (expected, found))
    return StageDifference(stage, from_ns, to_ns, _windows(fresh, from_ns, to_ns), *hashes)


def _windows(fresh: FreshReplay, from_ns: int, to_ns: int | None) -> tuple[int, int] | None:
    """Return which windows end between two moments."""
    scores = fresh.replayed.scores
    ends = np.zeros(0, np.int64) if scores is None else scores.span[:, 3]
    first = int(np.searchsorted(ends, from_ns))
    last = len(ends) if to_ns is None else int(np.searchsorted(ends, to_ns))
    return (first, last) if first < last else None


def _first_logits(expected: GoldenRecording, fresh: FreshReplay, labels: int) -> StageDifference:
    found = fresh.said
    one, other = expected.outputs(labels), found.outputs(labels)
    both = min(len(one), len(other))
    unequal = np.flatnonzero((one[:both] != other[:both]).any(axis=1))
    run = int(unequal[0]) if len(unequal) else both
    texts = tuple(_outputs_text(side, run) for side in (one, other))
    if run >= len(other):
        return StageDifference("logits", found.duration_ns, None, None, *texts)
    window = int(found.runs()[run])
    scores = fresh.replayed.scores
    assert scores is not None
    start_ns, end_ns = scores.span[window, 2:].tolist()
    return StageDifference("logits", start_ns, end_ns, (window, window + 1), *texts)


def _outputs_text(outputs: npt.NDArray[np.int8], run: int) -> str:
    if run >= len(outputs):
        return f"no run {run}"
    codes = outputs[run].tolist()
    return f"{codes[:_SHOWN_LABELS]}{' …' if len(codes) > _SHOWN_LABELS else ''}"


def _first_event(expected: GoldenRecording, fresh: FreshReplay) -> StageDifference:
    sides = expected.events, fresh.said.events
    both = min(map(len, sides))
    at = next((place for place in range(both) if sides[0][place] != sides[1][place]), both)
    there = [side[at] for side in sides if at < len(side)]
    end_ns = min((one.end_ns for one in there), default=fresh.said.duration_ns)
    texts = tuple(event_text(side[at]) if at < len(side) else "no event" for side in sides)
    return StageDifference("events", end_ns, end_ns + 1, _windows(fresh, end_ns, end_ns + 1), *texts)


def event_text(event: BaselineEvent) -> str:
    """Return an event in words."""
    start_s, end_s = event.start_ns / NS_PER_S, event.end_ns / NS_PER_S
    return f"{label_text(event.label)} {event.score:g}, {start_s:.9g} s to {end_s:.9g} s"
