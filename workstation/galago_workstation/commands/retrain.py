"""``galago retrain``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from galago_edge.commands.cli import json_option, say, say_json
from galago_edge.commands.options import PATH, FiniteRange
from galago_edge.contract.count_words import count_of
from galago_workstation.commands.train import train_shown

if TYPE_CHECKING:
    from galago_workstation.data.sample import Part
    from galago_workstation.retraining.new_samples import NewSamples
    from galago_workstation.retraining.retrain_plan import RetrainPlan
    from galago_workstation.retraining.run_comparison import ComparedSet, RetrainRecord
    from galago_workstation.run_folder import Run


@click.command()
@click.argument("run", type=PATH)
@click.option(
    "--with",
    "places",
    multiple=True,
    required=True,
    type=PATH,
    metavar="SAMPLES",
    help="What galago data review wrote, a table of samples, or a folder of class folders; repeatable.",
)
@click.option("--out", type=PATH, metavar="RUN2", help="The new run.  [default: RUN with the next number]")
@click.option(
    "--hold-out",
    type=FiniteRange(0.05, 0.5),
    default=0.25,
    show_default=True,
    metavar="SHARE",
    help="Of the new samples of each label: what is tested with and not learned from.",
)
@click.option("--epochs", type=click.IntRange(1, 10_000), help="Instead of the run's [train] epochs.")
@click.option("--fresh", is_flag=True, help="Begin anew, where a training that was ended would go on.")
@json_option
def retrain(
    run: Path,
    places: tuple[Path, ...],
    out: Path | None,
    hold_out: float,
    epochs: int | None,
    fresh: bool,
    as_json: bool,
) -> None:
    """Train RUN further with new samples, and show old against new.

    The new run begins with RUN's weights and has its configuration, its samples in the same parts, and the
    new ones: some to learn from, some to validate and some held out as a test, by whole groups. What is the
    same, or nearly, as a sample of RUN's test is left out. Both are then compared on RUN's test set, which
    stays as it was, and on the new samples that were held out. RUN2.toml and RUN2.csv beside RUN2 are what
    was trained.

    \b
    Example:
        galago retrain runs/alarms --with reviewed
    """
    from galago_converters.conversion_record import encode
    from galago_workstation.files import write_json
    from galago_workstation.progress_lines import command_report
    from galago_workstation.retraining.new_samples import find_new_samples
    from galago_workstation.retraining.retrain_plan import plan_of, write_plan
    from galago_workstation.retraining.run_comparison import RETRAIN_FILE, compare_runs
    from galago_workstation.run_folder import Run
    from galago_workstation.training.machines import refuse_several

    refuse_several(os.environ, "galago retrain")
    old = Run.open(run)
    old.check_untouched()
    plan = plan_of(old, out)
    report = command_report(say, as_json=as_json)
    found = find_new_samples(places, old, report)
    parts = _divided(old, found, hold_out)
    for line in _said(old, found, parts):
        report.say(line)
    write_plan(plan, old, found.samples, parts, epochs=epochs)
    train_shown(plan.config, plan.out, fresh=fresh, silent=as_json)
    new = Run.open(plan.out)
    record = _record(old, places, found, parts, compare_runs(old, new, report))
    write_json(plan.out / RETRAIN_FILE, record)
    if as_json:
        say_json(encode(record).decode())
        return
    for line in _shown(record, plan):
        say(line)


def _divided(old: Run, found: NewSamples, hold_out: float) -> list[Part]:
    from galago_workstation.data.sample import PARTS
    from galago_workstation.retraining.new_split import divide_new

    groups = {sample.group: part for part in PARTS for sample in old.samples(part) if sample.group}
    return divide_new(
        found.samples,
        found.alike,
        known_labels=old.labels,
        known_groups=groups,
        hold_out=hold_out,
        validation_share=old.config.data.validation_share,
    )


def _new_labels(old: Run, found: NewSamples) -> tuple[str, ...]:
    return tuple(sorted({sample.label for sample in found.samples} - set(old.labels)))


def _said(old: Run, found: NewSamples, parts: Sequence[Part]) -> Iterator[str]:
    counts = Counter(parts)
    labels = Counter(sample.label for sample in found.samples)
    told = ", ".join(f"{name} {count}" for name, count in sorted(labels.items()))
    yield (
        f"{count_of(len(found.samples), 'new sample')} ({told}): {counts['train']} to learn from, "
        f"{counts['validation']} to validate with, {counts['test']} held out"
    )
    yield from found.left_out()
    if new := _new_labels(old, found):
        yield f"labels that {old.path} does not have: {', '.join(new)}; their logits begin with chance"


def _record(
    old: Run, places: Sequence[Path], found: NewSamples, parts: Sequence[Part], sets: tuple[ComparedSet, ...]
) -> RetrainRecord:
    from galago_edge.contract.printable import printable
    from galago_workstation.data.sample import PARTS
    from galago_workstation.retraining.run_comparison import ParentRun, RetrainRecord

    return RetrainRecord(
        parent=ParentRun(
            path=printable(str(old.path)),
            created_utc=old.record.created_utc,
            config_sha256=old.record.config_sha256,
            weights_sha256=old.record.result.weights_sha256,
            test_sha256=old.samples_sha256("test"),
        ),
        samples=tuple(printable(str(place)) for place in places),
        new={part: parts.count(part) for part in PARTS},
        new_labels=_new_labels(old, found),
        left_out=tuple(found.left_out()),
        sets=sets,
        worse=sets[0].points < 0,
    )


def _shown(record: RetrainRecord, plan: RetrainPlan) -> Iterator[str]:
    from galago_workstation.retraining.run_comparison import comparison_lines

    for one in record.sets:
        yield ""
        yield from comparison_lines(one)
    yield ""
    if len(record.sets) < 2:
        yield "no new sample is held out, so nothing tells what was learned of them"
    if record.worse:
        yield f"WORSE on the test set of {record.parent.path}: look twice before it replaces that run"
    yield f"run folder: {plan.out}; galago convert, evaluate and bundle build take it as any other"
