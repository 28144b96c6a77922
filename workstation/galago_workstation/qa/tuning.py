"""Policies from stored scores: the best recall of a label within a budget of false alarms per day.

Every policy of a grid is judged once on every recording; all that follows adds up these counts, so seconds
are enough. Two things keep the promise from being what only these recordings would keep:

* **Out of fold.** Recordings are divided into folds, whole recordings and, if asked, whole groups of them.
  The promise is what policies chosen *without* a fold do *on* it, added up over all folds.
* **A margin.** The best policy within a budget on some recordings is over it on others about every second
  time. So policies are chosen within a share of the budget: the largest with which the rate out of fold is
  within the budget for sure enough, by folds inside the recordings that a choice may see.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.count_words import count_of, noun_of
from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.manifest import LabelPolicy
from galago_edge.decision.label_track import Integers
from galago_workstation.qa.exact_intervals import Interval, poisson_interval, share_interval
from galago_workstation.qa.judged_corpus import FoundAside, JudgedCorpus
from galago_workstation.qa.plateau import Plateaus
from galago_workstation.qa.tune_space import TuneSpace

MARGINS = (1.0, 0.8, 0.6, 0.45, 0.3, 0.15)
"""Shares of the budget within which policies may be chosen."""
_HOPELESS = 8
"""Thresholds whose strictest policy has so many times the budget are not tried with others."""
_CURVE = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4)
"""Budgets of the curve, as shares of the one that is asked for."""


@dataclass(frozen=True, slots=True)
class TuneGoal:
    """What is asked for."""

    false_per_day: float
    """Budget of false alarms of the label per day of watched time."""
    folds: int = 5
    sureness: float = 0.8
    """How sure it must be, out of fold, that false alarms are within the budget (one-sided, exact)."""
    group_by: str | None = None
    """Tag by which recordings stay together, such as ``site``; None: each recording is on its own."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What may be expected of a policy on other recordings, with exact 95 % intervals.

    A dispersion is the variance from one recording to the next over that of chance (Pearson's chi-square by
    its degrees of freedom, at least 1); it widens the intervals.
    """

    found: int
    truths: int
    false: int
    days: float
    found_dispersion: float = 1.0
    false_dispersion: float = 1.0

    @property
    def recall(self) -> float:
        """Share of true events that were found."""
        return self.found / self.truths if self.truths else float("nan")

    @property
    def recall_interval(self) -> Interval:
        """Clopper-Pearson."""
        return share_interval(self.found, self.truths, dispersion=self.found_dispersion)

    @property
    def false_per_day(self) -> float:
        """False alarms per watched day."""
        return self.false / self.days if self.days else float("nan")

    @property
    def false_interval(self) -> Interval:
        """Poisson, exact."""
        low, high = poisson_interval(self.false, dispersion=self.false_dispersion)
        return (low / self.days, high / self.days) if self.days else (0.0, float("inf"))


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What a budget buys, out of fold."""

    budget: float
    promise: Promise


@dataclass(frozen=True, slots=True)
class TunedLabel:
    """The policy for one label and what it promises."""

    label: str
    policy: LabelPolicy
    margin: float
    """Share of the budget within which it was chosen."""
    within_budget: bool
    """False: no policy of the grid keeps the budget on these recordings; this one comes nearest."""
    seen: Promise
    """On the very recordings it was chosen on: better than what it will do on others."""
    promise: Promise | None
    """Out of fold; None where there is only one group of recordings."""
    present: LabelPolicy
    """The policy that the replays were made with."""
    before: Promise
    """What it does on all of them."""
    aside: FoundAside
    """Beside the counts, of the new policy on all recordings ..."""
    aside_before: FoundAside
    """... and of the present one."""
    curve: tuple[CurvePoint, ...]
    tried: int
    groups: int
    """Recordings, or groups of them, that folds were made of."""

    @property
    def finds_nothing(self) -> bool:
        """Tell whether no true event was found: on these recordings, or on others as far as is promised."""
        return not self.seen.found or (self.promise is not None and not self.promise.found)


class _Judged:
    """Counts of every policy on every recording, and by fold."""

    def __init__(self, corpus: JudgedCorpus, space: TuneSpace, goal: TuneGoal) -> None:
        self._corpus = corpus
        self.policies: list[LabelPolicy] = []
        found: list[Integers] = []
        false: list[Integers] = []
        hopeless = _HOPELESS * (goal.false_per_day * float(corpus.watched(1).days.sum()) + 1)

        def worth_trying() -> Iterator[LabelPolicy]:
            for group in space.groups():
                for number, policy in enumerate(group):
                    if number == 1 and false[-1].sum() > hopeless:
                        break
                    self.policies.append(policy)
                    yield policy

        for periods in corpus.track.under(worth_trying()):
            counts = corpus.judge(periods.events())
            found.append(counts.found)
            false.append(counts.false)
        self._found = np.array(found, np.int64)
        self._false = np.array(false, np.int64)
        self.folds = folds_of(corpus, goal)
        self._fold_found, self._fold_false = (
            np.stack([counts[:, fold].sum(axis=1) for fold in self.folds], axis=1)
            for counts in (self._found, self._false)
        )
        lengths, number = np.unique([one.smoothing_windows for one in self.policies], return_inverse=True)
        days = np.array([corpus.watched(length).days for length in lengths.tolist()])
        fold_days = np.stack([days[:, fold].sum(axis=1) for fold in self.folds], axis=1)
        self._fold_days = fold_days[number]  # of each policy, for smoothing takes its part
        self._sureness = goal.sureness
        self._plateaus = Plateaus(self.policies, space)

    def choose(self, folds: Sequence[int], budget: float) -> int:
        """Return the policy that finds most within a budget a day on some folds.

        A truth that longer smoothing is not ready for is not found by it, though it is not missed either. Of
        equal ones that with the fewest false alarms, then the one nearest to the present policy, with its
        thresholds in the middle of those that are as good. Where none keeps the budget, one with the fewest
        false alarms.
        """
        false, found = self._fold_false[:, folds].sum(axis=1), self._fold_found[:, folds].sum(axis=1)
        within = false <= budget * self._fold_days[:, folds].sum(axis=1) + 1e-9
        if within.any():
            best = np.flatnonzero(within & (found == found[within].max()))
            best = best[false[best] == false[best].min()]
        else:
            best = np.flatnonzero(false == false.min())
            best = best[found[best] == found[best].max()]
        return self._plateaus.choose(best)

    def promise(self, choices: Sequence[tuple[int, Sequence[int]]]) -> Promise:
        """Return the counts of policies, each on the folds given with it, added up."""
        parts = [(policy, self.folds[fold]) for policy, folds in choices for fold in folds]
        watched = [self._corpus.watched(self.policies[policy].smoothing_windows) for policy, _ in parts]
        return promise_of(
            np.concatenate([self._found[policy, part] for policy, part in parts]),
            np.concatenate([self._false[policy, part] for policy, part in parts]),
            np.concatenate([one.truths[part] for one, (_, part) in zip(watched, parts, strict=True)]),
            np.concatenate([one.days[part] for one, (_, part) in zip(watched, parts, strict=True)]),
        )

    def out_of_fold(self, folds: Sequence[int], budget: float, margin: float | None = None) -> Promise:
        """Return what is chosen without each fold, on it; ``margin`` None: chosen inside as well."""
        choices = []
        for fold in folds:
            rest = [other for other in folds if other != fold]
            share = self.margin(rest, budget) if margin is None else margin
            choices.append((self.choose(rest, budget * share), [fold]))
        return self.promise(choices)

    def margin(self, folds: Sequence[int], budget: float) -> float:
        """Return the largest share of the budget with which it is kept out of fold; else the smallest."""
        from scipy.stats import poisson

        if len(folds) < 2:
            return MARGINS[len(MARGINS) // 2]
        for margin in MARGINS:
            promise = self.out_of_fold(folds, budget, margin)
            # were the true rate the whole budget, so few false alarms would be as rare as this
            fewer = np.array([promise.false, budget * promise.days]) / promise.false_dispersion
            if float(poisson.cdf(*fewer)) <= 1 - self._sureness:
                return margin
        return MARGINS[-1]


def tune(corpus: JudgedCorpus, goal: TuneGoal, space: TuneSpace | None = None) -> TunedLabel:
    """Return the policy of the corpus' label with the best recall within the budget.

    Raises:
        InputError: DATA_BAD; there is nothing to learn from: no labelled recording, no watched time, or no
            true event of the label.
    """
    _check(corpus)
    now = next(one.policy for one in corpus.recordings[0].labels if one.name == corpus.label)
    space = (space or TuneSpace()).around(now)
    judged = _Judged(corpus, space, goal)
    folds = range(len(judged.folds))
    margin = judged.margin(folds, goal.false_per_day)
    chosen = judged.choose(folds, goal.false_per_day * margin)
    seen = judged.promise([(chosen, folds)])
    after, before = (
        corpus.aside(corpus.track.on_periods(one).events()) for one in (judged.policies[chosen], now)
    )
    several = len(folds) > 1
    curve = [
        CurvePoint(budget, judged.out_of_fold(folds, budget))
        for budget in (goal.false_per_day * share for share in _CURVE)
        if several
    ]
    return TunedLabel(
        label=corpus.label,
        policy=judged.policies[chosen],
        margin=margin,
        within_budget=seen.false <= goal.false_per_day * seen.days + 1e-9,
        seen=seen,
        promise=judged.out_of_fold(folds, goal.false_per_day) if several else None,
        present=now,
        before=promise_under(corpus, now),
        aside=after,
        aside_before=before,
        curve=tuple(curve),
        tried=len(judged.policies),
        groups=len(_groups(corpus, goal.group_by)),
    )


def promise_under(corpus: JudgedCorpus, policy: LabelPolicy) -> Promise:
    """Return what one policy does on a whole corpus."""
    counts, watched = (
        corpus.judge(corpus.track.on_periods(policy).events()),
        corpus.watched(policy.smoothing_windows),
    )
    return promise_of(counts.found, counts.false, watched.truths, watched.days)


def promise_of(found: Integers, false: Integers, truths: Integers, days: npt.NDArray[np.float64]) -> Promise:
    """Return the sums of counts by recording, all of shape ``(recordings,)``, and how far those differ."""
    share = float(found.sum()) / max(int(truths.sum()), 1)
    rate = float(false.sum()) / max(float(days.sum()), 1e-12)
    return Promise(
        found=int(found.sum()),
        truths=int(truths.sum()),
        false=int(false.sum()),
        days=float(days.sum()),
        found_dispersion=_dispersion(found, share * truths, share * (1 - share) * truths),
        false_dispersion=_dispersion(false, rate * days, rate * days),
    )


def _dispersion(counts: Integers, expected: npt.NDArray[Any], variance: npt.NDArray[Any]) -> float:
    """Return Pearson's chi-square over its degrees of freedom, at least 1."""
    counted = variance > 0
    freedom = int(np.count_nonzero(counted)) - 1
    if freedom < 1:
        return 1.0
    chi_square = float(((counts[counted] - expected[counted]) ** 2 / variance[counted]).sum())
    return max(1.0, chi_square / freedom)


def folds_of(corpus: JudgedCorpus, goal: TuneGoal) -> list[Integers]:
    """Return the numbers of the recordings of each fold: whole groups, about equal in watched time.

    The longest group first, each to the fold with the least time; the same corpus gives the same folds.
    """
    groups, days = _groups(corpus, goal.group_by), corpus.watched(1).days
    count = min(goal.folds, len(groups))
    folds: list[list[int]] = [[] for _ in range(count)]
    times: npt.NDArray[np.float64] = np.zeros(count)
    for _, members in sorted(groups.items(), key=lambda one: (-days[one[1]].sum(), one[0])):
        shortest = int(np.argmin(times))
        folds[shortest] += members
        times[shortest] += days[members].sum()
    return [np.array(sorted(fold), np.int64) for fold in folds if fold]


def _groups(corpus: JudgedCorpus, group_by: str | None) -> dict[str, list[int]]:
    """Return the numbers of the recordings by group; one without the tag is a group of its own."""
    groups: dict[str, list[int]] = {}
    for number, one in enumerate(corpus.recordings):
        tag = None if group_by is None else one.tags.get(group_by)
        groups.setdefault(f"recording {one.recording}" if tag is None else f"tag {tag}", []).append(number)
    return groups


def _check(corpus: JudgedCorpus) -> None:
    if not corpus.recordings:
        raise InputError(
            Reason.DATA_BAD,
            f"none of {count_of(corpus.unlabelled, 'recording')} is labelled",
            hint="put labels beside the recordings",
        )
    watched = corpus.watched(1)
    if not watched.valid_ns.sum():
        raise InputError(
            Reason.DATA_BAD,
            f"{count_of(len(corpus.recordings), 'labelled recording')} "
            f"{noun_of(len(corpus.recordings), 'has', 'have')} no time that was watched and is judged",
            hint="add recordings, or ignore less of them",
        )
    if not watched.truths.sum():
        raise InputError(
            Reason.DATA_BAD,
            f"no labelled recording has a true {corpus.label!r}",
            hint="add recordings with it, or leave the label out",
        )
