"""``galago qa tune`` as functions: the best policy within a budget, and a promise that others can keep."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from campaigns.tuned_promises import LABEL, SMALL, CorpusPlan, differs, made_corpus, outcome
from galago_edge.contract.errors import GalagoError
from galago_edge.contract.manifest import LabelPolicy
from galago_edge.contract.records import StateRecord
from galago_workstation.packing.policy_file import read_policies, with_policies
from galago_workstation.qa.judged_corpus import JudgedCorpus
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.replayed import TruthList
from galago_workstation.qa.tune_report import tune_labels
from galago_workstation.qa.tune_space import TuneSpace
from galago_workstation.qa.tuning import Promise, TuneGoal, folds_of, promise_of, tune
from galago_workstation.qa.tuning_words import nothing_found, policy_toml, tune_data, tune_lines

RULE = MatchingRule()
TINY = TuneSpace(
    on=(0.3, 0.5, 0.7, 0.9), off_shares=(1.0,), smoothing=(1, 5), counts=(1, 3), refractory_ms=(1_000,)
)
SHORT = CorpusPlan(recordings=8, hours=0.5)


@pytest.fixture(scope="module")
def corpus() -> JudgedCorpus:
    return JudgedCorpus(made_corpus(3, SHORT), LABEL, RULE)


def test_the_policy_is_the_best_of_the_grid_within_its_share_of_the_budget(corpus: JudgedCorpus) -> None:
    """By hand: every policy of the grid, one at a time."""
    goal = TuneGoal(false_per_day=200)
    tuned = tune(corpus, goal, TINY)
    best, space = -1, TINY.around(LabelPolicy())
    for group in space.groups():
        for policy in group:
            counts = corpus.judge(corpus.track.on_periods(policy).events())
            days = float(corpus.watched(policy.smoothing_windows).days.sum())
            if counts.false.sum() <= 200 * tuned.margin * days:
                best = max(best, int(counts.found.sum()))
    assert tuned.seen.found == best and tuned.within_budget
    assert tuned.seen.false <= 200 * tuned.margin * tuned.seen.days
    assert tuned.policy in [policy for group in space.groups() for policy in group]
    assert len(tuned.aside.delays_ns) == best and (np.diff(tuned.aside.delays_ns) >= 0).all()


def test_a_larger_budget_never_finds_less_on_what_was_seen(corpus: JudgedCorpus) -> None:
    found = [tune(corpus, TuneGoal(false_per_day=budget), TINY) for budget in (50, 400, 3_000)]
    seen = [one.seen.found for one in found if one.margin == found[0].margin]
    assert seen == sorted(seen)
    points = found[1].curve
    assert [point.budget for point in points] == [25, 50, 100, 200, 400, 800, 1600]
    assert all(point.promise.truths == found[1].seen.truths for point in points)


def test_a_bound_on_the_delay_leaves_out_what_comes_later() -> None:
    replays = made_corpus(3, SHORT)
    bounded = MatchingRule(most_delay_ns=400_000_000)
    quick = tune(JudgedCorpus(replays, LABEL, bounded), TuneGoal(false_per_day=300), TINY)
    slow = tune(JudgedCorpus(replays, LABEL, RULE), TuneGoal(false_per_day=300), TINY)
    assert quick.aside.delays_ns.max() <= 400_000_000 < slow.aside.delays_ns.max()


def test_promise_and_outcome_on_the_other_half_of_twenty_recordings() -> None:
    """What tuning promises on ten recordings, on the ten that it has not seen: the issue's own show."""
    replays = made_corpus(0)
    tuned = tune(JudgedCorpus(replays[:10], LABEL, RULE), TuneGoal(false_per_day=24), SMALL)
    came = outcome(tuned, replays[10:], RULE)
    assert tuned.promise is not None
    assert differs(tuned.promise, came) == (False, False)
    assert came.false_interval[0] <= 24
    assert tuned.promise.recall > 0.4


def test_folds_hold_whole_recordings_and_whole_groups(corpus: JudgedCorpus) -> None:
    alone = folds_of(corpus, TuneGoal(false_per_day=1))
    assert sorted(np.concatenate(alone).tolist()) == list(range(8)) and len(alone) == 5
    by_site = folds_of(corpus, TuneGoal(false_per_day=1, group_by="site", folds=3))
    assert sorted(np.concatenate(by_site).tolist()) == list(range(8)) and len(by_site) == 3
    homes = [{corpus.recordings[number].tags["site"] for number in fold.tolist()} for fold in by_site]
    assert sum(map(len, homes)) == len(set().union(*homes)) == 5


def test_the_promise_is_made_by_policies_that_have_not_seen_what_they_are_judged_on(
    corpus: JudgedCorpus,
) -> None:
    """Truth that is drawn at random has nothing to learn: the promise must not be better than chance."""
    rng = np.random.default_rng(1)
    replays = []
    for one in corpus.recordings:
        assert one.truth is not None
        moved = [
            dataclasses.replace(true, start_ns=at, end_ns=at + 500_000_000)
            for true, at in zip(
                one.truth.events,
                sorted(rng.integers(0, one.duration_ns - 10**9, len(one.truth.events)).tolist()),
                strict=True,
            )
        ]
        replays.append(dataclasses.replace(one, truth=TruthList(tuple(moved))))
    tuned = tune(JudgedCorpus(replays, LABEL, RULE), TuneGoal(false_per_day=400), TINY)
    assert tuned.promise is not None and tuned.promise.recall <= 0.2


def test_recordings_that_differ_by_more_than_chance_widen_the_intervals() -> None:
    days, truths = np.ones(4), np.full(4, 10)
    even = promise_of(np.array([5, 5, 5, 5]), np.array([4, 4, 4, 4]), truths, days)
    odd = promise_of(np.array([10, 10, 0, 0]), np.array([16, 0, 0, 0]), truths, days)
    assert (even.found_dispersion, even.false_dispersion) == (1.0, 1.0)
    # by hand: sum of (16 - 4)^2 / 4 and three times (0 - 4)^2 / 4 is 48, over 3 degrees of freedom
    assert odd.false_dispersion == pytest.approx(16)
    assert odd.found_dispersion == pytest.approx(4 * 25 / 2.5 / 3)
    assert odd.false_interval[1] > even.false_interval[1] and odd.recall_interval[0] < even.recall_interval[0]
    assert even.false_interval == pytest.approx((16 / 4 * 0.5716, 16 / 4 * 1.6239), rel=1e-3)


def test_what_is_too_little_is_said_with_what_would_be_needed() -> None:
    few = made_corpus(5, CorpusPlan(recordings=2, hours=0.2, truths_per_hour=15))
    report = tune_labels(few, [LABEL], TuneGoal(false_per_day=1), space=TINY)
    told = "\n".join(tune_lines(report))
    assert "24.0 min of watched time cannot show 1 false alarm a day (two-sided 95 %)" in told
    assert "even without a single one: 88.53 h are needed" in told
    assert "true events give recall an interval wider than 30 points (two-sided 95 %): about" in told
    free = tune_labels(few, [LABEL], TuneGoal(false_per_day=0), space=TINY)
    assert "no time, however long, can show a budget of 0 false alarms a day" in "\n".join(tune_lines(free))
    assert "2 groups of recordings only" in told
    one = tune_labels(few[:1], [LABEL], TuneGoal(false_per_day=1), space=TINY)
    assert one.labels[0].promise is None
    assert "all recordings are one group, 2 are needed and 5 are better" in "\n".join(tune_lines(one))


def test_a_tag_to_group_by_that_no_recording_has_is_refused_and_one_that_some_lack_is_said() -> None:
    replays = [dataclasses.replace(one, tags={"site": "barn"}) for one in made_corpus(3, SHORT)]
    with pytest.raises(GalagoError, match=r"no recording has the tag 'sit'; did you mean site\?"):
        tune_labels(replays, [], TuneGoal(false_per_day=200, group_by="sit"), space=TINY)

    replays[0] = dataclasses.replace(replays[0], tags={})
    report = tune_labels(replays, [LABEL], TuneGoal(false_per_day=200, group_by="site"), space=TINY)

    assert "1 of 8 recordings has no tag 'site': each is a group of its own" in report.lacking[0]
    assert report.labels[0].groups == 2


def test_nothing_to_learn_from_is_one_line() -> None:
    replays = made_corpus(5, CorpusPlan(recordings=2, hours=0.1))
    bare = [dataclasses.replace(one, truth=None) for one in replays]
    empty = [dataclasses.replace(one, truth=TruthList(())) for one in replays]
    ignored = [dataclasses.replace(one, truth=TruthList((), ((0, one.duration_ns),))) for one in replays]
    for corpus, said in ((bare, "none of 2 recordings is labelled"), (ignored, "no time that was watched")):
        with pytest.raises(GalagoError, match=said) as caught:
            tune_labels(corpus, [LABEL], TuneGoal(false_per_day=1), space=TINY)
        assert caught.value.reason == "DATA_BAD"
    with pytest.raises(GalagoError, match="no labelled recording has a true 'glass'"):
        tune_labels(empty, [LABEL], TuneGoal(false_per_day=1), space=TINY)
    with pytest.raises(GalagoError, match="no labelled recording has a true 'glass'"):
        tune_labels(empty, [], TuneGoal(false_per_day=1), space=TINY)  # nothing is tuned at all
    with pytest.raises(GalagoError, match="'door' is no label"):
        tune_labels(replays, ["door"], TuneGoal(false_per_day=1), space=TINY)


def test_the_file_is_one_that_repolicy_takes_and_the_data_are_json(tmp_path: Path) -> None:
    replays = made_corpus(3, SHORT)
    half = dataclasses.replace(replays[0], truth=None)
    report = tune_labels([half, *replays[1:]], [], TuneGoal(false_per_day=300), space=TINY)
    path = tmp_path / "policy.toml"
    path.write_bytes(policy_toml(report))
    given = read_policies(path)
    assert given.bundle == replays[0].bundle
    labels, changes = with_policies(replays[0].labels, given, str(path))
    assert labels[1].policy == report.labels[0].policy and changes
    data = json.loads(json.dumps(tune_data(report), allow_nan=False))
    assert data["labels"][0]["policy"] == msgspec.to_builtins(report.labels[0].policy)
    assert data["unlabelled"] == 1 and "1 recording is not labelled" in tune_lines(report)[-1]
    assert tune_lines(report)[1].startswith("glass")


def test_where_a_gate_hides_too_much_nothing_is_promised() -> None:
    """The gate was closed but for a tenth of the time: a policy that is on longer would have had more run."""
    replays = []
    for one in made_corpus(3, SHORT):
        assert one.scores is not None
        skipped = np.arange(len(one.scores.skipped)) % 20 >= 2
        q16 = np.where(skipped[:, None], 0, np.maximum(one.scores.q16, 1)).astype(np.int32)
        q16[~skipped, 1] = np.maximum(q16[~skipped, 1], 40_000)
        scores = dataclasses.replace(one.scores, q16=q16, skipped=skipped)
        state = StateRecord(
            stream="r", subject="stream", state="started", index=0, ns=0, detail={"gate": "level"}
        )
        replays.append(dataclasses.replace(one, scores=scores, states=(state,)))
    report = tune_labels(replays, [LABEL], TuneGoal(false_per_day=10**6), space=TINY)
    assert report.doubts[0].gated and report.doubts[0].doubtful > 0.01 * report.doubts[0].windows
    assert report.labels[0].promise is None and report.labels[0].curve == ()
    told = "\n".join(tune_lines(report))
    assert "nothing is promised" in told and "the activity gate" in told


def test_a_policy_that_finds_nothing_is_told_first_and_refused_to_be_written() -> None:
    """Truth where nothing is to be heard: within no false alarm at all, nothing is found."""
    replays = []
    for one in made_corpus(3, SHORT):
        assert one.scores is not None
        quiet = dataclasses.replace(one.scores, q16=np.zeros_like(one.scores.q16))
        replays.append(dataclasses.replace(one, scores=quiet))
    report = tune_labels(replays, [LABEL], TuneGoal(false_per_day=1), space=TINY)
    refused = nothing_found(report)
    assert refused is not None and (refused.exit_code, refused.reason) == (1, "DATA_BAD")
    assert "the one proposed for 'glass' finds nothing" in str(refused)
    assert "--allow-nothing-found" in refused.hint
    truths = report.labels[0].seen.truths
    assert report.lacking[0][0].startswith(
        f"this policy finds nothing, 0 of {truths} on these recordings: allow"
    )
    assert tune_data(report)["labels"][0]["finds_nothing"]
    assert b"# glass: this policy finds nothing, 0 of" in policy_toml(report)
    able = tune_labels(made_corpus(3, SHORT), [LABEL], TuneGoal(false_per_day=300), space=TINY)
    assert nothing_found(able) is None and not tune_data(able)["labels"][0]["finds_nothing"]
    both = dataclasses.replace(
        report, labels=(report.labels[0], dataclasses.replace(able.labels[0], label="b"))
    )
    assert "tune the others alone with --label 'b'" in getattr(nothing_found(both), "hint", "")


def test_a_promise_of_nothing_is_no_number() -> None:
    assert Promise(0, 0, 0, 0.0).recall_interval == (0.0, 1.0)
    assert np.isnan(Promise(0, 0, 0, 0.0).recall)
