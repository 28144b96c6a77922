"""Every point of a curve is what the device's Decider would have done with that threshold."""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.contract.errors import CallerError, InputError, Reason
from galago_edge.contract.manifest import Label
from galago_edge.decision import ONE
from galago_workstation.qa.det_curve import det_curve
from galago_workstation.qa.judged_recording import judge
from galago_workstation.qa.label_score import label_score
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.replayed import Replayed
from test_kit.replays import MS, decided, plain_label, truths

RULE = MatchingRule()
FEW = st.sampled_from([0, 1, 20_000, 20_001, 40_000, 65_535, ONE])
"""Scores that often tie."""


@st.composite
def policies(draw: st.DrawFn) -> Label:
    on = draw(st.integers(0, ONE) | FEW)
    return plain_label(
        "a",
        on=on / ONE,
        off=draw(st.integers(0, on) | st.just(on)) / ONE,
        smoothing_windows=draw(st.integers(1, 4)),
        min_count=draw(st.integers(1, 4)),
        refractory_ms=draw(st.sampled_from([0, 100, 150, 1000, 2500])),
    )


@st.composite
def streams(draw: st.DrawFn, label: Label | None = None) -> Replayed:
    scores = draw(st.lists(st.integers(0, ONE) | FEW, min_size=1, max_size=40))
    restart = draw(st.sets(st.integers(0, len(scores) - 1), max_size=3))
    marks = sorted(draw(st.sets(st.integers(0, 40), max_size=6)))
    ignored = [(draw(st.integers(0, 40)) / 10, 4.1)] if draw(st.booleans()) else []
    return decided(
        [[score, ONE - score] for score in scores],
        [label or draw(policies()), plain_label("b", background=True)],
        restart=restart,
        truth=truths(
            *((a / 10, b / 10, "a") for a, b in zip(marks[::2], marks[1::2], strict=False)), ignored=ignored
        ),
        gap_ns=draw(st.sampled_from([0, 100 * MS, 3000 * MS])),
        receptive_ns=draw(st.sampled_from([0, 100 * MS, 400 * MS])),
    )


def by_decider(replayed: Replayed, on: float, off: float) -> Replayed:
    """The same scores, decided again by the real Decider with other thresholds."""
    assert replayed.scores is not None
    policy = msgspec.structs.replace(replayed.labels[0].policy, on=on, off=off)
    labels = (msgspec.structs.replace(replayed.labels[0], policy=policy), *replayed.labels[1:])
    again = decided(
        replayed.scores.q16.tolist(),
        labels,
        truth=replayed.truth,
        restart=np.flatnonzero(replayed.scores.restart).tolist(),
        receptive_ns=replayed.receptive_ns,
        gap_ns=replayed.gaps[0].to_ns - replayed.gaps[0].from_ns if replayed.gaps else 0,
    )
    assert (again.scores.span == replayed.scores.span).all()  # type: ignore[union-attr]
    return again


@given(streams())
@settings(max_examples=100)
def test_each_point_is_the_full_score_of_that_threshold(replayed: Replayed) -> None:
    rule = MatchingRule(post_ns=300 * MS)
    curve = det_curve([replayed], "a", rule, most_points=None)
    for point in [curve.policy, *curve.points[:: max(1, len(curve.points) // 8)]]:
        full = label_score("a", [judge(by_decider(replayed, point.on, point.off), rule)])
        assert (point.missed, point.false) == (full.missed, full.cross_triggers + full.false_alarms)


@given(streams(), st.integers(0, ONE))
@settings(max_examples=100)
def test_between_two_neighbours_nothing_changes(replayed: Replayed, on_q16: int) -> None:
    rule = MatchingRule(post_ns=300 * MS)
    curve = det_curve([replayed], "a", rule, most_points=None)
    assert curve.thresholds == len(curve.points)
    assert [point.on for point in curve.points] == sorted({point.on for point in curve.points})
    below = [point for point in curve.points if point.on <= on_q16 / ONE][-1]
    policy = replayed.labels[0].policy
    off_q16 = max(0, on_q16 - (round(policy.on * ONE) - round(policy.off * ONE)))
    full = label_score("a", [judge(by_decider(replayed, on_q16 / ONE, off_q16 / ONE), rule)])
    assert (below.missed, below.false) == (full.missed, full.cross_triggers + full.false_alarms)


def wake_word() -> Replayed:
    """Two alarms that were there, at 0.9 and 0.6, and one at 0.7 that was not."""
    rows = [[0]] * 600
    for at, score in ((100, 0.9), (200, 0.6), (400, 0.7)):
        rows[at : at + 5] = [[round(score * ONE)]] * 5
    label = plain_label("a", on=0.8, off=0.5)
    return decided(rows, [label], truth=truths((10, 10.5, "a"), (20, 20.5, "a")))


def test_a_curve_computed_by_hand() -> None:
    curve = det_curve([wake_word()], "a", RULE)
    assert (curve.truths, curve.hours) == (2, pytest.approx(59.9 / 3600))
    assert (curve.policy.missed, curve.policy.false) == (1, 0)
    at = {round(on, 2): point for on in (0.5, 0.65, 0.8, 0.95) for point in curve.points if point.on <= on}
    assert {on: (point.missed, point.false) for on, point in at.items()} == {
        0.5: (0, 1),
        0.65: (1, 1),
        0.8: (1, 0),
        0.95: (2, 0),
    }
    best = curve.best(0.0)
    assert best is not None and (best.missed, best.false) == (1, 0)
    best = curve.best(100.0)
    assert best is not None and (best.missed, best.false) == (0, 1)


def test_many_thresholds_are_thinned_and_it_is_said() -> None:
    rows = [[(number * 7919) % ONE] for number in range(3000)]
    curve = det_curve([decided(rows, [plain_label("a")])], "a", RULE, most_points=50)
    assert len(curve.points) == 50 < curve.thresholds == 3001  # and 0
    assert curve.points[0].on == 0


def test_recordings_with_an_activity_gate_are_counted_for_there_it_is_not_exact() -> None:
    gated = decided([[0]] * 9, [plain_label("a")], skipped=[3], name="gated.wav")
    assert det_curve([wake_word(), gated], "a", RULE).gated == 1
    assert det_curve([wake_word()], "a", RULE).gated == 0


def test_without_scores_or_the_label_there_is_no_curve() -> None:
    replayed = wake_word()
    with pytest.raises(CallerError) as failure:
        det_curve([replayed], "b", RULE)
    assert failure.value.reason == Reason.TARGET_UNKNOWN
    with pytest.raises(InputError, match="the stored replay has no scores"):
        det_curve([dataclasses.replace(replayed, scores=None)], "a", MatchingRule(post_ns=0))
