"""Smoothing, hysteresis, minimum count, refractory time: what fires when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.streams import Span
from galago_edge.decision import ONE, Decider, Ended, Fired, to_q16

MS = 1_000_000
PLAIN: dict[str, Any] = {"on": 0.5, "off": 0.5, "smoothing_windows": 1, "min_count": 1, "refractory_ms": 0}
"""A policy that does nothing but compare: every test changes only what it is about."""


def label(name: str = "dog", *, background: bool = False, **policy: Any) -> Label:
    return Label(name=name, background=background, policy=LabelPolicy(**{**PLAIN, **policy}))


def span(window: int, *, hop_ms: int = 100, length_ms: int = 100) -> Span:
    return Span(
        window * hop_ms, window * hop_ms + length_ms, window * hop_ms * MS, (window * hop_ms + length_ms) * MS
    )


def q16(*scores: float) -> np.ndarray:
    return np.array([to_q16(score) for score in scores], np.int64)


def run(labels: Sequence[Label], *rows: Sequence[float]) -> list[tuple[int, str, str]]:
    """Return (window, "+" or "-", label) of what 100 ms windows with these scores give."""
    decider = Decider(labels)
    return [
        (window, "+" if isinstance(found, Fired) else "-", found.label)
        for window, row in enumerate(rows)
        for found in decider.step(q16(*row), span(window))
    ]


def one(policy: Label, *scores: float) -> list[tuple[int, str]]:
    return [(window, sign) for window, sign, _ in run([policy], *([score] for score in scores))]


# Golden sequences, one policy key at a time. Each fails when its key is ignored.


def test_on_is_reached_from_below_inclusively() -> None:
    assert one(label(on=0.75, off=0.5), 0.5, 0.7499, 0.75) == [(2, "+")]
    assert one(label(on=0.25, off=0.25), 0.24, 0.25) == [(1, "+")]


def test_off_keeps_a_label_on_between_the_thresholds() -> None:
    """0.5 is exactly off: still on. Without hysteresis the label would end at 1 and fire again at 3."""
    assert one(label(on=0.75, off=0.5), 0.8, 0.6, 0.5, 0.8, 0.4999, 0.8) == [(0, "+"), (4, "-"), (5, "+")]
    assert one(label(on=0.75, off=0.75), 0.8, 0.6, 0.8) == [(0, "+"), (1, "-"), (2, "+")]


def test_a_label_that_went_off_has_to_reach_on_again() -> None:
    assert one(label(on=0.75, off=0.5), 0.8, 0.4, 0.6, 0.74, 0.75) == [(0, "+"), (1, "-"), (4, "+")]


def test_smoothing_is_the_mean_of_the_last_windows() -> None:
    """Means of 4: 0.5 at window 4 (0.1 0.4 0.7 0.8); a single peak of 1.0 never gets there."""
    policy = label(smoothing_windows=4)
    assert one(policy, 0.0, 0.1, 0.4, 0.7, 0.8) == [(4, "+")]
    assert one(policy, 0.0, 0.0, 0.0, 1.0, 0.9, 0.0, 0.0, 0.0) == []
    assert one(label(smoothing_windows=1), 0.0, 0.0, 0.0, 1.0) == [(3, "+")]


def test_smoothing_forgets_what_is_older() -> None:
    assert one(label(smoothing_windows=2), 1.0, 1.0, 0.5, 0.4) == [(1, "+"), (3, "-")]


def test_warm_up_is_not_a_row_of_zeros() -> None:
    """With zeros in front, the mean of the first 3 scores of 0.9 would pass 0.5 at window 1."""
    decider = Decider([label(smoothing_windows=3)])
    assert decider.warm_up
    assert decider.step(q16(0.9), span(0)) == []
    assert decider.step(q16(0.9), span(1)) == []
    assert decider.warm_up
    [fired] = decider.step(q16(0.9), span(2))
    assert not decider.warm_up
    assert fired == Fired("dog", 0, to_q16(0.9), Span(200, 300, 200 * MS, 300 * MS))


def test_warm_up_lasts_until_the_first_label_can_be_decided() -> None:
    decider = Decider(
        [label("bg", background=True), label("a", smoothing_windows=3), label("b", smoothing_windows=2)]
    )
    assert [(decider.step(q16(0, 0, 0), span(window)), decider.warm_up)[1] for window in range(3)] == [
        True,
        False,
        False,
    ]


def test_labels_smooth_over_lengths_of_their_own() -> None:
    labels = [label("short"), label("long", smoothing_windows=3), label("middle", smoothing_windows=2)]
    rows = [(0.9, 0.9, 0.9)] * 2 + [(0.0, 0.0, 0.0)] + [(0.9, 0.9, 0.9)] * 2
    assert run(labels, *rows) == [
        (0, "+", "short"),
        (1, "+", "middle"),
        (2, "-", "short"),
        (2, "-", "middle"),
        (2, "+", "long"),  # 1.8 / 3 at the very window that ends the others
        (3, "+", "short"),
        (4, "+", "middle"),
    ]


def test_min_count_wants_consecutive_windows() -> None:
    assert one(label(min_count=3), 0.9, 0.9, 0.1, 0.9, 0.9, 0.9, 0.9) == [(5, "+")]
    assert one(label(min_count=1), 0.9, 0.9, 0.1) == [(0, "+"), (2, "-")]


def test_an_on_period_that_never_fired_ends_in_silence() -> None:
    assert one(label(min_count=3), 0.9, 0.9, 0.1, 0.1) == []


def test_an_event_starts_with_the_first_window_of_its_on_period() -> None:
    decider = Decider([label(min_count=3, smoothing_windows=2)])
    found = [decider.step(q16(score), span(window)) for window, score in enumerate((0, 0, 0.9, 0.9, 0.3, 0))]
    # means: -, 0, 0.45, 0.9, 0.6, 0.15
    assert found == [[], [], [], [], [], []]
    found = [decider.step(q16(0.9), span(window)) for window in range(6, 10)]
    # means: 0.45, 0.9, 0.9, 0.9
    assert found[:3] == [[], [], []]
    assert found[3] == [Fired("dog", 0, to_q16(0.9), Span(700, 1000, 700 * MS, 1000 * MS))]


def test_an_event_comes_once_per_on_period() -> None:
    assert one(label(), *[0.9] * 50, 0.1, 0.9) == [(0, "+"), (50, "-"), (51, "+")]


def test_refractory_time_counts_from_the_end_of_the_last_event() -> None:
    """Windows end at 100, 200 ... ms. The first event ends at 100 ms: window 5, at 600, is 500 ms later."""
    scores = (0.9, 0.1, 0.9, 0.1, 0.1, 0.9)
    assert one(label(refractory_ms=500), *scores) == [(0, "+"), (1, "-"), (5, "+")]
    assert one(label(refractory_ms=501), *scores) == [(0, "+"), (1, "-")]
    assert one(label(refractory_ms=0), *scores) == [(0, "+"), (1, "-"), (2, "+"), (3, "-"), (5, "+")]


def test_a_label_still_on_fires_when_its_refractory_time_ends() -> None:
    decider = Decider([label(refractory_ms=400)])
    found = [decider.step(q16(score), span(window)) for window, score in enumerate((0.9, 0, 0.9, 0.9, 0.9))]
    assert found[4] == [Fired("dog", 0, to_q16(0.9), Span(200, 500, 200 * MS, 500 * MS))]
    assert found[2:4] == [[], []]


def test_refractory_time_is_stream_time_whatever_the_number_of_windows() -> None:
    """The same five windows, ten times as far apart: now the refractory time has passed."""
    near, far = Decider([label(refractory_ms=2000)]), Decider([label(refractory_ms=2000)])
    fired = {
        hop_ms: sum(
            isinstance(found, Fired)
            for window, score in enumerate((0.9, 0, 0, 0.9, 0))
            for found in decider.step(q16(score), span(window, hop_ms=hop_ms))
        )
        for hop_ms, decider in ((100, near), (1000, far))
    }
    assert fired == {100: 1, 1000: 2}


def test_refractory_time_is_exact_to_the_nanosecond() -> None:
    """At 1e18 ns a float has steps of 128 ns."""
    base = 10**18
    for short_ns, expected in ((1, 1), (0, 2)):
        decider = Decider([label(refractory_ms=1)])
        ends = (base + 1, base + 2, base + 1 + MS - short_ns)
        steps = [
            decider.step(q16(score), Span(0, 1, 0, end))
            for score, end in zip((0.9, 0.0, 0.9), ends, strict=True)
        ]
        assert sum(isinstance(found, Fired) for step in steps for found in step) == expected


def test_refractory_time_is_each_labels_own() -> None:
    labels = [label("a", refractory_ms=10_000), label("b")]
    assert run(labels, (0.9, 0), (0, 0.9), (0.9, 0), (0, 0.9)) == [
        (0, "+", "a"),
        (1, "-", "a"),
        (1, "+", "b"),
        (2, "-", "b"),
        (3, "+", "b"),
    ]


def test_a_background_label_never_fires_nor_ends() -> None:
    assert run([label("noise", background=True), label("dog")], (1.0, 0.0), (1.0, 0.6), (0.0, 0.0)) == [
        (1, "+", "dog"),
        (2, "-", "dog"),
    ]
    assert run([label("noise"), label("dog")], (1.0, 0.0))[0] == (0, "+", "noise")


def test_several_labels_fire_in_one_window_in_label_order() -> None:
    labels = [label(name) for name in "cab"]
    assert run(labels, (0.9, 0.1, 0.9), (0.1, 0.9, 0.1)) == [
        (0, "+", "c"),
        (0, "+", "b"),
        (1, "-", "c"),
        (1, "-", "b"),
        (1, "+", "a"),
    ]


def test_a_gap_ends_what_had_fired() -> None:
    """Both labels are on, one of them waits for its count: only what became an event can end."""
    decider = Decider([label(smoothing_windows=2), label("cat", smoothing_windows=2, min_count=9)])
    decider.step(q16(0.9, 0.9), span(0))
    assert len(decider.step(q16(0.9, 0.9), span(1))) == 1
    decider.step(q16(0.7, 0.9), span(2))
    # the smoothed score is that of the last window seen
    assert decider.reset() == [Ended("dog", 0, to_q16(0.8), Span(100, 300, 100 * MS, 300 * MS))]
    assert decider.reset() == []


def test_a_gap_starts_warm_up_again() -> None:
    decider = Decider([label(smoothing_windows=3)])
    for window in range(3):
        decider.step(q16(0.9), span(window))
    decider.reset()
    assert decider.warm_up
    # with zeros in place of what was before the gap, the mean would pass 0.5 at window 6
    assert [decider.step(q16(0.9), span(window)) for window in (5, 6)] == [[], []]
    [fired] = decider.step(q16(0.9), span(7))
    assert fired == Fired("dog", 0, to_q16(0.9), Span(700, 800, 700 * MS, 800 * MS))


def test_a_gap_starts_the_count_again() -> None:
    decider = Decider([label(min_count=3), label("cat")])
    for window in range(2):
        decider.step(q16(0.9, 0.0), span(window))
    decider.reset()
    # the third window completes the count that the dog had begun before the gap, when it is long off
    assert [len(decider.step(q16(0.0, 0.9), span(window))) for window in range(5, 9)] == [1, 0, 0, 0]
    found = [decider.step(q16(0.9, 0.9), span(window)) for window in range(9, 12)]
    assert [[fired.label for fired in step] for step in found] == [[], [], ["dog"]]


def test_a_gap_does_not_shorten_the_refractory_time() -> None:
    decider = Decider([label(refractory_ms=1000)])
    assert len(decider.step(q16(0.9), span(0))) == 1
    decider.reset()
    assert [len(decider.step(q16(0.9), span(window))) for window in range(5, 12)] == [0, 0, 0, 0, 0, 1, 0]


def test_reset_before_anything_happened() -> None:
    assert Decider([label()]).reset() == []


def test_scores_are_given_as_fractions_and_rounded_half_up() -> None:
    [fired] = Decider([label(on=0.0, off=0.0)]).step(np.array([16384]), span(0))
    assert fired.score == 0.25
    decider = Decider([label(on=0.0, off=0.0, smoothing_windows=2)])
    decider.step(np.array([3]), span(0))
    [fired] = decider.step(np.array([4]), span(1))
    assert fired.score_q16 == 4


def test_sums_do_not_drift_with_uptime() -> None:
    """A threshold met exactly and missed by one step of 1/65536, after 20,000 other windows."""
    random = np.random.default_rng(7)
    for missing, expected in ((0, 1), (1, 0)):
        decider = Decider([label(on=0.9, smoothing_windows=7)])
        for window, score in enumerate(random.integers(0, to_q16(0.8), 20_000)):
            decider.step(np.array([score]), span(window))
        rows = [to_q16(0.9)] * 6 + [to_q16(0.9) - missing]
        found = [decider.step(np.array([score]), span(20_000 + window)) for window, score in enumerate(rows)]
        assert [len(step) for step in found] == [0] * 6 + [expected]


def test_off_above_on_is_refused() -> None:
    with pytest.raises(
        CallerError, match=r"label dog: off is 0.6, expected at most 0.5, which is its on"
    ) as info:
        Decider([label(on=0.5, off=0.6)])
    assert info.value.reason is Reason.CONFIG_BAD


@pytest.mark.parametrize("scores", [[1], [1, 2, 3], [[1, 2]]])
def test_scores_of_another_shape_are_refused(scores: list[int]) -> None:
    with pytest.raises(ValueError, match=r"scores have shape .*, expected \(2,\)"):
        Decider([label("a"), label("b")]).step(np.array(scores), span(0))


def test_the_scores_handed_in_may_be_reused() -> None:
    """A caller may write the next window into the same array."""
    decider, scores = Decider([label(smoothing_windows=2)]), q16(1.0)
    decider.step(scores, span(0))
    scores[:] = 0
    [fired] = decider.step(scores, span(1))
    assert fired.score == 0.5


# The same rules, written a second time: slowly, with fractions, one label after the other.


@dataclass
class SlowLabel:
    label: Label
    index: int
    seen: list[Fraction] = field(default_factory=list)
    on_since: list[Span] = field(default_factory=list)
    fired: bool = False
    last_event_ns: int | None = None

    def mean(self) -> Fraction | None:
        n = self.label.policy.smoothing_windows
        return sum(self.seen[-n:], Fraction(0)) / n if len(self.seen) >= n else None

    def found(self, kind: type[Any], mean: Fraction, start: Span, end: Span) -> Any:
        rounded = int(mean * ONE + Fraction(1, 2))
        whole = Span(start.start_index, end.end_index, start.start_ns, end.end_ns)
        return kind(self.label.name, self.index, rounded, whole)

    def step(self, score: int, now: Span) -> list[Any]:
        policy = self.label.policy
        self.seen.append(Fraction(score, ONE))
        mean = self.mean()
        if self.label.background or mean is None:
            return []
        threshold = policy.off if self.on_since else policy.on
        if mean < Fraction(round(Fraction(threshold) * ONE), ONE):
            ended = [self.found(Ended, mean, self.on_since[0], now)] if self.fired else []
            self.on_since, self.fired = [], False
            return ended
        self.on_since.append(now)
        rested = self.last_event_ns is None or now.end_ns - self.last_event_ns >= policy.refractory_ms * MS
        if self.fired or len(self.on_since) < policy.min_count or not rested:
            return []
        self.fired, self.last_event_ns = True, now.end_ns
        return [self.found(Fired, mean, self.on_since[0], now)]

    def gap(self) -> list[Any]:
        mean = self.mean()
        ended = (
            [self.found(Ended, mean, self.on_since[0], self.on_since[-1])]
            if self.fired and mean is not None
            else []
        )
        self.seen, self.on_since, self.fired = [], [], False
        return ended


thresholds = st.sampled_from([0.0, 0.25, 0.3, 0.5, 0.7, 1.0])
policies = st.builds(
    lambda ends, **keys: LabelPolicy(on=max(ends), off=min(ends), **keys),
    st.tuples(thresholds, thresholds),
    smoothing_windows=st.integers(1, 3),
    min_count=st.integers(1, 3),
    refractory_ms=st.sampled_from([0, 1, 3, 10]),
)
label_lists = st.lists(st.tuples(policies, st.booleans()), min_size=1, max_size=3).map(
    lambda pairs: [
        Label(name=f"l{index}", policy=policy, background=background and index == 0)
        for index, (policy, background) in enumerate(pairs)
    ]
)
levels = st.sampled_from(
    [0, 1, to_q16(0.25), to_q16(0.3) - 1, to_q16(0.3), to_q16(0.5), to_q16(0.7), 65535, 65536]
)


@settings(max_examples=100)
@given(st.data(), label_lists)
def test_decider_agrees_with_the_rules_in_fractions(data: st.DataObject, labels: list[Label]) -> None:
    row = st.lists(levels, min_size=len(labels), max_size=len(labels))
    hops_ns = st.sampled_from([1, MS - 1, MS, 2 * MS])
    steps = data.draw(st.lists(st.tuples(row, hops_ns, st.integers(0, 15)), min_size=15, max_size=30))
    decider = Decider(labels)
    slow = [SlowLabel(label, index) for index, label in enumerate(labels)]
    now_ns = 0
    for window, (scores, hop_ns, chance) in enumerate(steps):
        if chance == 0:
            assert decider.reset() == [found for label in slow for found in label.gap()]
        now_ns += hop_ns
        now = Span(window, window + 1, now_ns, now_ns + MS)
        expected = [
            found for label, score in zip(slow, scores, strict=True) for found in label.step(score, now)
        ]
        expected.sort(key=lambda found: isinstance(found, Fired))  # what ended comes first
        assert decider.step(np.array(scores), now) == expected
        foreground = [label for label in slow if not label.label.background]
        assert decider.warm_up == all(label.mean() is None for label in foreground)
        assert decider.on().tolist() == [bool(label.on_since) for label in slow]
        assert decider.active == any(label.on_since for label in slow)
        for label, smoothed in zip(slow, decider.smoothed().tolist(), strict=True):
            mean = label.mean()
            assert mean is None or smoothed == int(mean * ONE + Fraction(1, 2))
