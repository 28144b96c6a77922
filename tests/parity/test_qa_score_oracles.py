"""Scores against sed_eval and sed_scores_eval, on random corpora, where they define the same thing.

They do for the largest matching of onsets within a collar (an event is a moment for them and for us then),
for activity in segments of one second, and for both over all thresholds of scores without smoothing.
"""

from __future__ import annotations

import importlib
import random
from typing import Any

import numpy as np
import pytest

from galago_edge.decision import ONE
from galago_workstation.qa.det_curve import det_curve, fired_ns, smoothed_scores
from galago_workstation.qa.judged_recording import judge
from galago_workstation.qa.label_score import ALL, label_score
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.segment_measures import SegmentCounts, counted, f1, roll
from galago_workstation.qa.stretches import united
from real_parts import MissingPartError, missing_part
from test_kit.replays import S, decided, plain_label, truths, written

CORPORA = 200
NAMES = ("a", "b", "c")
LABELS = tuple(plain_label(name) for name in NAMES)
QUARTER = S // 4
pytestmark = pytest.mark.filterwarnings("ignore")  # they are older than what they use


def oracle(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing_part(MissingPartError(f"{name} is not installed: {error}"))


def onsets(rng: random.Random, most: int) -> list[tuple[float, str]]:
    """Moments on a grid of a quarter of a second, which floats hold exactly, some of one label close by."""
    return sorted((rng.randrange(8, 120) / 4, rng.choice(NAMES)) for _ in range(rng.randrange(most)))


@pytest.mark.parametrize("collar_s", [0.25, 1.0, 3.0])
def test_as_many_are_found_as_sed_eval_finds(collar_s: float) -> None:
    sed_eval = oracle("sed_eval")
    rule = MatchingRule(pre_ns=round(collar_s * S), post_ns=round(collar_s * S))
    found = 0
    for seed in range(CORPORA):
        rng = random.Random(seed)
        theirs = sed_eval.sound_event.EventBasedMetrics(
            [*NAMES], evaluate_onset=True, evaluate_offset=False, t_collar=collar_s
        )
        judged = []
        for number in range(rng.randrange(1, 4)):
            there, told = sorted({*onsets(rng, 12)}), onsets(rng, 12)
            theirs.evaluate(
                [{"event_label": label, "event_onset": at, "event_offset": at + 1} for at, label in there],
                [{"event_label": label, "event_onset": at, "event_offset": at + 1} for at, label in told],
            )
            replayed = written(
                [(label, at) for at, label in told],
                truths(*((at, at, label) for at, label in there)),
                duration_s=40.0,
                labels=LABELS,
                name=f"{number}.wav",
            )
            judged.append(judge(replayed, rule))
        for name, counts in [(ALL, theirs.overall), *((name, theirs.class_wise[name]) for name in NAMES)]:
            ours = label_score(name, judged)
            beyond = ours.repeats + ours.cross_triggers + ours.false_alarms
            told_of = (ours.found.count, ours.missed, beyond)
            if name == ALL:
                substituted = counts["Nsubs"]  # they pair some of both by onset alone
                assert told_of == (
                    counts["Ntp"],
                    counts["Nfn"] + substituted,
                    counts["Nfp"] + substituted,
                ), seed
            else:
                assert told_of == (counts["Ntp"], counts["Nfn"], counts["Nfp"]), (seed, name)
        found += label_score(ALL, judged).found.count
    assert found > 50  # the corpora are not empty


def stretches(rng: random.Random) -> list[tuple[int, int, str]]:
    """(start, end, label) in quarters of a second; some of one label overlap, which segments do not mind."""
    found = []
    for _ in range(rng.randrange(10)):
        start = rng.randrange(0, 115)
        found.append((start, start + rng.randrange(1, 16), rng.choice(NAMES)))
    return found


def in_ns(found: list[tuple[int, int, str]]) -> dict[str, list[tuple[int, int]]]:
    return {
        name: [(start * QUARTER, end * QUARTER) for start, end, label in found if label == name]
        for name in NAMES
    }


def test_segments_are_counted_as_sed_eval_counts_them() -> None:
    sed_eval = oracle("sed_eval")
    for seed in range(CORPORA):
        rng = random.Random(seed)
        theirs = sed_eval.sound_event.SegmentBasedMetrics([*NAMES], time_resolution=1.0)
        ours = SegmentCounts()
        for _ in range(rng.randrange(1, 4)):
            there, told = stretches(rng), stretches(rng)
            lists = [
                [
                    {"event_label": label, "event_onset": start / 4, "event_offset": end / 4}
                    for start, end, label in one
                ]
                for one in (there, told)
            ]
            theirs.evaluate(*lists, evaluated_length_seconds=33.0)
            ours += counted(roll(in_ns(there), NAMES, 33), roll(in_ns(told), NAMES, 33))
        overall = theirs.overall
        assert (ours.substitutions, ours.deletions, ours.insertions) == (
            overall["S"],
            overall["D"],
            overall["I"],
        ), seed
        for number, name in enumerate(NAMES):
            counts = theirs.class_wise[name]
            assert (ours.tp[number], ours.fp[number], ours.fn[number]) == (
                counts["Ntp"],
                counts["Nfp"],
                counts["Nfn"],
            )
            if counts["Nref"] and counts["Nsys"]:
                value = theirs.class_wise_f_measure(name)["f_measure"]
                assert f1(ours.tp[number], ours.fp[number], ours.fn[number]) == pytest.approx(value)
        if overall["Nref"] and overall["Nsys"]:
            assert ours.error_rate == pytest.approx(theirs.overall_error_rate()["error_rate"])
            assert ours.f1_micro == pytest.approx(theirs.overall_f_measure()["f_measure"])


HOP_S = 0.25
ONCE = ((5, "a"), (50, "b"), (99, "c"))
"""They take no label that is never there."""


def score_rows(rng: random.Random) -> list[int]:
    """Scores of 30 s that rise and fall, on 17 levels."""
    value, rows = 0, []
    for _ in range(120):
        value = min(16, max(0, value + rng.randrange(-4, 5)))
        rows.append(value * ONE // 16)
    return rows


def frames(scores_module: Any, columns: list[list[int]], names: list[str]) -> Any:
    scores = np.array(columns).T / ONE
    times = np.arange(len(scores) + 1) * HOP_S
    return scores_module.create_score_dataframe(scores, times, names)


def test_every_threshold_finds_what_sed_scores_eval_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an onset collar of 0.5 s. Their onset is our decision less the window of 0.25 s that it needed."""
    module = oracle("sed_scores_eval.collar_based.intermediate_statistics")
    scores_module = oracle("sed_scores_eval.base_modules.scores")
    below = oracle("sed_scores_eval.base_modules.statistics")
    curves = (
        below.onset_offset_curves
    )  # its compiled part takes no read-only arrays, and pandas 3 gives no others
    monkeypatch.setattr(below, "onset_offset_curves", lambda one, *more: curves(np.array(one), *more))
    collar_s, shift_s = 0.5, HOP_S
    rule = MatchingRule(pre_ns=round(collar_s * S), post_ns=round(collar_s * S))
    points = 0
    for seed in range(CORPORA):
        rng = random.Random(seed)
        rows = score_rows(rng)
        # they match a label's onsets one to one; moments of ours must not overlap either
        there = sorted(rng.sample(range(119), rng.randrange(1, 8)))
        ground = {"x": [(at * HOP_S, at * HOP_S + 0.1, "a") for at in there]}
        scores = {"x": frames(scores_module, [rows], ["a"])}
        statistics, _ = module.accumulated_intermediate_statistics(
            scores, ground, onset_collar=collar_s, offset_collar=1e6
        )
        levels, counts = statistics["a"]
        replayed = decided(
            [[row] for row in rows],
            [plain_label("a")],
            truth=truths(*((at * HOP_S + shift_s, at * HOP_S + shift_s, "a") for at in there)),
            hop_ns=QUARTER,
            receptive_ns=QUARTER,
        )
        curve = det_curve([replayed], "a", rule, most_points=None)
        smoothed = smoothed_scores(replayed, replayed.labels[0])
        for number, level in enumerate(levels):
            if not np.isfinite(level) or level == 0:
                continue  # theirs: above every score; ours: on for ever at a threshold of 0
            on_q16 = round(level * ONE)
            point = [point for point in curve.points if point.on <= level][-1]
            found = int(counts["tps"][number])
            assert curve.truths - point.missed == found, (seed, level)
            assert len(fired_ns(smoothed, on_q16, on_q16)) == found + int(counts["fps"][number]), (
                seed,
                level,
            )
            points += 1
    assert points > 10 * CORPORA


def test_segments_of_every_threshold_are_those_of_sed_scores_eval() -> None:
    module = oracle("sed_scores_eval.segment_based.intermediate_statistics")
    scores_module = oracle("sed_scores_eval.base_modules.scores")
    for seed in range(CORPORA):
        rng = random.Random(seed)
        columns = [score_rows(rng) for _ in NAMES]
        there = [
            (start // QUARTER, min(end // QUARTER, 120), name)  # they take no labels that overlap or touch
            for name, found in in_ns(stretches(rng) + [(at, at + 3, name) for at, name in ONCE]).items()
            for start, end in united(found)
        ]
        ground = {"x": [(start / 4, end / 4, label) for start, end, label in there]}
        statistics, _ = module.accumulated_intermediate_statistics(
            {"x": frames(scores_module, columns, [*NAMES])}, ground, {"x": 30.0}, segment_length=1.0
        )
        for number, name in enumerate(NAMES):
            levels, counts = statistics[name]
            for place, level in enumerate(levels):
                if not np.isfinite(level):
                    continue
                told = [
                    (at, at + 1, name) for at, row in enumerate(columns[number]) if row >= round(level * ONE)
                ]
                ours = counted(roll(in_ns(there), [name], 30), roll(in_ns(told), [name], 30))
                assert (ours.tp[0], ours.fp[0]) == (counts["tps"][place], counts["fps"][place]), (seed, name)
