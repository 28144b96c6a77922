"""The score's rule in a comparison: the same truths found, the same false alarms, the same time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from galago_edge.contract.errors import CallerError
from galago_workstation.qa.judged_recording import judge
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.replay_comparison import compare_bundles
from galago_workstation.qa.truth_outcomes import common_rule, outcomes
from test_kit.replays import plain_label, truths, written

S = 1_000_000_000
RULE = MatchingRule()
SAID = (("a", 12.0), ("a", 13.0), ("b", 12.5), ("b", 40.0))
THERE = truths((11, 14, "a"), (60, 61, "b"), (80, 90, "a"), ignored=[(79, 95)])


def test_found_missed_and_false_alarms_are_those_of_the_score() -> None:
    replayed = written(SAID, THERE, duration_s=120)
    found, scored = outcomes(replayed, RULE), judge(replayed, RULE)
    assert [(one.truth.label, one.found) for one in found.outcomes] == [("a", True), ("b", False)]
    assert [event.end_ns / S for event in found.false_alarms] == [12.5, 40.0]  # of another truth; of nothing
    assert found.valid_ns == scored.watched.valid_ns
    assert found.valid_ns_by_label == {
        label: watched.valid_ns for label, watched in scored.watched_by_label.items()
    }


def test_recordings_without_truth_cannot_be_judged() -> None:
    with pytest.raises(CallerError, match="has no labels"):
        outcomes(written(SAID, None), RULE)


def test_what_is_there_of_a_label_that_one_bundle_does_not_have_is_left_out_and_said() -> None:
    old = written(SAID, THERE, duration_s=120, labels=(plain_label("a"), plain_label("b")))
    new = replace(written(SAID[:2], THERE, duration_s=120, labels=(plain_label("a"),)), bundle="c0" * 32)
    found = compare_bundles([old], [new], common=True, rule=RULE)
    assert [(row.label, row.both) for row in found.right] == [("", 1), ("a", 1)]
    assert any("label b" in line for line in found.left_out)


def test_both_bundles_get_the_longest_time_that_one_of_them_asks_for() -> None:
    short, long = written(receptive_s=1.0, hop_s=0.5), written(receptive_s=2.0, hop_s=0.5)
    assert common_rule(RULE, [short, long]).post_ns == 2_500_000_000
    assert common_rule(RULE, [replace(long, scores=None), short]).post_ns == 1_500_000_000  # a baseline
    assert common_rule(MatchingRule(post_ns=7), [short, long]).post_ns == 7
    with pytest.raises(CallerError):
        common_rule(RULE, [replace(short, scores=None)])
