"""How often a verdict is wrong, whoever looks after every hour, and how often the promised hours suffice.

    .venv/bin/python -m campaigns.verdicts [--pairs 10000 --hours 400 --promises 2000 --seed 1]

Each pair is two bundles with known truth on a corpus that grows by an hour at a time: 6 things to find in an
hour, of which OLD misses 10 %; OLD has 0.5 false alarms an hour, 0.3 of them common with NEW. Five gates, as
in a file of gates: missed (5 points above OLD; 15 %), false alarms (0.25 an hour above OLD; 0.75 an hour),
and delay (late for 10 %). NEW is as bad as OLD (0), half-way to the bound (0.5), exactly there (1: both
passing and failing are counted as wrong, and nothing is harder), beyond it (1.5, 2), or at the bound in its
delay alone (worst for passing all). The verdict is asked for after every hour: a pair counts as passed, or as
failed, when it was at any look.

The evidence is the product's own code. What breaks its assumptions is shown beside it: false alarms that
come in bursts; and recordings in which more is missed than in others, judged as a sample of all recordings.
Ends with exit code 1 when a rate of wrong verdicts is above 5 % for sure (the exact 95 % interval lies
above).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from campaigns import OUT, ROOT
from galago_workstation.qa.e_process import Tally, log_wealth
from galago_workstation.qa.exact_intervals import share_interval
from galago_workstation.qa.hours_needed import hours_ahead

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

WRONG = 0.05
EVENTS_H = 6.0
BLOCK = 200
"""Pairs that are simulated at once, for memory."""
PROMISED_AT = (24, 72)
"""Hours after which the promise of an undecided gate is taken by its word."""
BOUNDS = {
    "missed above OLD": 0.05,
    "missed": 0.15,
    "false alarms above OLD": 0.25,
    "false alarms": 0.75,
    "delay": 0.10,
}


@dataclass(frozen=True, slots=True)
class Truth:
    """How far NEW is on the way from OLD (0) to each bound (1)."""

    name: str
    missed: float
    alarms: float
    late: float

    @property
    def of_gate(self) -> dict[str, float]:
        """How far, by gate."""
        return dict(zip(BOUNDS, (self.missed, self.missed, self.alarms, self.alarms, self.late), strict=True))


TRUTHS = (
    Truth("0", 0.0, 0.0, 0.0),
    Truth("0.5", 0.5, 0.5, 0.5),
    Truth("1", 1.0, 1.0, 1.0),
    Truth("1.5", 1.5, 1.5, 1.5),
    Truth("2", 2.0, 2.0, 2.0),
    Truth("delay alone 1", 0.0, 0.0, 1.0),
)


def corpora(truth: Truth, pairs: int, hours: int, random: np.random.Generator) -> dict[str, Tally]:
    """Return what each gate has seen after each hour; counts of shape ``(pairs, hours, kinds)``."""
    only_new_found, only_old_found = 0.03, 0.03 + 0.05 * truth.missed
    neither = 0.10 - only_new_found
    late = 0.05 + 0.05 * truth.late
    shares = np.array([only_new_found, only_old_found, neither])
    found = random.poisson(EVENTS_H * np.append(shares, 1.0 - shares.sum()), (pairs, hours, 4)).cumsum(axis=1)
    lates = random.poisson(EVENTS_H * np.array([1.0 - late, late]), (pairs, hours, 2)).cumsum(axis=1)
    alarms = random.poisson([0.3, 0.2, 0.2 + 0.25 * truth.alarms], (pairs, hours, 3)).cumsum(axis=1)
    watched = np.broadcast_to(np.arange(1.0, hours + 1), (pairs, hours))

    def units(values: list[float], *counts: npt.NDArray[np.int64]) -> Tally:
        return Tally("unit", np.array(values), np.stack(counts, -1).astype(float), watched, min(values))

    def rate(marks: list[float], *counts: npt.NDArray[np.int64]) -> Tally:
        return Tally("hour", np.array(marks), np.stack(counts, -1).astype(float), watched, min(0.0, *marks))

    won, lost, neither_found, both = np.moveaxis(found, -1, 0)
    common, only_old, only_new = np.moveaxis(alarms, -1, 0)
    return {
        "missed above OLD": units([-1.0, 0.0, 1.0], won, neither_found + both, lost),
        "missed": units([0.0, 1.0], won + both, lost + neither_found),
        "false alarms above OLD": rate([1.0, -1.0], only_new, only_old),
        "false alarms": rate([1.0], common + only_new),
        "delay": units([0.0, 1.0], lates[..., 0], lates[..., 1]),
    }


@dataclass(frozen=True, slots=True)
class Looks:
    """What the verdict was at each look; shape ``(pairs, hours)``."""

    passed: dict[str, Bools]
    """By gate, and ``all``: every gate passes."""
    failed: dict[str, Bools]
    """By gate, and ``all``: the mean evidence suffices."""


def look(seen: Mapping[str, Tally]) -> Looks:
    """Ask for the verdict after every hour."""
    holds = {name: log_wealth(tally, BOUNDS[name], "holds") for name, tally in seen.items()}
    broken = {name: log_wealth(tally, BOUNDS[name], "broken") for name, tally in seen.items()}
    needed = -np.log(WRONG)
    passed = {name: each >= needed for name, each in holds.items()}
    failed = {name: each >= needed for name, each in broken.items()}
    passed["all"] = np.logical_and.reduce(list(passed.values()))
    mean = np.mean([np.exp(np.minimum(each, 700.0)) for each in broken.values()], axis=0)
    failed["all"] = (mean >= 1.0 / WRONG) & ~passed["all"]
    return Looks(passed, failed)


def blocks(total: int) -> Iterator[int]:
    """Yield sizes of at most ``BLOCK`` that are ``total`` together."""
    for done in range(0, total, BLOCK):
        yield min(BLOCK, total - done)


@dataclass(slots=True)
class Course:
    """What became of all pairs of one truth; counts by hour."""

    truth: Truth
    pairs: int
    passed: dict[str, npt.NDArray[np.int64]]
    """Pairs that had passed at some look until each hour, by gate and ``all``."""
    failed: dict[str, npt.NDArray[np.int64]]
    promises: dict[int, dict[str, int]]
    """By hour: undecided gates, of them those with a promise within the campaign, and with one that held."""


def walk(truth: Truth, pairs: int, hours: int, promises: int, random: np.random.Generator) -> Course:
    """Simulate all pairs of one truth."""
    names = (*BOUNDS, "all")
    promised = {hour: dict.fromkeys(("undecided", "promised", "sufficed"), 0) for hour in PROMISED_AT}
    passed, failed = ({name: np.zeros(hours, np.int64) for name in names} for _ in range(2))
    course = Course(truth, pairs, passed, failed, {h: each for h, each in promised.items() if h < hours})
    left = promises
    for size in blocks(pairs):
        seen = corpora(truth, size, hours, random)
        looks = look(seen)
        for name in names:
            course.passed[name] += np.logical_or.accumulate(looks.passed[name], axis=1).sum(axis=0)
            course.failed[name] += np.logical_or.accumulate(looks.failed[name], axis=1).sum(axis=0)
        if left > 0:
            for name, tally in seen.items():
                _take_by_its_word(course, tally, name, looks, min(left, size))
            left -= size
    return course


def _take_by_its_word(course: Course, tally: Tally, name: str, looks: Looks, pairs: int) -> None:
    decided = looks.passed[name] | looks.failed[name]
    last = decided.shape[1]
    for hour, counts in course.promises.items():
        open_ = ~decided[:pairs, :hour].any(axis=1)
        counts["undecided"] += int(open_.sum())
        if not open_.any():
            continue
        then = Tally(tally.per, tally.values, tally.counts[:pairs, hour - 1][open_],
                     tally.hours[:pairs, hour - 1][open_], tally.low)  # fmt: skip
        until = hour + np.ceil(hours_ahead(then, BOUNDS[name], WRONG, WRONG, futures=100))
        within = until <= last
        first = np.where(decided.any(axis=1), decided.argmax(axis=1), last + 1)[:pairs][open_] + 1
        counts["promised"] += int(within.sum())
        counts["sufficed"] += int((first <= until)[within].sum())


def broken_assumptions(pairs: int, hours: int, random: np.random.Generator) -> dict[str, float]:
    """Return the share of wrong passes at the bound, where the assumptions hold and where they do not."""
    watched = np.broadcast_to(np.arange(1.0, hours + 1), (pairs, hours))
    shares = {}
    single = random.poisson(0.75, (pairs, hours)).cumsum(axis=1)
    causes = random.poisson(0.25, (pairs, hours))
    bursts = (causes + random.poisson(2.0 * causes)).cumsum(axis=1)  # three alarms a burst in the mean
    for name, alarms in (("false alarms, one by one", single), ("false alarms in bursts of 3", bursts)):
        tally = Tally("hour", np.array([1.0]), alarms[..., None].astype(float), watched)
        shares[name] = _ever(log_wealth(tally, 0.75, "holds"))
    missed = random.binomial(6, random.beta(0.15 * 3, 0.85 * 3, (pairs, hours)))
    units = np.stack([6 * hours_so_far(hours) - missed.cumsum(axis=1), missed.cumsum(axis=1)], -1)
    events = Tally("unit", np.array([0.0, 1.0]), units.astype(float), watched)
    kinds = (missed[..., None] == np.arange(7)).cumsum(axis=1).astype(float)
    recordings = Tally("unit", np.arange(7) / 6.0, kinds, watched)
    shares["missed more in some recordings, unit event"] = _ever(log_wealth(events, 0.15, "holds"))
    shares["missed more in some recordings, unit recording"] = _ever(log_wealth(recordings, 0.15, "holds"))
    return shares


def hours_so_far(hours: int) -> npt.NDArray[np.int64]:
    """Number of the look, from 1."""
    return np.arange(1, hours + 1, dtype=np.int64)


def _ever(evidence: Floats) -> float:
    return float((evidence >= -np.log(WRONG)).any(axis=1).mean())


def wrong_rows(courses: list[Course]) -> list[dict[str, Any]]:
    """Return every way to be wrong: each gate and all, passed or failed, where the truth is another."""
    rows = []
    for course in courses:
        far = course.truth.of_gate
        for name, value in {**far, "all": max(far.values())}.items():
            ways = {"pass": (course.passed, value >= 1.0), "fail": (course.failed, value <= 1.0)}
            for kind, (counts, wrong) in ways.items():
                if not wrong:
                    continue
                count = int(counts[name][-1])
                told = {"truth": course.truth.name, "gate": name, "wrong": kind}
                share = {"count": count, "share": count / course.pairs}
                rows.append({**told, **share, "interval": share_interval(count, course.pairs)})
    return rows


def decided_rows(course: Course, hours: list[int]) -> dict[str, dict[str, list[float]]]:
    """Return by gate and hour the share of pairs that had passed, and that had failed."""
    return {
        name: {
            str(hour): [
                int(counts[name][hour - 1]) / course.pairs for counts in (course.passed, course.failed)
            ]
            for hour in hours
        }
        for name in (*BOUNDS, "all")
    }


def simulate(pairs: int, hours: int, promises: int, seed: int) -> tuple[list[Course], dict[str, Any]]:
    """Run the whole campaign; ``pairs`` and ``promises`` are of all truths together."""
    began = time.monotonic()
    random = np.random.default_rng(seed)
    shares = [pairs // len(TRUTHS) + (index < pairs % len(TRUTHS)) for index in range(len(TRUTHS))]
    courses = [walk(truth, share, hours, promises // len(TRUTHS), random)
               for truth, share in zip(TRUTHS, shares, strict=True)]  # fmt: skip
    shown = sorted({min(hour, hours) for hour in (24, 72, 168, hours)})
    found = {
        "pairs": pairs,
        "hours": hours,
        "seed": seed,
        "wrong": wrong_rows(courses),
        "decided": {course.truth.name: decided_rows(course, shown) for course in courses},
        "promises": {course.truth.name: course.promises for course in courses},
        "broken_assumptions": broken_assumptions(max(100, pairs // 5), min(hours, 200), random),
    }  # fmt: skip
    found["seconds"] = round(time.monotonic() - began, 1)
    return courses, found


def report(found: dict[str, Any]) -> None:
    """Print the figures."""
    print(f"{found['pairs']} pairs, looked at after each of {found['hours']} hours, in {found['seconds']} s")
    for row in found["wrong"]:
        low, high = (100 * each for each in row["interval"])
        what = f"NEW at {row['truth']:<14} wrong {row['wrong']}  {row['gate']:<23}"
        print(f"  {what} {100 * row['share']:5.2f} %  ({low:.2f} to {high:.2f} %)")
    for name, gates in found["decided"].items():
        shares = {hour: [f"{100 * each:.0f} %" for each in both] for hour, both in gates["all"].items()}
        said = ", ".join(f"{hour} h {passed} / {failed}" for hour, (passed, failed) in shares.items())
        print(f"  NEW at {name:<14} passed / failed: {said}")
    for name, promises in found["promises"].items():
        for hour, counts in promises.items():
            share = f"{100 * counts['sufficed'] / max(1, counts['promised']):.0f} %"
            made = f"{counts['undecided']} gates undecided, {counts['promised']} promised to be within"
            print(f"  NEW at {name:<14} after {hour} h: {made} {found['hours']} h, of which {share} were")
    for name, share in found["broken_assumptions"].items():
        print(f"  at the bound, {name}: {100 * share:.1f} % wrong passes")


def draw(courses: list[Course], found: dict[str, Any], path: Path) -> None:
    """Draw verdicts by hour, and the rates of wrong ones with their intervals."""
    from matplotlib.figure import Figure  # a Figure of its own draws with Agg and leaves pyplot alone

    figure = Figure(figsize=(11.0, 7.0), layout="constrained")
    (passing, failing), (wrong, single) = figure.subplots(2, 2)
    for course in courses:
        hours = hours_so_far(len(course.passed["all"]))
        passing.plot(hours, 100 * course.passed["all"] / course.pairs, label=f"NEW at {course.truth.name}")
        failing.plot(hours, 100 * course.failed["all"] / course.pairs, label=f"NEW at {course.truth.name}")
        bad = course.truth.missed > 1
        for name in (
            ("missed above OLD", "false alarms above OLD") if course.truth.name in {"0", "0.5", "2"} else ()
        ):
            counts = (course.failed if bad else course.passed)[name]
            text = f"{name}, NEW at {course.truth.name}: {'failed' if bad else 'passed'}"
            single.plot(hours, 100 * counts / course.pairs, label=text)
    for axes, title in ((passing, "all gates passed at some look, %"), (failing, "failed at some look, %")):
        axes.axhline(100 * WRONG, color="black", linewidth=0.8, linestyle=":")
        axes.set(title=title, xlabel="hours of recordings", ylim=(0, 100))
        axes.legend(fontsize=7)
    rows = found["wrong"]
    shares = np.array([row["share"] for row in rows])
    ends = np.abs(np.array([row["interval"] for row in rows]).T - shares)
    wrong.errorbar(np.arange(len(rows)), 100 * shares, yerr=100 * ends, fmt="o", markersize=3, capsize=2)
    wrong.axhline(100 * WRONG, color="red", linewidth=0.8)
    wrong.set(title="wrong verdicts, % with exact 95 % intervals; promised: 5", ylim=(0, 8), xticks=[],
              xlabel="every gate and all of them, passed and failed, in every truth")  # fmt: skip
    single.set(title="two gates decided at some look, %", xlabel="hours of recordings", ylim=(0, 100))
    single.legend(fontsize=6)
    figure.savefig(path, format="png", dpi=90)


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--hours", type=int, default=400)
    parser.add_argument("--promises", type=int, default=2_000, help="pairs whose promises are checked")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=OUT / "verdicts.json")
    parser.add_argument("--plot", type=Path, default=ROOT / "docs" / "qa-diff.png")
    options = parser.parse_args()
    courses, found = simulate(options.pairs, options.hours, options.promises, options.seed)
    report(found)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=2) + "\n")
    draw(courses, found, options.plot)
    return int(any(row["interval"][0] > WRONG for row in found["wrong"]))


if __name__ == "__main__":
    sys.exit(main())
