"""Single windows, segments and calibration: computed by hand, and as scikit-learn computes them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, log_loss

from galago_edge.decision import ONE
from galago_workstation.qa.judged_recording import judge
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.segment_measures import SegmentCounts, active_stretches, segment_counts
from galago_workstation.qa.window_measures import average_precision, calibration, window_measures
from galago_workstation.qa.window_truth import LabelledWindows, labelled_windows
from test_kit.replays import S, decided, plain_label, truths, written

LABELS = (plain_label("a"), plain_label("b"), plain_label("nothing", background=True))
RULE = MatchingRule()


def windows(truth: object, count: int = 10, **more: object) -> LabelledWindows:
    """Windows of 1 s every second."""
    rows = [[ONE // 2, ONE // 4, ONE // 4]] * count
    return labelled_windows(
        decided(rows, LABELS, truth=truth, hop_ns=S, receptive_ns=S, **more)  # type: ignore[arg-type]
    )


def test_a_window_has_the_label_that_it_shares_half_of_the_shorter_with() -> None:
    found = windows(truths((2.0, 3.0, "a"), (4.5, 5.0, "b"), (7.7, 9.0, "a")))
    # 0 1 nothing, 2 a, 3 nothing, 4 b (all of the event), 5 6 nothing, 7 left out (0.3 of 1 s), 8 a, 9 none
    assert found.labels.tolist() == [2, 2, 0, 2, 1, 2, 2, 0, 2]
    assert found.left_out == {"touch a truth by less than half": 1}


def test_windows_that_nobody_can_judge_are_left_out_and_counted() -> None:
    found = windows(truths((1.0, 2.0, "a"), (1.0, 2.0, "b"), ignored=[(3.5, 4.5)]), skipped=[3, 6], gap_ns=0)
    assert found.left_out == {
        "were skipped by the activity gate": 2,
        "are to be ignored": 1,
        "belong to several truths": 1,
    }
    assert found.labels.tolist() == [2] * 6


def test_without_a_background_label_windows_of_nothing_are_left_out() -> None:
    replayed = decided([[ONE]] * 4, [plain_label("a")], truth=truths((0, 1, "a")), hop_ns=S, receptive_ns=S)
    found = labelled_windows(replayed)
    assert found.labels.tolist() == [0]
    assert found.left_out == {"show nothing, and there is no single background label": 3}


def test_a_frame_is_a_moment() -> None:
    replayed = decided(
        [[ONE, 0, 0]] * 4, LABELS, truth=truths((0.1, 0.3, "a")), hop_ns=S // 10, receptive_ns=0
    )
    assert labelled_windows(replayed).labels.tolist() == [2, 0, 0, 2]


def test_measures_computed_by_hand() -> None:
    scores = np.array([[0.75, 0.25], [0.75, 0.25], [0.25, 0.75], [0.5, 0.5]])
    found = window_measures([LabelledWindows(scores, np.array([0, 1, 1, 0]), {"x": 2})], ["a", "b"])
    assert (found.windows, found.left_out, found.accuracy) == (4, {"x": 2}, 0.75)
    assert found.confusion == ((2, 0), (1, 1))
    a, b = found.labels
    assert (a.precision, a.recall, a.f1) == pytest.approx((2 / 3, 1.0, 0.8))
    assert (b.precision, b.recall, b.f1) == pytest.approx((1.0, 0.5, 2 / 3))
    assert found.f1_macro == pytest.approx((0.8 + 2 / 3) / 2)
    assert found.calibration is not None
    # confidences 0.75 (three, two of them right) and 0.5 (right): two bins of 15
    assert found.calibration.ece == pytest.approx(3 / 4 * abs(2 / 3 - 0.75) + 1 / 4 * 0.5)
    assert found.calibration.mce == pytest.approx(0.5)
    assert found.calibration.brier == pytest.approx((0.125 + 1.125 + 0.125 + 0.5) / 4)
    assert found.calibration.nll == pytest.approx(-(math.log(0.75) * 2 + math.log(0.25) + math.log(0.5)) / 4)


def test_a_score_of_0_for_what_is_right_costs_half_a_step_and_not_infinity() -> None:
    found = calibration(np.array([[1.0, 0.0]]), np.array([1]))
    assert found.nll == pytest.approx(17 * math.log(2))
    assert (found.ece, found.mce, found.brier) == (1.0, 1.0, 2.0)


def test_nothing_to_measure_is_no_figure() -> None:
    found = window_measures([LabelledWindows(np.zeros((0, 2)), np.zeros(0, np.int64), {})], ["a", "b"])
    assert (found.windows, found.accuracy, found.calibration) == (0, None, None)


@given(st.lists(st.tuples(st.integers(0, 16), st.integers(0, 2)), min_size=1, max_size=40))
def test_measures_are_those_of_scikit_learn(rows: list[tuple[int, int]]) -> None:
    scores = np.array([[score / 16 * 0.5, 0.25, 0.75 - score / 16 * 0.5] for score, _ in rows])
    right = np.array([label for _, label in rows])
    found = window_measures([LabelledWindows(scores, right, {})], ["a", "b", "c"])
    there = sorted(set(right.tolist()))
    expected = f1_score(right, scores.argmax(axis=1), labels=there, average="macro", zero_division=0)
    assert found.f1_macro == pytest.approx(expected)
    for number in there:
        precision = average_precision_score(right == number, scores[:, number])
        assert average_precision(scores[:, number], right == number) == pytest.approx(precision)
    assert found.calibration is not None
    least = np.maximum(scores, 2.0**-17)
    own = -np.log(least[np.arange(len(right)), right]).mean()
    assert found.calibration.nll == pytest.approx(own)
    if (scores > 0).all():
        assert own == pytest.approx(log_loss(right, scores, labels=[0, 1, 2]))


def test_a_label_is_active_from_its_first_window_until_it_is_off() -> None:
    replayed = written(
        [("a", 3), ("a", 8), ("b", 9)], off=[("a", 5), ("b", 9.5)], starts={0: 2.0, 1: 7.0}, duration_s=10.0
    )
    assert active_stretches(replayed) == {
        "a": [(2 * S, 5 * S), (7 * S, 10 * S)],
        "b": [(9 * S, 9_500_000_000)],
    }


def test_segments_computed_by_hand() -> None:
    """Ten segments: a is there in 2 3 4 and said in 3 4 5; b is there in 5, and said in 2."""
    replayed = written(
        [("a", 3.5), ("b", 2.5)],
        truths((2.5, 4.5, "a"), (5.0, 6.0, "b")),
        starts={0: 3.2, 1: 2.1},
        off=[("a", 5.7), ("b", 2.9)],
        duration_s=10.0,
    )
    assert segment_counts(judge(replayed, RULE)) == SegmentCounts(
        segments=10, substitutions=2, tp=(2, 0), fp=(1, 1), fn=(1, 1)
    )
    counts = segment_counts(judge(replayed, RULE))
    assert (counts.error_rate, counts.f1_micro) == (2 / 4, 4 / 8)
    assert counts.f1_macro == pytest.approx((4 / 6 + 0) / 2)


def test_segments_with_a_gap_or_something_to_be_ignored_are_left_out() -> None:
    replayed = written([], truths(ignored=[(7, 7.2)]), gaps=[(2.5, 4.0, "stall")], duration_s=10.0)
    counts = segment_counts(judge(replayed, RULE))
    # 2 and 3 lie in the gap; 7 and 8 are seen by decisions that see what is to be ignored
    assert (counts.segments, counts.left_out) == (6, 4)
    assert counts.error_rate is None and counts.f1_micro is None
