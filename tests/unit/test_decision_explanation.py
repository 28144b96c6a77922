"""Why there was an event or none: each cause by hand, and proposals that hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.streams import Gap
from galago_edge.decision import ONE
from galago_edge.decision.explanation import DecidedBy, LabelHeard, explain, fires_within, reach_of
from galago_edge.decision.explanation_words import explanation_data, proposal_words, reason_words
from galago_edge.decision.label_track import LabelTrack
from galago_edge.decision.policy_proposals import PolicyProposal, proposals

MS = 1_000_000
PLAIN: dict[str, Any] = {"on": 0.6, "off": 0.4, "smoothing_windows": 1, "min_count": 1, "refractory_ms": 0}


def heard(
    *scores: float,
    restart: tuple[int, ...] = (),
    skipped: tuple[int, ...] = (),
    background: bool = False,
    gaps: tuple[Gap, ...] = (),
    by_manifest: LabelPolicy | None = None,
    **policy: Any,
) -> LabelHeard:
    """Windows of 100 ms that end at 0.1, 0.2, 0.3 s ..."""
    numbers = np.arange(len(scores))
    q16 = np.array([round(score * ONE) for score in scores], np.int32)
    track = LabelTrack(q16, (numbers + 1).astype(np.int64) * 100 * MS, np.isin(numbers, restart))
    label = Label(name="dog", background=background, policy=LabelPolicy(**(PLAIN | policy)))
    return LabelHeard(label, track, np.isin(numbers, skipped), gaps, by_manifest)


def why(given_: LabelHeard, from_ms: int, to_ms: int) -> tuple[str, str]:
    found = explain(given_, from_ms * MS, to_ms * MS)
    assert found.cause in explanation_data(found, ())["cause"]
    return str(found.cause), reason_words(found)


def changes(given_: LabelHeard, from_ms: int, to_ms: int) -> dict[str, tuple[float, int]]:
    """Return new value and moment in ms, by field."""
    found = proposals(given_, explain(given_, from_ms * MS, to_ms * MS))
    return {one.field: (one.new, one.event_ns // MS) for one in found}


def test_a_score_below_the_threshold_says_how_far_and_for_how_long() -> None:
    told = heard(0.1, 0.55, 0.58, 0.57, 0.1, min_count=2)
    cause, words = why(told, 100, 500)
    assert cause == "threshold"
    assert words == (
        "smoothed 0.58 at 0.3 s, on is 0.60: 0.02 short; from there it would have been on for 2 windows, "
        "2 needed"
    )
    assert changes(told, 100, 500) == {"on": (0.58, 400)}
    short = heard(0.1, 0.3, 0.58, 0.3, 0.1, min_count=2)
    assert "would have been on for 1 window, 2 needed" in why(short, 100, 500)[1]
    # on alone would need 0.3, below off: off has to go along
    assert changes(short, 100, 500)["on"] == (0.3, 300)


def test_too_few_windows_in_a_row() -> None:
    told = heard(0.1, 0.7, 0.1, 0.7, 0.7, 0.1, min_count=3)
    cause, words = why(told, 100, 300)
    assert (cause, words) == (
        "count",
        "on for 1 window from 0.2 s (smoothed up to 0.70), 3 in a row are needed",
    )
    assert changes(told, 100, 300)["min_count"] == (1, 200)
    assert changes(told, 300, 600)["min_count"] == (2, 500)
    # a lower off bridges the dip at 0.3 s: three windows in a row from 0.2 s
    off, at = changes(told, 300, 600)["off"]
    assert at == 400 and 0 <= off <= 0.1


def test_within_the_refractory_time_of_an_earlier_event() -> None:
    told = heard(0.7, 0.1, 0.7, 0.7, 0.1, refractory_ms=1_000)
    cause, words = why(told, 300, 500)
    assert cause == "refractory"
    assert words == (
        "on from 0.3 s for 2 windows, within the refractory time of the event at 0.1 s, which ended at 1.1 s "
        "(1000 ms)"
    )
    assert changes(told, 300, 500)["refractory_ms"] == (300, 400)


def test_still_on_since_an_earlier_event() -> None:
    told = heard(0.7, 0.5, 0.45, 0.7, 0.7, 0.1)
    cause, words = why(told, 400, 500)
    assert cause == "still_on"
    assert "still on since 0.1 s, with its event at 0.1 s" in words and "its lowest was 0.45" in words
    off, at = changes(told, 400, 500)["off"]
    assert at == 400 and 0.45 < off <= 0.4502


def test_warm_up_after_a_gap() -> None:
    told = heard(0.1, 0.1, 0.1, 0.9, 0.9, restart=(3,), smoothing_windows=3)
    cause, words = why(told, 400, 500)
    assert cause == "warm_up"
    assert words == (
        "warm-up: 2 windows since the start or a gap (first one at 0.4 s), smoothing needs 3; their mean was "
        "up to 0.90, on is 0.60"
    )
    assert changes(told, 400, 500)["smoothing_windows"] == (2, 500)


def test_gate_gap_outside_and_background() -> None:
    told = heard(0.0, 0.0, 0.7, skipped=(0, 1), gaps=(Gap(400 * MS, 900 * MS, "stall"),))
    assert why(told, 100, 200)[0] == "gate"
    assert changes(told, 100, 200) == {} or all(at <= 200 for _, at in changes(told, 100, 200).values())
    assert why(told, 500, 600) == ("gap", "nobody watched: a gap from 0.4 s to 0.9 s (stall)")
    assert why(told, 2_000, 3_000)[0] == "outside"
    assert changes(told, 500, 600) == {}
    quiet = heard(0.9, 0.9, background=True)
    assert why(quiet, 100, 200) == ("background", "dog is a background label, which never becomes an event")
    assert changes(quiet, 100, 200) == {}


def test_a_mean_with_windows_that_the_gate_skipped_says_so() -> None:
    told = heard(0.0, 0.9, 0.1, skipped=(0,), smoothing_windows=2)
    cause, words = why(told, 200, 200)
    assert cause == "threshold"
    assert "the gate skipped 1 of the windows in that mean" in words


def test_an_event_and_a_late_one() -> None:
    told = heard(0.7, 0.1, 0.7, 0.7, 0.7, 0.7, refractory_ms=450)
    assert why(told, 100, 100)[1].startswith("there was an event at 0.1 s: on since 0.1 s")
    assert changes(told, 100, 100) == {}
    cause, words = why(told, 200, 300)
    assert cause == "late"
    assert words == (
        "on since 0.3 s, an event only at 0.6 s: min_count is 1, and the refractory time of the event "
        "at 0.1 s ended at 0.55 s"
    )
    assert changes(told, 200, 300)["refractory_ms"] == (200, 300)


def test_an_override_that_decided_is_named() -> None:
    lax = LabelPolicy(**(PLAIN | {"on": 0.5}))
    found = explain(heard(0.1, 0.55, 0.1, by_manifest=lax), 100 * MS, 300 * MS)
    assert found.cause is DecidedBy.THRESHOLD and found.override_decided
    assert "this device's override decided it" in reason_words(found)
    same = explain(
        heard(0.1, 0.55, 0.1, by_manifest=LabelPolicy(**(PLAIN | {"on": 0.58}))), 100 * MS, 300 * MS
    )
    assert not same.override_decided


def test_below_off_a_lower_on_takes_off_along() -> None:
    told = heard(0.1, 0.25, 0.1)
    [one] = [one for one in proposals(told, explain(told, 200 * MS, 200 * MS)) if one.field == "on"]
    assert one.new == one.policy.off == pytest.approx(0.25, abs=2e-4)
    assert proposal_words(one).endswith("an event at 0.2 s") and ", and off 0." in proposal_words(one)


def test_a_stretch_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="before it begins"):
        explain(heard(0.1), 5, 4)


LEVELS = st.sampled_from([0.0, 0.1, 0.3, 0.39, 0.4, 0.45, 0.55, 0.6, 0.61, 0.8, 1.0])


@st.composite
def anything(draw: st.DrawFn) -> LabelHeard:
    scores = draw(st.lists(LEVELS, max_size=30))
    on = draw(st.sampled_from([0.0, 0.4, 0.6, 0.8, 1.0]))
    places = st.lists(st.integers(0, 29), max_size=3)
    return heard(
        *scores,
        restart=tuple(draw(places)),
        skipped=tuple(draw(places)),
        on=on,
        off=on * draw(st.sampled_from([0.0, 0.6, 1.0])),
        smoothing_windows=draw(st.integers(1, 5)),
        min_count=draw(st.integers(1, 4)),
        refractory_ms=draw(st.sampled_from([0, 150, 500, 3_000])),
    )


@settings(max_examples=400, deadline=None)
@given(told=anything(), from_ms=st.integers(0, 3_000), length_ms=st.integers(0, 1_500))
def test_whatever_is_asked_there_is_an_answer_in_words_and_proposals_hold(
    told: LabelHeard, from_ms: int, length_ms: int
) -> None:
    found = explain(told, from_ms * MS, (from_ms + length_ms) * MS)
    words = reason_words(found)
    assert words and "\n" not in words
    first, stop = reach_of(told, found)
    given_ = fires_within(told.track, told.label.policy, first, stop) is not None
    assert (found.cause is DecidedBy.GIVEN) == given_
    tried = proposals(told, found)
    assert [one.size for one in tried] == sorted(one.size for one in tried)
    for one in tried:
        assert not given_ and one.policy.off <= one.policy.on
        window = fires_within(told.track, one.policy, first, stop)
        assert window is not None and int(told.track.end_ns[window]) == one.event_ns
        differing = _differing(told.label.policy, one)
        assert differing in ({one.field}, {"on", "off"})


def _differing(old: LabelPolicy, one: PolicyProposal) -> set[str]:
    return {name for name in old.__struct_fields__ if getattr(old, name) != getattr(one.policy, name)}
