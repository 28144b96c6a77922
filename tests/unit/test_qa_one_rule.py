"""One rule decides everywhere: score, diff, tune and why count the same on the same corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.decision import ONE
from galago_workstation.qa.baseline import make_baseline
from galago_workstation.qa.corpus_score import score
from galago_workstation.qa.det_curve import det_curve
from galago_workstation.qa.judged_corpus import JudgedCorpus
from galago_workstation.qa.judged_recording import JudgedRecording, judge
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.redecision import redecide, with_policy
from galago_workstation.qa.replay_comparison import compare_bundles
from galago_workstation.qa.replayed import Replayed, Truth, TruthList
from galago_workstation.qa.tuning import promise_under
from galago_workstation.qa.why import cost_of
from test_kit.replays import MS, S, decided, plain_label

FEW = st.sampled_from([0, 20_000, 40_000, 60_000, ONE])
NOTHING = plain_label("nothing", background=True)


@st.composite
def policies(draw: st.DrawFn) -> LabelPolicy:
    on = draw(FEW)
    return LabelPolicy(
        on=on / ONE,
        off=draw(st.integers(0, on)) / ONE,
        smoothing_windows=draw(st.integers(1, 6)),
        min_count=draw(st.integers(1, 3)),
        refractory_ms=draw(st.sampled_from([0, 150, 1000])),
    )


@st.composite
def truth_lists(draw: st.DrawFn) -> TruthList:
    """Truths of one label do not overlap, as in files of labels; those of two labels may."""
    events = []
    for label in ("a", "b"):
        marks = sorted(draw(st.sets(st.integers(0, 40), max_size=8)))
        pairs = zip(marks[::2], marks[1::2], strict=False)
        events += [Truth(start * 100 * MS, end * 100 * MS, label) for start, end in pairs]
    edges = sorted(draw(st.sets(st.integers(0, 40), max_size=4)))
    ignored = [(low * 100 * MS, high * 100 * MS) for low, high in zip(edges[::2], edges[1::2], strict=False)]
    order = sorted(events, key=lambda one: (one.start_ns, one.end_ns, one.label))
    return TruthList(tuple(order), tuple(ignored))


@st.composite
def corpora(draw: st.DrawFn) -> list[Replayed]:
    labels = [Label(name=name, policy=draw(policies())) for name in ("a", "b")]
    receptive_ns = draw(st.sampled_from([100 * MS, 300 * MS]))
    return [
        decided(
            draw(st.lists(st.tuples(FEW, FEW, FEW), min_size=1, max_size=40)),
            [*labels, NOTHING],
            truth=draw(st.none() | truth_lists()),
            restart=draw(st.sets(st.integers(1, 40), max_size=2)),
            receptive_ns=receptive_ns,
            gap_ns=draw(st.sampled_from([200 * MS, 3 * S])),
            name=f"{number}.wav",
        )
        for number in range(draw(st.integers(1, 4)))
    ]


@st.composite
def rules(draw: st.DrawFn) -> MatchingRule:
    return MatchingRule(
        pre_ns=draw(st.sampled_from([0, 0, 100 * MS, 500 * MS])),
        post_ns=draw(st.sampled_from([None, None, 0, 100 * MS, 700 * MS])),
        most_delay_ns=draw(st.sampled_from([None, None, 100 * MS, 300 * MS])),
    )


def counts(judged: Sequence[JudgedRecording], label: str) -> tuple[list[int], list[int], list[int]]:
    """Found, missed and false, of each recording."""
    truths = [[one.fate for one in each.truths if one.truth.label == label] for each in judged]
    events = [[one.fate for one in each.events if one.event.label == label] for each in judged]
    return (
        [fates.count("found") for fates in truths],
        [fates.count("missed") for fates in truths],
        [fates.count("false") + fates.count("cross") for fates in events],
    )


@settings(max_examples=150, deadline=None)
@given(corpora(), rules())
def test_score_diff_baseline_tune_why_and_the_curve_count_the_same(
    replays: list[Replayed], rule: MatchingRule
) -> None:
    if not any(one.truth is not None for one in replays):
        return
    labelled = [one for one in replays if one.truth is not None]
    judged = [judge(one, rule) for one in labelled]
    if not sum(one.watched.valid_ns for one in judged):
        return
    scored = {one.label: one for one in score(replays, rule).overall.labels}
    compared = compare_bundles(replays, replays, rule=rule)
    kept = {one.label: one for one in make_baseline(replays, rule).figures}
    assert compared.diff.changes == ()
    for label, one in scored.items():
        found, missed, false = (sum(each) for each in counts(judged, label))
        false_of_score = one.false_alarms + one.cross_triggers
        assert (one.found.count, one.missed, false_of_score) == (found, missed, false)
        row = next(row for row in compared.right if row.label == label)
        alarms = [
            new
            for each in compared.judged
            for _, new in each.alarms
            if new is not None and new.label == label
        ]
        assert (row.both, row.neither, row.only_old, row.only_new) == (found, missed, 0, 0)
        assert len(alarms) == false
        hours = sum(each.hours_of(label) for each in compared.judged if each.labelled)
        assert abs(hours - one.false_rate.hours) < 1e-9
        assert (kept[label].found, kept[label].there, kept[label].false_alarms) == (
            found,
            found + missed,
            false,
        )
        corpus = JudgedCorpus(replays, label, rule)
        policy = next(each.policy for each in replays[0].labels if each.name == label)
        promised = promise_under(corpus, policy)
        assert (promised.found, promised.truths - promised.found, promised.false) == (found, missed, false)
        assert abs(24 * promised.days - one.false_rate.hours) < 1e-9
        cost = cost_of(corpus, policy, policy)
        assert (cost.found, cost.truths - cost.found, cost.false) == (found, missed, false)
        assert (cost.found_more, cost.false_more, cost.false_more_per_day) == (0, 0, 0.0)
        point = det_curve(replays, label, rule, most_points=2).policy
        assert (point.missed, point.false) == (missed, false)


@settings(max_examples=150, deadline=None)
@given(corpora(), rules(), policies())
def test_what_judges_thousands_of_policies_counts_as_the_judging_of_each_event(
    replays: list[Replayed], rule: MatchingRule, policy: LabelPolicy
) -> None:
    """Under any policy, by recording, with the same delays and repeats; the reference is ``judge``."""
    corpus = JudgedCorpus(replays, "a", rule)
    events = corpus.track.on_periods(policy).events()
    fast, watched = corpus.judge(events), corpus.watched(policy.smoothing_windows)
    judged = []
    for one in corpus.recordings:
        labels = with_policy(one.labels, "a", policy)
        judged.append(judge(replace(one, labels=labels, events=redecide(one, labels)), rule))
    found, missed, false = counts(judged, "a")
    assert fast.found.tolist() == found and fast.false.tolist() == false
    assert (watched.truths - fast.found).tolist() == missed
    assert watched.valid_ns.tolist() == [one.watched_by_label["a"].valid_ns for one in judged]
    delays = [one.delay_ns for each in judged for one in each.truths if one.truth.label == "a"]
    aside = corpus.aside(events)
    assert aside.delays_ns.tolist() == sorted(each for each in delays if each is not None)
    fates = [one.fate for each in judged for one in each.events if one.event.label == "a"]
    assert aside.repeats == fates.count("repeat")


def test_an_event_behind_the_bound_on_the_delay_is_late_and_no_false_alarm() -> None:
    """True from 1.0 to 3.0 s, decided at 2.5 s: found with a bound of 1.5 s and not with one of 1.4 s."""
    rows = [(ONE if number == 24 else 0,) for number in range(60)]
    replayed = decided(rows, [plain_label("a")], truth=TruthList((Truth(1 * S, 3 * S, "a"),)))
    for bound_ns, fates in ((1_500 * MS, ("found", "found")), (1_400 * MS, ("missed", "late"))):
        rule = MatchingRule(most_delay_ns=bound_ns)
        judged = judge(replayed, rule)
        assert (judged.truths[0].fate, judged.events[0].fate) == fates
        (row,) = score([replayed], rule).overall.labels
        assert (row.late, row.false_alarms, row.repeats) == (int(fates[1] == "late"), 0, 0)
        assert score([replayed], rule).rule.most_delay_ns == bound_ns


def test_a_truth_without_a_decision_in_its_time_is_in_nobodys_count() -> None:
    """Smoothing over 20 windows of 100 ms is ready at 2.0 s: a truth of 0.5 to 1.0 s cannot be found."""
    rows = [(0,)] * 60
    replayed = decided(rows, [plain_label("a")], truth=TruthList((Truth(500 * MS, 1 * S, "a"),)))
    corpus = JudgedCorpus([replayed], "a", MatchingRule())
    assert corpus.watched(1).truths.tolist() == [1] and corpus.watched(20).truths.tolist() == [0]
    assert corpus.watched(1).valid_ns.tolist() == [5_900 * MS]
    assert corpus.watched(20).valid_ns.tolist() == [4_000 * MS]
    old = replayed.labels[0].policy
    cost = cost_of(corpus, old, msgspec.structs.replace(old, smoothing_windows=20))
    assert cost.truths == 0 and np.isfinite(cost.false_more_per_day)


def test_a_moment_at_the_very_start_of_an_ignored_stretch_is_ignored() -> None:
    moment = TruthList((Truth(2 * S, 2 * S, "a"),), ((2 * S, 3 * S),))
    (truth,) = judge(decided([(0,)] * 60, [plain_label("a")], truth=moment), MatchingRule()).truths
    assert truth.fate == "ignored"
