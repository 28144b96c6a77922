"""Which event finds which truth: as many as can be, of these the soonest, each at most one."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from galago_workstation.qa.matching import MatchingRule, matched
from galago_workstation.qa.replayed import Truth
from test_kit.replays import S, written


def greedy(windows: list[tuple[int, int]], onsets: list[int], times: list[int]) -> dict[int, int]:
    """What many scorers do: each event, in its turn, takes the free truth whose onset is nearest."""
    found: dict[int, int] = {}
    for number, at in enumerate(times):
        free = [
            truth for truth, (first, last) in enumerate(windows) if truth not in found and first <= at <= last
        ]
        if free:
            found[min(free, key=lambda truth: abs(onsets[truth] - at))] = number
    return found


def test_the_largest_matching_finds_one_that_greedy_loses() -> None:
    windows, onsets, times = [(0, 10), (8, 12)], [0, 8], [9, 11]
    assert greedy(windows, onsets, times) == {1: 0}
    assert matched(windows, onsets, times) == {0: 0, 1: 1}


def test_each_truth_and_each_event_counts_once() -> None:
    assert matched([(0, 10)], [0], [3, 4, 5]) == {0: 0}
    assert matched([(0, 10), (0, 10)], [0, 0], [3]) == {0: 0}


def test_both_ends_of_the_time_count_and_nothing_outside() -> None:
    for at, found in ((4, {}), (5, {0: 0}), (9, {0: 0}), (10, {})):
        assert matched([(5, 9)], [5], [at]) == found


def test_of_the_largest_matchings_the_soonest_counts() -> None:
    assert matched([(0, 100)], [0], [90, 7, 50]) == {0: 1}
    # one event for two truths: the later onset has the shorter delay
    assert matched([(0, 100), (40, 60)], [0, 40], [50]) == {1: 0}


def test_what_happens_at_the_same_time_is_resolved_by_order() -> None:
    assert matched([(0, 9), (0, 9)], [0, 0], [5, 5]) == {0: 0, 1: 1}
    assert matched([(0, 9)], [0], [5, 5]) == {0: 0}


def test_the_rule_adds_its_tolerance_once() -> None:
    """MLPerf Tiny's streaming wake word took 2.80 s for the window [1.0, 1.6476]: its second twice."""
    replayed = written(receptive_s=1.0, hop_s=0.1524)
    rule = MatchingRule().applied(replayed)
    truth = Truth(S, 1_647_600_000, "a")
    assert rule.window(truth) == (S, 1_647_600_000 + S + 152_400_000)
    assert matched([rule.window(truth)], [truth.start_ns], [2_800_000_000]) == {0: 0}
    assert matched([rule.window(truth)], [truth.start_ns], [2_800_000_001]) == {}
    one_second = MatchingRule(post_ns=S).applied(replayed)
    assert one_second.window(truth) == (S, 2_647_600_000)
    assert matched([one_second.window(truth)], [truth.start_ns], [2_800_000_000]) == {}


def test_pre_and_post_are_what_the_rule_says() -> None:
    rule = MatchingRule(pre_ns=2 * S, post_ns=3 * S).applied(written())
    assert rule.window(Truth(10 * S, 20 * S, "a")) == (8 * S, 23 * S)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    onsets = draw(st.lists(st.integers(0, 20), max_size=5))
    windows = [(onset - draw(st.integers(0, 3)), onset + draw(st.integers(0, 12))) for onset in onsets]
    return windows, onsets, draw(st.lists(st.integers(-3, 35), max_size=5))


def brute(windows: list[tuple[int, int]], onsets: list[int], times: list[int]) -> tuple[int, int]:
    """Size and sum of delays of the best matching: every one is tried."""
    best = (0, 0)
    for chosen in itertools.product([None, *range(len(times))], repeat=len(windows)):
        used = [event for event in chosen if event is not None]
        if len(set(used)) < len(used):
            continue
        pairs = [(truth, event) for truth, event in enumerate(chosen) if event is not None]
        if all(windows[truth][0] <= times[event] <= windows[truth][1] for truth, event in pairs):
            best = max(best, (len(pairs), -sum(times[event] - onsets[truth] for truth, event in pairs)))
    return best


@given(cases())
@settings(max_examples=200)
def test_no_other_matching_is_larger_or_as_large_and_sooner(
    case: tuple[list[tuple[int, int]], list[int], list[int]],
) -> None:
    windows, onsets, times = case
    found = matched(windows, onsets, times)
    assert len(set(found.values())) == len(found)
    assert all(windows[truth][0] <= times[event] <= windows[truth][1] for truth, event in found.items())
    delay = sum(times[event] - onsets[truth] for truth, event in found.items())
    assert (len(found), -delay) == brute(windows, onsets, times)
