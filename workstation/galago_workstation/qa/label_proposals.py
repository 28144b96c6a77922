"""Labels that a bundle proposes: where its events were, for a person to confirm, correct or remove.

A proposal lasts from the start of the first window whose score supports the event to the end of the last one
with which the label was on: the thing is in there, and may be shorter. Smoothing turns a label on later than
its scores rise, so the first window that was on would be too late. A score supports an event where it reaches
``off``, and half of ``on`` at least: of the windows that smoothing took when the label turned on the first
such one, and those that go before it without a break. The first of all is the first that can have seen the
thing, which began within this window; when, its score does not tell.

The score of a proposal is the highest smoothed one. A near miss is a stretch in which the smoothed score
reached a lower threshold and nothing was decided. Proposals of one label that touch are one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from galago_edge.contract.manifest import LabelPolicy
from galago_edge.decision import ONE
from galago_edge.decision.activation import to_q16
from galago_edge.decision.label_track import Integers, LabelTrack
from galago_workstation.qa.judged_recording import deciding
from galago_workstation.qa.label_rows import LabelRow
from galago_workstation.qa.redecision import scores_of, track_of
from galago_workstation.qa.replayed import Replayed
from galago_workstation.qa.stretches import united

PROPOSED_SUFFIX = ".proposed.tsv"
"""Behind the whole name of a recording, where its labels would have ``.labels.tsv``: no score reads it."""
ENDINGS = {
    "audacity": ".proposed.txt",
    "cvat": ".proposed.xml",
    "label-studio": ".proposed.json",
    "raven": ".proposed.raven.txt",
    "sed": ".proposed.sed.tsv",
}
"""Of the file for another program."""


@dataclass(frozen=True, slots=True)
class LabelProposals:
    """What a bundle proposes for one recording, by start."""

    rows: tuple[LabelRow, ...]
    near_misses: int
    """So many of them were no event."""


def proposals_of(
    replayed: Replayed, *, near: float | None = None, labels: Sequence[str] = ()
) -> LabelProposals:
    """Return what the events of a replay propose.

    Args:
        replayed: With stored scores.
        near: Smoothed score, 0 to 1, from which a stretch without an event is proposed, too; None: none is.
        labels: Only these; empty: all that can become events.

    Raises:
        InputError: DATA_BAD; the replay was stored without scores.
    """
    rows: list[LabelRow] = []
    near_misses = 0
    span = scores_of(replayed).span
    for label in deciding(replayed.labels):
        if labels and label.name not in labels:
            continue
        track = track_of(replayed, label.name)
        found = [*_proposed(track, span, label.name, label.policy)]
        if near is not None:
            missed = [*_proposed(track, span, label.name, _near(label.policy, near))]
            missed = [row for row in missed if not any(_touch(row, other) for other in found)]
            near_misses += len(missed)
            found += missed
        rows += found
    rows.sort(key=lambda row: (row.start_ns, row.end_ns, row.label))
    return LabelProposals(tuple(rows), near_misses)


def _near(policy: LabelPolicy, near: float) -> LabelPolicy:
    """Return the policy that fires wherever the smoothed score reaches ``near``."""
    off = min(policy.off, near)
    return msgspec.structs.replace(policy, on=near, off=off, min_count=1, refractory_ms=0)


def _proposed(
    track: LabelTrack, span: npt.NDArray[np.int64], label: str, policy: LabelPolicy
) -> Iterator[LabelRow]:
    """Yield the on-periods that become events, those that touch as one."""
    periods, length = track.on_periods(policy), policy.smoothing_windows
    fired, sums = periods.fired >= 0, track.sums(length)
    starts, stops = periods.start[fired], periods.stop[fired]
    begins = _supported_since(track, starts, policy)
    scored = [
        (int(span[begin, 2]), int(span[stop - 1, 3]), int(sums[start:stop].max()))
        for begin, start, stop in zip(begins.tolist(), starts.tolist(), stops.tolist(), strict=True)
    ]
    for begin, end in united((begin, end) for begin, end, _ in scored):
        best = max(score for start, _, score in scored if begin <= start < end)
        yield LabelRow("", begin, end, label, proposed=True, score=best / (length * ONE))


def _supported_since(track: LabelTrack, starts: Integers, policy: LabelPolicy) -> Integers:
    """Return the first window that supports each on-period; see above. ``starts``: its first window on.

    The mean of what smoothing took reached ``on``, so one of these windows did and there is a first one.
    """
    if not len(starts):
        return starts
    supports = track.q16 >= max(to_q16(policy.off), (to_q16(policy.on) + 1) // 2)
    number, begins = np.arange(len(track)), track.stretch_begin()
    run = np.maximum(np.maximum.accumulate(np.where(supports, 0, number + 1)), begins)
    taken = np.maximum(starts - policy.smoothing_windows + 1, begins[starts])
    following = np.minimum.accumulate(np.where(supports, number, len(track))[::-1])[::-1]
    begun: Integers = run[following[taken]]  # the first window of the run that each is in
    return begun


def _touch(one: LabelRow, other: LabelRow) -> bool:
    return one.start_ns <= other.end_ns and other.start_ns <= one.end_ns


def proposed_files(recording: Path, name: str, out: Path | None, kind: str | None) -> tuple[Path, ...]:
    """Return where the proposals for a recording go, ours first: beside it, or below ``out`` by its name."""
    place = recording if out is None else out / name
    endings = (PROPOSED_SUFFIX, *((ENDINGS[kind],) if kind is not None else ()))
    return tuple(place.with_name(place.name + ending) for ending in endings)
