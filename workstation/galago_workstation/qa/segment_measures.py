"""Activity in segments of one second: error rate and F1, as DCASE defines them.

A label is active in a segment that it touches. With ``FN`` and ``FP`` of all labels in one segment: ``S =
min(FN, FP)``, ``D = max(0, FN - FP)``, ``I = max(0, FP - FN)``; ``ER = (S + D + I) / N`` over all
segments, ``N`` being the active labels of the reference. ``F1 = 2 TP / (2 TP + FP + FN)``: micro over all
labels together, macro as the mean of the labels that the reference has. Source: Mesaros, Heittola,
Virtanen 2016, Metrics for polyphonic sound event detection.

What the bundle says is active is a label from the start of the first window of an event to the end of its
on-period. Only segments that were watched and are to be judged as a whole count.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from galago_workstation.qa.judged_recording import JudgedRecording, deciding
from galago_workstation.qa.replayed import Replayed, Stretch
from galago_workstation.qa.stretches import clipped, united

SEGMENT_NS = 1_000_000_000
Roll = npt.NDArray[np.bool_]


class SegmentCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Counts over segments; they can be added."""

    segments: int = 0
    left_out: int = 0
    """Segments that were not watched, or are to be ignored."""
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    tp: tuple[int, ...] = ()
    fp: tuple[int, ...] = ()
    fn: tuple[int, ...] = ()
    """By label, in the bundle's order without background labels."""

    def __add__(self, other: SegmentCounts) -> SegmentCounts:
        return SegmentCounts(
            segments=self.segments + other.segments,
            left_out=self.left_out + other.left_out,
            substitutions=self.substitutions + other.substitutions,
            deletions=self.deletions + other.deletions,
            insertions=self.insertions + other.insertions,
            tp=_summed(self.tp, other.tp),
            fp=_summed(self.fp, other.fp),
            fn=_summed(self.fn, other.fn),
        )

    @property
    def error_rate(self) -> float | None:
        """``ER``; None when nothing was there."""
        reference = sum(self.tp) + sum(self.fn)
        return (self.substitutions + self.deletions + self.insertions) / reference if reference else None

    @property
    def f1_micro(self) -> float | None:
        """F1 of all labels together; None when nothing was there and nothing was said."""
        return f1(sum(self.tp), sum(self.fp), sum(self.fn))

    @property
    def f1_macro(self) -> float | None:
        """Mean F1 of the labels that were there."""
        each = [f1(tp, fp, fn) for tp, fp, fn in zip(self.tp, self.fp, self.fn, strict=True) if tp + fn]
        return sum(value or 0.0 for value in each) / len(each) if each else None


def f1(tp: int, fp: int, fn: int) -> float | None:
    """Return ``2 TP / (2 TP + FP + FN)``; None of nothing.

    >>> f1(2, 1, 1)
    0.6666666666666666
    """
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else None


def segment_counts(judged: JudgedRecording) -> SegmentCounts:
    """Count the segments of a recording. The last one may be shorter."""
    replayed = judged.replayed
    count = -(-replayed.duration_ns // SEGMENT_NS)
    names = [label.name for label in deciding(replayed.labels)]
    there: dict[str, list[Stretch]] = {}
    for one in judged.truths:
        there.setdefault(one.truth.label, []).append(
            (one.truth.start_ns, max(one.truth.end_ns, one.truth.start_ns + 1))
        )
    unjudged = [*judged.grounds.ignored, *((gap.from_ns, gap.to_ns) for gap in replayed.gaps)]
    blocked = roll({"": clipped(unjudged, replayed.duration_ns)}, [""], count)[:, 0]
    return counted(
        roll(there, names, count)[~blocked], roll(active_stretches(replayed), names, count)[~blocked]
    ) + SegmentCounts(left_out=int(blocked.sum()))


def active_stretches(replayed: Replayed) -> dict[str, list[Stretch]]:
    """Return when each label was on in periods that gave an event, united."""
    ends: dict[str, list[int]] = {}
    for state in replayed.states:
        if state.subject.startswith("label:") and state.state == "off":
            ends.setdefault(state.subject.removeprefix("label:"), []).append(state.ns)
    found: dict[str, list[Stretch]] = {}
    for event in replayed.events:
        later = (ns for ns in ends.get(event.label, ()) if ns >= event.end_ns)
        off_ns = min(later, default=replayed.duration_ns)
        found.setdefault(event.label, []).append((event.start_ns, max(off_ns, event.start_ns + 1)))
    return {label: united(stretches) for label, stretches in found.items()}


def roll(active: Mapping[str, Iterable[Stretch]], names: Sequence[str], segments: int) -> Roll:
    """Return which label is active in which segment, shape ``(segments, labels)``."""
    found = np.zeros((segments, len(names)), np.bool_)
    for column, name in enumerate(names):
        for start, end in active.get(name, ()):
            found[max(0, start) // SEGMENT_NS : -(-end // SEGMENT_NS), column] = True
    return found


def counted(reference: Roll, estimated: Roll) -> SegmentCounts:
    """Compare two activities of the shape ``(segments, labels)``."""
    wrong, absent = estimated & ~reference, reference & ~estimated
    fp, fn = wrong.sum(axis=1), absent.sum(axis=1)
    return SegmentCounts(
        segments=len(reference),
        substitutions=int(np.minimum(fn, fp).sum()),
        deletions=int(np.maximum(0, fn - fp).sum()),
        insertions=int(np.maximum(0, fp - fn).sum()),
        tp=tuple((reference & estimated).sum(axis=0).tolist()),
        fp=tuple(wrong.sum(axis=0).tolist()),
        fn=tuple(absent.sum(axis=0).tolist()),
    )


def _summed(counts: tuple[int, ...], others: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in itertools.zip_longest(counts, others, fillvalue=0))
