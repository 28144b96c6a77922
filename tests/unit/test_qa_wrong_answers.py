"""Wrong answers of public scorers for which the tests of the score itself do not show that ours differ.

The others: test_qa_judged_recording.py (speech_commands' 200 %, its labels, its one word, its clip starts;
openWakeWord's frames; microWakeWord's ignored slices; Edge Impulse's running sum) and test_qa_matching.py
(greedy pairs; MLPerf Tiny's tolerance twice).
"""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from galago_workstation.commands.qa_options import rule_options
from galago_workstation.qa.corpus_score import score
from galago_workstation.qa.det_curve import det_curve
from galago_workstation.qa.judged_recording import judge
from galago_workstation.qa.label_score import label_score
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.replayed import Replayed
from test_kit.replays import decided, plain_label, truths, written

RULE = MatchingRule()
ONE = 65_536


@pytest.mark.parametrize(("at_s", "found"), [(103.9, 1), (104.1, 0)])
def test_a_tolerance_that_is_said_in_seconds_is_taken_in_seconds(at_s: float, found: int) -> None:
    """speech_commands documents its tolerance in seconds and compares milliseconds."""
    rules: list[MatchingRule] = []

    @click.command()
    @rule_options
    def command(rule: MatchingRule) -> None:
        rules.append(rule)

    assert CliRunner().invoke(command, ["--post", "2"]).exit_code == 0
    judged = judge(written([("a", at_s)], truths((100, 102, "a"))), rules[0])
    assert label_score("a", [judged]).found.count == found


def test_false_alarms_are_told_by_the_hour_of_time_in_which_they_could_come() -> None:
    """speech_commands gives shares of truths alone, which say nothing of a stream without any."""
    replayed = written(
        [("a", 10), ("a", 20), ("a", 30)], truths(), duration_s=7_201.0, gaps=[(3_600, 5_400, "missing")]
    )
    rate = label_score("a", [judge(replayed, RULE)]).false_rate
    assert (rate.count, rate.per_hour) == (3, pytest.approx(3 / 1.5, rel=1e-3))


def heard(truth_windows: list[list[int]]) -> Replayed:
    """An hour with twenty truths of a second each, ten windows a second; the windows given say ``a``.

    Ten windows in a row say it where nothing is.
    """
    said = [1_000 + 1_500 * number + window for number, those in enumerate(truth_windows) for window in those]
    rows = [[ONE, 0]] * 36_000
    for window in (*said, *range(35_000, 35_010)):
        rows[window] = [0, ONE]
    there = [(100 + 150 * number, 101 + 150 * number, "a") for number in range(20)]
    labels = [plain_label("nothing", background=True), plain_label("a")]
    return decided(rows, labels, truth=truths(*there))


def test_models_that_are_equal_window_by_window_are_told_apart_by_their_events() -> None:
    """Models that microWakeWord's validation calls equal missed 20 % and 5 % at one rate of false alarms."""
    late = heard([list(range(4, 10))] * 20)
    deaf_to_some = heard([list(range(10))] * 12 + [[]] * 8)
    by_windows = [score([replayed], RULE).windows for replayed in (late, deaf_to_some)]
    assert by_windows[0] == by_windows[1] and by_windows[0].windows == 36_000
    curves = [det_curve([replayed], "a", RULE) for replayed in (late, deaf_to_some)]
    best = [curve.best(1.5) for curve in curves]
    assert [point and (point.missed, point.false) for point in best] == [(0, 1), (8, 1)]
