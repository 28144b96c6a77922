"""``galago qa why`` as a function: a stored replay explained, and what a change costs on a corpus."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import msgspec
import numpy as np
import pytest

from galago_edge.contract.errors import CallerError, GalagoError, InputError, Reason
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.records import GapRecord, StateRecord
from galago_edge.decision import ONE
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.recording_losses import RecordingLoss
from galago_workstation.qa.replayed import Replayed, Truth, TruthList, WindowScores
from galago_workstation.qa.why import why_data, why_lines, why_replayed

MS, S = 1_000_000, 1_000_000_000
POLICY = LabelPolicy(on=0.6, off=0.4, smoothing_windows=1, min_count=2, refractory_ms=0)
LABELS = (Label(name="nothing", background=True), Label(name="dog", policy=POLICY))


def recording(scores: dict[int, float], *truths: int, name: str = "night.wav") -> Replayed:
    """100 windows of 100 ms, these scores at these windows, and true dogs of 1 s that begin at these."""
    q16 = np.zeros((100, 2), np.int32)
    for window, score in scores.items():
        q16[window, 1] = round(score * ONE)
    index = np.arange(100, dtype=np.int64)
    span = np.stack([index, index + 1, index * 100 * MS, (index + 1) * 100 * MS], axis=1)
    return Replayed(
        recording=name, sha256=hashlib.sha256(name.encode()).hexdigest(), bundle="b" * 64, labels=LABELS,
        receptive_ns=100 * MS, duration_ns=10 * S, events=(), states=(), gaps=(),
        scores=WindowScores(span, q16, np.zeros(100, np.bool_), index == 0),
        truth=TruthList(tuple(Truth(at * 100 * MS, (at + 10) * 100 * MS, "dog") for at in truths)),
    )  # fmt: skip


def test_the_smallest_change_and_its_price_on_the_corpus() -> None:
    """0.58 and 0.5 at 3.0 s are the missed dog. At on = 0.58 two further clicks are false alarms."""
    missed = recording({30: 0.58, 31: 0.5}, 30)
    quiet = recording({10: 0.59, 11: 0.5, 70: 0.59, 71: 0.5}, name="quiet.wav")
    told = why_replayed(
        missed, "dog", 3_000 * MS, within_ns=500 * MS, corpus=[missed, quiet], rule=MatchingRule()
    )
    lines = why_lines(told)
    assert lines[0] == "night.wav, dog, 3 s: threshold"
    assert lines[1] == (
        "smoothed 0.58 at 3.1 s, on is 0.60: 0.02 short; from there it would have been on for 2 windows, "
        "2 needed"
    )
    assert lines[2] == (
        "smallest change: on 0.58 instead of 0.6: an event at 3.2 s; on 2 labelled recordings "
        "+2 false alarms (+8727.27 a day), +1 of 1 found"
    )
    cost = told.costs[0]
    assert cost is not None and (cost.recordings, cost.truths, cost.false_more, cost.doubtful) == (2, 1, 2, 0)
    assert (cost.found, cost.false) == (0, 0)
    data = json.loads(json.dumps(why_data(told)))
    assert data["cause"] == "threshold" and data["changes"][0]["cost"]["false_more"] == 2
    assert data["changes"][0]["field"] == "on" and data["changes"][0]["new"] == pytest.approx(0.58)


def test_a_corpus_of_another_bundle_or_with_a_recording_twice_names_no_price() -> None:
    missed = recording({30: 0.7}, 30)
    other = dataclasses.replace(missed, bundle="c" * 64, recording="b.wav")
    for corpus, said in (
        ([other], "b.wav of the corpus was decided by the bundle cccccccccccc, night.wav by bbbbbbbbbbbb"),
        ([missed, other], "b.wav was decided by another bundle than night.wav"),
        (
            [missed, dataclasses.replace(missed, recording="b.wav")],
            "is the same recording as night.wav",
        ),
    ):
        with pytest.raises(GalagoError, match=said):
            why_replayed(missed, "dog", 3_000 * MS, corpus=corpus)


def test_without_a_labelled_corpus_no_price_is_named() -> None:
    missed = recording({30: 0.7}, 30)
    bare = dataclasses.replace(missed, truth=None)
    for corpus in ([], [bare]):
        told = why_replayed(missed, "dog", 3_000 * MS, corpus=corpus)
        assert told.found.cause == "count"
        assert told.costs == (None,) * len(told.changes) and "cost" not in why_data(told)["changes"][0]
    assert any("min_count 1 instead of 2" in line for line in why_lines(told))


def test_gaps_and_overrides_of_the_replay_are_known() -> None:
    missed = recording({30: 0.7, 31: 0.7})
    strict = tuple(
        msgspec.structs.replace(label, policy=msgspec.structs.replace(label.policy, on=0.9))
        for label in LABELS
    )
    overrides = {"dog": {"on": {"manifest": 0.6, "device": 0.9}}}
    started = StateRecord(
        stream="replay", subject="stream", state="started", index=0, ns=0, detail={"overrides": overrides}
    )
    device = dataclasses.replace(missed, labels=strict, states=(started,))
    told = why_replayed(device, "dog", 3_000 * MS)
    assert told.found.cause == "threshold" and told.found.override_decided
    gap = GapRecord(stream="replay", from_ns=10 * S, to_ns=20 * S, cause="missing")
    away = why_replayed(dataclasses.replace(missed, gaps=(gap,), duration_ns=20 * S), "dog", 15 * S)
    assert why_lines(away)[1] == "nobody watched: a gap from 10 s to 20 s (missing)"
    assert why_lines(away)[2] == "no change of one part of the policy would have given an event"


def test_a_time_behind_the_end_says_where_the_recording_ends_and_what_to_do() -> None:
    whole = recording({30: 0.7})
    cut = InputError(Reason.AUDIO_TRUNCATED, "night.wav is cut off", hint="copy it again")
    gap = GapRecord(stream="replay", from_ns=10 * S, to_ns=20 * S, cause="truncated")
    lost = dataclasses.replace(
        whole, gaps=(gap,), duration_ns=20 * S, loss=RecordingLoss.of("night.wav", cut)
    )
    for one, said, advice in (
        (whole, "15 s is behind the end of night.wav, which ends at 10 s", "give a time up to 10 s"),
        (lost, "which can be read up to 10 s (AUDIO_TRUNCATED)", "copied or recorded again"),
    ):
        with pytest.raises(CallerError) as caught:
            why_replayed(one, "dog", 15 * S)
        assert said in str(caught.value) and advice in caught.value.hint
        assert caught.value.reason is Reason.USAGE
        near = why_replayed(one, "dog", 11 * S)
        assert "11 s is behind the end: it can be read up to 10 s" in why_lines(near)
        assert why_data(near)["read_to_ns"] == 10 * S


def test_an_event_needs_no_change() -> None:
    told = why_replayed(recording({30: 0.7, 31: 0.7}), "dog", 3_000 * MS)
    assert told.found.cause == "given" and told.changes == () and len(why_lines(told)) == 2


def test_a_label_that_there_is_not_and_a_replay_without_scores_are_refused() -> None:
    one = recording({})
    with pytest.raises(GalagoError, match="'cat' is no label"):
        why_replayed(one, "cat", 0)
    with pytest.raises(GalagoError, match="has no scores"):
        why_replayed(dataclasses.replace(one, scores=None), "dog", 0)


def test_where_the_model_itself_never_answered_that_is_said_with_its_best_score() -> None:
    told = dataclasses.replace(why_replayed(recording({}), "dog", 3_000 * MS), changes=(), costs=())
    assert why_lines(told)[2] == (
        "no change of one part of the policy would have given an event: "
        "the model itself never answered, its best score there is 0.0000"
    )
