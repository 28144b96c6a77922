"""Marks of a stage: they say between which two moments two replays part, however often they were thinned."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.pipeline import stage_marks
from galago_edge.pipeline.stage_marks import MARK_NS, MarkedHash, StageMarks, first_difference_ns

S = MARK_NS


def marks_of(units: list[tuple[int, bytes]]) -> StageMarks:
    marked = MarkedHash()
    for at_ns, data in units:
        marked.update(data, at_ns)
    return marked.marks()


def test_a_stage_that_differs_in_one_unit_is_known_by_the_second_of_that_unit() -> None:
    units = [(number * S // 4, bytes([number])) for number in range(40)]
    other = [(at, b"x" if number == 21 else data) for number, (at, data) in enumerate(units)]  # 5.25 s
    assert first_difference_ns(marks_of(units), marks_of(other)) == (5 * S, 6 * S)


def test_a_stage_that_ends_early_differs_where_it_ended() -> None:
    units = [(number * S, b"u") for number in range(10)]
    assert first_difference_ns(marks_of(units), marks_of(units[:7])) == (7 * S, 8 * S)
    assert first_difference_ns(marks_of(units[:7]), marks_of(units)) == (7 * S, 8 * S)


def test_stages_whose_marks_are_all_equal_differ_behind_the_last_one() -> None:
    units = [(number * S, b"u") for number in range(3)]
    assert first_difference_ns(marks_of(units), marks_of(units)) == (3 * S, None)
    assert first_difference_ns(marks_of([]), marks_of([])) == (0, None)


def test_what_is_older_than_the_last_counts_as_of_its_time() -> None:
    late = [(0, b"a"), (9 * S, b"b"), (3 * S, b"gap"), (9 * S + 1, b"c")]
    assert [cell for cell, _ in marks_of(late).marks] == [0, 9]


def test_a_stage_of_years_with_a_hole_of_years_has_few_marks() -> None:
    assert len(marks_of([(0, b"a"), ((1 << 62) - 1, b"b")]).marks) == 2


def test_marks_of_a_long_stage_are_thinned_and_still_tell_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    units = [(number * S, bytes([number % 251])) for number in range(500)]
    other = [*units[:300], (300 * S, b"!"), *units[301:]]
    fine = marks_of(units)
    monkeypatch.setattr(stage_marks, "_MOST", 32)
    coarse = marks_of(units)
    assert len(coarse.marks) <= 32 and coarse.every == 32
    assert coarse == fine.thinned(32, every=32)
    assert first_difference_ns(fine, marks_of(other)) == (288 * S, 320 * S)


CELLS = st.lists(st.integers(0, 3_000), min_size=1, max_size=200).map(sorted)


@given(CELLS, st.integers(1, 40), st.integers(1, 40))
def test_thinning_in_two_steps_is_thinning_once(cells: list[int], first: int, second: int) -> None:
    marks = marks_of([(cell * S, b"u") for cell in cells])
    twice = marks.thinned(max(first, second)).thinned(min(first, second))
    assert twice == marks.thinned(min(first, second))
    assert StageMarks.parsed(str(twice)) == twice


@given(CELLS, st.integers(0, 199), st.integers(1, 40), st.integers(1, 40))
def test_the_place_holds_the_first_difference_at_any_thinning(
    cells: list[int], at: int, most: int, other_most: int
) -> None:
    at %= len(cells)
    units = [(cell * S, b"u") for cell in cells]
    changed = [*units[:at], (units[at][0], b"v"), *units[at + 1 :]]
    begin, end = first_difference_ns(marks_of(units).thinned(most), marks_of(changed).thinned(other_most))
    assert end is not None and begin <= units[at][0] < end


@pytest.mark.parametrize(
    "text", ["", "0", "3", "1 5", "1 5:abc", "1 5:abcdef01 4:abcdef01", "1  5:abcdef01", "x"]
)
def test_what_are_no_marks_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        StageMarks.parsed(text)
