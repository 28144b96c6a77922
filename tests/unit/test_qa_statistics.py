"""Intervals, hours needed, delays: exact, and what is not known is not said."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, poisson

from galago_workstation.qa.detection_delay import delay_estimate
from galago_workstation.qa.exact_intervals import (
    hours_needed,
    rate_claim,
    rate_estimate,
    share_estimate,
    upper_bound,
)


@pytest.mark.parametrize(("hours", "bound"), [(5.5, 0.545), (11.3, 0.265), (24, 0.125), (100, 0.030)])
def test_without_a_false_alarm_the_bound_is_three_divided_by_the_hours(hours: float, bound: float) -> None:
    estimate = rate_estimate(0, hours)
    assert estimate.per_hour == 0 and estimate.low_per_hour == 0
    assert estimate.high_per_hour == pytest.approx(bound, abs=5e-4)
    assert estimate.high_per_hour == -math.log(0.05) / hours or estimate.high_per_hour == pytest.approx(
        -math.log(0.05) / hours
    )


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(1, 0.0253, 5.5716), (2, 0.2422, 7.2247), (3, 0.6187, 8.7673), (10, 4.7954, 18.3904)],
)
def test_poisson_intervals_are_those_of_the_tables(count: int, low: float, high: float) -> None:
    """Garwood 1936, as in every table of exact Poisson limits, for one hour."""
    estimate = rate_estimate(count, 1.0)
    assert (estimate.low_per_hour, estimate.high_per_hour) == pytest.approx((low, high), abs=1e-4)
    assert rate_estimate(count, 2.0).high_per_hour == pytest.approx(high / 2, abs=1e-4)
    assert estimate.per_day == 24 * count


@given(st.integers(1, 200), st.floats(0.01, 1e4))
def test_the_ends_of_an_interval_are_the_rates_at_which_what_was_seen_becomes_unlikely(
    count: int, hours: float
) -> None:
    estimate = rate_estimate(count, hours)
    assert estimate.low_per_hour is not None and estimate.high_per_hour is not None
    assert poisson.sf(count - 1, estimate.low_per_hour * hours) == pytest.approx(0.025)
    assert poisson.cdf(count, estimate.high_per_hour * hours) == pytest.approx(0.025)


def test_no_hours_give_no_rate() -> None:
    estimate = rate_estimate(0, 0.0)
    assert estimate.per_hour is None and estimate.high_per_hour is None


def test_a_claim_needs_its_hours() -> None:
    """5.5 hours without a false alarm cannot show less than 0.5 per hour."""
    claim = rate_claim(0.5, 0, 5.5)
    assert not claim.supported
    assert claim.needed_hours == claim.least_hours == pytest.approx(5.99, abs=5e-3)
    assert rate_claim(0.5, 0, 6.0).supported
    assert rate_claim(0.5, 1, 6.0).needed_hours == pytest.approx(4.7439 / 0.5, abs=1e-3)
    assert not rate_claim(0.5, 0, 0.0).supported


@given(st.integers(0, 50), st.floats(0.01, 10))
def test_after_the_hours_needed_the_bound_is_what_is_claimed(count: int, per_hour: float) -> None:
    assert upper_bound(count, hours_needed(per_hour, count)) == pytest.approx(per_hour)


@given(st.integers(0, 30), st.integers(1, 30))
def test_shares_have_exact_intervals(count: int, more: int) -> None:
    of = count + more - 1 or 1
    estimate = share_estimate(count, of)
    exact = binomtest(count, of).proportion_ci(0.95, method="exact")
    assert (estimate.low, estimate.high) == pytest.approx((exact.low, exact.high))


def test_a_share_of_nothing_is_not_known() -> None:
    assert share_estimate(0, 0).share is None


S = 1_000_000_000


def test_quantiles_of_delays_are_delays_that_were_seen() -> None:
    found = delay_estimate([number * S for number in range(20, 0, -1)], 0)
    assert (found.p50_s, found.p90_s, found.p95_s, found.max_s) == (10.0, 18.0, 19.0, 20.0)


def test_missed_truths_count_as_delays_without_end() -> None:
    """Half of ten were found: within 5 s, and nobody knows when nine of ten would be."""
    found = delay_estimate([1 * S, 2 * S, 3 * S, 4 * S, 5 * S], 5)
    assert (found.p50_s, found.p90_s, found.p95_s, found.max_s) == (5.0, None, None, 5.0)
    assert delay_estimate([1 * S], 2).p50_s is None
    nothing = delay_estimate([], 0)
    assert (nothing.truths, nothing.p50_s, nothing.max_s) == (0, None, None)


@given(st.lists(st.integers(0, 100), max_size=30), st.integers(0, 10))
def test_the_share_found_within_a_quantile_is_at_least_what_it_promises(
    delays: list[int], missed: int
) -> None:
    found = delay_estimate([delay * S for delay in delays], missed)
    for percent, quantile in ((50, found.p50_s), (90, found.p90_s), (95, found.p95_s)):
        count = len(delays) + missed
        within = sum(delay <= (quantile if quantile is not None else math.inf) for delay in delays)
        sooner = sum(delay < (quantile if quantile is not None else math.inf) for delay in delays)
        if quantile is None:
            assert 100 * within < percent * count or count == 0
        else:
            assert 100 * within >= percent * count > 100 * sooner or count == 0
