"""Of policies that are equally good, the one in the middle of the longest run of thresholds is taken."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.manifest import LabelPolicy
from galago_workstation.qa.judged_corpus import JudgedCorpus
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.plateau import Plateaus
from galago_workstation.qa.replayed import Replayed
from galago_workstation.qa.tune_report import tune_labels
from galago_workstation.qa.tuning import TuneGoal, TuneSpace, tune
from test_kit.replays import decided, plain_label, truths

ON = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


def policy(on: float, smoothing: int = 1, share: float = 1.0) -> LabelPolicy:
    return LabelPolicy(on=on, off=round(on * share, 4), smoothing_windows=smoothing)


def middle(policies: list[LabelPolicy], best: list[int]) -> LabelPolicy:
    found = Plateaus(policies, ON, (1.0, 0.5)).middle(np.array(best))
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
