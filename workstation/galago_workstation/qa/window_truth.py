"""Which label each stored window should have been given: what frame measures and calibration are about.

A window has the label of the truth that it shares at least half of the shorter of the two with. Left out, and
counted, are windows that touch a truth less than that, belong to several, touch a stretch to be ignored, or
were skipped by the activity gate; and windows without any truth where the bundle has no single background
label that they could have been given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galago_workstation.qa.replayed import Replayed, Stretch

_UNSURE = "touch a truth by less than half"
_SEVERAL = "belong to several truths"
_IGNORED = "are to be ignored"
_SKIPPED = "were skipped by the activity gate"
_NOTHING = "show nothing, and there is no single background label"


@dataclass(frozen=True, slots=True)
class LabelledWindows:
    """Windows with the label that each should have been given."""

    scores: npt.NDArray[np.float64]
    """Shape ``(n, labels)``, 0 to 1, before smoothing."""
    labels: npt.NDArray[np.int64]
    """Shape ``(n,)``: index of the right label."""
    left_out: dict[str, int]
    """How many windows are not among them, and why."""


def labelled_windows(replayed: Replayed) -> LabelledWindows:
    """Return the stored windows of a recording that can be judged one by one; none when nothing is stored."""
    scores, truth = replayed.scores, replayed.truth
    count = len(replayed.labels)
    if scores is None or truth is None:
        return LabelledWindows(np.zeros((0, count)), np.zeros(0, np.int64), {})
    starts, ends = scores.span[:, 2], scores.span[:, 3]
    indexes = {label.name: number for number, label in enumerate(replayed.labels)}
    background = [number for number, label in enumerate(replayed.labels) if label.background]
    given = np.full(len(starts), -1, np.int64)
    hits, touched = np.zeros(len(starts), np.int64), np.zeros(len(starts), np.bool_)
    for event in truth.events:
        near, shared, shorter = _shared(starts, ends, (event.start_ns, event.end_ns))
        touched[near] |= shared > 0
        own = 2 * shared >= np.maximum(shorter, 1)
        hits[near] += own & (given[near] != indexes[event.label])
        given[near][own] = indexes[event.label]
    ignored = np.zeros(len(starts), np.bool_)
    for stretch in truth.ignored:
        near, shared, _ = _shared(starts, ends, stretch)
        ignored[near] |= shared > 0
    empty = ~touched
    if len(background) == 1:
        given[empty] = background[0]
        empty[:] = False
    causes = {
        _SKIPPED: scores.skipped,
        _IGNORED: ignored,
        _SEVERAL: hits > 1,
        _UNSURE: touched & (hits == 0),
        _NOTHING: empty,
    }
    keep, left_out = np.ones(len(starts), np.bool_), {}
    for why, mask in causes.items():
        if number := int(np.count_nonzero(mask & keep)):
            left_out[why] = number
        keep &= ~mask
    return LabelledWindows(scores.q16[keep] / 65536, given[keep], left_out)


def _shared(
    starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], stretch: Stretch
) -> tuple[slice, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the windows near a stretch, what each shares with it, and the length of the shorter of the two.

    A moment is 1 ns.
    """
    behind = max(stretch[1], stretch[0] + 1)
    near = slice(int(np.searchsorted(ends, stretch[0])), int(np.searchsorted(starts, behind)))
    begin, lasting = starts[near], np.maximum(ends[near], starts[near] + 1)
    shared = np.maximum(0, np.minimum(lasting, behind) - np.maximum(begin, stretch[0]))
    return near, shared, np.minimum(lasting - begin, behind - stretch[0])
