"""Write score_oracles.json: what sed_eval and sed_scores_eval say of the corpora of test_kit.score_corpora.

    python3 -m venv .venv-oracles
    .venv-oracles/bin/pip install -e edge -e tests/support sed_eval==0.2.1 sed_scores_eval==0.0.4
    .venv-oracles/bin/python tests/data/make_score_oracles.py

They are no dependency of the tests: the second has to be compiled (C++ and Python's headers), and both bring
30 packages.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from test_kit.score_corpora import (
    CORPORA,
    LEVELS,
    NAMES,
    level_corpus,
    onset_corpus,
    segment_corpus,
    threshold_corpus,
)

OUT = Path(__file__).with_name("score_oracles.json")
HOP_S = 0.25
COLLARS_S = (0.25, 1.0, 3.0)
Counts = list[list[int]]


def found_by_sed_eval(seed: int, collar_s: float) -> Counts:
    """[found, missed, beyond] of all labels and of each: the largest matching of onsets within a collar."""
    from sed_eval.sound_event import EventBasedMetrics

    metrics = EventBasedMetrics([*NAMES], evaluate_onset=True, evaluate_offset=False, t_collar=collar_s)
    for lists in onset_corpus(seed):
        metrics.evaluate(
            *(
                [{"event_label": label, "event_onset": at, "event_offset": at + 1} for at, label in one]
                for one in lists
            )
        )
    overall = metrics.overall  # they pair some misses and false ones once more, by their onsets alone
    rows = [
        [overall["Ntp"], overall["Nfn"] + overall["Nsubs"], overall["Nfp"] + overall["Nsubs"]],
        *([metrics.class_wise[name][key] for key in ("Ntp", "Nfn", "Nfp")] for name in NAMES),
    ]
    return [[int(value) for value in row] for row in rows]


def segments_of_sed_eval(seed: int) -> dict[str, Any]:
    """S, D, I; [TP, FP, FN] of each label; error rate and F1 where they are defined."""
    from sed_eval.sound_event import SegmentBasedMetrics

    metrics = SegmentBasedMetrics([*NAMES], time_resolution=1.0)
    for lists in segment_corpus(seed):
        metrics.evaluate(
            *(
                [
                    {"event_label": label, "event_onset": start / 4, "event_offset": end / 4}
                    for start, end, label in one
                ]
                for one in lists
            ),
            evaluated_length_seconds=33.0,
        )
    overall, both = metrics.overall, bool(metrics.overall["Nref"] and metrics.overall["Nsys"])
    return {
        "sdi": [int(overall[key]) for key in "SDI"],
        "labels": [[int(metrics.class_wise[name][key]) for key in ("Ntp", "Nfp", "Nfn")] for name in NAMES],
        "er": float(metrics.overall_error_rate()["error_rate"]) if both else None,
        "f1": float(metrics.overall_f_measure()["f_measure"]) if both else None,
    }


def frame(columns: dict[str, list[int]]) -> Any:
    from sed_scores_eval.base_modules.scores import create_score_dataframe

    scores = np.array([*columns.values()]).T / LEVELS
    return create_score_dataframe(scores, np.arange(len(scores) + 1) * HOP_S, [*columns])


def by_level(levels: Any, counts: Any) -> dict[int, list[int]]:
    """[TP, FP] by the level at or above which a window counts."""
    return {
        round(level * LEVELS): [int(counts["tps"][place]), int(counts["fps"][place])]
        for place, level in enumerate(levels)
        if np.isfinite(level) and level > 0
    }


def thresholds_of_sed_scores_eval(seed: int) -> dict[int, list[int]]:
    """Onsets within 0.5 s, for every threshold."""
    from sed_scores_eval.base_modules import statistics
    from sed_scores_eval.collar_based.intermediate_statistics import accumulated_intermediate_statistics

    curves = getattr(statistics, "curves", statistics.onset_offset_curves)
    # its compiled part takes no read-only arrays, and pandas 3 gives no others
    statistics.curves, statistics.onset_offset_curves = (
        curves,
        lambda one, *more: curves(np.array(one), *more),
    )
    rows, there = threshold_corpus(seed)
    truth = [(at * HOP_S, at * HOP_S + 0.1, "a") for at in there]
    found, _ = accumulated_intermediate_statistics(
        {"x": frame({"a": rows})}, {"x": truth}, onset_collar=0.5, offset_collar=1e6
    )
    return by_level(*found["a"])


def levels_of_sed_scores_eval(seed: int) -> list[dict[int, list[int]]]:
    """Segments of one second of each label, for every threshold."""
    from sed_scores_eval.segment_based.intermediate_statistics import accumulated_intermediate_statistics

    rows, there = level_corpus(seed)
    truth = [(start / 4, end / 4, label) for start, end, label in there]
    found, _ = accumulated_intermediate_statistics(
        {"x": frame(rows)}, {"x": truth}, {"x": 30.0}, segment_length=1.0
    )
    return [by_level(*found[name]) for name in NAMES]


def compute() -> dict[str, Any]:
    seeds = range(CORPORA)
    return {
        "found": {
            str(collar_s): [found_by_sed_eval(seed, collar_s) for seed in seeds] for collar_s in COLLARS_S
        },
        "segments": [segments_of_sed_eval(seed) for seed in seeds],
        "thresholds": [thresholds_of_sed_scores_eval(seed) for seed in seeds],
        "levels": [levels_of_sed_scores_eval(seed) for seed in seeds],
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    answers = compute()
    parts = (
        f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in answers.items()
    )
    OUT.write_text("{" + ",\n".join(parts) + "}\n")
