"""``galago evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from galago_edge.commands.cli import json_option, say, say_json
from galago_edge.commands.options import PATH

if TYPE_CHECKING:
    from galago_workstation.evaluation.evaluation_record import Evaluation
    from galago_workstation.run_folder import Run


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
@click.option(
    "--mlflow",
    metavar="URI",
    envvar="GALAGO_MLFLOW",
    show_envvar=True,
    help="Also send the report, which holds samples of your data, to the run of MLflow that training made.",
)
@json_option
def evaluate(
    run: Path, price_per_hour: float | None, watts: float | None, mlflow: str | None, as_json: bool
) -> None:
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
    from galago_workstation.training.mlflow_log import mlflow_library

    if mlflow:
        mlflow_library()  # not installed is said before minutes of work
    opened = Run.open(run)
    scored = evaluate_run(opened, report=command_report(say, as_json=as_json))
    found = scored.evaluation
    doubts = doubts_of(opened, found)
    write_report(opened, scored, doubts, TrainingRates(price_per_hour, watts))
    if mlflow:
        _send(opened, found, mlflow)
    if as_json:
        say_json(encode(found).decode())
        return
    for line in table(found):
        say(line)
    for doubt in doubts:
        say(f"{'no bundle without a reason' if doubt.refuses else 'note'}: {doubt.text}")
    say(f"report: {run / REPORT_FILE}")


def _send(run: Run, found: Evaluation, uri: str) -> None:
    """Send the report; where that fails, say so: everything is in the run folder."""
    from galago_edge.contract.errors import InputError, LinkError
    from galago_workstation.evaluation.evaluation_record import EVALUATION_FILE
    from galago_workstation.evaluation.page.run_report import REPORT_FILE
    from galago_workstation.training.mlflow_log import send_report

    figures = {
        "test_accuracy_keras": found.keras.accuracy,
        "test_accuracy_float": found.tflite_float.accuracy,
        "test_accuracy_int8": found.tflite_int8.accuracy,
    }
    try:
        send_report(run, uri, (REPORT_FILE, EVALUATION_FILE), figures)
    except (InputError, LinkError) as error:
        say(f"Warning: the report is not sent to MLflow: {error.line}", err=True)
