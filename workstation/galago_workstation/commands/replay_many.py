"""What the workstation adds to ``galago replay``: many recordings, in many processes or on a cluster."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galago_edge.commands.cli import json_option, say, say_data, show_error, show_read_in_part
from galago_edge.commands.extension import CommandExtension
from galago_edge.commands.options import PATH
from galago_edge.commands.output_places import check_outputs
from galago_edge.commands.replay_faults import tell_verdict, unmet, write_verdict
from galago_edge.contract.errors import CallerError, GalagoError, Reason

if TYPE_CHECKING:
    from galago_edge.api.expectations import Judgement
    from galago_edge.bundle import Bundle
    from galago_edge.sources.faults.fault_file import StreamFaults
    from galago_workstation.progress_lines import Report
    from galago_workstation.qa.content_hashes import ContentHashes
    from galago_workstation.qa.corpus import Corpus
    from galago_workstation.qa.corpus_replay import CorpusReplay, RecordingReplay


def _takes(sources: Sequence[str]) -> bool:
    from galago_workstation.qa.corpus import is_corpus

    if len(sources) > 1:
        return True
    try:
        return is_corpus(Path(sources[0]))
    except (OSError, GalagoError, ValueError):  # no path that there is: whoever opens it will say so
        return False


def _run(
    sources: tuple[str, ...],
    bundle: Bundle,
    out: Path | None,
    *,
    name: str,
    results: Path | None,
    jobs: int | None,
    scheduler: str | None,
    hashes: bool,
    rehash: bool,
    as_json: bool,
    scores: bool,
    block_samples: int | None,
    start_time: datetime.datetime | None,
    expected: StreamFaults | None = None,
    verdict: Path | None = None,
    **changes: Any,
) -> None:
    from galago_edge.api.expectations import Expectations
    from galago_workstation.progress_lines import command_report
    from galago_workstation.qa.content_hashes import ContentHashes
    from galago_workstation.qa.corpus_replay import ReplayPlan, replay_corpus
    from galago_workstation.qa.faulted_answers import judged_answers
    from galago_workstation.qa.replay_run import RESULTS, check_run_grows, check_run_place, write_run

    _check_call(out, scores=scores, start_time=start_time, jobs=jobs, scheduler=scheduler)
    assert out is not None
    report = command_report(say, as_json=as_json)
    plan = ReplayPlan(name, _changes(**changes), hashes, jobs, scheduler, block_samples)
    tables = () if expected is None else expected.expected
    Expectations(tables, bundle.manifest.labels)  # what it refuses is refused before hours of replaying
    if plan.changes.faults is not None:
        plan.changes.faults.check(bundle.modality, dated=True)
    check_outputs({"--verdict": verdict}, {"--out": out, "--results": results})
    if note := check_run_place(out, bundle.id, plan.stream, plan.changes):
        say(note, err=True)
    kept = results or out / RESULTS
    corpus = _corpus(sources, report, ContentHashes(kept, reread=rehash)).of_modality(bundle.modality)
    for line in check_run_grows(out, corpus.recordings):  # before hours of replaying
        say(line, err=True)
    found = replay_corpus(corpus, bundle, kept, plan, report=report)
    write_run(out, found)
    judged = {} if expected is None else judged_answers(found, tables, bundle.manifest.labels)
    _tell(found, bundle, out, as_json=as_json, hashes=hashes, judged=judged)
    if expected is not None:
        tell_verdict(judged, expected.others, err=as_json)
    if verdict is not None:
        failures = {one.recording.name: one.error for one in found.replays if one.error is not None}
        write_verdict(verdict, judged, failures, plan.changes.faults)
    click.get_current_context().exit(max(found.exit_code, int(unmet(judged))))


def _check_call(
    out: Path | None,
    *,
    scores: bool,
    start_time: datetime.datetime | None,
    jobs: int | None,
    scheduler: str | None,
) -> None:
    """Refuse what means nothing for many recordings.

    Raises:
        CallerError: USAGE.
    """
    faults = (
        (out is None, "--out is missing, the folder that keeps the results of many", "give --out FOLDER"),
        (
            scores,
            "--scores is for one recording; of many, every result holds its scores, in scores.npz",
            "leave --scores out",
        ),
        (
            start_time is not None,
            "--start-time is for one recording; of many, a list says when each began",
            "write start_time in the list of recordings: docs/qa-replay.md",
        ),
        (
            jobs is not None and scheduler is not None,
            "--jobs and --scheduler are given, expected one of them",
            "on a cluster the workers say how many replays they run",
        ),
    )
    for wrong, text, hint in faults:
        if wrong:
            raise CallerError(Reason.USAGE, text, hint=hint)


def _changes(
    *,
    thresholds: dict[str, dict[str, float]] | None = None,
    rotate: int | None = None,
    region: Sequence[float] | None = None,
    mask: Sequence[Sequence[float]] | None = None,
    **more: Any,
) -> Any:
    from galago_edge.sources.view_options import view_settings
    from galago_workstation.qa.replay_job import ReplayChanges

    return ReplayChanges.of(thresholds, view=view_settings(rotate, region, mask), **more)


def _corpus(sources: tuple[str, ...], report: Report, hashes: ContentHashes) -> Corpus:
    from galago_workstation.qa.corpus import corpus_of, is_corpus, read_corpus

    path = Path(sources[0])
    if len(sources) == 1 and is_corpus(path):
        return read_corpus(path, report=report, hashes=hashes)
    return corpus_of(sources, report=report, hashes=hashes)


def _tell(
    found: CorpusReplay,
    bundle: Bundle,
    out: Path,
    *,
    as_json: bool,
    hashes: bool,
    judged: Mapping[str, Sequence[Judgement]],
) -> None:
    for one in found.replays:
        if one.error is not None:
            show = show_read_in_part if one.read_in_part else show_error
            show(one.error, f"{one.recording.name}: ")
    for note in found.notes:
        say(note, err=True)
    environments = found.environments()
    if len(environments) > 1:
        said = "; ".join(f"{count} on {environment}" for environment, count in environments)
        say(f"Warning: the results come from {len(environments)} environments: {said}", err=True)
    if as_json:
        say_data(_data(found, judged))
        return
    if hashes:
        for one in found.replays:
            for stage, digest in ((one.stored and one.stored.stages) or {}).items():
                say(f"{one.recording.name}: {stage:<9} {digest}")
    say(f"{bundle}: {found.summary()} -> {out}")


def _data(found: CorpusReplay, judged: Mapping[str, Sequence[Judgement]]) -> dict[str, Any]:
    faults = found.changes.faults
    return {
        "bundle": found.bundle,
        "stream": found.stream,
        "results": str(found.results),
        "drops": found.changes.drops,
        "faults": None if faults is None else faults.digest,
        "recordings": [_row(one, judged) for one in found.replays],
        "notes": list(found.notes),
        "environments": [environment.fingerprint for environment, _ in found.environments()],
        "exit": max(found.exit_code, int(unmet(judged))),
    }


def _row(one: RecordingReplay, judged: Mapping[str, Sequence[Judgement]]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "recording": one.recording.name,
        "sha256": one.recording.sha256,
        "result": one.digest if one.stored is not None else None,
        "fresh": one.fresh,
        "outcome": one.outcome,
    }
    if (stored := one.stored) is not None:
        row |= {
            "windows": stored.windows,
            "events": stored.events,
            "gaps": stored.gaps,
            "duration_ns": stored.duration_ns,
            "records_sha256": stored.files["records.jsonl"],
        }
        if stored.stages is not None:
            row["stages"] = stored.stages
    if one.error is not None:
        row["error"] = one.error.as_data(with_exit=True)
    if one.recording.name in judged:
        row["expected"] = [judgement.data() for judgement in judged[one.recording.name]]
    return row


@click.command()
@click.option(
    "--results",
    type=PATH,
    metavar="FOLDER",
    help="Many: keep the results here, where several runs share them.  [default: OUT/results]",
)
@click.option(
    "--jobs", type=click.IntRange(1, 4_096), help="Many: processes at a time.  [default: one a core]"
)
@click.option("--scheduler", metavar="ADDRESS", help="Many: replay on the Dask cluster of this scheduler.")
@click.option("--hashes", is_flag=True, help="Many: hash every stage, from the recording to its events.")
@click.option(
    "--rehash", is_flag=True, help="Many: read every recording, also those that are as when they were hashed."
)
@json_option
def _options() -> None:
    """Hold the options."""


EXTENSION = CommandExtension(
    options=tuple(one for one in _options.params if isinstance(one, click.Option)), takes=_takes, run=_run
)
"""Under ``galago.extensions`` of setup.cfg."""
