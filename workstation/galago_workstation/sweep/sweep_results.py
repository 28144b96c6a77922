"""What a sweep came to: points in order of their validation figure, and how much of that is chance."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import msgspec

from galago_workstation.run_folder import RunRecord
from galago_workstation.sweep.search_grid import Setting
from galago_workstation.sweep.sweep_plan import PlannedRun, SweepPlan, settings_text


class SweptRun(msgspec.Struct, frozen=True, kw_only=True):
    """One whole training."""

    name: str
    seed: int
    figure: float
    """Balanced accuracy, or accuracy, on the validation part."""
    validation_accuracy: float
    best_epoch: int
    epochs: int
    parameters: int
    seconds: float


class SweptPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One point of the grid."""

    settings: dict[str, str]
    """Values as TOML, by key."""
    figure: float
    """Mean of its runs' figures."""
    spread: float | None
    """Standard deviation of them (n - 1); None for a single run."""
    runs: tuple[SweptRun, ...]
    """Best first."""
    missing: int
    """Runs that are not whole."""


class SweepResults(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    figure: str
    """What ``figure`` is: ``balanced accuracy`` or ``accuracy``."""
    points: tuple[SweptPoint, ...]
    """Best first; only those with a whole run."""
    validation_samples: int
    notes: tuple[str, ...]
    """What is to be kept in mind, in sentences."""
    warnings: tuple[str, ...]


def sweep_results(plan: SweepPlan, records: Mapping[str, RunRecord]) -> SweepResults:
    """Return the results of the runs that are whole, whose records are given by name."""
    points = []
    for number in range(plan.points):
        runs = [run for run in plan.runs if run.point == number]
        whole = [_swept(run, records[run.name], plan.balanced) for run in runs if run.name in records]
        if whole:
            points.append(_point(runs[0].settings, whole, len(runs) - len(whole)))
    points.sort(key=lambda point: (-point.figure, list(point.settings.values())))
    samples = {record.samples["validation"] for record in records.values()}
    return SweepResults(
        figure="balanced accuracy" if plan.balanced else "accuracy",
        points=tuple(points),
        validation_samples=min(samples, default=0),
        notes=tuple(_notes(points)),
        warnings=tuple(_warnings(points, records)),
    )


def _swept(run: PlannedRun, record: RunRecord, balanced: bool) -> SweptRun:
    result = record.result
    of_labels = result.validation_balanced
    assert of_labels is not msgspec.UNSET  # such a run is not whole: whole_run
    return SweptRun(
        name=run.name,
        seed=run.seed,
        figure=of_labels if balanced else result.validation_accuracy,
        validation_accuracy=result.validation_accuracy,
        best_epoch=result.best_epoch,
        epochs=result.epochs,
        parameters=result.parameters,
        seconds=result.seconds,
    )


def _point(settings: Sequence[Setting], runs: Sequence[SweptRun], missing: int) -> SweptPoint:
    figures = [run.figure for run in runs]
    return SweptPoint(
        settings={setting.key: setting.text for setting in settings},
        figure=statistics.fmean(figures),
        spread=statistics.stdev(figures) if len(figures) > 1 else None,
        runs=tuple(sorted(runs, key=lambda run: (-run.figure, run.seed))),
        missing=missing,
    )


def _notes(points: Sequence[SweptPoint]) -> list[str]:
    if not points:
        return []
    tried = sum(len(point.runs) for point in points)
    if tried == 1:
        return []
    return [
        f"the first one is the best of {tried} by the validation samples, so its figure is optimistic; the "
        "test samples are for the chosen one only, once: galago convert, then galago evaluate"
    ]


def _warnings(points: Sequence[SweptPoint], records: Mapping[str, RunRecord]) -> list[str]:
    said = []
    if len({record.samples_sha256["validation"] for record in records.values()}) > 1:
        said.append("the validation samples of these runs are not the same, so their order says little")
    if incomplete := sum(point.missing > 0 for point in points):
        said.append(f"{incomplete} of the points lack a run, so their means are of fewer seeds than others'")
    if len(points) < 2:
        return said
    if all(point.spread is None for point in points):
        said.append("one seed each: how much of the order is chance is not known; --seeds 3 tells")
        return said
    best = points[0]
    near = [point for point in points[1:] if best.figure - point.figure <= _spread(best, point)]
    if near:
        said.append(
            f"the first point is ahead of {len(near)} other{'s' if len(near) > 1 else ''} by no more than "
            f"the spread between seeds: which of these {len(near) + 1} is best, this sweep does not tell"
        )
    return said


def _spread(one: SweptPoint, other: SweptPoint) -> float:
    return max(one.spread or 0.0, other.spread or 0.0)


def point_text(point: SweptPoint) -> str:
    """Return a point's settings in words."""
    return ", ".join(f"{key} = {value}" for key, value in point.settings.items()) or settings_text(())
