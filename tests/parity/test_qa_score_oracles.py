"""Scores against sed_eval and sed_scores_eval, on 200 random corpora each, where they define the same.

They do for the largest matching of onsets within a collar (an event is a moment for them and for us then),
for activity in segments of one second, and for both over all thresholds of scores without smoothing. Their
answers are in tests/data/score_oracles.json, made by tests/data/make_score_oracles.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from galago_edge.contract.manifest import LabelPolicy
from galago_edge.decision import ONE
from galago_workstation.qa.det_curve import det_curve
from galago_workstation.qa.judged_recording import judge
from galago_workstation.qa.label_score import ALL, label_score
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.redecision import track_of
from galago_workstation.qa.segment_measures import SegmentCounts, counted, f1, roll
from test_kit.replays import PLAIN, S, decided, plain_label, truths, written
from test_kit.score_corpora import (
    CORPORA,
    LEVELS,
    NAMES,
    level_corpus,
    onset_corpus,
    segment_corpus,
    threshold_corpus,
)

QUARTER = S // 4
LABELS = tuple(plain_label(name) for name in NAMES)


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    path = Path(__file__).parents[1] / "data" / "score_oracles.json"
    found: dict[str, Any] = json.loads(path.read_text())
    assert len(found["segments"]) == len(found["thresholds"]) == len(found["levels"]) == CORPORA == 200
    return found


@pytest.mark.parametrize("collar_s", [0.25, 1.0, 3.0])
def test_as_many_are_found_as_sed_eval_finds(answers: dict[str, Any], collar_s: float) -> None:
    rule = MatchingRule(pre_ns=round(collar_s * S), post_ns=round(collar_s * S))
    theirs = answers["found"][str(collar_s)]
    assert sum(rows[0][0] for rows in theirs) > 50  # the corpora are not empty
    for seed, rows in enumerate(theirs):
        judged = [
            judge(
                written(
                    [(label, at) for at, label in told],
                    truths(*((at, at, label) for at, label in there)),
                    duration_s=40.0,
                    labels=LABELS,
                ),
                rule,
            )
            for there, told in onset_corpus(seed)
        ]
        for name, row in zip((ALL, *NAMES), rows, strict=True):
            ours = label_score(name, judged)
            beyond = ours.repeats + ours.cross_triggers + ours.false_alarms
            assert [ours.found.count, ours.missed, beyond] == row, (seed, name)


def in_ns(found: list[tuple[int, int, str]]) -> dict[str, list[tuple[int, int]]]:
    return {
        name: [(start * QUARTER, end * QUARTER) for start, end, label in found if label == name]
        for name in NAMES
    }


def test_segments_are_counted_as_sed_eval_counts_them(answers: dict[str, Any]) -> None:
    for seed, theirs in enumerate(answers["segments"]):
        ours = SegmentCounts()
        for there, told in segment_corpus(seed):
            ours += counted(roll(in_ns(there), NAMES, 33), roll(in_ns(told), NAMES, 33))
        assert [ours.substitutions, ours.deletions, ours.insertions] == theirs["sdi"], seed
        if not ours.tp:
            continue
        assert [list(row) for row in zip(ours.tp, ours.fp, ours.fn, strict=True)] == theirs["labels"], seed
        if theirs["er"] is not None:
            assert ours.error_rate == pytest.approx(theirs["er"])
            assert ours.f1_micro == pytest.approx(theirs["f1"])
            each = [f1(tp, fp, fn) for tp, fp, fn in theirs["labels"] if tp + fn]
            assert ours.f1_macro == pytest.approx(sum(value or 0.0 for value in each) / len(each))


def test_every_threshold_finds_what_sed_scores_eval_finds(answers: dict[str, Any]) -> None:
    """With an onset collar of 0.5 s. Their onset is our decision less the window of 0.25 s that it needed."""
    rule = MatchingRule(pre_ns=S // 2, post_ns=S // 2)
    points = 0
    for seed, theirs in enumerate(answers["thresholds"]):
        rows, there = threshold_corpus(seed)
        replayed = decided(
            [[row * ONE // LEVELS] for row in rows],
            [plain_label("a")],
            truth=truths(*(((at + 1) / 4, (at + 1) / 4, "a") for at in there)),
            hop_ns=QUARTER,
            receptive_ns=QUARTER,
        )
        curve = det_curve([replayed], "a", rule, most_points=None)
        track = track_of(replayed, "a")
        for level, (found, false) in theirs.items():
            on_q16 = int(level) * ONE // LEVELS
            point = [point for point in curve.points if point.on <= on_q16 / ONE][-1]
            assert curve.truths - point.missed == found, (seed, level)
            policy = LabelPolicy(**PLAIN | {"on": on_q16 / ONE, "off": on_q16 / ONE})
            assert len(track.on_periods(policy).events()) == found + false, (seed, level)
            points += 1
    assert points > 5 * CORPORA


def test_segments_of_every_threshold_are_those_of_sed_scores_eval(answers: dict[str, Any]) -> None:
    for seed, theirs in enumerate(answers["levels"]):
        rows, there = level_corpus(seed)
        for name, by_level in zip(NAMES, theirs, strict=True):
            for level, (tp, fp) in by_level.items():
                told = [(at, at + 1, name) for at, row in enumerate(rows[name]) if row >= int(level)]
                ours = counted(roll(in_ns(there), [name], 30), roll(in_ns(told), [name], 30))
                assert (ours.tp[0], ours.fp[0]) == (tp, fp), (seed, name, level)
