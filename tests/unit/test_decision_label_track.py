"""All windows of a label decided at once: the same events as the Decider's, for every policy."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.streams import Span
from galago_edge.decision import ONE, Decider, Fired
from galago_edge.decision.label_track import LabelTrack, OnPeriods

MS = 1_000_000

Stream = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Scores ``(n, labels)`` in Q16, ends in ns, restarts."""


def stepped(labels: list[Label], stream: Stream) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Return (label, first window, deciding window) of events and (label, first, last window) of ends."""
    scores, ends, restart = stream
    decider = Decider(labels)
    fired, ended = [], []
    for window, row in enumerate(scores):
        found = list(decider.reset()) if restart[window] and window else []
        ended += [(one.index, one.span.start_index, one.span.end_index - 1) for one in found]
        for change in decider.step(row, Span(window, window + 1, int(ends[window]) - 1, int(ends[window]))):
            told = (change.index, change.span.start_index, change.span.end_index - 1)
            (fired if isinstance(change, Fired) else ended).append(told)
    return fired, ended


def at_once(index: int, periods: OnPeriods) -> list[tuple[int, int, int]]:
    rows = zip(periods.start.tolist(), periods.fired.tolist(), strict=True)
    return [(index, start, fired) for start, fired in rows if fired >= 0]


@st.composite
def streams(draw: st.DrawFn, labels: int = 1) -> Stream:
    count = draw(st.integers(0, 60))
    levels = st.sampled_from([0, 1, 13107, 26214, 32767, 32768, 39321, 45875, 52429, 65535, ONE])
    scores = draw(
        st.lists(st.lists(levels, min_size=labels, max_size=labels), min_size=count, max_size=count)
    )
    steps = draw(st.lists(st.sampled_from([0, 1, 50, 100, 100, 100, 5_000]), min_size=count, max_size=count))
    restart = draw(st.lists(st.sampled_from([False] * 9 + [True]), min_size=count, max_size=count))
    return (
        np.array(scores, np.int64).reshape(count, labels),
        np.cumsum(np.array(steps, np.int64) * MS),
        np.array(restart, np.bool_),
    )


@st.composite
def policies(draw: st.DrawFn) -> LabelPolicy:
    on = draw(st.sampled_from([0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0]))
    return LabelPolicy(
        on=on,
        off=draw(st.sampled_from([off for off in (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0) if off <= on])),
        smoothing_windows=draw(st.integers(1, 6)),
        min_count=draw(st.integers(1, 5)),
        refractory_ms=draw(st.sampled_from([0, 1, 99, 100, 101, 400, 1_000, 86_400_000])),
    )


@settings(max_examples=400, deadline=None)
@given(stream=streams(), tried=st.lists(policies(), min_size=1, max_size=6))
def test_every_policy_gives_the_events_of_the_decider(stream: Stream, tried: list[LabelPolicy]) -> None:
    scores, ends, restart = stream
    track = LabelTrack(scores[:, 0], ends, restart)
    for policy, periods in zip(tried, track.under(tried), strict=True):
        fired, _ = stepped([Label(name="dog", policy=policy)], stream)
        assert at_once(0, periods) == fired


@settings(max_examples=200, deadline=None)
@given(stream=streams(labels=3), tried=st.lists(policies(), min_size=3, max_size=3))
def test_each_of_several_labels_is_decided_as_it_would_be_among_them(
    stream: Stream, tried: list[LabelPolicy]
) -> None:
    scores, ends, restart = stream
    fired, ended = stepped([Label(name=str(k), policy=policy) for k, policy in enumerate(tried)], stream)
    for index, policy in enumerate(tried):
        periods = LabelTrack(scores[:, index], ends, restart).on_periods(policy)
        assert at_once(index, periods) == [one for one in fired if one[0] == index]
        stops = {window for label, _, window in ended if label == index}
        gone = periods.stop[periods.fired >= 0].tolist()
        # a label ends with the window that is below off, or with the last one before a gap; never at the end
        expected = {s - 1 if s < len(ends) and restart[s] else s for s in gone if s < len(ends)}
        assert stops == expected


@settings(max_examples=150, deadline=None)
@given(parts=st.lists(streams(), min_size=0, max_size=4), policy=policies())
def test_joined_streams_are_decided_each_on_its_own(parts: list[Stream], policy: LabelPolicy) -> None:
    tracks = [LabelTrack(scores[:, 0], ends, restart) for scores, ends, restart in parts]
    joined, firsts = LabelTrack.joined(tracks)
    alone = [at_once(0, track.on_periods(policy)) for track in tracks]
    moved = [
        (0, a + first, b + first)
        for first, events in zip(firsts.tolist(), alone, strict=False)
        for _, a, b in events
    ]
    assert at_once(0, joined.on_periods(policy)) == moved


def plain(**changed: Any) -> LabelPolicy:
    return LabelPolicy(
        **{"on": 0.5, "off": 0.5, "smoothing_windows": 1, "min_count": 1, "refractory_ms": 0, **changed}
    )


def track_of(*scores: float, restart: tuple[int, ...] = ()) -> LabelTrack:
    count = len(scores)
    gaps = np.isin(np.arange(count), restart)
    q16 = np.array([round(score * ONE) for score in scores], np.int64)
    return LabelTrack(q16, (np.arange(count, dtype=np.int64) + 1) * 100 * MS, gaps)


def test_a_delayed_event_holds_up_those_behind_it() -> None:
    """Windows end at 100, 200 ...; 250 ms of refractory: 100, then 400, then none before 650."""
    track = track_of(0.9, 0.9, 0.1, 0.9, 0.9, 0.1, 0.9, 0.9, 0.1)
    assert track.on_periods(plain(refractory_ms=250)).events().tolist() == [0, 3, 6]
    track = track_of(0.9, 0.1, 0.9, 0.9, 0.1, 0.9, 0.1, 0.9, 0.1)
    assert track.on_periods(plain(refractory_ms=250)).events().tolist() == [0, 3, 7]


def test_refractory_time_survives_a_gap_and_smoothing_does_not() -> None:
    track = track_of(0.9, 0.9, 0.9, 0.9, 0.9, restart=(2,))
    assert track.on_periods(plain(refractory_ms=350)).events().tolist() == [0, 4]
    assert track.on_periods(plain(smoothing_windows=2)).events().tolist() == [1, 3]


def test_many_chains_of_periods_in_refractory_time_are_decided_as_one_by_one() -> None:
    """Enough of them that they are stepped together, of every length, some with events that come late."""
    rng = np.random.default_rng(3)
    count = 3_000
    scores = np.where(rng.random(count) < 0.4, 60_000, 0).astype(np.int64).reshape(-1, 1)
    ends = np.cumsum(rng.choice([0, 50, 100, 100, 300, 2_000], count)).astype(np.int64) * MS
    stream = (scores, ends, rng.random(count) < 0.01)
    track = LabelTrack(scores[:, 0], stream[1], stream[2])
    for refractory_ms in (60, 100, 250, 1_000, 10_000, 300_000):
        for min_count in (1, 2):
            policy = plain(refractory_ms=refractory_ms, min_count=min_count)
            fired, _ = stepped([Label(name="dog", policy=policy)], stream)
            assert at_once(0, track.on_periods(policy)) == fired


def test_no_window_decides_nothing() -> None:
    track = track_of()
    assert len(track) == 0
    assert track.on_periods(plain(smoothing_windows=3)).events().tolist() == []


def test_thresholds_that_rise_leave_out_windows_and_no_event() -> None:
    rng = np.random.default_rng(7)
    scores = (rng.random(4_000) ** 6).tolist()
    track = track_of(*scores, restart=(1_000, 1_001, 2_500))
    tried = [
        plain(on=on / 50, off=off / 50, smoothing_windows=2) for off in range(51) for on in range(off, 51)
    ]
    for policy, periods in zip(tried, track.under(tried), strict=True):
        alone = track.on_periods(policy)
        assert periods.start.tolist() == alone.start.tolist()
        assert periods.stop.tolist() == alone.stop.tolist()
        assert periods.fired.tolist() == alone.fired.tolist()
