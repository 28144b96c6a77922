"""Proposals of a bundle: where they lie, and that nobody takes them for labels."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import InputError
from galago_edge.decision import ONE
from galago_workstation.qa.label_file import format_proposals, labels_path, parse_labels
from galago_workstation.qa.label_proposals import ENDINGS, proposals_of, proposed_files
from galago_workstation.qa.label_rows import LabelRow, marked, unmarked
from galago_workstation.qa.replayed import Replayed, Truth
from test_kit.replays import MS, decided, plain_label

LABELS = (
    plain_label("a", on=0.8, off=0.5, min_count=2),
    plain_label("b"),
    plain_label("nothing", background=True),
)


def heard() -> Replayed:
    """Windows of 300 ms, one each 100 ms; ``a`` at 0.9 for 5 windows, at 0.6 for 3, at 0.85 for one."""
    rows = [[0, 0, ONE] for _ in range(60)]
    for first, count, score in ((10, 5, 0.9), (30, 3, 0.6), (50, 1, 0.85)):
        for window in range(first, first + count):
            rows[window][0] = round(score * ONE)
    return decided(rows, LABELS, receptive_ns=300 * MS)


def stretches(rows: tuple[LabelRow, ...]) -> list[tuple[int, int, str, float]]:
    return [(row.start_ns // MS, row.end_ns // MS, row.label, round(row.score, 2)) for row in rows]


def test_an_event_is_proposed_to_the_end_of_the_last_window_that_was_on() -> None:
    found = proposals_of(heard())
    assert stretches(found.rows) == [(1000, 1700, "a", 0.9)] and found.near_misses == 0
    assert all(row.proposed for row in found.rows)


def proposed(scores: dict[int, float], *, restart: tuple[int, ...] = (), **policy: float) -> list[list[int]]:
    """Start and end, in ms, of what is proposed; windows of 300 ms, one each 100 ms, have such scores."""
    rows = [[round(scores.get(window, 0.1) * ONE)] for window in range(60)]
    label = plain_label("a", **{"on": 0.8, "off": 0.5, **policy})
    found = proposals_of(decided(rows, [label], receptive_ns=300 * MS, restart=restart)).rows
    return [[row.start_ns // MS, row.end_ns // MS] for row in found]


LOUD = dict.fromkeys(range(20, 30), 0.9)


@pytest.mark.parametrize(
    ("before", "policy", "start"),
    [
        ({}, {}, 2000),
        ({}, {"smoothing_windows": 6}, 2000),  # on at window 25: 0.77 at 24
        ({}, {"smoothing_windows": 6, "min_count": 4}, 2000),
        ({18: 0.6, 19: 0.5}, {"smoothing_windows": 6}, 1800),  # it rose: what would have kept it on supports
        ({15: 0.6, 16: 0.4}, {}, 2000),  # what smoothing had not in it is another thing
        ({17: 0.9, 18: 0.9, 19: 0.4}, {"smoothing_windows": 6}, 1700),  # a dip: smoothing took it all
        ({0: 0.3, 19: 0.3}, {"off": 0.0, "smoothing_windows": 6}, 2000),  # never less than half of ``on``
        ({19: 0.41}, {"off": 0.0, "smoothing_windows": 6}, 1900),
    ],
)
def test_a_proposal_begins_with_the_first_window_whose_score_supports_it_however_late_the_label_was_on(
    before: dict[int, float], policy: dict[str, float], start: int
) -> None:
    (found,) = proposed(LOUD | before, **policy)
    assert found[0] == start


def test_no_proposal_begins_before_a_gap() -> None:
    """Windows 18 and 19 are loud, then a second is missing: window 20 begins a second after the end of 19."""
    loud = dict.fromkeys(range(18, 30), 0.9)
    assert proposed(loud, restart=(20,), smoothing_windows=6)[0][0] == 1900 + 300 + 1000


@given(st.integers(1, 12), st.integers(1, 5), st.integers(30, 40), st.integers(20, 30), st.integers(1, 3))
def test_what_a_bundle_hears_within_a_window_lies_in_its_proposal_whatever_the_policy(
    smoothing: int, count: int, onset: int, length: int, needed: int
) -> None:
    """Its score is high as long as ``needed`` tenths of the window's three are the thing's."""
    heard = [
        [round(0.9 * ONE) * (min(at + 3, onset + length) - max(at, onset) >= needed)] for at in range(120)
    ]
    label = plain_label("a", on=0.8, off=0.5, smoothing_windows=smoothing, min_count=count)
    replayed = decided(heard, [label], receptive_ns=300 * MS)
    (row,) = proposals_of(replayed).rows
    (event,) = replayed.events
    assert row.start_ns <= onset * 100 * MS < row.start_ns + 300 * MS
    assert row.end_ns >= (onset + length) * 100 * MS
    late = (event.end_ns - row.start_ns) - (event.end_ns - onset * 100 * MS)  # of the delay by the proposal
    assert 0 <= late < 300 * MS


def test_near_misses_are_what_reached_less_and_what_the_count_held_back() -> None:
    found = proposals_of(heard(), near=0.55)
    assert stretches(found.rows) == [
        (1000, 1700, "a", 0.9), (3000, 3500, "a", 0.6), (5000, 5300, "a", 0.85)
    ]  # fmt: skip
    assert found.near_misses == 2
    assert proposals_of(heard(), near=0.55, labels=("b",)).rows == ()


def test_proposals_of_one_label_whose_windows_touch_are_one() -> None:
    """Two events 200 ms apart share windows of 300 ms; of two labels they stay two."""
    rows = [[0, 0, 0] for _ in range(20)]
    for window in (5, 6, 8, 9):
        rows[window][1] = ONE
    rows[8][1] = round(0.7 * ONE)
    rows[5][0] = rows[6][0] = ONE
    found = proposals_of(decided(rows, LABELS, receptive_ns=300 * MS))
    assert stretches(found.rows) == [(500, 900, "a", 1.0), (500, 1200, "b", 1.0)]


def test_a_file_of_proposals_is_no_file_of_labels_until_each_line_is_confirmed() -> None:
    found = proposals_of(heard(), near=0.55)
    content = format_proposals(found.rows, sha256="ab" * 32, bundle="cd" * 32)
    with pytest.raises(InputError, match=r"line 5: a at 1000000000 ns is a proposal .* one of 3") as refused:
        parse_labels(content, name="x")
    assert "galago qa labels confirm" in refused.value.hint
    times = ((1000, 1700), (3000, 3500), (5000, 5300))
    events = tuple(Truth(start * MS, end * MS, "a") for start, end in times)
    confirmed = parse_labels(content, name="x", confirmed=True)
    assert (confirmed.truth.events, confirmed.sha256) == (events, "ab" * 32)
    lines = content.decode().splitlines()
    emptied = [line.rsplit("\t", 1)[0] + "\t" if line[0].isdigit() else line for line in lines]
    stripped = [line.rstrip() for line in emptied]  # as many editors leave it
    for by_hand in (emptied, stripped):
        assert parse_labels("\n".join(by_hand).encode(), name="x").truth.events == events
    half = [*emptied[:-1], lines[-1]]
    with pytest.raises(InputError, match=r"line 7: a at 5000000000 ns is a proposal .* one of 1"):
        parse_labels("\n".join(half).encode(), name="x")


def test_that_a_bundle_proposed_nothing_does_not_say_that_nothing_is_there() -> None:
    content = format_proposals([], sha256="ab" * 32, bundle="cd" * 32)
    with pytest.raises(InputError, match="nobody has confirmed that nothing is there"):
        parse_labels(content, name="x")
    assert parse_labels(content, name="x", confirmed=True).truth.events == ()


@pytest.mark.parametrize("told", ["yes", "2", "0.12345678", "nan", "-0.5"])
def test_a_last_column_that_is_no_score_is_refused(told: str) -> None:
    text = f"start_ns\tend_ns\tlabel\tproposed\n1\t2\ta\t{told}\n"
    with pytest.raises(InputError, match=r"line 2: the fourth column, proposed, is .*, expected the score"):
        parse_labels(text.encode(), name="x", confirmed=True)


@given(st.text(min_size=1, max_size=60), st.floats(0, 1))
def test_a_marked_text_tells_label_and_score(label: str, score: float) -> None:
    row = LabelRow("", 0, 1, label, proposed=True, score=score)
    again = unmarked(LabelRow("", 0, 1, marked(row)))
    assert (again.label, again.proposed) == (label, True)
    assert again.score == pytest.approx(score, abs=0.005 + 1e-9)


def test_no_file_of_proposals_lies_where_labels_do(tmp_path: Path) -> None:
    recording = tmp_path / "night" / "porch.wav"
    for kind in (None, *ENDINGS):
        files = proposed_files(recording, "night/porch.wav", None, kind)
        assert len(set(files)) == len(files) and labels_path(recording) not in files
        assert all(file.parent == recording.parent for file in files)
    assert proposed_files(recording, "night/porch.wav", tmp_path / "out", None) == (
        tmp_path / "out" / "night" / "porch.wav.proposed.tsv",
    )
