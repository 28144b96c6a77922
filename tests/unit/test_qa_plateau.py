"""Of policies that are equally good, the one in the middle of the longest run of thresholds is taken."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.manifest import LabelPolicy
from galago_workstation.qa.judged_corpus import JudgedCorpus
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.plateau import Plateaus
from galago_workstation.qa.replayed import Replayed
from galago_workstation.qa.tune_report import tune_labels
from galago_workstation.qa.tune_space import TuneSpace
from galago_workstation.qa.tuning import TuneGoal, tune
from galago_workstation.qa.tuning_words import tune_data, tune_lines
from test_kit.replays import decided, plain_label, truths

ON = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


def policy(on: float, smoothing: int = 1, share: float = 1.0) -> LabelPolicy:
    return LabelPolicy(on=on, off=round(on * share, 4), smoothing_windows=smoothing)


def middle(policies: list[LabelPolicy], best: list[int]) -> LabelPolicy:
    found = Plateaus(policies, TuneSpace(on=ON, off_shares=(1.0, 0.5))).choose(np.array(best))
    return policies[found]


def test_the_middle_of_the_longest_run_is_taken() -> None:
    policies = [policy(on) for on in ON]

    assert middle(policies, [0, 2, 3, 4]).on == 0.4
    assert middle(policies, [0, 1, 4]).on == 0.1  # of 0.1 and 0.2, below the middle
    assert middle(policies, [5]).on == 0.6


def test_thresholds_of_other_smoothing_are_no_neighbours() -> None:
    policies = [policy(0.1), policy(0.2, smoothing=3), policy(0.3), policy(0.3, smoothing=3)]

    found = middle(policies, [0, 1, 2, 3])

    assert (found.on, found.smoothing_windows) == (0.2, 3)


def test_of_equal_runs_the_shortest_smoothing_is_taken() -> None:
    policies = [policy(0.5, smoothing=5), policy(0.5, smoothing=2), policy(0.5, share=0.5)]

    assert middle(policies, [0, 1]).smoothing_windows == 2
    assert middle(policies, [0, 1, 2]).smoothing_windows == 1


@given(st.sets(st.integers(0, 35), min_size=1), st.randoms(use_true_random=False))
def test_what_is_taken_is_one_of_them_in_any_order(best: set[int], random: Random) -> None:
    policies = [policy(on, smoothing, share) for smoothing in (1, 2, 3) for share in (1.0, 0.5) for on in ON]
    shuffled = sorted(best)
    random.shuffle(shuffled)

    assert middle(policies, shuffled) == middle(policies, sorted(best))
    assert middle(policies, sorted(best)) in [policies[number] for number in best]


SPACE = TuneSpace(
    on=tuple(round(0.05 * step, 2) for step in range(2, 19)),
    off_shares=(1.0,),
    smoothing=(1,),
    counts=(1,),
    refractory_ms=(1_000,),
)


def recording(name: str, false: float | None = None) -> Replayed:
    """100 s, windows of 0.1 s: quiet is 0.1, from 20 to 22 s what is there has 0.9, at 60 s ``false``."""
    scores = np.full((1_000, 1), 0.1)
    scores[200:220] = 0.9
    if false is not None:
        scores[600:605] = false
    q16 = np.rint(scores * 65536).astype(int).tolist()
    labels = [plain_label("a", on=0.9, off=0.9, smoothing_windows=1)]
    return decided(q16, labels, truth=truths((20, 22, "a")), name=name)


def test_a_tuned_threshold_lies_between_what_is_there_and_what_is_not() -> None:
    corpus = JudgedCorpus([recording(f"{number}.wav") for number in range(4)], "a", MatchingRule())

    tuned = tune(corpus, TuneGoal(false_per_day=1), SPACE)

    assert tuned.seen.found == 4
    assert tuned.policy.on == 0.5


def test_a_promise_above_the_budget_is_said() -> None:
    replays = [recording(f"{number}.wav", 0.7 if number == 0 else None) for number in range(4)]

    report = tune_labels(replays, ["a"], TuneGoal(false_per_day=1, folds=4), space=SPACE)

    assert report.labels[0].within_budget
    assert any("on others 216.22 are to be expected" in line for line in report.lacking[0])


# ---- the present policy


PRESENT = LabelPolicy(on=0.637, off=0.312345, smoothing_windows=4, min_count=7, refractory_ms=60_000)


def test_the_present_policy_is_in_the_grid_and_each_of_its_values_with_every_other_one() -> None:
    tried = [policy for group in SPACE.around(PRESENT).groups() for policy in group]

    assert PRESENT in tried and len(tried) == len(set(map(repr, tried))) == 18 * 2 * 2 * 2 * 2
    assert LabelPolicy(on=0.5, off=0.5, smoothing_windows=1, min_count=1, refractory_ms=60_000) in tried
    assert LabelPolicy(on=0.637, off=0.637, smoothing_windows=1, min_count=7, refractory_ms=1_000) in tried


def test_a_present_policy_that_the_grid_has_adds_nothing_to_it() -> None:
    known = LabelPolicy(on=0.5, off=0.5, smoothing_windows=1, min_count=1, refractory_ms=1_000)

    assert list(SPACE.around(known).groups()) == list(SPACE.groups())


def test_a_present_policy_that_is_always_on_is_a_policy_like_others() -> None:
    always = LabelPolicy(on=0.0, off=0.0, smoothing_windows=1, min_count=1, refractory_ms=1_000)

    assert always in [policy for group in SPACE.around(always).groups() for policy in group]


def test_of_equal_policies_the_nearest_refractory_time_then_count_then_smoothing_is_taken() -> None:
    space = TuneSpace(on=ON, off_shares=(1.0,)).around(PRESENT)
    policies = [
        LabelPolicy(on=0.3, off=0.3, smoothing_windows=smoothing, min_count=count, refractory_ms=rest)
        for rest in (1_000, 10_000)
        for count in (1, 5)
        for smoothing in (1, 3, 20)
    ]

    taken = policies[Plateaus(policies, space).choose(np.arange(len(policies)))]

    assert (taken.refractory_ms, taken.min_count, taken.smoothing_windows) == (10_000, 5, 3)


@pytest.mark.parametrize(
    ("present", "best", "on"),
    [
        (0.4, range(1, 6), 0.4),  # 0.2 to 0.6: the middle
        (0.3, range(1, 6), 0.3),  # in the middle half
        (0.2, range(1, 6), 0.4),  # at the edge
        (0.6, range(6), 0.3),
        (0.5, range(4, 6), 0.5),  # of two both are edges
        (0.1, range(4, 6), 0.5),  # not among them
    ],
)
def test_a_present_threshold_stays_unless_it_is_at_the_edge_of_what_works(
    present: float, best: range, on: float
) -> None:
    space = TuneSpace(on=ON, off_shares=(1.0,)).around(policy(present))

    assert ON[Plateaus([policy(one) for one in ON], space).choose(np.array(best))] == on


def test_of_equal_runs_the_one_with_the_present_share_of_off_is_taken() -> None:
    policies = [policy(on, share=share) for share in (1.0, 0.75, 0.5) for on in (0.2, 0.4)]
    space = TuneSpace(on=(0.2, 0.4), off_shares=(1.0, 0.75, 0.5)).around(policy(0.2, share=0.5))

    assert policies[Plateaus(policies, space).choose(np.arange(6))] == policy(0.2, share=0.5)


def sustained(name: str, *heard: int) -> Replayed:
    """200 s, windows of 0.1 s: what is there lasts 30 s from each second of ``heard`` and comes and goes."""
    scores = np.full((2_000, 1), 0.1)
    for second in heard:
        for burst in range(10 * second, 10 * (second + 30), 20):
            scores[burst : burst + 15] = 0.9
    q16 = np.rint(scores * 65536).astype(int).tolist()
    labels = [plain_label("a", on=0.5, off=0.5, refractory_ms=60_000)]
    there = truths(*((second, second + 30, "a") for second in heard))
    return decided(q16, labels, truth=there, name=name)


def test_a_long_refractory_time_stays_as_long_as_a_shorter_one_finds_no_more() -> None:
    replays = [sustained(f"{number}.wav", 20, 120) for number in range(4)]

    report = tune_labels(replays, ["a"], TuneGoal(false_per_day=1), space=SPACE)

    (tuned,) = report.labels
    assert "a: nothing better was found, the policy stays as it is" in tune_lines(report)
    assert tuned.seen.found == 8 and tuned.policy == tuned.present
    assert (tuned.aside.repeats, tuned.aside_before.repeats) == (0, 0)


def test_the_repeats_that_a_shorter_refractory_time_brings_are_told_against_those_of_now() -> None:
    """A minute hides the second of two things 30 s apart; one second tells each of 15 bursts."""
    replays = [sustained(f"{number}.wav", 20, 50) for number in range(4)]

    report = tune_labels(replays, ["a"], TuneGoal(false_per_day=1), space=SPACE)

    (tuned,) = report.labels
    assert (tuned.before.found, tuned.seen.found, tuned.policy.refractory_ms) == (4, 8, 1_000)
    assert (tuned.aside_before.repeats, tuned.aside.repeats) == (0, 4 * 2 * 14)
    proposed, now = tune_lines(report)[1:3]
    assert proposed.split()[-3] == "12102.05" and now.split()[-3] == "0.00"  # 112 in 799.6 s
    said = (
        "a: 112 more repeats than now: 112 for 0 with 1000 ms of refractory time for 60000; a repeat tells "
        "again what was told already"
    )
    assert said in tune_lines(report)
    (data,) = tune_data(report)["labels"]
    assert (data["before"]["repeats"], data["seen"]["repeats"]) == (0, 112)
    assert (data["present"]["refractory_ms"], data["policy"]["refractory_ms"]) == (60_000, 1_000)
