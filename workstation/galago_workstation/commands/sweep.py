"""``galago sweep``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galago_edge.commands.cli import json_option, say, say_data, show_error
from galago_edge.commands.options import PATH

if TYPE_CHECKING:
    from galago_workstation.sweep.sweep_plan import SweepPlan
    from galago_workstation.sweep.sweep_results import SweepResults
    from galago_workstation.sweep.sweep_run import SweepEnd

_INTERRUPTED = 130
"""As the shell has it: 128 and the number of SIGINT."""


@click.command()
@click.argument("config", type=PATH)
@click.option("--grid", type=PATH, metavar="GRID.toml", help="Values to try, as lists, in their tables.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUES",
    help="Values to try of one key, such as train.learning_rate=0.001,0.003; may be given several times.",
)
@click.option(
    "--seeds", type=click.IntRange(1, 100), default=1, show_default=True, help="Trainings of each point."
)
@click.option("--out", type=PATH, metavar="OUT", help="Folder of the runs.  [default: runs/NAME-sweep]")
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    help="Trainings at a time, which share the processor's cores.  [default: 1]",
)
@click.option("--scheduler", metavar="ADDRESS", help="Train on the Dask cluster of this scheduler.")
@click.option(
    "--tensorboard",
    type=PATH,
    metavar="FOLDER",
    help="Also write event files for TensorBoard, to FOLDER/NAME of each run.",
)
@click.option("--fresh", is_flag=True, help="Train what is whole already, too.")
@json_option
@click.pass_context
def sweep(
    ctx: click.Context,
    config: Path,
    grid: Path | None,
    settings: tuple[str, ...],
    seeds: int,
    out: Path | None,
    jobs: int | None,
    scheduler: str | None,
    tensorboard: Path | None,
    fresh: bool,
    as_json: bool,
) -> None:
    """Train CONFIG with every combination of some values.

    Every key is checked before anything is trained. Each combination is a run folder as any other. The same
    command goes on where it was ended: runs that are whole are not trained again. Ctrl+C ends it with what is
    whole.

    \b
    Example:
        galago sweep digits.toml --set train.learning_rate=0.001,0.003 --set model.width=0.25,0.5 --seeds 3
    """
    from galago_edge.commands.output_places import check_outputs
    from galago_edge.contract.errors import CallerError, Reason
    from galago_workstation.progress_lines import command_report
    from galago_workstation.sweep.search_grid import grid_of
    from galago_workstation.sweep.sweep_folder import SweepFolder
    from galago_workstation.sweep.sweep_plan import plan_sweep
    from galago_workstation.sweep.sweep_run import run_sweep
    from galago_workstation.training.machines import refuse_several

    refuse_several(os.environ, "galago sweep")
    if jobs is not None and scheduler is not None:
        raise CallerError(
            Reason.USAGE,
            "--jobs and --scheduler are given, expected one of them",
            hint="on a cluster the workers say how many trainings they run",
        )
    axes = grid_of(grid, settings)
    if not axes and seeds == 1:
        text = "there is nothing to vary: no --grid, no --set and one seed"
        raise CallerError(Reason.USAGE, text, hint="such as --set train.learning_rate=0.001,0.003")
    check_outputs({}, {"--tensorboard": tensorboard})
    plan = plan_sweep(config, axes, seeds)
    folder = SweepFolder(out if out is not None else Path("runs") / f"{config.stem}-sweep")
    end = run_sweep(
        plan,
        folder,
        jobs=jobs or 1,
        scheduler=scheduler,
        fresh=fresh,
        tensorboard=tensorboard,
        report=command_report(say, as_json=as_json),
        complain=lambda line: say(line, err=True),
    )
    _tell(end, plan, folder.path, folder.others(plan), as_json=as_json)
    ctx.exit(_exit_code(end))


def _tell(end: SweepEnd, plan: SweepPlan, out: Path, others: int, *, as_json: bool) -> None:
    import msgspec

    from galago_edge.contract.count_words import count_of, noun_of

    for name, error in end.failures.items():
        show_error(error, f"{name}: ")
    if as_json:
        counts = {"found": end.found, "trained": end.trained, "left": end.left, "others": others}
        failed = {name: error.as_data(with_exit=True) for name, error in end.failures.items()}
        results = msgspec.to_builtins(end.results)
        say_data({"out": str(out), **results, **counts, "failed": failed, "interrupted": end.interrupted})
        return
    for line in _table(end.results, plan):
        say(line)
    for note in end.results.notes:
        say(f"note: {note}")
    for warning in end.results.warnings:
        say(f"Warning: {warning}", err=True)
    if others:
        more = f"{count_of(others, 'more run')} in {out} {noun_of(others, 'is', 'are')}"
        say(f"{more} of other settings, and {noun_of(others, 'stays', 'stay')}")
    whole = end.found + end.trained
    failed_words = f", {len(end.failures)} failed" if end.failures else ""
    left = f", {end.left} left: the same command goes on" if end.interrupted else ""
    say(f"{whole} of {count_of(len(plan.runs), 'run')} whole{failed_words}{left} -> {out}")


def _table(results: SweepResults, plan: SweepPlan) -> list[str]:
    """Return the points in order, one a line."""
    from galago_workstation.run_catalogue import share
    from galago_workstation.training.progress import duration

    if not results.points:
        return []
    keys = [axis.key for axis in plan.axes]
    rows: list[tuple[Any, ...]] = [
        ("", f"validation {results.figure}", "spread", *keys, "parameters", "training", "best run")
    ]
    for number, point in enumerate(results.points, 1):
        best = point.runs[0]
        spread = "" if point.spread is None else f"{100 * point.spread:.2f}"
        if len(point.runs) < plan.seeds:
            spread += f" (of {len(point.runs)})"
        time = duration(sum(run.seconds for run in point.runs) / len(point.runs))
        values = (point.settings[key] for key in keys)
        rows.append(
            (f"{number}.", share(point.figure), spread, *values, str(best.parameters), time, best.name)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(f"{value:<{width}}" for value, width in zip(row, widths, strict=True)) for row in rows]
    return [
        f"by {results.figure} on {results.validation_samples} validation samples, best first:",
        *(line.rstrip() for line in lines),
    ]


def _exit_code(end: SweepEnd) -> int:
    if end.interrupted:
        return _INTERRUPTED
    return max((error.exit_code for error in end.failures.values()), default=0)
