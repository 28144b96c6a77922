"""How much was watched: every nanosecond counts once, and only what could be decided is valid."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import CallerError
from galago_workstation.qa.stretches import clipped, common, length_ns, united, without
from galago_workstation.qa.valid_time import WatchedTime, hop_ns, watched_time
from test_kit.replays import MS, S, written


def test_a_whole_recording_is_valid_but_for_the_first_window_and_the_rest_behind_the_last() -> None:
    # windows of 1 s end at 1.0, 1.5 ... 10.0 s of 10.25 s
    time = watched_time(written(duration_s=10.25), 1, ())
    assert time == WatchedTime(duration_ns=10_250 * MS, warm_up_ns=S, undecided_ns=250 * MS, valid_ns=9 * S)
    assert time.not_watched_ns == 1_250 * MS


def test_smoothing_lengthens_the_warm_up() -> None:
    # the fourth window ends at 2.5 s
    assert watched_time(written(duration_s=10.0), 4, ()).warm_up_ns == 2_500 * MS


def test_each_gap_begins_a_warm_up_and_is_itself_not_watched() -> None:
    replayed = written(duration_s=20.0, gaps=[(5.0, 8.0, "stall")])
    time = watched_time(replayed, 3, ())
    # windows end at 1, 1.5 ... 5 s, then 9, 9.5 ... 20 s; the third ones at 2 s and at 10 s
    assert (time.gap_ns, time.warm_up_ns, time.valid_ns) == (3 * S, 2 * S + 2 * S, 3 * S + 10 * S)


def test_a_truncated_tail_is_no_other_gap() -> None:
    time = watched_time(written(duration_s=20.0, gaps=[(15.0, 20.0, "truncated")]), 1, ())
    assert (time.truncated_ns, time.gap_ns, time.valid_ns) == (5 * S, 0, 14 * S)


def test_stretches_to_be_ignored_are_out_of_the_denominator_once() -> None:
    time = watched_time(written(duration_s=20.0), 1, [(0, 3 * S), (5 * S, 7 * S)])
    assert (time.warm_up_ns, time.ignored_ns, time.valid_ns) == (S, 4 * S, 15 * S)


def test_a_run_too_short_for_the_smoothing_is_all_warm_up() -> None:
    time = watched_time(written(duration_s=2.0), 9, ())
    assert (time.warm_up_ns, time.valid_ns) == (2 * S, 0)


def test_a_recording_without_windows_or_length_has_no_valid_time() -> None:
    assert watched_time(written(duration_s=0.5), 1, ()).valid_ns == 0
    assert watched_time(written(duration_s=0.0), 1, ()) == WatchedTime()


def test_without_scores_the_first_window_of_each_run_is_warm_up() -> None:
    replayed = dataclasses.replace(written(duration_s=20.0, gaps=[(5.0, 8.0, "stall")]), scores=None)
    time = watched_time(replayed, 3, ())
    assert (time.gap_ns, time.warm_up_ns, time.valid_ns) == (3 * S, 2 * S, 15 * S)
    with pytest.raises(CallerError, match="no stored scores tell the hop"):
        hop_ns(replayed)


def test_the_hop_is_that_of_most_windows() -> None:
    assert hop_ns(written(hop_s=0.25, gaps=[(5.0, 8.1, "stall")], duration_s=20.0)) == 250 * MS
    assert hop_ns(written(duration_s=1.0)) == hop_ns(written(duration_s=0.0)) == 0


EDGES = st.lists(st.integers(0, 24), max_size=6).map(
    lambda marks: [(a / 2, b / 2) for a, b in zip(sorted(marks)[::2], sorted(marks)[1::2], strict=False)]
)


@given(EDGES, EDGES, st.integers(1, 4), st.sampled_from([0.0, 0.7, 6.0, 11.3]))
def test_the_parts_always_sum_up_to_the_whole(
    gaps: list[tuple[float, float]], ignored: list[tuple[float, float]], smoothing: int, duration_s: float
) -> None:
    replayed = written(duration_s=duration_s, gaps=[(*gap, "stall") for gap in united(gaps)])  # type: ignore[arg-type,misc]
    time = watched_time(replayed, smoothing, united((round(a * S), round(b * S)) for a, b in ignored))
    parts = (
        time.truncated_ns,
        time.gap_ns,
        time.warm_up_ns,
        time.undecided_ns,
        time.ignored_ns,
        time.valid_ns,
    )
    assert all(part >= 0 for part in parts)
    assert sum(parts) == time.duration_ns == replayed.duration_ns


RAW = st.lists(st.tuples(st.integers(-2, 20), st.integers(-2, 20)), max_size=6)


@given(RAW, RAW)
def test_stretches_are_sets_of_nanoseconds(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    def as_set(stretches: list[tuple[int, int]]) -> set[int]:
        return {ns for start, end in stretches for ns in range(start, end)}

    a, b = united(one), united(other)
    assert as_set(a) == as_set(one) and length_ns(a) == len(as_set(one))
    assert as_set(without(a, b)) == as_set(a) - as_set(b)
    assert as_set(common(a, b)) == as_set(a) & as_set(b)
    assert as_set(clipped(one, 7)) == as_set(one) & set(range(7))
    for result in (a, without(a, b), common(a, b)):
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(result))
