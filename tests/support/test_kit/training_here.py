"""``galago train`` without the process of its own: for tests that change what trains, and for speed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from galago_workstation.training.logged_training import train_logged
from galago_workstation.training.progress import TrainingProgress
from galago_workstation.training.training_logs import TrainingLogs


@contextlib.contextmanager
def training_here() -> Iterator[None]:
    """Let the command train in this process, as ``train()`` does, for as long as the block lasts."""

    def here(
        config: Path,
        out: Path,
        progress: TrainingProgress,
        *,
        fresh: bool,
        logs: TrainingLogs,
        complain: Callable[[str], object],
    ) -> None:
        train_logged(config, out, progress, fresh=fresh, logs=logs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("galago_workstation.training.training_process.train_apart", here)
        yield
