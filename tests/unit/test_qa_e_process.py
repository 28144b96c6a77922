"""Evidence that may be looked at as often as one likes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_workstation.qa.e_process import Claim, Tally, limits, log_wealth
from galago_workstation.qa.hours_needed import SUFFICES, hours_ahead

LOG_20 = math.log(20.0)
PATHS, LOOKS = 1_000, 100


def missed(missed_: float, found: float, hours: float = 10.0) -> Tally:
    return Tally("unit", np.array([0.0, 1.0]), np.array([found, missed_]), np.array(hours))


def alarms(count: float, hours: float) -> Tally:
    return Tally("hour", np.array([1.0]), np.array([count]), np.array(hours))


def paths(kind: str, values: list[float], rates: list[float], low: float) -> Tally:
    """Independent corpora that grow by an hour at each look; ``rates`` of each value an hour."""
    drawn = np.random.default_rng(7).poisson(rates, (PATHS, LOOKS, len(rates)))
    hours = np.broadcast_to(np.arange(1.0, LOOKS + 1), (PATHS, LOOKS))
    per = "unit" if kind == "unit" else "hour"
    return Tally(per, np.array(values), drawn.cumsum(axis=1).astype(float), hours, low)


def ever(tally: Tally, bound: float, claim: Claim) -> np.ndarray:
    """Share of the corpora that have shown the claim at some look until each look."""
    shown = np.maximum.accumulate(log_wealth(tally, bound, claim), axis=1) >= LOG_20
    return np.asarray(shown.mean(axis=0))


# At its bound, where both claims are wrong and nothing is harder: kind, values, rates an hour, low, bound
AT_BOUND: dict[str, tuple[str, list[float], list[float], float, float]] = {
    "missed": ("unit", [0, 1], [5.4, 0.6], 0.0, 0.1),
    "missed above OLD": ("unit", [-1, 0, 1], [0.2, 5.3, 0.5], -1.0, 0.05),
    "false alarms": ("hour", [1], [0.7], 0.0, 0.7),
    "false alarms above OLD": ("hour", [1, -1], [0.7, 0.4], -1.0, 0.3),
    "false alarms times OLD": ("hour", [1, -1.5, -0.5], [0.7, 0.3, 0.5], -1.5, 0.0),
    "no worse than OLD": ("hour", [1, -1], [0.4, 0.4], -1.0, 0.0),
    "better than OLD": ("hour", [1, -1], [0.1, 0.5], -1.0, -0.4),
}


@pytest.mark.parametrize("name", AT_BOUND)
@pytest.mark.parametrize("claim", ["holds", "broken"])
def test_a_wrong_claim_is_ever_shown_in_few_corpora_whoever_looks_at_every_hour(
    name: str, claim: Claim
) -> None:
    """5 % of 1,000 and three standard deviations; every corpus is looked at 100 times."""
    *corpus, bound = AT_BOUND[name]
    assert ever(paths(*corpus), bound, claim)[-1] <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / PATHS)


@pytest.mark.parametrize("name", AT_BOUND)
def test_the_evidence_for_a_wrong_claim_is_1_at_most_in_the_mean(name: str) -> None:
    *corpus, bound = AT_BOUND[name]
    tally = paths(*corpus)
    for claim in ("holds", "broken"):
        wealth = np.exp(log_wealth(tally, bound, claim))[:, [0, 4, 19]]  # type: ignore[arg-type]
        assert np.all(wealth.mean(axis=0) <= 1.0 + 4 * wealth.std(axis=0) / math.sqrt(PATHS))


@pytest.mark.parametrize(
    ("kind", "values", "rates", "low", "bound", "claim"),
    [
        ("unit", [0, 1], [5.8, 0.2], 0.0, 0.1, "holds"),
        ("unit", [0, 1], [4.8, 1.2], 0.0, 0.1, "broken"),
        ("unit", [-1, 0, 1], [0.2, 5.6, 0.2], -1.0, 0.05, "holds"),
        ("hour", [1], [0.3], 0.0, 0.7, "holds"),
        ("hour", [1], [1.4], 0.0, 0.7, "broken"),
        ("hour", [1, -1], [0.2, 0.2], -1.0, 0.3, "holds"),
        ("hour", [1, -1], [1.1, 0.3], -1.0, 0.3, "broken"),
        ("hour", [1, -1.5, -0.5], [0.15, 0.4, 0.5], -1.5, 0.0, "holds"),
    ],
)
def test_a_right_claim_is_shown_more_often_with_every_hour(
    kind: str, values: list[float], rates: list[float], low: float, bound: float, claim: Claim
) -> None:
    shown = ever(paths(kind, values, rates, low), bound, claim)
    assert shown[9] <= shown[49] <= shown[-1]
    assert shown[9] < 0.5 and shown[-1] > 0.75


def test_chances_and_rates_that_change_are_judged_by_their_mean_so_far() -> None:
    """Twice the bound and nothing in turn: the mean is at the bound or above at every look."""
    random = np.random.default_rng(11)
    turns = np.where(np.arange(LOOKS) % 2 == 0, 2.0, 0.0)
    hours = np.broadcast_to(np.arange(1.0, LOOKS + 1), (PATHS, LOOKS))
    count = random.poisson(0.7 * turns, (PATHS, LOOKS)).cumsum(axis=1)
    rates = Tally("hour", np.array([1.0]), count[..., None].astype(float), hours)
    lost = random.binomial(6, 0.1 * turns, (PATHS, LOOKS)).cumsum(axis=1)
    units = np.stack([6 * hours - lost, lost], -1)
    shares = Tally("unit", np.array([0.0, 1.0]), units, hours)
    for tally, bound in ((rates, 0.7), (shares, 0.1)):
        assert ever(tally, bound, "holds")[-1] <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / PATHS)


def test_evidence_by_hand() -> None:
    """The mean over stakes of each bet's wealth, with the weights 1 / (k + 2)."""
    stakes, weights = 2.0 ** (-np.arange(24) / 2), 1 / (np.arange(24) + 2.0)
    weights /= weights.sum()
    # two missed of ten, bound 0.1: the largest stake is 1 / 0.9, the gains are +0.1 and -0.9
    share = (weights * (1 + stakes / 0.9 * 0.1) ** 8 * (1 - stakes) ** 2).sum()
    assert log_wealth(missed(2, 8), 0.1, "holds") == pytest.approx(math.log(share))
    # three alarms in four hours, bound 0.5: the product of 1 - stake, times exp(stake * 2)
    rate = (weights * (1 - stakes) ** 3 * np.exp(stakes * 2.0)).sum()
    assert log_wealth(alarms(3, 4.0), 0.5, "holds") == pytest.approx(math.log(rate))
    up = (weights * (1 + 16 * stakes) ** 3 * np.exp(-16 * stakes * 2.0)).sum()
    assert log_wealth(alarms(3, 4.0), 0.5, "broken") == pytest.approx(math.log(up))


def test_nothing_seen_is_no_evidence() -> None:
    for claim in ("holds", "broken"):
        assert log_wealth(missed(0, 0), 0.1, claim) == pytest.approx(0.0)  # type: ignore[arg-type]
        assert log_wealth(alarms(0, 0.0), 0.5, claim) == pytest.approx(0.0)  # type: ignore[arg-type]
    assert limits(missed(0, 0), 0.05, 0.05) == (0.0, 1.0)
    assert limits(alarms(0, 0.0), 0.05, 0.05) == (0.0, math.inf)


def test_one_loss_ruins_the_largest_stake_and_not_the_evidence() -> None:
    assert -LOG_20 < log_wealth(missed(1, 0), 0.1, "holds") < 0.0
    assert math.isfinite(float(log_wealth(missed(10_000, 1_000_000), 0.001, "holds")))


COUNTS = st.tuples(st.integers(0, 30), st.integers(0, 200))


@given(COUNTS, st.floats(0.01, 0.99))
def test_a_gate_never_passes_and_fails_at_once(counts: tuple[int, int], bound: float) -> None:
    tallies = [(missed(*counts), bound), (alarms(counts[0], 1.0 + counts[1]), bound)]
    paired = Tally("hour", np.array([1.0, -1.0]), np.array(counts, float), np.array(9.0), -1.0, 1.0)
    for tally, limit in (*tallies, (paired, bound)):
        assert min(log_wealth(tally, limit, "holds"), log_wealth(tally, limit, "broken")) <= 1e-9


@given(COUNTS.filter(any))
def test_limits_enclose_the_estimate_and_are_where_the_evidence_suffices(counts: tuple[int, int]) -> None:
    for tally in (missed(*counts), alarms(counts[0], 1.0 + counts[1])):
        low, high = limits(tally, 0.05, 0.05)
        assert low - 1e-9 <= float(tally.estimate) <= high + 1e-9
        if 1e-6 < high < 0.999:
            assert log_wealth(tally, high + 1e-6, "holds") >= LOG_20 - 1e-4
            assert log_wealth(tally, high - 1e-4, "holds") < LOG_20
        if low > 1e-4:
            assert log_wealth(tally, low - 1e-6, "broken") >= LOG_20 - 1e-2


def test_no_alarm_in_hours_needs_about_twice_the_hours_that_one_look_would() -> None:
    """One look: 3.0 / hours, exact Poisson. Looking at every hour costs the rest."""
    high = limits(alarms(0, 24.0), 0.05, 0.05)[1]
    assert 3.0 / 24 < high < 2 * 3.0 / 24


def test_whole_recordings_are_units_of_any_value() -> None:
    shares = np.array([0.0, 0.25, 0.5, 0.0])
    tally = Tally("unit", shares, np.ones(4), np.array(4.0), prior=0.0)
    stakes, weights = 2.0 ** (-np.arange(24) / 2), 1 / (np.arange(24) + 2.0)
    by_hand = (weights / weights.sum() * np.prod(1 + np.outer(0.1 - shares, stakes / 0.9), axis=0)).sum()
    assert log_wealth(tally, 0.1, "holds") == pytest.approx(math.log(by_hand))


def test_promised_hours_suffice_about_as_often_as_said() -> None:
    """Corpora whose true rate is drawn as the forecast believes; 200 of them, four deviations."""
    random = np.random.default_rng(3)
    hours = np.full(200, 12.0)
    seen = np.full((200, 1), 9.0)
    tally = Tally("hour", np.array([1.0]), seen, hours)
    promised = hours_ahead(tally, 1.2, 0.05, 0.05)[0]
    steps = np.diff(np.linspace(0.0, promised, 200), prepend=0.0)
    rates = random.standard_gamma(seen + 0.5) / 12.0
    future = seen + random.poisson(steps * rates).cumsum(axis=1)
    later = Tally("hour", np.array([1.0]), future[..., None], 12.0 + steps.cumsum() * np.ones((200, 1)))
    decided = (log_wealth(later, 1.2, "holds") >= LOG_20) | (log_wealth(later, 1.2, "broken") >= LOG_20)
    share = decided.any(axis=1).mean()
    assert abs(share - SUFFICES) < 0.12


def test_hours_are_promised_by_what_is_left_to_show() -> None:
    near, far = (float(hours_ahead(alarms(5, 10.0), bound, 0.05, 0.05)) for bound in (0.9, 2.0))
    assert far < near
    assert math.isnan(float(hours_ahead(missed(0, 0), 0.1, 0.05, 0.05)))
    assert math.isnan(float(hours_ahead(alarms(0, 0.0), 0.1, 0.05, 0.05)))
    paired = Tally("hour", np.array([1.0, -1.0]), np.array([500.0, 500.0]), np.array(9.0), -1.0, 1.0)
    assert float(hours_ahead(paired, 0.0, 0.05, 0.05)) > 9.0
