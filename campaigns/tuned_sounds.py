"""Promise against outcome of tuning on sounds: recordings made of the demo's, through the demo's bundle.

Part of ``python -m campaigns.tuned_promises --sounds``. The bundle is the demo's, trained by the demo's own
commands unless ``--demo FOLDER`` has one. Each of twenty recordings is ``--parts`` times five minutes of the
demo's home. In five minutes there are six alarms, from 6 dB over the home to 18 dB below it, where
nobody could hear some of them, and five things that are nearly alarms: an alarm's own sounder with another
rhythm, or a pattern that breaks off. They are replayed as any corpus is; ten are tuned on, the ten others are
looked at, and then the other way round.
"""

from __future__ import annotations

import itertools
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from campaigns import OUT
from campaigns.tuned_promises import differs, outcome
from galago_edge.contract.streams import samples_to_ns
from galago_workstation.demo.alarms import LABELS, SECONDS, episode, quiet_home, write_wav
from galago_workstation.demo.household import appliance
from galago_workstation.demo.sounds import (
    RATE_HZ,
    TEMPORAL_FOUR,
    TEMPORAL_THREE,
    Sound,
    in_room,
    mix,
    piezo,
    square_520,
)
from galago_workstation.demo.steps import STREAMS, plan, run_step, this_profile
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.replayed import Replayed, Truth, TruthList
from galago_workstation.qa.tune_report import tune_labels
from galago_workstation.qa.tuning import Promise, TunedLabel, TuneGoal

RECORDINGS = 20
ALARMS, DECOYS = 6, 5
"""In five minutes."""
SNR_DB = (-18.0, 6.0)
FOLDER = OUT / "tuned_sounds"


@dataclass(frozen=True, slots=True)
class _Placed:
    """Something in five minutes of sound."""

    label: str | None
    """None: it is no alarm."""
    start: int
    """Samples."""
    end: int


def trained_bundle(folder: Path) -> Path:
    """Return the microphone's bundle of a demo's folder, made by the demo's commands when it is missing.

    Raises:
        StepError: A command failed.
    """
    stream = next(one for one in STREAMS if one.name == "microphone")
    bundle = stream.bundle(folder)
    if not bundle.exists():
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "keys").mkdir(parents=True)
        with (folder / "log.txt").open("w", encoding="utf-8") as log:
            steps = plan(folder, this_profile(), 0, (stream,))
            for step in itertools.takewhile(lambda one: one.arguments[0] != "devices", steps):
                run_step(step, log, print)  # up to the bundle; behind it comes the device
    return bundle


def make_corpus(folder: Path, seed: int, parts: int) -> list[Path]:
    """Write recordings of so many times five minutes with their labels, each from a seed of its own."""
    folder.mkdir(parents=True)
    paths = [folder / f"home-{number:02d}.wav" for number in range(RECORDINGS)]
    with ProcessPoolExecutor() as pool:
        numbers = range(RECORDINGS)
        list(pool.map(_make_recording, paths, [seed] * RECORDINGS, numbers, [parts] * RECORDINGS))
    return paths


def _make_recording(path: Path, seed: int, number: int, parts: int) -> None:
    from galago_workstation.qa.label_file import labels_path, write_labels

    rng = np.random.default_rng([seed, number])
    sounds, truths = [], []
    for part in range(parts):
        sound, placed = _five_minutes(rng)
        shift = part * SECONDS * RATE_HZ
        for one in placed:
            if one.label is not None:
                start, end = (samples_to_ns(shift + at, RATE_HZ) for at in (one.start, one.end))
                truths.append(Truth(start, end, one.label))
        sounds.append(sound)
    write_wav(path, np.concatenate(sounds))
    write_labels(labels_path(path), TruthList(tuple(truths)))


def _five_minutes(rng: np.random.Generator) -> tuple[Sound, list[_Placed]]:
    sound = quiet_home(rng)
    alarms = [label for label in LABELS if label != "background"]
    order: list[str | None] = [alarms[number % len(alarms)] for number in range(ALARMS)]
    order += [None] * DECOYS
    placed = []
    slot = len(sound) // len(order)
    for number, which in enumerate(rng.permutation(len(order))):
        label = order[int(which)]
        signal = _nearly(rng) if label is None else episode(label, rng)[0]
        at = number * slot + int(rng.integers(slot - signal.size))
        part = sound[at : at + signal.size]
        part[:] = mix(in_room(signal, rng), part, float(rng.uniform(*SNR_DB)))
        placed.append(_Placed(label, at, at + signal.size))
    return sound, placed


def _nearly(rng: np.random.Generator) -> Sound:
    """Return what is nearly an alarm."""
    sounder = square_520(rng) if rng.random() < 0.3 else piezo(rng)
    if rng.random() < 0.4:
        return appliance(sounder, rng)
    rhythm = TEMPORAL_THREE if rng.random() < 0.5 else TEMPORAL_FOUR
    return sounder.signal(replace(rhythm, pulses=rhythm.pulses - int(rng.integers(1, 3))), 1)


@dataclass(frozen=True, slots=True)
class HalfOutcome:
    """One label, tuned on ten recordings, and what came on the ten others."""

    tuned: TunedLabel
    came: Promise
    before: Promise
    """What the demo's own policy does on the ten others."""


def halves(replays: list[Replayed], goal: TuneGoal, rule: MatchingRule) -> list[HalfOutcome]:
    """Tune every label on either half, and look at the other."""
    first, second = replays[: RECORDINGS // 2], replays[RECORDINGS // 2 :]
    found = []
    for seen, others in ((first, second), (second, first)):
        for tuned in tune_labels(seen, (), goal, rule=rule).labels:
            now = next(label.policy for label in others[0].labels if label.name == tuned.label)
            before = outcome(replace(tuned, policy=now), others, rule)
            found.append(HalfOutcome(tuned, outcome(tuned, others, rule), before))
    return found


def table(found: list[HalfOutcome], budget: float) -> list[str]:
    """Return the rows, as docs/qa-tune.md shows them."""
    names = ("label", "on, off, mean, count, rest", "recall now", "promised", "came")
    names += ("false a day now", "promised", "came")
    lines = [f"| {' | '.join(names)} |", f"{'|---' * len(names)}|"]
    for one in found:
        policy, promise = one.tuned.policy, one.tuned.promise
        assert promise is not None
        rest = f"{policy.smoothing_windows}, {policy.min_count}, {policy.refractory_ms / 1000:g} s"
        lines.append(
            f"| {one.tuned.label} | {policy.on:g}, {policy.off:g}, {rest} | {one.before.recall:.2f} "
            f"| {_share(promise)} | {_share(one.came)} | {one.before.false_per_day:.0f} "
            f"| {_rate(promise)} | {_rate(one.came)} |"
        )
    apart = [differs(one.tuned.promise, one.came) for one in found if one.tuned.promise is not None]
    within = sum(one.came.false_per_day <= budget for one in found)
    recall, false = (sum(column) for column in zip(*apart, strict=True))
    lines.append(
        f"within the budget of {budget:g} a day: {within} of {len(found)}; "
        f"apart from its promise: recall {recall}, false alarms {false}"
    )
    return lines


def _share(promise: Promise) -> str:
    low, high = promise.recall_interval
    return f"{promise.recall:.2f} ({low:.2f} to {high:.2f})"


def _rate(promise: Promise) -> str:
    low, high = promise.false_interval
    return f"{promise.false_per_day:.0f} ({low:.0f} to {high:.0f})"


def tune_sounds(demo: Path | None, seed: int, parts: int, goal: TuneGoal, rule: MatchingRule) -> None:
    """Make the recordings, replay them, tune and print; in ``campaigns/out/tuned_sounds``."""
    bundle = trained_bundle(demo or FOLDER / "demo")
    corpus = FOLDER / f"corpus-{seed}"
    shutil.rmtree(corpus, ignore_errors=True)
    make_corpus(corpus, seed, parts)
    replays = replayed_corpus(corpus, bundle)
    hours = sum(one.duration_ns for one in replays) / 3.6e12
    truths = sum(len(one.truth.events) for one in replays if one.truth is not None)
    print(f"{len(replays)} recordings, {hours:.1f} h, {truths} alarms, seed {seed}")
    for line in table(halves(replays, goal, rule), goal.false_per_day):
        print(line)
    shutil.rmtree(corpus)


def replayed_corpus(folder: Path, bundle: Path) -> list[Replayed]:
    """Return what the bundle says to the recordings of a folder, with their labels."""
    import galago_edge
    from galago_workstation.commands.qa_runs import read_truth
    from galago_workstation.qa.corpus import read_corpus
    from galago_workstation.qa.corpus_replay import replay_corpus
    from galago_workstation.qa.replay_run import run_of

    opened = galago_edge.open_bundle(bundle, unverified=True)
    return run_of(replay_corpus(read_corpus(folder), opened, folder / "results"), read_truth)
