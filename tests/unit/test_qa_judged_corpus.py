"""Events against truth, over many recordings at once: the same as one by one, and as many found as can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest

from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.records import GapRecord
from galago_edge.decision import ONE
from galago_workstation.qa.exact_intervals import poisson_interval, share_interval
from galago_workstation.qa.judged_corpus import JudgedCorpus
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.replayed import Replayed, Stretch, Truth, TruthList, WindowScores

MS, S = 1_000_000, 1_000_000_000
POLICY = LabelPolicy(on=0.5, off=0.5, smoothing_windows=1, min_count=1, refractory_ms=0)
LABELS = (Label(name="nothing", background=True), Label(name="dog", policy=POLICY))


def recording(
    events: list[int],
    truths: list[tuple[int, int]] | None,
    *,
    ignored: tuple[Stretch, ...] = (),
    gaps: tuple[Stretch, ...] = (),
    seconds: int = 10,
    name: str = "a.wav",
) -> Replayed:
    """Windows of 100 ms; the events are decided at these windows; truths and all times in 100 ms."""
    count = seconds * 10
    q16 = np.zeros((count, 2), np.int32)
    q16[events, 1] = ONE
    index = np.arange(count, dtype=np.int64)
    span = np.stack([index, index + 1, index * 100 * MS, (index + 1) * 100 * MS], axis=1)
    restart = index == 0
    told = None
    if truths is not None:
        listed = tuple(Truth(a * 100 * MS, b * 100 * MS, "dog") for a, b in sorted(truths))
        told = TruthList(listed, tuple((a * 100 * MS, b * 100 * MS) for a, b in ignored))
    return Replayed(
        recording=name, sha256="a" * 64, bundle="b" * 64, labels=LABELS, receptive_ns=100 * MS,
        duration_ns=seconds * S, events=(), states=(),
        gaps=tuple(
            GapRecord(stream="s", from_ns=a * 100 * MS, to_ns=b * 100 * MS, cause="stall") for a, b in gaps
        ),
        scores=WindowScores(span, q16, np.zeros(count, np.bool_), restart), truth=told,
    )  # fmt: skip


RULE = MatchingRule(post_ns=0)


def judged(*recordings: Replayed, rule: MatchingRule = RULE) -> tuple[list[int], list[int], list[float]]:
    corpus = JudgedCorpus(recordings, "dog", rule)
    events = corpus.track.on_periods(POLICY).events()
    found = corpus.judge(events)
    delays = sorted((corpus.aside(events).delays_ns / 1e9).round(3).tolist())
    return found.found.tolist(), found.false.tolist(), delays


def test_found_missed_false_and_repeats_by_hand() -> None:
    """At 1.1, 2.1, 2.3, 5.1 s; true 1.0 to 1.5, 2.0 to 2.5, 8.0 to 8.5: 2 found, 1 repeat, 1 false."""
    one = recording([10, 20, 22, 50], [(10, 15), (20, 25), (80, 85)])
    assert judged(one) == ([2], [1], [0.1, 0.1])


def test_the_decision_counts_and_not_the_start_and_both_ends_belong_to_the_interval() -> None:
    """Windows end 0.1 s after they begin: the window of 0.9 s is decided at 1.0, the one of 1.5 s at 1.6."""
    assert judged(recording([9], [(10, 15)]))[0] == [1]
    assert judged(recording([8], [(10, 15)])) == ([0], [1], [])
    assert judged(recording([14], [(10, 15)]))[0] == [1]
    assert judged(recording([15], [(10, 15)])) == ([0], [1], [])
    assert judged(recording([15], [(10, 15)]), rule=MatchingRule(post_ns=100 * MS))[0] == [1]
    assert judged(recording([8], [(10, 15)]), rule=MatchingRule(pre_ns=100 * MS, post_ns=0))[2] == [-0.1]
    # the usual tolerance: one window and one hop
    assert judged(recording([16], [(10, 15)]), rule=MatchingRule())[0] == [1]
    assert judged(recording([17], [(10, 15)]), rule=MatchingRule())[0] == [0]


def test_a_late_event_is_neither_found_nor_false() -> None:
    rule = MatchingRule(post_ns=0, most_delay_ns=300 * MS)
    assert judged(recording([14], [(10, 20)]), rule=rule) == ([0], [0], [])
    assert judged(recording([12], [(10, 20)]), rule=rule) == ([1], [0], [0.3])


def test_nothing_is_judged_in_ignored_stretches_and_they_are_no_time() -> None:
    one = recording([10, 30, 50], [(30, 35)], ignored=((8, 32),), gaps=((60, 70), (65, 80)))
    assert judged(one) == ([0], [1], [])
    corpus = JudgedCorpus((one,), "dog", RULE)
    assert corpus.watched(1).valid_ns.tolist() == [10 * S - 100 * MS - 2_400 * MS - 2_000 * MS]
    assert corpus.watched(8).valid_ns.tolist() == [10 * S - 800 * MS - 2_400 * MS - 2_000 * MS]


def test_recordings_are_counted_each_on_its_own_and_unlabelled_ones_not_at_all() -> None:
    first = recording([10], [(10, 15)])
    second = recording([10, 40], [(80, 85)], name="b.wav")
    corpus = JudgedCorpus((first, recording([5], None, name="c.wav"), second), "dog", RULE)
    assert corpus.unlabelled == 1 and corpus.watched(1).truths.tolist() == [1, 1]
    found = corpus.judge(corpus.track.on_periods(POLICY).events())
    assert (found.found.tolist(), found.false.tolist()) == ([1, 0], [0, 2])


def test_overlapping_truths_are_matched_as_well_as_possible() -> None:
    """A greedy match of 2.0 s with the long one would leave 3.1 s for nobody: the short one ended at 2.5."""
    one = recording([19, 30], [(10, 40), (15, 25)])
    assert judged(one)[0] == [2]


@settings(max_examples=300, deadline=None)
@given(
    events=st.sets(st.integers(0, 98)),
    truths=st.lists(st.tuples(st.integers(0, 90), st.integers(0, 30)), max_size=8),
    before=st.integers(0, 5),
    after=st.integers(0, 5),
    delay=st.none() | st.integers(0, 20),
)
def test_as_many_are_found_as_any_assignment_could(
    events: set[int], truths: list[tuple[int, int]], before: int, after: int, delay: int | None
) -> None:
    spread = sorted(event for event in events if event - 1 not in events)  # neighbours are one on-period
    pairs = [(start, start + length) for start, length in truths]
    rule = MatchingRule(
        pre_ns=before * 100 * MS,
        post_ns=after * 100 * MS,
        most_delay_ns=None if delay is None else delay * 100 * MS,
    )
    found, false, delays = judged(recording(sorted(events), pairs), rule=rule)
    moments = [event + 1 for event in spread]
    fits = np.array(
        [
            [a - before <= t <= min(b + after, a + delay if delay is not None else 10**9) for t in moments]
            for a, b in pairs
        ]
    ).reshape(len(pairs), len(moments))
    rows, columns = linear_sum_assignment(-fits.astype(int))
    assert found == [int(fits[rows, columns].sum())] == [len(delays)]
    assert false == [sum(all(not a - before <= t <= b + after for a, b in pairs) for t in moments)]


@given(found=st.integers(0, 40), more=st.integers(0, 40))
def test_the_interval_of_a_share_is_scipys(found: int, more: int) -> None:
    if found + more:
        expected = binomtest(found, found + more).proportion_ci(0.95, method="exact")
        assert share_interval(found, found + more) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_interval_of_no_false_alarm_is_that_of_the_tables() -> None:
    """One-sided 95 % is 3.0 / T; two-sided 3.69."""
    assert poisson_interval(0)[1] == pytest.approx(3.689, abs=1e-3)
    assert poisson_interval(0, 0.9)[1] == pytest.approx(2.996, abs=1e-3)
    assert poisson_interval(10) == pytest.approx((4.795, 18.390), abs=1e-3)
