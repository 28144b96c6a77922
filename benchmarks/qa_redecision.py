"""What deciding again from stored scores costs, against stepping the device's own ``Decider`` through them.

    .venv/bin/python benchmarks/qa_redecision.py [--hours 100] [--thresholds 1000]

One label, ten windows a second, scores that are low, wander, and rise where something is there. The Decider
is stepped through a part of the windows; its time for all of them and all thresholds follows from that, for
each window costs it the same. Both are measured in one process, in turns. The events of that part are
compared, for the first and last thresholds and some between, before anything is measured.

Target (docs/qa-tune.md): 100 hours under 1,000 thresholds in seconds.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.streams import Span
from galago_edge.decision import ONE, Decider, Fired
from galago_edge.decision.label_track import LabelTrack

PER_HOUR = 36_000
HOP_NS = 100_000_000
STEPPED = 50_000
"""Windows that the Decider is stepped through in one turn."""


def made_scores(windows: int) -> np.ndarray:
    """Return Q16 scores: an autoregressive background, and 20 things an hour."""
    from scipy.signal import lfilter

    rng = np.random.default_rng(1)
    background = lfilter([np.sqrt(1 - 0.9**2)], [1, -0.9], rng.standard_normal(windows))
    logits = -5 + 1.5 * background
    for start in rng.integers(0, max(1, windows - 40), windows * 20 // PER_HOUR):
        logits[start : start + rng.integers(5, 40)] += rng.normal(7, 2)
    return np.asarray(ONE / (1 + np.exp(-logits))).astype(np.int32)


def track_of(scores: np.ndarray) -> LabelTrack:
    ends = (np.arange(len(scores), dtype=np.int64) + 1) * HOP_NS
    return LabelTrack(scores, ends, np.zeros(len(scores), np.bool_))


def stepped(scores: np.ndarray, policy: LabelPolicy) -> list[int]:
    """Return the windows with an event, as the device finds them."""
    decider = Decider([Label(name="label", policy=policy)])
    rows = scores.astype(np.int64).reshape(-1, 1)
    return [
        window
        for window, row in enumerate(rows)
        for found in decider.step(row, Span(window, window + 1, window * HOP_NS, (window + 1) * HOP_NS))
        if isinstance(found, Fired)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=int, default=100)
    parser.add_argument("--thresholds", type=int, default=1_000)
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    scores = made_scores(given.hours * PER_HOUR)
    on = np.linspace(0.01, 0.99, given.thresholds).round(4).tolist()
    policies = [LabelPolicy(on=value, off=round(0.7 * value, 4)) for value in on]
    part = track_of(scores[:STEPPED])
    for policy in policies[:: max(1, len(policies) // 5)]:
        assert part.on_periods(policy).events().tolist() == stepped(scores[:STEPPED], policy)
    track, whole, one = track_of(scores), [], []
    for _ in range(given.turns):
        start = time.perf_counter()
        events = sum(len(periods.events()) for periods in track.under(policies))
        whole.append(time.perf_counter() - start)
        start = time.perf_counter()
        stepped(scores[:STEPPED], policies[len(policies) // 2])
        one.append((time.perf_counter() - start) / min(STEPPED, len(scores)))
        print(f"{events} events; {whole[-1]:.2f} s; the Decider {1e6 * one[-1]:.2f} us a window")
    at_once = statistics.median(whole)
    by_steps = statistics.median(one) * len(scores) * len(policies)
    print(
        f"{given.hours} h ({len(scores)} windows) under {len(policies)} thresholds: {at_once:.2f} s; "
        f"stepping would take {by_steps:.0f} s: {by_steps / at_once:.0f} x"
    )


if __name__ == "__main__":
    main()
