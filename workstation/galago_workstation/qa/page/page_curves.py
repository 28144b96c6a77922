"""The plots of a page: missed against false alarms over all thresholds, and how soon things are found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from galago_workstation.qa.det_curve import DetCurve, DetPoint, det_curve
from galago_workstation.qa.judged_recording import JudgedRecording
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.page.page_content import NS_PER_MS, PageCurves, PageDelay, PageDet
from galago_workstation.qa.report_words import hours_text

MOST_THRESHOLDS = 200
"""Of one curve."""
MOST_DELAYS = 200


def page_curves(
    labels: Sequence[str], sides: Sequence[Sequence[JudgedRecording]], rule: MatchingRule
) -> tuple[PageCurves, ...]:
    """Return the plots of each label that is there at all; ``sides``: labelled recordings of each bundle.

    Raises:
        GalagoError: As ``det_curve``.
    """
    found = []
    for label in labels:
        delays = tuple(_delay(label, side) for side in sides)
        if any(one.truths for one in delays):
            det = tuple(_det(label, side, rule) for side in sides)
            found.append(PageCurves(label=label, det=det, delay=delays))
    return tuple(found)


def _det(label: str, side: Sequence[JudgedRecording], rule: MatchingRule) -> PageDet | None:
    replays = [one.replayed for one in side]
    if any(one.scores is None for one in replays):
        return None
    found = det_curve(replays, label, rule, most_points=MOST_THRESHOLDS)
    return PageDet(
        truths=found.truths,
        hours=round(found.hours, 6),
        time=hours_text(found.hours),
        points=tuple(map(_point, _corners(found))),
        policy=_point(found.policy),
        gated=found.gated,
    )


def _point(one: DetPoint) -> tuple[int, int, float]:
    return one.missed, one.false, round(one.on, 5)


def _corners(found: DetCurve) -> list[DetPoint]:
    """Return the points at which something changes: the first of each run of equal ones."""
    corners: list[DetPoint] = []
    for one in found.points:
        if not corners or (one.missed, one.false) != (corners[-1].missed, corners[-1].false):
            corners.append(one)
    return corners


def _delay(label: str, side: Sequence[JudgedRecording]) -> PageDelay:
    fates = [one for judged in side for one in judged.truths if one.truth.label == label]
    delays = sorted(one.delay_ns // NS_PER_MS for one in fates if one.delay_ns is not None)
    places = np.linspace(0, len(delays) - 1, min(len(delays), MOST_DELAYS)).round().astype(np.int64)
    truths = sum(one.fate in ("found", "missed") for one in fates)
    half = -(-truths // 2)
    return PageDelay(
        truths=truths,
        found=len(delays),
        half_ms=delays[half - 1] if 0 < half <= len(delays) else None,
        quantiles_ms=tuple(delays[place] for place in places.tolist()),
    )
