"""What the answers of a model come to: shares with their intervals, curves over thresholds, calibration.

All intervals are exact binomial ones of 95 % (Clopper and Pearson 1934), each for itself: they hold where
samples are independent, and say nothing of other places, days or speakers than those of the test part.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from galago_edge.decision.activation import ONE, to_q16
from galago_workstation.qa.exact_intervals import ShareEstimate, share_estimate

MOST_POINTS = 200
"""Of one curve; of more, as many are taken evenly, the ends among them."""
THRESHOLDS = 101
"""From 0 to 1, both included."""
BINS = 10
"""Of the calibration, of equal width."""
Scores = npt.NDArray[np.int64]
"""Q16 scores ``(samples, labels)``: 65536 is 1.0."""


class LabelFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How one label fares where the label with the largest score is the answer."""

    precision: ShareEstimate
    """Right answers of all that gave it."""
    recall: ShareEstimate
    """Right answers of all that have it."""
    f1: float | None
    """``2 tp / (2 tp + fp + fn)``; None where the label neither occurs nor is given."""


class LabelCurves(msgspec.Struct, frozen=True, kw_only=True):
    """One label against all others, over thresholds of its own score."""

    label: int
    roc: tuple[tuple[float, float], ...]
    """False share and recall."""
    auc: float
    """Area below it, by trapezoids."""
    pr: tuple[tuple[float, float], ...]
    """Recall and precision."""
    average_precision: float
    """Sum of the precisions, each times the recall gained."""
    threshold: tuple[tuple[float, float, float], ...]
    """Threshold, recall, and the share of the others' samples that reach it, too."""


class CalibrationBin(msgspec.Struct, frozen=True, kw_only=True):
    """Samples whose largest score lies in one tenth of the scale."""

    score: float
    """Their mean largest score."""
    right: ShareEstimate


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Whether scores are what they promise."""

    bins: tuple[CalibrationBin, ...]
    """Those that hold samples."""
    error: float
    """Expected calibration error: mean distance of score and share, weighted by samples."""


class GroupFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One speaker, place or session."""

    name: str
    right: ShareEstimate


def label_figures(confusion: npt.ArrayLike) -> tuple[LabelFigures, ...]:
    """Return the figures of each label. ``confusion``: counts, true label down, given label across."""
    counts = np.asarray(confusion)
    truths, answers = counts.sum(axis=1).tolist(), counts.sum(axis=0).tolist()
    return tuple(
        LabelFigures(
            precision=share_estimate(right, given),
            recall=share_estimate(right, true),
            f1=2 * right / (given + true) if given + true else None,
        )
        for right, true, given in zip(counts.diagonal().tolist(), truths, answers, strict=True)
    )


def label_curves(truth: npt.NDArray[np.intp], scores: Scores) -> tuple[LabelCurves, ...]:
    """Return the curves of each label that some samples have and others have not.

    Args:
        truth: The true labels ``(samples,)``.
        scores: As ``Scores`` says.
    """
    return tuple(
        _curves(label, truth == label, scores[:, label])
        for label in range(scores.shape[1])
        if 0 < int((truth == label).sum()) < len(truth)
    )


def _curves(label: int, own: npt.NDArray[np.bool_], scores: npt.NDArray[np.int64]) -> LabelCurves:
    order = np.argsort(-scores, kind="stable")
    behind_ties = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    hits = np.cumsum(own[order])[behind_ties]
    false = behind_ties + 1 - hits
    recall, false_share = hits / own.sum(), false / (~own).sum()
    precision = hits / (behind_ties + 1)
    roc = np.stack([np.append(0.0, false_share), np.append(0.0, recall)], axis=1)
    grid = [to_q16(step / (THRESHOLDS - 1)) for step in range(THRESHOLDS)]
    reached = scores[None, :] >= np.array(grid)[:, None]
    return LabelCurves(
        label=label,
        roc=_points(roc),
        auc=float(np.trapezoid(roc[:, 1], roc[:, 0])),
        pr=_points(np.stack([recall, precision], axis=1)),
        average_precision=float(np.sum(np.diff(np.append(0.0, recall)) * precision)),
        threshold=tuple(
            (step / (THRESHOLDS - 1), round(float(row[own].mean()), 5), round(float(row[~own].mean()), 5))
            for step, row in enumerate(reached)
        ),
    )


def _points(points: npt.NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    kept = np.unique(np.linspace(0, len(points) - 1, min(len(points), MOST_POINTS)).round().astype(int))
    return tuple((round(x, 5), round(y, 5)) for x, y in points[kept].tolist())


def calibration(right: npt.NDArray[np.bool_], best: npt.NDArray[np.int64]) -> Calibration:
    """Return how often answers are right by their score.

    Args:
        right: Whether each answer is ``(samples,)``.
        best: The Q16 score of each answer ``(samples,)``.
    """
    places = np.minimum(best * BINS // ONE, BINS - 1)
    bins = []
    for place in np.unique(places).tolist():
        inside = places == place
        count = int(inside.sum())
        bins.append(
            CalibrationBin(
                score=float(best[inside].mean()) / ONE,
                right=share_estimate(int(right[inside].sum()), count),
            )
        )
    distances = [one.right.of * abs(one.score - one.right.count / one.right.of) for one in bins]
    return Calibration(bins=tuple(bins), error=sum(distances) / max(len(best), 1))


def group_figures(groups: Sequence[str | None], right: npt.NDArray[np.bool_]) -> tuple[GroupFigures, ...]:
    """Return the share of right answers of each group, the worst first. Samples without one are left out."""
    by_name: dict[str, list[bool]] = {}
    for name, one in zip(groups, right.tolist(), strict=True):
        if name is not None:
            by_name.setdefault(name, []).append(one)
    found = [
        GroupFigures(name=name, right=share_estimate(sum(own), len(own))) for name, own in by_name.items()
    ]
    return tuple(sorted(found, key=lambda one: (one.right.share or 0.0, -one.right.of, one.name)))
