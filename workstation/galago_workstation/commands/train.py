"""``galago train``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from galago_edge.commands.cli import say
from galago_edge.commands.options import PATH

if TYPE_CHECKING:
    from galago_workstation.training.training_logs import TrainingLogs


@click.command()
@click.argument("config", type=PATH)
@click.option(
    "--out",
    type=PATH,
    metavar="RUN",
    help="Run folder; default: runs/NAME for NAME.toml. An existing run is replaced at the end.",
)
@click.option("--fresh", is_flag=True, help="Begin anew, where a training that was ended would go on.")
@click.option(
    "--tensorboard",
    type=PATH,
    metavar="FOLDER",
    help="Also write event files for TensorBoard, to FOLDER/NAME of the run.",
)
@click.option(
    "--mlflow",
    metavar="URI",
    envvar="GALAGO_MLFLOW",
    show_envvar=True,
    help="Also make a run of MLflow, on this server or in this store.",
)
def train(config: Path, out: Path | None, fresh: bool, tensorboard: Path | None, mlflow: str | None) -> None:
    """Train the network that CONFIG describes and leave a run folder.

    Ctrl+C once ends it well, with the best epoch so far; twice aborts it. A training that was aborted or
    killed goes on behind the last epoch that it had kept. It runs in a process of its own: one that crashes
    ends with one line that says so.

    Where TF_CONFIG names several machines, the same command on each of them trains one network; the run
    folder is on the first one.

    \b
    Example:
        galago train digits.toml --out runs/digits
    """
    from galago_edge.commands.output_places import check_outputs
    from galago_workstation.training.training_logs import TrainingLogs

    check_outputs({}, {"--tensorboard": tensorboard})
    out = out if out is not None else Path("runs") / config.stem
    if train_shown(config, out, fresh=fresh, logs=TrainingLogs(tensorboard, mlflow or None)):
        say(f"run folder: {out}")


def train_shown(
    config: Path, out: Path, *, fresh: bool, silent: bool = False, logs: TrainingLogs | None = None
) -> bool:
    """Train in a process of its own and show how far it is, unless ``silent``.

    Returns:
        Whether the run folder is here: of several machines the first one has it.

    Raises:
        GalagoError: As ``train_apart``.
        KeyboardInterrupt: It was aborted.
    """
    from galago_workstation.progress_lines import on_terminal
    from galago_workstation.training.machines import read_machines
    from galago_workstation.training.progress import LiveProgress, PlainProgress
    from galago_workstation.training.training_logs import NO_LOGS
    from galago_workstation.training.training_process import train_apart

    def complain(line: str) -> None:
        say(line, err=True)

    logs = logs or NO_LOGS
    machines = read_machines(os.environ)
    if machines is not None and not machines.chief:
        train_apart(config, out, PlainProgress(say), fresh=fresh, complain=complain)
        say(f"{machines.said} is done; the run folder is on the first one, {machines.addresses[0]}")
        return False
    if silent:
        train_apart(config, out, PlainProgress(lambda line: None), fresh=fresh, logs=logs, complain=complain)
    elif on_terminal():
        with LiveProgress() as live:
            train_apart(config, out, live, fresh=fresh, logs=logs, complain=complain)
    else:
        train_apart(config, out, PlainProgress(say), fresh=fresh, logs=logs, complain=complain)
    return True
