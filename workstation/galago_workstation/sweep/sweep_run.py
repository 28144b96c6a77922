"""A sweep from its plan to its results."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import GalagoError, LinkError, Reason
from galago_workstation.progress_lines import Report
from galago_workstation.sweep.sweep_folder import SweepFolder
from galago_workstation.sweep.sweep_plan import SweepPlan
from galago_workstation.sweep.sweep_results import SweepResults, sweep_results
from galago_workstation.sweep.sweep_work import SweepOrder, SweepOutcome, whole_run
from galago_workstation.training.progress import duration


@dataclass(slots=True)
class SweepEnd:
    """What a sweep came to, well or not."""

    results: SweepResults
    found: int
    """Runs that were whole before."""
    trained: int = 0
    failures: dict[str, GalagoError] = field(default_factory=dict)
    """By the name of the run."""
    left: int = 0
    """Runs that were not trained, because somebody ended the sweep."""
    interrupted: bool = False


def run_sweep(
    plan: SweepPlan,
    folder: SweepFolder,
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    fresh: bool = False,
    tensorboard: Path | None = None,
    report: Report,
    complain: Callable[[str], object],
) -> SweepEnd:
    """Train what is not whole, and write sweep.json.

    Ctrl+C ends it well: what is whole stands, and what was under way goes on where it was when the sweep is
    asked for again. A training that fails is counted, and the others go on.

    Args:
        plan: What to train.
        folder: Where the runs are.
        jobs: Trainings at a time on this computer.
        scheduler: Address of a Dask scheduler whose workers train instead.
        fresh: Train what is whole, too.
        tensorboard: Folder of event files for TensorBoard.
        report: Is told of every training.
        complain: Is given what libraries wrote to standard error.

    Raises:
        CallerError: EXISTS; the folder is somebody else's.
        DeviceError: EXTRA_MISSING; ``scheduler`` needs a package that is not installed.
        LinkError: The disk, the system or the cluster fails.
    """
    folder.prepare(plan)
    orders = folder.orders(plan, fresh=fresh, tensorboard=tensorboard)
    end = SweepEnd(sweep_results(plan, {}), found=len(plan.runs) - len(orders))
    report.say(
        f"{count_of(plan.points, 'point')} x {count_of(plan.seeds, 'seed')}: "
        f"{count_of(len(plan.runs), 'training')}"
        + (f", {end.found} of them whole already" if end.found else "")
    )
    try:
        with (
            report.track("sweep", len(orders)) as advance,
            contextlib.closing(_outcomes(orders, jobs, scheduler, report, complain)) as outcomes,
        ):
            for number, outcome in enumerate(outcomes, 1):
                _take(outcome, end, folder, plan, f"[{number}/{len(orders)}]", report)
                advance(number)
    except KeyboardInterrupt:
        end.interrupted = True
        end.left = len(orders) - end.trained - len(end.failures)
    end.results = sweep_results(plan, folder.records(plan))
    folder.write(plan, end.results)
    return end


def _outcomes(
    orders: Sequence[SweepOrder],
    jobs: int,
    scheduler: str | None,
    report: Report,
    complain: Callable[[str], object],
) -> Generator[SweepOutcome, None, None]:
    if not orders:
        return
    if scheduler is not None:
        from galago_workstation.sweep.sweep_cluster import train_on_cluster

        yield from train_on_cluster(orders, scheduler)
    else:
        from galago_workstation.sweep.sweep_runner import train_here

        yield from train_here(orders, jobs, say=report.say, complain=complain)


def _take(
    outcome: SweepOutcome, end: SweepEnd, folder: SweepFolder, plan: SweepPlan, turn: str, report: Report
) -> None:
    """Count how a training ended, and tell of it."""
    (run,) = (run for run in plan.runs if run.name == outcome.name)
    record = whole_run(folder.path / run.name, run.config_sha256)
    error: GalagoError | None = None
    if outcome.error is not None:
        error = GalagoError.from_data(outcome.error)
    elif record is None:
        error = LinkError(
            Reason.IO,
            f"it was trained, and no whole run is in {folder.path / run.name}",
            hint="let trainings end by themselves; on a cluster, every worker must see --out under this path",
        )
    if error is not None:
        end.failures[outcome.name] = error
        report.say(f"{turn} {outcome.name}: failed: {error.reason}")
        return
    assert record is not None
    end.trained += 1
    result = record.result
    report.say(
        f"{turn} {outcome.name}: {100 * result.validation_accuracy:.2f} % of validation, epoch "
        f"{result.best_epoch} of {result.epochs}, {duration(result.seconds)}"
    )
