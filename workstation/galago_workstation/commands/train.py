"""``galago train``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Run folder; default: runs/NAME for NAME.toml. A run that is there is replaced at the end.",
)
def train(config: Path, out: Path | None) -> None:
    """Train the network that CONFIG describes and leave a run folder.

    \b
    Example:
        galago train digits.toml --out runs/digits
    """
    from galago_workstation.reporting import on_terminal
    from galago_workstation.training.progress import LiveProgress, PlainProgress
    from galago_workstation.training.session import train as run_training

    out = out if out is not None else Path("runs") / config.stem
    if on_terminal():
        with LiveProgress() as live:
            run_training(config, out, live)
    else:
        run_training(config, out, PlainProgress(click.echo))
    click.echo(f"run folder: {out}")
