"""``galago evaluate``."""

from __future__ import annotations

from pathlib import Path

import click

from galago_edge.commands.cli import json_option, say, say_json
from galago_edge.commands.options import PATH


@click.command()
@click.argument("run", type=PATH)
@json_option
def evaluate(run: Path, as_json: bool) -> None:
    """Compare RUN's Keras, float and int8 models on its test part.

    Prints one table and writes RUN/evaluation.json and RUN/evaluation.png (confusions of the int8
    model).

    \b
    Example:
        galago evaluate runs/digits
    """
    from galago_converters.conversion_record import encode
    from galago_workstation.evaluation.scorecard import table
    from galago_workstation.evaluation.scoring import evaluate_run
    from galago_workstation.progress_lines import command_report
    from galago_workstation.run_folder import Run

    opened = Run.open(run)
    found = evaluate_run(opened, report=command_report(say, as_json=as_json))
    if as_json:
        say_json(encode(found).decode())
        return
    for line in table(found):
        say(line)
