"""``galago demo`` and ``galago demo-data``."""

from __future__ import annotations

from pathlib import Path

import click

from galago_edge.commands.cli import say
from galago_edge.commands.options import PATH

seed_option = click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Same seed, same data."
)


@click.command("demo-data")
@click.argument("kind", type=click.Choice(["digits", "alarms"]))
@click.option(
    "--out",
    type=PATH,
    required=True,
    help="Folder to fill; older demo data is replaced.",
)
@seed_option
def demo_data(kind: str, out: Path, seed: int) -> None:
    """Make training data and a recording with its ground truth.

    \b
    digits: scikit-learn's handwritten digits on cards in a rendered room; a two-minute video.
    alarms: smoke, carbon monoxide and siren signals in household noise; five minutes of sound.

    The folder gets train/LABEL/*, recording.*, truth.json and a configuration for galago train.

    \b
    Example:
      galago demo-data digits --out demo/digits
      galago train demo/digits/digits.toml
    """
    if kind == "digits":
        from galago_workstation.demo.digits import make_digits

        truth = make_digits(out, seed=seed)
    else:
        from galago_workstation.demo.alarms import make_alarms

        truth = make_alarms(out, seed=seed)
    files = sum(path.is_file() for path in (out / "train").rglob("*"))
    say(
        f"{out}: {files} training files; {truth.recording}: {truth.duration_ns / 1e9:.0f} s, "
        f"{len(truth.events)} events"
    )


@click.command()
@click.option(
    "--out",
    type=PATH,
    default=Path("demo"),
    show_default=True,
    help="Folder for everything; an older demo there is removed first.",
)
@seed_option
def demo(out: Path, seed: int) -> None:
    """Go the whole way once, for a camera and a microphone.

    Makes data, trains, converts, evaluates, packs, signs, installs into a folder that plays the device,
    replays two recordings with known events and scores the result. Each command is printed before it
    runs. Writes OUT/report.html, OUT/summary.json and OUT/log.txt; ends with exit code 1 when a promise
    is not kept.
    """
    from galago_workstation.demo.demo_run import run_demo

    run_demo(out, seed=seed, echo=say)
