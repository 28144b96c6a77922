from __future__ import annotations

from galago_edge.contract.settings import SourceSettings
from galago_edge.sources.retry_schedule import RetrySchedule

SETTINGS = SourceSettings(address="camera:0", backoff_s=0.5, backoff_max_s=8.0, breaker=8, breaker_s=30.0)


def pauses(draw: float, failures: range, settings: SourceSettings = SETTINGS) -> list[float]:
    backoff = RetrySchedule(settings, lambda: draw)
    return [round(backoff.pause_s(count), 3) for count in failures]


def test_the_first_attempt_comes_at_once() -> None:
    assert pauses(0.0, range(1)) == [0.0]


def test_pauses_double_to_their_limit_and_the_breaker_has_its_own() -> None:
    assert pauses(0.0, range(1, 10)) == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 30.0, 30.0]


def test_jitter_only_shortens_so_that_the_limits_hold() -> None:
    assert pauses(1.0, range(1, 10)) == [0.4, 0.8, 1.6, 3.2, 6.4, 6.4, 6.4, 24.0, 24.0]


def test_years_of_failures_overflow_nothing() -> None:
    never = SourceSettings(address="camera:0", breaker=100_000)
    assert pauses(0.0, range(99_998, 100_000), never) == [8.0, 8.0]


def test_by_default_a_source_that_is_back_is_tried_within_ten_seconds() -> None:
    settings = SourceSettings(address="camera:0")
    assert max(pauses(0.0, range(1_000), settings)) <= 8.0  # and opening it takes a moment
