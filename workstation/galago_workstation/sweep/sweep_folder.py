"""The folder of a sweep: its runs, their configurations, and ``sweep.json``, which says what it is."""

from __future__ import annotations

from pathlib import Path

import msgspec

from galago_edge.contract.errors import CallerError, Reason, disk_error
from galago_edge.contract.printable import printable
from galago_workstation.files import write_bytes, write_json
from galago_workstation.run_folder import RunRecord
from galago_workstation.sweep.sweep_plan import PlannedRun, SweepPlan
from galago_workstation.sweep.sweep_results import SweepResults, sweep_results
from galago_workstation.sweep.sweep_work import SweepOrder, whole_run

SWEEP_FILE = "sweep.json"
_CONFIGS = "configs"


class SweepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Content of sweep.json."""

    schema: str = "galago.sweep/1"
    config: str
    """The configuration that was varied, as it was named."""
    grid: dict[str, tuple[str, ...]]
    """Values as TOML, by key."""
    seeds: int
    results: SweepResults


class SweepFolder:
    """``OUT/NAME/`` is the run, ``OUT/configs/NAME.toml`` its configuration."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self, plan: SweepPlan) -> None:
        """Write every configuration; what is there already stays.

        Raises:
            CallerError: EXISTS; the folder is somebody else's.
            LinkError: The disk fails.
        """
        configs = self.path / _CONFIGS
        try:
            if self.path.exists() and not self._own():
                raise CallerError(
                    Reason.EXISTS,
                    f"{self.path} exists and is not the folder of a sweep ({SWEEP_FILE} is missing)",
                    hint="choose another folder with --out",
                )
            configs.mkdir(parents=True, exist_ok=True)
            if not (self.path / SWEEP_FILE).exists():
                self.write(plan, sweep_results(plan, {}))
            for run in plan.runs:
                path = self._config(run)
                if not path.exists() or path.read_bytes() != run.content:
                    write_bytes(path, run.content)
        except OSError as error:
            raise disk_error(error, f"write into {self.path}") from error

    def orders(self, plan: SweepPlan, *, fresh: bool, tensorboard: Path | None = None) -> list[SweepOrder]:
        """Return what is to be trained: the runs that are not whole, or all of them."""
        return [
            SweepOrder.of(
                run.name,
                run.config_sha256,
                config=self._config(run),
                out=self.path / run.name,
                root=plan.config.parent,
                tensorboard=tensorboard,
                fresh=fresh,
            )
            for run in plan.runs
            if fresh or whole_run(self.path / run.name, run.config_sha256) is None
        ]

    def records(self, plan: SweepPlan) -> dict[str, RunRecord]:
        """Return the records of the whole runs, by name."""
        found = {run.name: whole_run(self.path / run.name, run.config_sha256) for run in plan.runs}
        return {name: record for name, record in found.items() if record is not None}

    def others(self, plan: SweepPlan) -> int:
        """Return how many runs are here that are not of this plan."""
        names = {run.name for run in plan.runs}
        return sum(path.parent.name not in names for path in self.path.glob("*/run.json"))

    def write(self, plan: SweepPlan, results: SweepResults) -> None:
        """Write sweep.json.

        Raises:
            LinkError: The disk fails.
        """
        grid = {axis.key: tuple(text for text in _texts(plan, axis.path)) for axis in plan.axes}
        record = SweepRecord(config=printable(str(plan.config)), grid=grid, seeds=plan.seeds, results=results)
        write_json(self.path / SWEEP_FILE, record)

    def _own(self) -> bool:
        return self.path.is_dir() and ((self.path / SWEEP_FILE).is_file() or not any(self.path.iterdir()))

    def _config(self, run: PlannedRun) -> Path:
        return self.path / _CONFIGS / f"{run.name}.toml"


def _texts(plan: SweepPlan, path: tuple[str, ...]) -> list[str]:
    """Return the values of one key, each once, in the grid's order."""
    found = [one.text for run in plan.runs for one in run.settings if one.path == path]
    return list(dict.fromkeys(found))
