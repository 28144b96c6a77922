"""A training that is also written down elsewhere, while it runs."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import galago_workstation
from galago_edge.contract.printable import printable
from galago_workstation.run_catalogue import settings_of
from galago_workstation.run_folder import METRICS_FILE, Run
from galago_workstation.training.curves import Epoch, read_metrics
from galago_workstation.training.logged_progress import LoggedProgress, RunLog
from galago_workstation.training.machines import Machines
from galago_workstation.training.mlflow_log import MlflowLog
from galago_workstation.training.progress import TrainingProgress
from galago_workstation.training.tensorboard_log import TensorboardLog
from galago_workstation.training.training_logs import TrainingLogs
from galago_workstation.training.training_run import train


def train_logged(
    config_path: Path,
    out: Path,
    progress: TrainingProgress,
    *,
    fresh: bool = False,
    root: Path | None = None,
    logs: TrainingLogs,
    machines: Machines | None = None,
) -> Run:
    """Do what ``training_run.train`` does, and let ``logs`` write it down; a log that fails ends nothing.

    Raises:
        GalagoError: As ``training_run.train``.
        DeviceError: EXTRA_MISSING; MLflow is asked for and not installed.
    """
    logged = LoggedProgress(progress, _opened(logs, config_path, out))
    try:
        run = train(config_path, out, logged, fresh=fresh, root=root, machines=machines)
    except BaseException:  # Ctrl+C, too
        logged.finish(None, logged.epochs)
        raise
    logged.finish(run, _all_epochs(run, logged))
    return run


def _opened(logs: TrainingLogs, config_path: Path, out: Path) -> list[RunLog]:
    found: list[RunLog] = []
    if logs.tensorboard is not None:
        found.append(TensorboardLog(logs.tensorboard, out.name))
    if logs.mlflow is not None:
        settings = settings_of(config_path)
        tags = {
            "galago.version": galago_workstation.__version__,
            "galago.run": printable(str(out.absolute())),
            "galago.config_sha256": hashlib.sha256(config_path.read_bytes()).hexdigest(),
        }
        found.append(MlflowLog(logs.mlflow, printable(out.name), settings, tags))
    return found


def _all_epochs(run: Run, logged: LoggedProgress) -> list[Epoch]:
    """Return the epochs of the run, also those of before it was ended and went on."""
    with contextlib.suppress(OSError, ValueError):  # what was seen is better than nothing
        seen = {epoch.epoch: epoch for epoch in logged.epochs}
        return [seen.get(epoch.epoch, epoch) for epoch in read_metrics(run.path / METRICS_FILE)]
    return logged.epochs
