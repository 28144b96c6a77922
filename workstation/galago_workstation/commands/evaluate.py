"""``galago evaluate``."""

from __future__ import annotations

from pathlib import Path

import click

from galago_edge.commands.cli import json_option, say, say_json
from galago_edge.commands.options import PATH


@click.command()
@click.argument("run", type=PATH)
@click.option(
    "--price-per-hour",
    type=click.FloatRange(min=0),
    help="What an hour of the machine that trained costs: the report then has the price of the training.",
)
@click.option(
    "--watts",
    type=click.FloatRange(min=0),
    help="What that machine takes while it trains, as you know or measured it: the report then has an "
    "estimate of the energy.",
)
@json_option
def evaluate(run: Path, price_per_hour: float | None, watts: float | None, as_json: bool) -> None:
    """Compare RUN's Keras, float and int8 models on its test part.

    Prints one table and writes RUN/evaluation.json, RUN/evaluation.png (confusions of the int8 model)
    and RUN/report.html: one page, to be opened in a browser without any network, with figures, curves,
    and the worst errors to be looked at and listened to. The page holds samples of your data.

    \b
    Example:
        galago evaluate runs/digits
        galago evaluate runs/digits --watts 65 --price-per-hour 0.40
    """
    from galago_converters.conversion_record import encode
    from galago_workstation.evaluation.model_doubts import doubts_of
    from galago_workstation.evaluation.page.run_report import REPORT_FILE, TrainingRates, write_report
    from galago_workstation.evaluation.scorecard import table
    from galago_workstation.evaluation.scoring import evaluate_run
    from galago_workstation.progress_lines import command_report
    from galago_workstation.run_folder import Run

    opened = Run.open(run)
    scored = evaluate_run(opened, report=command_report(say, as_json=as_json))
    found = scored.evaluation
    doubts = doubts_of(opened, found)
    write_report(opened, scored, doubts, TrainingRates(price_per_hour, watts))
    if as_json:
        say_json(encode(found).decode())
        return
    for line in table(found):
        say(line)
    for doubt in doubts:
        say(f"{'no bundle without a reason' if doubt.refuses else 'note'}: {doubt.text}")
    say(f"report: {run / REPORT_FILE}")
