"""``galago qa score``: what a bundle said to labelled recordings, judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from galago_edge.commands.cli import json_option, say, say_json
from galago_edge.commands.options import FiniteRange
from galago_edge.commands.output_places import check_outputs
from galago_edge.contract.errors import CallerError, Reason
from galago_edge.host.former_output import refuse_other_kind
from galago_workstation.commands.qa_options import (
    markdown_option,
    place_argument,
    replaying_options,
    rule_options,
    run_bundle_option,
)
from galago_workstation.commands.qa_page import WantedPage, page_options
from galago_workstation.commands.qa_runs import Replaying

if TYPE_CHECKING:
    from galago_workstation.qa.corpus_score import CorpusScore
    from galago_workstation.qa.matching import MatchingRule
    from galago_workstation.qa.page.page_events import PageWish
    from galago_workstation.qa.page.page_making import MadePage
    from galago_workstation.qa.recording_losses import RecordingLosses
    from galago_workstation.qa.replayed import Replayed

F = TypeVar("F", bound=Callable[..., Any])


def score_options(command: F) -> F:
    """Add the options of a score; :func:`show_score` takes what they give, under the same names."""
    options = (
        rule_options,
        click.option(
            "--claim",
            type=FiniteRange(1e-9, 1_000_000),  # below: more hours than anything has lasted
            metavar="RATE",
            help="Say whether fewer false alarms per hour are shown, and how many hours that needs.",
        ),
        click.option(
            "--det", is_flag=True, help="Add the curve of each label over all thresholds, to --json."
        ),
        markdown_option,
        json_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


def show_score(
    replays: Sequence[Replayed],
    *,
    rule: MatchingRule,
    claim: float | None,
    det: bool,
    markdown: Path | None,
    as_json: bool,
    losses: RecordingLosses | None = None,
) -> CorpusScore:
    """Score what a bundle said to a corpus, print it, and return it.

    Raises:
        GalagoError: See ``galago_workstation.qa.corpus_score.score``; the file cannot be written.
    """
    import shutil

    import msgspec

    from galago_workstation.files import write_bytes
    from galago_workstation.qa import score_report
    from galago_workstation.qa.corpus_score import score

    found = score(replays, rule, claim_per_hour=claim, det=None if det else (), losses=losses)
    if markdown is not None:
        write_bytes(markdown, score_report.markdown(found).encode())
    if as_json:
        say_json(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        return found
    for line in score_report.terminal_lines(found, max(100, shutil.get_terminal_size((160, 24)).columns)):
        say(line)
    return found


def _page(replays: Sequence[Replayed], found: CorpusScore, rule: MatchingRule, wish: PageWish) -> MadePage:
    from galago_workstation.qa.page.page_making import score_page

    return score_page(replays, found, rule, wish)


@click.command()
@place_argument
@run_bundle_option
@replaying_options
@page_options
@score_options
@click.pass_context
def score(
    ctx: click.Context,
    /,
    place: Path,
    bundle: Path | None,
    replaying: Replaying,
    page: WantedPage,
    rule: MatchingRule,
    **options: Any,
) -> None:
    """Judge what a bundle said to labelled recordings.

    RUN is a folder that galago replay --out has written for many recordings. A CORPUS (a folder of
    recordings, or a list of them in TOML or CSV) is replayed with --bundle first; what was replayed before
    is not replayed again. The labels of night.flac are in night.flac.labels.tsv.

    \b
    Examples:
      galago qa score corpus --bundle alarms-1.1.0.galago --claim 0.5
      galago qa score runs/alarms-1.1.0 --json
      galago qa score runs/alarms-1.1.0 --html score.html
    """
    from galago_workstation.output_kinds import MARKDOWN

    page.check()
    if options["det"] and not options["as_json"]:
        text = "--det adds curves to --json, which is not asked for"
        raise CallerError(Reason.USAGE, text, hint="give --json, too; --html has curves of its own")
    refuse_other_kind(options["markdown"], MARKDOWN)
    check_outputs({"--markdown": options["markdown"], **page.files()}, page.folders())
    replays = replaying.of(place, bundle)
    found = show_score(replays, rule=rule, losses=replaying.losses, **options)
    page.write(lambda wish: _page(replays, found, rule, wish), replaying)
    ctx.exit(replaying.exit_code)
