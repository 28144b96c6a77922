"""Does what ``galago qa tune`` promises hold on recordings that it has not seen?

    .venv/bin/python -m campaigns.tuned_promises [--corpora 40] [--budget 24]
    .venv/bin/python -m campaigns.tuned_promises --sounds [--demo FOLDER] --budget 96

A corpus is 20 recordings of two hours with scores from a known generator: a background that wanders, other
from one recording to the next, sounds that are nearly the thing, and the things themselves, some weak.
The policy is tuned on half of them; promise and outcome on the other half are compared. Each corpus is
independent, so the share of promises whose interval holds the outcome's rate is a measure of the method.
With ``--sounds``, one corpus of real recordings (:mod:`campaigns.tuned_sounds`).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.decision import ONE
from galago_workstation.qa.judged_corpus import JudgedCorpus
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.replayed import Replayed, Truth, TruthList, WindowScores
from galago_workstation.qa.tune_space import TuneSpace
from galago_workstation.qa.tuning import Promise, TunedLabel, TuneGoal, promise_under, tune

HOP_NS = 100_000_000
RECEPTIVE_NS = 1_000_000_000
LABEL = "glass"
SMALL = TuneSpace(
    on=tuple(round(0.05 * step, 2) for step in range(1, 20)),
    off_shares=(1.0, 0.5),
    smoothing=(1, 3, 8),
    counts=(1, 3),
    refractory_ms=(1_000, 5_000),
)
"""A grid that is enough to see whether promises hold."""


@dataclass(frozen=True, slots=True)
class CorpusPlan:
    """What a corpus is made of."""

    recordings: int = 20
    hours: float = 2.0
    truths_per_hour: float = 6.0
    decoys_per_hour: float = 20.0
    site_spread: float = 0.5
    """Standard deviation of the background's level from one recording to the next, in logits."""


def made_corpus(seed: int, plan: CorpusPlan | None = None) -> list[Replayed]:
    """Return replays with scores and truth; the same seed gives the same."""
    plan = plan or CorpusPlan()
    rng = np.random.default_rng(seed)
    return [_recording(rng, plan, number) for number in range(plan.recordings)]


def _recording(rng: np.random.Generator, plan: CorpusPlan, number: int) -> Replayed:
    from scipy.signal import lfilter

    count = round(plan.hours * 36_000)
    wander = lfilter([np.sqrt(1 - 0.95**2)], [1, -0.95], rng.standard_normal(count))
    logits = -5 + rng.normal(0, plan.site_spread) + 1.2 * wander
    truths = []
    for start in rng.integers(50, count - 80, rng.poisson(plan.truths_per_hour * plan.hours)).tolist():
        length = int(rng.integers(8, 30))
        logits[start : start + length] += rng.normal(6.5, 1.5)
        # the window that ends here has just begun to hear it
        truths.append(Truth(start * HOP_NS, (start + length) * HOP_NS, LABEL))
    for start in rng.integers(50, count - 80, rng.poisson(plan.decoys_per_hour * plan.hours)).tolist():
        logits[start : start + int(rng.integers(1, 12))] += rng.normal(4, 1.5)
    ends = (np.arange(count, dtype=np.int64) + 1) * HOP_NS
    index = np.arange(count, dtype=np.int64)
    q16 = np.zeros((count, 2), np.int32)
    q16[:, 1] = np.asarray(ONE / (1 + np.exp(-logits))).astype(np.int32)
    q16[:, 0] = ONE - q16[:, 1]
    restart = np.zeros(count, np.bool_)
    restart[:1] = True
    return Replayed(
        recording=f"night-{number:02d}.wav",
        sha256=f"{number:064x}",
        bundle="b" * 64,
        labels=(Label(name="nothing", background=True), Label(name=LABEL, policy=LabelPolicy())),
        receptive_ns=RECEPTIVE_NS,
        duration_ns=count * HOP_NS,
        events=(),
        gaps=(),
        states=(),
        scores=WindowScores(
            span=np.stack([index, index + 1, ends - HOP_NS, ends], axis=1),
            q16=q16,
            skipped=np.zeros(count, np.bool_),
            restart=restart,
        ),
        truth=TruthList(tuple(sorted(truths, key=lambda one: (one.start_ns, one.end_ns)))),
        tags={"site": f"site-{number % 5}"},
    )


def outcome(tuned: TunedLabel, others: list[Replayed], rule: MatchingRule) -> Promise:
    """Return what the tuned policy does on other recordings."""
    return promise_under(JudgedCorpus(others, tuned.label, rule), tuned.policy)


def differs(promise: Promise, came: Promise) -> tuple[bool, bool]:
    """Tell whether recall, and the rate of false alarms, differ at the level of 5 % or so.

    Both sides are counts with chances of their own, so their 95 % intervals are compared as those of two
    independent measures are: by the root of the sum of the squares of their halves.
    """
    return (
        _apart(promise.recall, promise.recall_interval, came.recall, came.recall_interval),
        _apart(promise.false_per_day, promise.false_interval, came.false_per_day, came.false_interval),
    )


def _apart(one: float, interval: tuple[float, float], other: float, others: tuple[float, float]) -> bool:
    low, high = (one, interval), (other, others)
    if one > other:
        low, high = high, low
    return high[0] - low[0] > float(np.hypot(low[1][1] - low[0], high[0] - high[1][0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpora", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0, help="of the first corpus")
    parser.add_argument("--budget", type=float, default=24.0, help="false alarms a day")
    parser.add_argument("--spread", type=float, default=0.5, help="of the background from site to site")
    parser.add_argument("--sounds", action="store_true", help="recordings of the demo's sounds instead")
    parser.add_argument("--demo", type=Path, help="folder of a demo whose bundle is taken, with --sounds")
    parser.add_argument("--parts", type=int, default=6, help="five minutes in each recording, with --sounds")
    given = parser.parse_args()
    rule, goal = MatchingRule(), TuneGoal(false_per_day=given.budget)
    if given.sounds:
        from campaigns.tuned_sounds import tune_sounds

        tune_sounds(given.demo, given.seed, given.parts, goal, rule)
        return
    other = {"recall": 0, "false alarms": 0}
    within = 0
    sums = dict.fromkeys(("recall promised", "recall came", "seen", "promised", "came"), 0.0)
    start = time.perf_counter()
    for seed in range(given.seed, given.seed + given.corpora):
        corpus = made_corpus(seed, CorpusPlan(site_spread=given.spread))
        tuned = tune(JudgedCorpus(corpus[:10], LABEL, rule), goal, SMALL)
        promise, came = tuned.promise, outcome(tuned, corpus[10:], rule)
        assert promise is not None
        recall, false = differs(promise, came)
        other["recall"] += recall
        other["false alarms"] += false
        within += came.false_per_day <= given.budget
        for name, value in zip(
            sums,
            (
                promise.recall,
                came.recall,
                tuned.seen.false_per_day,
                promise.false_per_day,
                came.false_per_day,
            ),
            strict=True,
        ):
            sums[name] += value / given.corpora
    print(
        f"{given.corpora} corpora of 20 recordings, 10 tuned on, 10 for the outcome, budget {given.budget:g}"
    )
    print(f"recall: promised {sums['recall promised']:.3f}, came {sums['recall came']:.3f}")
    rates = ", ".join(f"{name} {sums[name]:.1f}" for name in ("seen", "promised", "came"))
    print(f"false alarms a day: {rates}; within the budget on {within} of {given.corpora}")
    for name, count in other.items():
        print(f"{name}: promise and outcome differ at the level of 5 % on {count} of {given.corpora}")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
