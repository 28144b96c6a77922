"""``galago train``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from galago_edge.commands.cli import say
from galago_edge.commands.options import PATH


@click.command()
@click.argument("config", type=PATH)
@click.option(
    "--out",
    type=PATH,
    metavar="RUN",
    help="Run folder; default: runs/NAME for NAME.toml. An existing run is replaced at the end.",
)
@click.option("--fresh", is_flag=True, help="Begin anew, where a training that was ended would go on.")
def train(config: Path, out: Path | None, fresh: bool) -> None:
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
    from galago_workstation.progress_lines import on_terminal
    from galago_workstation.training.machines import read_machines
    from galago_workstation.training.progress import LiveProgress, PlainProgress
    from galago_workstation.training.training_process import train_apart

    def complain(line: str) -> None:
        say(line, err=True)

    machines = read_machines(os.environ)
    out = out if out is not None else Path("runs") / config.stem
    if machines is not None and not machines.chief:
        train_apart(config, out, PlainProgress(say), fresh=fresh, complain=complain)
        say(f"{machines.said} is done; the run folder is on the first one, {machines.addresses[0]}")
        return
    if on_terminal():
        with LiveProgress() as live:
            train_apart(config, out, live, fresh=fresh, complain=complain)
    else:
        train_apart(config, out, PlainProgress(say), fresh=fresh, complain=complain)
    say(f"run folder: {out}")
