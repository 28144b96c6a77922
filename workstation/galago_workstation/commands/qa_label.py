"""``galago qa label``: labels that a bundle proposes, for a person to confirm, correct or remove."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH, FiniteRange, bundle_option
from galago_edge.commands.output_places import check_outputs
from galago_edge.contract.count_words import count_of, noun_of
from galago_edge.contract.errors import CallerError, Reason, disk_error
from galago_edge.contract.printable import printable
from galago_workstation.commands.qa_labels import FORMATS, frames_of
from galago_workstation.commands.qa_options import replaying_options
from galago_workstation.commands.qa_runs import Replaying

if TYPE_CHECKING:
    from galago_edge.contract.manifest import Label
    from galago_workstation.qa.corpus import Corpus
    from galago_workstation.qa.corpus_rows import CorpusRecording
    from galago_workstation.qa.replayed import Replayed


@click.command()
@click.argument("place", metavar="RECORDING|CORPUS", type=PATH)
@bundle_option("What proposes.", required=True)
@click.option("--format", "kind", type=click.Choice(FORMATS), help="Write a file for this program, too.")
@click.option(
    "--near",
    type=FiniteRange(0, 1),
    metavar="SCORE",
    help="Propose also where the smoothed score reached this and nothing was decided.",
)
@click.option(
    "--label", "labels", multiple=True, metavar="LABEL", help="Only this label; repeatable.  [default: all]"
)
@click.option("--labelled", is_flag=True, help="Also for recordings that have labels.")
@click.option("--out", type=PATH, metavar="FOLDER", help="Write here.  [default: beside each recording]")
@replaying_options
@json_option
@click.pass_context
def label(
    ctx: click.Context,
    place: Path,
    bundle: Path,
    kind: str | None,
    near: float | None,
    labels: tuple[str, ...],
    labelled: bool,
    out: Path | None,
    replaying: Replaying,
    as_json: bool,
) -> None:
    """Propose labels where a bundle decided something.

    Writes RECORDING.proposed.tsv, which no score takes for what was there. Correct it, or the file of
    --format in its program; then galago qa labels confirm, or import, makes RECORDING.labels.tsv of it.
    Nothing that is there is written over.

    \b
    Examples:
      galago qa label nights --bundle alarms-1.1.0.galago --format audacity --near 0.3
      galago qa labels confirm nights/porch.wav.proposed.tsv
    """
    from galago_workstation.qa.corpus import is_corpus
    from galago_workstation.qa.replay_run import RUN
    from galago_workstation.qa.report_words import counts_text

    check_outputs({}, {"--out": out})
    if (place / RUN).is_file():
        text = f"{place} is a run, which holds what was decided and no recordings"
        raise CallerError(Reason.USAGE, text, hint="give the corpus that was replayed, or one recording")
    is_one = place.exists() and not is_corpus(place)
    corpus = replaying.single(str(place)) if is_one else replaying.corpus(place)
    if not labelled and not is_one:
        corpus = _unlabelled(corpus)
    if kind == "cvat" and not any(one.parsed().modality == "camera" for one in corpus.recordings):
        text = f"{place} has no pictures, whose numbers cvat needs"
        raise CallerError(Reason.SOURCE_MISMATCH, text, hint="choose another --format for sound")
    _refuse_existing(corpus, out, kind)
    _refuse_unknown(labels, replaying.opened(bundle).manifest.labels)
    replays = replaying.replayed(corpus, bundle)
    by_name = {one.name: one for one in corpus.recordings}
    told = [_propose(one, by_name[one.recording], kind, near, labels, out) for one in replays]

    if as_json:
        say_data(told)
    for row in () if as_json else told:
        counts = counts_text(row["labels"])
        near_misses = f", {row['near_misses']} of them near misses" if near is not None else ""
        proposed = count_of(row["proposals"], "proposal")
        say(f"{row['paths'][0]}: {proposed}{f' ({counts})' if counts else ''}{near_misses}")
    ctx.exit(replaying.exit_code)


def _unlabelled(corpus: Corpus) -> Corpus:
    """Leave out what somebody has labelled, with a note.

    Raises:
        CallerError: USAGE; that is all.
    """
    open_ones = tuple(one for one in corpus.recordings if one.labels is None)
    count = len(corpus.recordings) - len(open_ones)
    if not open_ones:
        text = f"every recording of {corpus.name} has labels ({count_of(count, 'recording')})"
        raise CallerError(Reason.USAGE, text, hint="to propose labels for them, too: --labelled")
    had = noun_of(count, "has labels was", "have labels were")
    note = (f"{count_of(count, 'recording')} that {had} left out",) if count else ()
    return replace(corpus, recordings=open_ones, notes=(*corpus.notes, *note))


def _refuse_existing(corpus: Corpus, out: Path | None, kind: str | None) -> None:
    """Refuse before hours of replaying: a person may have begun to correct what is there.

    Raises:
        CallerError: EXISTS.
    """
    from galago_workstation.qa.label_proposals import proposed_files

    files = [path for one in corpus.recordings for path in proposed_files(one.path, one.name, out, kind)]
    there = [path for path in files if path.exists()]
    if there:
        raise CallerError(
            Reason.EXISTS,
            f"{there[0]} exists, one of {len(there)} such files, expected none",
            hint="choose another folder with --out, or move them away",
        )


def _refuse_unknown(asked: Sequence[str], labels: Sequence[Label]) -> None:
    """Refuse before hours of replaying.

    Raises:
        CallerError: TARGET_UNKNOWN.
    """
    from galago_edge.contract.known_names import known_names
    from galago_workstation.qa.judged_recording import deciding

    known = [one.name for one in deciding(labels)]
    for name in asked:
        if name not in known:
            text = f"no label {name!r} can become an event"
            raise CallerError(Reason.TARGET_UNKNOWN, text, hint=known_names(name, known))


def _propose(
    replayed: Replayed,
    recording: CorpusRecording,
    kind: str | None,
    near: float | None,
    labels: Sequence[str],
    out: Path | None,
) -> dict[str, Any]:
    """Write the files of one recording; return what is told of it."""
    from galago_workstation.files import write_bytes
    from galago_workstation.qa.label_exchange import export_labels
    from galago_workstation.qa.label_file import format_proposals
    from galago_workstation.qa.label_formats.subject import LabelSubject
    from galago_workstation.qa.label_proposals import proposals_of, proposed_files

    found = proposals_of(replayed, near=near, labels=labels)
    paths = proposed_files(recording.path, recording.name, out, kind)
    try:
        paths[0].parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, f"create {paths[0].parent}") from error
    if kind is not None:
        frames = frames_of(kind, Path(recording.address))
        subject = LabelSubject(str(paths[1]), printable(recording.path.name), frames)
        export_labels(found.rows, paths[1], kind, subject)
    write_bytes(paths[0], format_proposals(found.rows, sha256=replayed.sha256, bundle=replayed.bundle))
    return {
        "recording": replayed.recording,
        "paths": [str(path) for path in paths],
        "proposals": len(found.rows),
        "near_misses": found.near_misses,
        "labels": dict(Counter(row.label for row in found.rows)),
    }
