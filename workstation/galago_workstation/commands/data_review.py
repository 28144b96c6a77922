"""``galago data review``."""

from __future__ import annotations

import contextlib
import secrets
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH, bundle_option
from galago_edge.contract.errors import CallerError, Reason

if TYPE_CHECKING:
    from galago_workstation.review.proposing_model import ProposingModel
    from galago_workstation.review.review_session import ReviewSession


@click.command()
@click.argument("samples", type=PATH)
@bundle_option("What proposes: a .galago file.")
@click.option("--run", type=PATH, metavar="RUN", help="What proposes: a run that was converted.")
@click.option("--out", type=PATH, required=True, metavar="FOLDER", help="Where answers go; goes on there.")
@click.option("--label", "labels", multiple=True, metavar="LABEL", help="A further label; repeatable.")
@click.option("--reviewer", metavar="NAME", help="Who answers.  [default: the user's name]")
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="Of the page.  [default: a free one]")
@click.option("--list", "listing", is_flag=True, help="Only say what would be shown, in its order.")
@json_option
def review(
    samples: Path,
    bundle: Path | None,
    run: Path | None,
    out: Path,
    labels: tuple[str, ...],
    reviewer: str | None,
    port: int,
    listing: bool,
    as_json: bool,
) -> None:
    """Say what field samples are, on a page with keys.

    SAMPLES is a folder of pictures or sounds, as devices keep them or any other, or a table of samples. A
    page on this computer shows one after the other with a label proposed for it, those first of which an
    answer teaches most. Each answer is on the disk when the page says so, and the same command goes on where
    it was ended. Ctrl+C ends it. FOLDER/samples.csv is a manifest for galago train and galago retrain.

    \b
    Examples:
        galago data review samples --bundle alarms-1.1.0.galago --out reviewed
        galago data review samples --run runs/alarms --out reviewed
    """
    from galago_workstation.progress_lines import command_report
    from galago_workstation.qa.golden_record import who
    from galago_workstation.review.field_samples import find_field_samples
    from galago_workstation.review.review_file import REVIEW_FILE, ReviewFile
    from galago_workstation.review.review_session import ReviewSession

    model = _model(bundle, run)
    found = find_field_samples(samples, sounds=None if model is None else model.sounds)
    reviewer = reviewer or who()
    report = command_report(say, as_json=as_json)
    with contextlib.ExitStack() as stack:
        if listing and not (out / REVIEW_FILE).is_file():  # which leaves nothing behind
            out = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="galago-review-")))
        file = stack.enter_context(contextlib.closing(ReviewFile(out, reviewer)))
        if file.torn:
            report.say("the last line was cut off, and is gone: an answer that was not saved yet")
        session = ReviewSession(found, file, model, labels, report)
        for line in _before(session):
            report.say(line)
        if listing:
            _list(session, as_json=as_json)
            return
        _serve(session, reviewer, port)
        summary = session.summary()
    if as_json:
        say_data(summary)
    else:
        for line in _after(summary):
            say(line)


def _model(bundle: Path | None, run: Path | None) -> ProposingModel | None:
    if bundle is not None and run is not None:
        raise CallerError(
            Reason.USAGE, "--bundle and --run are given", hint="give what shall propose, one of the two"
        )
    if bundle is None and run is None:
        return None
    from galago_workstation.review.proposing_model import model_of_bundle, model_of_run

    return model_of_bundle(bundle) if bundle is not None else model_of_run(run)  # type: ignore[arg-type]


def _before(session: ReviewSession) -> Iterator[str]:
    from galago_edge.contract.count_words import count_of
    from galago_workstation.review.review_order import RULE

    kind = "sound" if session.found.sounds else "picture"
    yield f"{count_of(len(session.samples), kind)}; labels: {', '.join(session.labels) or 'none yet'}"
    yield from session.found.left_out()
    disagree = sum(proposal.disagrees for proposal in session.proposals)
    yield f"order: {RULE} ({disagree} differ)"
    if done := len(session.answered()):
        yield f"{done} are answered already"


def _serve(session: ReviewSession, reviewer: str, port: int) -> None:
    """Show the page until Ctrl+C."""
    from galago_edge.contract.settings import PageSettings
    from galago_edge.service.page.server import PageServer
    from galago_workstation.review.review_app import ReviewApp

    token = secrets.token_urlsafe(18)
    app = ReviewApp(session, token, reviewer)
    settings = PageSettings(port=port, token=token)
    server = PageServer(settings, app, name="the review page", remedy="give another --port")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it may have been ignored where we come from
    with contextlib.suppress(KeyboardInterrupt), server:
        say(f"{server.url}?token={token}", err=True)
        say(
            "open it in a browser; Ctrl+C here ends the review, and all that was shown as saved is saved",
            err=True,
        )
        threading.Event().wait()


def _list(session: ReviewSession, *, as_json: bool) -> None:
    rows: list[dict[str, Any]] = [
        {
            "sample": sample.id,
            "proposed": proposal.label,
            "score": None if proposal.score is None else round(proposal.score, 4),
            "sureness": round(proposal.sureness, 4),
            "noted": "" if sample.note is None else sample.note.label,
            "differs": proposal.disagrees,
            "answered": answered,
        }
        for sample, proposal, answered in session.listed()
    ]
    if as_json:
        say_data({"samples": rows, "left_out": list(session.found.left_out())})
        return
    for row in rows:
        score = "" if row["score"] is None else f" {row['score']:.2f}"
        differs = f" (the device noted {row['noted']})" if row["differs"] else ""
        done = ", answered" if row["answered"] else ""
        say(f"{row['sample']}: {row['proposed'] or 'nothing proposed'}{score}{differs}{done}")


def _after(summary: dict[str, Any]) -> Iterator[str]:
    from galago_workstation.data.cut_folder import TABLE_FILE

    kept = sum(summary["labels"].values())
    counts = ", ".join(f"{name} {count}" for name, count in summary["labels"].items())
    yield f"{Path(summary['out']) / TABLE_FILE}: of these samples {kept}{f' ({counts})' if counts else ''}"
    yield (
        f"{summary['answered']} of {summary['samples']} answered: {summary['other_than_proposed']} "
        f"otherwise than proposed, {summary['unusable']} of no use"
    )
    if kept:
        yield f"galago retrain RUN --with {summary['out']}"
