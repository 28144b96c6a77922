"""Where a training is written down beside its run folder, for programs that show many of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MLFLOW_VARIABLE = "GALAGO_MLFLOW"
"""Environment variable with the address of MLflow, for processes that train."""


@dataclass(frozen=True, slots=True)
class TrainingLogs:
    """The places."""

    tensorboard: Path | None = None
    """Folder of event files for TensorBoard."""
    mlflow: str | None = None
    """Tracking URI of an MLflow server or store; it may hold a password."""


NO_LOGS = TrainingLogs()
