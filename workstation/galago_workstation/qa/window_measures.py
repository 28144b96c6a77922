"""Measures of single windows: accuracy, precision, recall, F1, average precision, and calibration.

Calibration, with the score of the label with the highest score as confidence and 15 bins of equal width:
``ECE = sum over bins of share * |accuracy - mean confidence|``, ``MCE`` the largest such difference (Guo,
Pleiss, Sun, Weinberger 2017, On calibration of modern neural networks; Naeini, Cooper, Hauskrecht 2015).
``Brier``: mean of the squared differences between scores and the one-hot truth, summed over labels (Brier
1950). ``NLL``: mean of ``-ln`` of the right label's score, at least half a step of Q16, 2**-17, so that a
score of 0 stays finite.

Scores are before smoothing. Of an int8 model they have at most 256 levels, so bins of equal mass would tie.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from galago_workstation.qa.segment_measures import f1
from galago_workstation.qa.window_truth import LabelledWindows

BINS = 15
LEAST_SCORE = 2.0**-17


class LabelWindows(msgspec.Struct, frozen=True, kw_only=True):
    """How the windows of one label were told."""

    label: str
    windows: int
    """That should have been given it."""
    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: float | None
    """Mean precision over the recalls of all thresholds; None when it was never there."""


class CalibrationMeasures(msgspec.Struct, frozen=True, kw_only=True):
    """How far scores are shares."""

    ece: float
    mce: float
    brier: float
    nll: float
    bins: int = BINS


class WindowMeasures(msgspec.Struct, frozen=True, kw_only=True):
    """What single windows say, before any policy."""

    windows: int
    left_out: dict[str, int]
    accuracy: float | None = None
    f1_macro: float | None = None
    """Mean F1 of the labels that were there."""
    labels: tuple[LabelWindows, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    """Right label down, told label across, in the bundle's order."""
    calibration: CalibrationMeasures | None = None


def window_measures(parts: Sequence[LabelledWindows], names: Sequence[str]) -> WindowMeasures:
    """Return the measures of the windows of many recordings together."""
    left_out: dict[str, int] = {}
    for part in parts:
        for why, count in part.left_out.items():
            left_out[why] = left_out.get(why, 0) + count
    scores = np.concatenate([np.zeros((0, len(names))), *(part.scores for part in parts)])
    right = np.concatenate([np.zeros(0, np.int64), *(part.labels for part in parts)])
    if not len(right):
        return WindowMeasures(windows=0, left_out=left_out)
    told = scores.argmax(axis=1)
    confusion = np.zeros((len(names), len(names)), np.int64)
    np.add.at(confusion, (right, told), 1)
    labels = tuple(_label(name, number, confusion, scores, right) for number, name in enumerate(names))
    there = [label.f1 or 0.0 for label in labels if label.windows]
    return WindowMeasures(
        windows=len(right),
        left_out=left_out,
        accuracy=float(np.mean(told == right)),
        f1_macro=sum(there) / len(there),
        labels=labels,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        calibration=calibration(scores, right),
    )


def calibration(scores: npt.NDArray[np.float64], right: npt.NDArray[np.int64]) -> CalibrationMeasures:
    """Return the calibration of scores of the shape ``(n, labels)`` and the right ones, ``(n,)``; n > 0."""
    rows = np.arange(len(right))
    sure, hit = scores.max(axis=1), scores.argmax(axis=1) == right
    bins = np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)  # (0, 1/15], (1/15, 2/15] ...
    size = np.bincount(bins, minlength=BINS)
    gap = np.abs(np.bincount(bins, sure, BINS) - np.bincount(bins, hit, BINS))
    truth = np.zeros_like(scores)
    truth[rows, right] = 1.0
    return CalibrationMeasures(
        ece=float(gap.sum() / len(right)),
        mce=float((gap[size > 0] / size[size > 0]).max()),
        brier=float(((scores - truth) ** 2).sum(axis=1).mean()),
        nll=float(-np.log(np.maximum(scores[rows, right], LEAST_SCORE)).mean()),
    )


def average_precision(scores: npt.NDArray[np.float64], there: npt.NDArray[np.bool_]) -> float | None:
    """Return the sum over thresholds of precision times the recall gained; equal scores are one threshold."""
    if not there.any():
        return None
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    hits = np.cumsum(there[order])[last]
    precision, recall = hits / (last + 1), hits / there.sum()
    return float((precision * np.diff(recall, prepend=0.0)).sum())


def _label(
    name: str,
    number: int,
    confusion: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float64],
    right: npt.NDArray[np.int64],
) -> LabelWindows:
    tp, told, there = (
        int(confusion[number, number]),
        int(confusion[:, number].sum()),
        int(confusion[number].sum()),
    )
    return LabelWindows(
        label=name,
        windows=there,
        precision=tp / told if told else None,
        recall=tp / there if there else None,
        f1=f1(tp, told - tp, there - tp),
        average_precision=average_precision(scores[:, number], right == number),
    )
