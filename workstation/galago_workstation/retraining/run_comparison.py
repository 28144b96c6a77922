"""Two runs on the same samples: who was right, and whether chance alone could make such a difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from galago_converters.export import logits
from galago_converters.inputs import input_spec
from galago_edge.contract.count_words import count_of
from galago_edge.contract.manifest import Sha256
from galago_edge.contract.printable import on_one_line
from galago_workstation.data.sample import Part, Sample
from galago_workstation.progress_lines import Report
from galago_workstation.qa.exact_intervals import share_interval
from galago_workstation.qa.replay_comparison import WhoWasRight
from galago_workstation.run_folder import Run

RETRAIN_FILE = "retrain.json"
UNLIKELY = 0.05
"""Chance below which a difference is told as one."""
SetName = Literal["old test set", "new samples held out"]


class ComparedLabel(msgspec.Struct, frozen=True, kw_only=True):
    """Samples by which of the two runs answered right: one label, or all together (an empty name)."""

    label: str
    both: int
    only_old: int
    only_new: int
    neither: int

    @property
    def samples(self) -> int:
        """How many there are."""
        return self.both + self.only_old + self.only_new + self.neither

    @property
    def old(self) -> float:
        """Share that OLD had right; 0 of none."""
        return (self.both + self.only_old) / max(self.samples, 1)

    @property
    def new(self) -> float:
        """Share that NEW had right; 0 of none."""
        return (self.both + self.only_new) / max(self.samples, 1)


class ComparedSet(msgspec.Struct, frozen=True, kw_only=True):
    """Both runs on one set of samples."""

    name: SetName
    all: ComparedLabel
    labels: tuple[ComparedLabel, ...]
    chance: float
    """Exact McNemar: how often luck alone makes equal runs differ so much; 1 where none differ."""
    points: float
    """NEW's accuracy less OLD's, in percentage points."""
    low_points: float
    """Of its 95 % interval."""
    high_points: float


class ParentRun(msgspec.Struct, frozen=True, kw_only=True):
    """The run that was trained further."""

    path: str
    created_utc: str
    config_sha256: Sha256
    weights_sha256: Sha256
    test_sha256: Sha256
    """Over its test samples, all of which are in the new run's test part."""


class RetrainRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Content of retrain.json."""

    schema: Literal["galago.retrain/1"] = "galago.retrain/1"
    parent: ParentRun
    samples: tuple[str, ...]
    """The places that new samples came from."""
    new: dict[Part, int]
    """New samples by part."""
    new_labels: tuple[str, ...]
    left_out: tuple[str, ...]
    sets: tuple[ComparedSet, ...]
    worse: bool
    """Whether the new run has fewer of the old test set right."""


def compared_set(
    name: SetName, labels: Sequence[str], truth: Sequence[str], old: Sequence[str], new: Sequence[str]
) -> ComparedSet:
    """Return what two runs made of the same samples.

    The interval is exact for the samples that the runs answer differently, given how many these are: of them
    a share was won (Clopper and Pearson), which stands for so many points of all.

    Args:
        name: Of the set.
        labels: In the order of the table.
        truth: The label of each sample.
        old: The old run's answer to each.
        new: The new run's.
    """
    right = np.array(
        [(given == true, other == true) for true, given, other in zip(truth, old, new, strict=True)]
    )
    of_all = _counted("", right)
    differing = of_all.only_old + of_all.only_new
    low, high = share_interval(of_all.only_new, differing)
    at_stake = 100 * differing / max(of_all.samples, 1)
    told = np.array(truth)
    return ComparedSet(
        name=name,
        all=of_all,
        labels=tuple(_counted(label, right[told == label]) for label in labels if label in truth),
        chance=WhoWasRight("", of_all.both, of_all.only_old, of_all.only_new, of_all.neither).chance,
        points=100 * (of_all.only_new - of_all.only_old) / max(of_all.samples, 1),
        low_points=at_stake * (2 * low - 1),
        high_points=at_stake * (2 * high - 1),
    )


def _counted(label: str, right: npt.NDArray[np.bool_]) -> ComparedLabel:
    old, new = right.reshape(-1, 2).T
    return ComparedLabel(
        label=label,
        both=int((old & new).sum()),
        only_old=int((old & ~new).sum()),
        only_new=int((~old & new).sum()),
        neither=int((~old & ~new).sum()),
    )


def compare_runs(old: Run, new: Run, report: Report) -> tuple[ComparedSet, ...]:
    """Return both runs on the old one's test set, and on the test samples that only the new one has.

    The trained Keras models are asked, which both runs have before they are converted.

    Raises:
        InputError: A sample cannot be read or has changed; RUN_BAD.
    """
    known = {sample.sha256 for sample in old.samples("test")}
    own = [sample for sample in new.samples("test") if sample.sha256 not in known]
    sets: list[tuple[SetName, Run, list[Sample]]] = [("old test set", old, old.samples("test"))]
    if own:
        sets.append(("new samples held out", new, own))
    models = old.keras_model(), new.keras_model()
    found = []
    for name, run, samples in sets:
        report.say(f"comparing on the {name}: {count_of(len(samples), 'sample')}")
        inputs = run.inputs(samples)
        truth = [run.labels[sample.label] for sample in samples]
        given = [_answers(model, of.labels, inputs, of) for model, of in zip(models, (old, new), strict=True)]
        found.append(compared_set(name, new.labels, truth, *given))
    return tuple(found)


def _answers(model: Any, labels: Sequence[str], inputs: npt.NDArray[Any], run: Run) -> list[str]:
    given = logits(model, inputs, input_spec(run.preprocess)).argmax(axis=1)
    return [labels[number] for number in given.tolist()]


def comparison_lines(found: ComparedSet) -> Iterator[str]:
    """Yield the table of one set and what it says."""
    rows = [("accuracy", found.all), *((f"recall {on_one_line(one.label)}", one) for one in found.labels)]
    head = f"{found.name}, {count_of(found.all.samples, 'sample')}"
    width = max(len(head), *(len(title) for title, _ in rows))
    yield f"{head.ljust(width)}  {'old':>8}  {'new':>8}  {'lost':>5}  {'gained':>6}"
    for title, one in rows:
        yield (
            f"{title.ljust(width)}  {100 * one.old:6.2f} %  {100 * one.new:6.2f} %  {one.only_old:5}  "
            f"{one.only_new:6}"
        )
    yield verdict(found)


def verdict(found: ComparedSet) -> str:
    """Return in words whether the new run is better or worse on a set, and whether that may be chance."""
    where = (
        f"on the {found.name}" if found.name == "old test set" else f"on the {found.name.split(' held')[0]}"
    )
    if not found.all.only_old and not found.all.only_new:
        return f"{where}: both have the same samples right"
    interval = f"95 % interval {found.low_points:+.1f} to {found.high_points:+.1f}"
    if found.points == 0:
        return f"{where}: as many right as before, though not the same ({interval} points)"
    word = "better" if found.points > 0 else "WORSE"
    luck = (
        f"chance alone seldom makes so much (p = {found.chance:.2g})"
        if found.chance < UNLIKELY
        else f"chance alone may make so much (p = {found.chance:.2g})"
    )
    return f"{where}: {word} by {abs(found.points):.1f} points ({interval}); {luck}"
