"""Events of two bundles on the same recordings: lost, gained, moved, rescored."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import CallerError, InputError
from galago_edge.contract.manifest import Label
from galago_edge.contract.records import EventRecord, StateRecord
from galago_workstation.qa.baseline import make_baseline
from galago_workstation.qa.event_diff import EventDiff, diff_events, pair_recordings
from galago_workstation.qa.event_matching import match_moments
from galago_workstation.qa.replayed import Replayed, WindowScores
from galago_workstation.qa.window_agreement import window_agreement

S = 1_000_000_000
HOUR_S = 3_600


def event(at_s: float, label: str = "smoke", score: float = 0.9, seq: int = 0) -> EventRecord:
    end_ns = round(at_s * S)
    return EventRecord(
        stream="mic", seq=seq, label=label, score=score, start_index=0, end_index=1,
        start_ns=max(0, end_ns - S), end_ns=end_ns, bundle="b", backend="cpu",
    )  # fmt: skip


def replayed(name: str, *events: EventRecord, bundle: str = "new", labels: str = "smoke door") -> Replayed:
    return Replayed(
        recording=name, sha256=f"sha of {name}", bundle=bundle,
        labels=(*(Label(name=each) for each in labels.split()), Label(name="none", background=True)),
        receptive_ns=S, duration_ns=HOUR_S * S, events=events, gaps=(), states=(),
    )  # fmt: skip


def diff_of(old: list[EventRecord], new: list[EventRecord], **options: int) -> EventDiff:
    pairs, _ = pair_recordings([replayed("a", *old)], [replayed("a", *new)])
    return diff_events(pairs, tolerance_ns=options.get("tolerance_ns"))


def test_events_are_lost_gained_moved_and_rescored_with_their_times() -> None:
    old = [event(10), event(20), event(30, score=0.8), event(40, "door"), event(50)]
    new = [event(10), event(20.4), event(30, score=0.7), event(45), event(50.2, score=0.5)]
    diff = diff_of(old, new)
    assert diff.counts == {"lost": 1, "gained": 1, "moved": 2, "rescored": 1, "same": 1}
    assert diff.moved_only == 1
    found = [(each.kind, each.at_ns // S, each.label, each.shift_ns) for each in diff.changes]
    assert found == [
        ("moved", 20, "smoke", 400_000_000),
        ("rescored", 30, "smoke", 0),
        ("lost", 40, "door", 0),
        ("gained", 45, "smoke", 0),
        ("moved", 50, "smoke", 200_000_000),
    ]
    assert diff.changes[1].score_change == pytest.approx(-0.1)
    assert diff.tolerance_ns == {"a": S}


def test_an_event_of_another_label_is_not_the_same_event() -> None:
    assert diff_of([event(10, "door")], [event(10, "smoke")]).counts["lost"] == 1


def test_the_tolerance_is_included_and_can_be_asked_for() -> None:
    assert diff_of([event(10)], [event(11)]).counts["moved"] == 1
    assert diff_of([event(10)], [event(11)], tolerance_ns=S - 1).counts["lost"] == 1
    with pytest.raises(CallerError, match="tolerance is negative"):
        diff_of([event(10)], [event(10)], tolerance_ns=-1)


def test_matching_takes_as_many_as_can_be_where_the_nearest_first_would_lose_one() -> None:
    """Greedy pairs 10 with 9 and leaves 0 and 19 alone."""
    assert match_moments([0, 10], [9, 19], 10) == [(0, 0), (1, 1)]


def test_matching_takes_the_least_total_shift_of_the_largest_matchings() -> None:
    assert match_moments([0, 10], [1, 9, 10], 20) == [(0, 0), (1, 2)]
    assert match_moments([], [1], 5) == match_moments([1], [], 5) == []
    with pytest.raises(ValueError, match="ascend"):
        match_moments([2, 1], [1], 5)


MOMENTS = st.lists(st.integers(0, 30), max_size=6).map(sorted)


def best_of_all(old: list[int], new: list[int], tolerance: int) -> tuple[int, int]:
    """Number of pairs and total shift of the best matching, by trying every one."""
    best = (0, 0)
    for size in range(1, min(len(old), len(new)) + 1):
        for rows in itertools.combinations(range(len(old)), size):
            for columns in itertools.permutations(range(len(new)), size):
                ways = [abs(old[row] - new[column]) for row, column in zip(rows, columns, strict=True)]
                if max(ways) <= tolerance:
                    best = max(best, (size, -sum(ways)))
    return best


@given(MOMENTS, MOMENTS, st.integers(0, 12))
def test_no_matching_is_better(old: list[int], new: list[int], tolerance: int) -> None:
    pairs = match_moments(old, new, tolerance)
    ways = [abs(old[row] - new[column]) for row, column in pairs]
    assert (len(pairs), -sum(ways)) == best_of_all(old, new, tolerance)
    assert all(way <= tolerance for way in ways)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    turned = match_moments(new, old, tolerance)
    assert (len(turned), sum(abs(new[row] - old[column]) for row, column in turned)) == (
        len(pairs),
        sum(ways),
    )


def test_a_day_of_events_every_second_is_matched_without_a_table_of_all_pairs() -> None:
    day = list(range(0, 86_400 * S, S))
    assert len(match_moments(day, [moment + S // 2 for moment in day], S)) == len(day)


EVENTS = st.lists(
    st.builds(event, st.integers(1, 40), st.sampled_from(["smoke", "door"]), st.sampled_from([0.5, 0.9])),
    max_size=8,
)


@given(EVENTS)
def test_nothing_differs_between_equal_bundles(events: list[EventRecord]) -> None:
    diff = diff_of(events, events)
    assert diff.changes == () and diff.same == len(events)


@given(EVENTS, EVENTS)
def test_what_is_lost_one_way_is_gained_the_other_way(old: list[EventRecord], new: list[EventRecord]) -> None:
    there, back = diff_of(old, new).counts, diff_of(new, old).counts
    assert (there["lost"], there["gained"]) == (back["gained"], back["lost"])
    assert there["moved"] + there["rescored"] + there["same"] + there["lost"] == len(old)
    assert there["moved"] + there["rescored"] + there["same"] + there["gained"] == len(new)


def test_recordings_are_paired_by_content_whatever_they_are_called() -> None:
    renamed = replace(replayed("a", event(5)), recording="other/name")
    pairs, said = pair_recordings([renamed], [replayed("a", event(5))])
    assert [pair.name for pair in pairs] == ["a"] and said == []


def test_recordings_that_only_one_has_are_refused_and_can_be_left_out() -> None:
    old, new = [replayed("a"), replayed("b")], [replayed("a"), replayed("c")]
    with pytest.raises(InputError, match="b only in OLD, c only in NEW") as refused:
        pair_recordings(old, new)
    assert refused.value.reason == "SOURCE_MISMATCH"
    pairs, said = pair_recordings(old, new, common=True)
    assert [pair.name for pair in pairs] == ["a"]
    assert said == ["left out: b only in OLD", "left out: c only in NEW"]
    with pytest.raises(InputError, match="no recording"):
        pair_recordings(old[1:], new[1:], common=True)


def test_a_recording_that_is_there_twice_is_refused() -> None:
    again = replace(replayed("a"), recording="copy of a")
    with pytest.raises(InputError, match="a and copy of a are the same bytes"):
        pair_recordings([replayed("a"), again], [replayed("a")])


def test_bundles_of_other_labels_are_refused_and_their_common_labels_can_be_compared() -> None:
    old = replayed("a", event(5), event(9, "bell"), labels="smoke bell")
    new = replayed("a", event(5), event(9, "door"), labels="smoke door")
    pairs, _ = pair_recordings([old], [new])
    with pytest.raises(InputError, match="only OLD has bell, only NEW has door") as refused:
        diff_events(pairs)
    assert refused.value.reason == "LABELS_MISMATCH"
    diff = diff_events(pairs, common=True)
    assert (diff.only_old, diff.only_new, diff.same, diff.changes) == (("bell",), ("door",), 1, ())
    nothing, _ = pair_recordings([replayed("a", labels="bell")], [replayed("a", labels="door")])
    with pytest.raises(InputError, match="no label in common"):
        diff_events(nothing, common=True)


def scores(*rows: tuple[float, ...], start: int = 0, skipped: tuple[int, ...] = ()) -> WindowScores:
    count = len(rows)
    begins = np.arange(start, start + count, dtype=np.int64)
    off = np.zeros(count, bool)
    off[list(skipped)] = True
    return WindowScores(
        np.stack([begins, begins + 1, begins * S, (begins + 1) * S], axis=1),
        np.round(np.array(rows) * 65_536).astype(np.int32), off, np.arange(count) == 0,
    )  # fmt: skip


def test_windows_agree_flip_and_disagree_surely() -> None:
    old = scores((0.9, 0.1, 0), (0.9, 0.1, 0), (0.6, 0.4, 0), (1, 0, 0), (0, 0, 0), skipped=(4,))
    new = scores((0.9, 0.1, 0), (0.1, 0.9, 0), (0.4, 0.6, 0), (0.5, 0.5, 0), (1, 0, 0))
    pairs, _ = pair_recordings(
        [replace(replayed("a"), scores=old), replayed("b")],
        [replace(replayed("a"), scores=new), replayed("b")],
    )
    found = window_agreement(pairs)
    assert (found.compared, found.flips, found.confident, found.without_scores) == (4, 2, 1, 1)
    assert found.uncompared == 1  # one did not run the model for it
    assert found.largest == pytest.approx(0.8, abs=1e-4)
    assert found.mean == pytest.approx((0.8 * 2 + 0.2 * 2 + 0.5 * 2) / 12, abs=1e-4)
    assert found.flip_interval is None


def test_flips_have_an_interval_over_recordings() -> None:
    same, other = scores((1, 0, 0), (1, 0, 0)), scores((0, 1, 0), (1, 0, 0))
    old = [replace(replayed(name), scores=same) for name in "abcd"]
    new = [replace(each, scores=other if each.recording in "ab" else same) for each in old]
    found = window_agreement(pair_recordings(old, new)[0])
    assert found.flip_rate == 0.25
    assert found.flip_interval is not None and found.flip_interval[0] < 0.25 < found.flip_interval[1]
    shifted = [replace(each, scores=replace(same, span=same.span + 1)) for each in old]
    assert window_agreement(pair_recordings(old, shifted)[0]).compared == 0


def test_columns_are_compared_by_the_names_of_their_labels() -> None:
    old = replace(replayed("a", labels="smoke door"), scores=scores((0.9, 0.1, 0)))
    new = replace(replayed("a", labels="door smoke"), scores=scores((0.1, 0.9, 0)))
    assert window_agreement(pair_recordings([old], [new])[0]).largest == 0.0


def test_a_replay_with_faults_is_never_compared_with_one_without() -> None:
    started = StateRecord(
        stream="mic", subject="stream", state="started", index=0, ns=0, detail={"source": {"faults": "6f26"}}
    )
    faulted = replace(replayed("a"), states=(started,))
    assert (faulted.faults, replayed("a").faults) == ("6f26", "")
    pair_recordings([faulted], [faulted])
    with pytest.raises(InputError, match="were replayed with other faults: a"):
        pair_recordings([replayed("a")], [faulted])
    with pytest.raises(InputError, match="these are of recordings with faults"):
        make_baseline([faulted])
