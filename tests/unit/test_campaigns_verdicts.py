"""A small piece of the campaign of verdicts."""

from __future__ import annotations

import numpy as np
import pytest

from campaigns import verdicts
from galago_workstation.qa.e_process import Tally
from galago_workstation.qa.exact_intervals import share_interval
from galago_workstation.qa.gate_evidence import GateEvidence
from galago_workstation.qa.gate_rules import BoundGate, GateRule
from galago_workstation.qa.release_verdict import decide


def one(tally: Tally, pair: int, hour: int) -> Tally:
    return Tally(tally.per, tally.values, tally.counts[pair, hour], tally.hours[pair, hour], tally.low)


@pytest.mark.parametrize(
    "truth", [verdicts.TRUTHS[0], verdicts.TRUTHS[4]], ids=["as bad as OLD", "far worse"]
)
def test_the_campaign_asks_for_the_verdict_that_the_product_gives(truth: verdicts.Truth) -> None:
    seen = verdicts.corpora(truth, 3, 200, np.random.default_rng(5))
    looks = verdicts.look(seen)
    rule = GateRule(measure="missed", at_most=0.1)
    for pair in range(3):
        for hour in (10, 199):
            evidence = [
                GateEvidence(
                    BoundGate(rule, "", {}, name),
                    one(tally, pair, hour),
                    verdicts.BOUNDS[name],
                    0,
                    0,
                    1,
                    1,
                    1,
                )
                for name, tally in seen.items()
            ]
            found = decide(evidence)
            for gate in found.gates:
                name = gate.evidence.gate.name
                assert (gate.stance == "pass") == looks.passed[name][pair, hour]
                assert (gate.stance == "fail") == looks.failed[name][pair, hour]
            assert (found.stance == "pass") == looks.passed["all"][pair, hour]
            assert (found.stance == "fail") == looks.failed["all"][pair, hour]


def test_few_verdicts_are_wrong_whoever_looks_after_every_hour() -> None:
    courses, found = verdicts.simulate(pairs=600, hours=100, promises=48, seed=2)
    assert len(courses) == len(verdicts.TRUTHS) and sum(course.pairs for course in courses) == 600
    rows = found["wrong"]
    assert {(row["gate"], row["wrong"]) for row in rows} == {
        (name, kind) for name in (*verdicts.BOUNDS, "all") for kind in ("pass", "fail")
    }
    assert [row for row in rows if row["interval"][0] > verdicts.WRONG] == []
    assert found["decided"]["2"]["all"]["100"][1] > 0.6
    made = [found["promises"][truth.name][24] for truth in verdicts.TRUTHS]
    assert all(each["undecided"] >= each["promised"] >= each["sufficed"] for each in made)
    assert sum(each["sufficed"] for each in made) > 10
    held = found["broken_assumptions"]
    assert held["false alarms, one by one"] < 0.1 < held["false alarms in bursts of 3"]


def test_the_interval_is_that_of_clopper_and_pearson() -> None:
    low, high = share_interval(0, 100)
    assert low == 0.0 and high == pytest.approx(1 - 0.025 ** (1 / 100))
