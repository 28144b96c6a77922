"""``galago data cut``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from galago_edge.commands.cli import json_option, say, say_data, show_error
from galago_edge.commands.options import PATH, FiniteRange
from galago_edge.commands.output_places import check_outputs

if TYPE_CHECKING:
    from galago_edge.contract.modality import Modality
    from galago_workstation.data.cut_folder import CutResult

_NS_PER_S = 1_000_000_000


@click.command()
@click.argument("corpus", type=PATH)
@click.option("--out", type=PATH, required=True, metavar="FOLDER", help="Folder to write.")
@click.option("--pictures", is_flag=True, help="Cut pictures, of recordings that have both.")
@click.option(
    "--background",
    metavar="LABEL",
    default="background",
    show_default=True,
    help="Label of what is in no event.",
)
@click.option(
    "--per-hour",
    type=FiniteRange(0, 100_000),
    default=120.0,
    show_default=True,
    help="Background samples of an hour of it.",
)
@click.option(
    "--length",
    type=FiniteRange(0.1, 60),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Length of background sounds.",
)
@click.option(
    "--longest",
    type=FiniteRange(0.5, 600),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="Longer events are cut into pieces.",
)
@click.option(
    "--margin",
    type=FiniteRange(0, 60),
    default=0.25,
    show_default=True,
    metavar="SECONDS",
    help="Sound around an event that is cut with it.",
)
@click.option(
    "--every",
    type=FiniteRange(0.01, 3_600),
    default=0.5,
    show_default=True,
    metavar="SECONDS",
    help="Between two pictures of an event.",
)
@click.option(
    "--rate", type=click.IntRange(4_000, 48_000), default=16_000, show_default=True, help="Of sounds, in Hz."
)
@json_option
@click.pass_context
def cut(
    ctx: click.Context,
    corpus: Path,
    out: Path,
    pictures: bool,
    background: str,
    per_hour: float,
    length: float,
    longest: float,
    margin: float,
    every: float,
    rate: int,
    as_json: bool,
) -> None:
    """Cut training samples out of labelled recordings.

    Each event of CORPUS becomes a sound, or pictures, of its label; background is taken at random from the
    rest, at least a second away from events. FOLDER/samples.csv is a manifest for training that keeps what
    comes from one recording in one part.

    \b
    Example:
        galago data cut nights --out samples
    """
    from galago_workstation.data.cut_folder import TABLE_FILE, cut_corpus
    from galago_workstation.data.stream_cuts import CutPlan
    from galago_workstation.progress_lines import command_report
    from galago_workstation.qa.corpus import read_corpus

    check_outputs({}, {"--out": out})
    report = command_report(say, as_json=as_json)
    plan = CutPlan(
        background=background,
        per_hour=per_hour,
        length_ns=round(length * _NS_PER_S),
        longest_ns=round(longest * _NS_PER_S),
        margin_ns=round(margin * _NS_PER_S),
        every_ns=round(every * _NS_PER_S),
        rate_hz=rate,
    )
    modality: Modality = "camera" if pictures else "microphone"
    found = read_corpus(corpus, report=report)
    for note in found.notes:
        report.say(f"note: {note}")
    result = cut_corpus(found.of_modality(modality), modality, plan, out, report)
    if as_json:
        say_data(
            {
                "labels": dict(sorted(result.labels.items())),
                "unlabelled": result.unlabelled,
                "overlapping": result.overlapping,
                "in_gaps": result.in_gaps,
                "failed": {name: error.as_data() for name, error in result.failed.items()},
            }
        )
    else:
        for line in _lines(result):
            say(line)
        for error in result.failed.values():
            show_error(error)
        say(f'[data] manifest = "{out / TABLE_FILE}"')
    ctx.exit(max((error.exit_code for error in result.failed.values()), default=0))


def _lines(result: CutResult) -> Iterator[str]:
    from galago_workstation.qa.report_words import counts_text

    yield f"cut {sum(result.labels.values())} samples: {counts_text(result.labels)}"
    for count, what in (
        (len(result.unlabelled), "recordings without labels, of which nothing is cut"),
        (result.overlapping, "events that overlap one of another label, left out"),
        (result.in_gaps, "events of which something is lost in a gap, left out"),
        (len(result.failed), "recordings that could not be read"),
    ):
        if count:
            yield f"{count} {what}"
