"""A run: one corpus through one bundle, kept as a list of results, so that it is judged without either.

``RUN/run.json`` names every recording, what is known of it and where its result is: in ``RUN/results``, or in
another folder of results that several runs share. What is in it decides: a recording that is taken out or has
another tag is another verdict. So it has a hash of itself (``sealed_json``), as the results have.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from galago_edge.api.record_reader import read_records
from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import CallerError, InputError, LinkError, Reason, disk_error
from galago_edge.contract.printable import printable
from galago_edge.contract.records import EventRecord, GapRecord, Record, StateRecord, encode_record
from galago_workstation.files import named_path, write_bytes
from galago_workstation.qa.corpus_replay import CorpusReplay
from galago_workstation.qa.corpus_rows import CorpusRecording
from galago_workstation.qa.label_file import is_label_file
from galago_workstation.qa.recording_losses import RecordingLoss
from galago_workstation.qa.replay_job import ReplayChanges, ReplayJob
from galago_workstation.qa.replay_results import RECORDS, SCORES, ReplayResults, StoredFailure, StoredReplay
from galago_workstation.qa.replayed import Replayed, TruthList
from galago_workstation.qa.score_arrays import read_scores
from galago_workstation.qa.sealed_json import sealed_json, unchecked
from galago_workstation.qa.written_folders import SHELF, is_written_list

RUN, RESULTS = "run.json", "results"
_NAMED = 3
_AGAIN = "replay the corpus again: galago replay CORPUS --bundle BUNDLE --out RUN; it takes stored results"

ReadTruth = Callable[[Path, str, int | None], TruthList]
"""Reads a file of labels, for a recording of this SHA-256 and duration in nanoseconds. Raises GalagoError."""


class RunRecording(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One recording of a run."""

    name: str
    address: str
    """Where it lay, with options."""
    sha256: str
    digest: str
    """Of the job."""
    labels: str | None
    """Path of the file of labels, from the run's folder."""
    tags: dict[str, str]
    error: StoredFailure | None
    """Why there is no result; None when there is one."""


class ReplayRun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``run.json``."""

    schema: Literal["galago.replays/1"] = "galago.replays/1"
    bundle: str
    """Id of the bundle."""
    stream: str
    changes: ReplayChanges
    results: str
    """The folder of results, from the run's folder."""
    recordings: tuple[RunRecording, ...]


def check_run_place(folder: Path, bundle: str, stream: str, changes: ReplayChanges) -> str:
    """Refuse to write a run over something else; return what is to be told of what is written over.

    That is a ``run.json`` that is damaged and was Galago's: by its first bytes, or by the results beside it.

    Raises:
        CallerError: EXISTS; the folder is a file, holds other things, or a run of another bundle or with
            other changes.
        InputError: RUN_BAD; its ``run.json`` is damaged, and nothing says that it was Galago's.
        LinkError: It cannot be read.
    """
    hint = "choose another folder with --out; --results shares results between runs"
    try:
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return ""
        foreign = not folder.is_dir() or not {RUN, RESULTS} & {entry.name for entry in folder.iterdir()}
    except OSError as error:
        raise disk_error(error, f"read {folder}") from error
    if foreign:
        raise CallerError(Reason.EXISTS, f"{folder} exists and is no run ({RUN} is missing)", hint=hint)
    if not (folder / RUN).exists():
        return ""  # interrupted before its end: it goes on
    try:
        met, _ = _read(folder / RUN, hint)  # changed or not, it is written anew
    except InputError as error:
        if not _was_run(folder):
            raise
        return f"{error}; it is written anew"
    if (met.bundle, met.stream, met.changes) != (bundle, stream, changes):
        raise CallerError(
            Reason.EXISTS,
            f"{folder} holds a run of {'another bundle' if met.bundle != bundle else 'other settings'}",
            hint=hint,
        )
    return ""


def _was_run(folder: Path) -> bool:
    try:
        if is_written_list(folder / RUN) or not (folder / RUN).stat().st_size:  # a full disk leaves nothing
            return True
        return any(SHELF.fullmatch(entry.name) for entry in (folder / RESULTS).iterdir())
    except OSError:
        return False


def check_run_grows(folder: Path, recordings: Sequence[CorpusRecording]) -> list[str]:
    """Refuse to write a run over one of another list; of the same list, say in lines what changes.

    A corpus grows, and a recording may be renamed: what a run has, by name or by content, stays in it. Only
    what failed, and is in no figure, may go.

    Raises:
        CallerError: EXISTS; recordings would be gone.
        InputError: RUN_BAD; its ``run.json`` is damaged.
        LinkError: It cannot be read.
    """
    if not (folder / RUN).exists():
        return []
    hint = f"choose another folder with --out, or remove {folder / RUN}: the results stay"
    former, _ = _read(folder / RUN, hint)
    names = {printable(one.name): one for one in recordings}
    contents = {one.sha256: one for one in recordings}
    absent = [one for one in former.recordings if one.name not in names and one.sha256 not in contents]
    gone = [one.name for one in absent if _is_judged(folder, former, one)]
    counts = f"{count_of(len(former.recordings), 'recording')} before, {len(recordings)} now"
    if gone:
        more = f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else ""
        raise CallerError(
            Reason.EXISTS,
            f"{folder} holds a run of another list: {counts}, without {', '.join(gone[:_NAMED])}{more}",
            hint=hint,
        )
    there = [one for one in former.recordings if one not in absent]
    both = [(one, contents.get(one.sha256) or names[one.name]) for one in there]
    changed = {
        "name": sum(one.name != printable(now.name) for one, now in both),
        "content": sum(one.sha256 != now.sha256 for one, now in both),
        "tags": sum(one.tags != dict(now.tags) for one, now in both),
        "labels": sum((one.labels is None) != (now.labels is None) for one, now in both),
    }
    told = [f"other {what} of {count_of(count, 'recording')}" for what, count in changed.items() if count]
    if len(former.recordings) != len(recordings):
        told.insert(0, counts)
    return [f"{folder} is written anew: {'; '.join(told)}"] if told else []


def _is_judged(folder: Path, run: ReplayRun, one: RunRecording) -> bool:
    """Tell whether anything was decided of a recording; of one whose result is gone nobody knows."""
    if one.error is not None:
        return False
    stored, _ = ReplayResults(named_path(folder, run.results)).find(one.digest)
    return stored is None or stored.windows > 0


def write_run(folder: Path, replayed: CorpusReplay) -> None:
    """Write ``run.json``, in one step.

    Raises:
        LinkError: The disk refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, f"create {folder}") from error
    rows = tuple(
        RunRecording(
            name=printable(one.recording.name),
            address=printable(one.recording.address),
            sha256=one.recording.sha256,
            digest=one.digest,
            labels=None
            if one.recording.labels is None
            else printable(os.path.relpath(one.recording.labels, folder)),
            tags=dict(one.recording.tags),
            error=StoredFailure.of(one.error) if one.error is not None and one.stored is None else None,
        )
        for one in replayed.replays
    )
    run = ReplayRun(
        bundle=replayed.bundle,
        stream=replayed.stream,
        changes=replayed.changes,
        results=printable(os.path.relpath(replayed.results, folder)),
        recordings=rows,
    )
    write_bytes(folder / RUN, sealed_json(run))


def read_run_file(folder: Path) -> ReplayRun:
    """Return what ``run.json`` says, which is as it was written.

    Raises:
        InputError: RUN_BAD; it is missing or damaged, was edited, or is of a build that did not seal it.
        LinkError: It cannot be read.
    """
    run, fault = _read(folder / RUN, _AGAIN)
    if fault:
        text = f"{folder / RUN} is not as galago replay writes it: {fault}"
        raise InputError(Reason.RUN_BAD, text, hint=_AGAIN)
    return run


def _read(path: Path, hint: str) -> tuple[ReplayRun, str]:
    try:
        return unchecked(path.read_bytes(), ReplayRun)
    except FileNotFoundError:
        raise InputError(Reason.RUN_BAD, f"{path} does not exist", hint=hint) from None
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(Reason.RUN_BAD, f"{path}: {error}", hint=hint) from None


def results_of_run(folder: Path) -> Path:
    """Return the folder in which the results of a run are.

    Raises:
        InputError: RUN_BAD; ``run.json`` is damaged or was edited.
    """
    return named_path(folder, read_run_file(folder).results)


def digests_of_run(folder: Path) -> list[str]:
    """Return the digests of the results that a run lists.

    Raises:
        InputError: RUN_BAD; ``run.json`` is damaged or was edited.
    """
    return [one.digest for one in read_run_file(folder).recordings]


def read_run(folder: Path, read_truth: ReadTruth | None = None) -> tuple[list[Replayed], list[RecordingLoss]]:
    """Return every replay of a run in its order, and those recordings that have no result.

    Without ``read_truth`` labels are not read; nor are those of a recording that failed.

    Raises:
        InputError: RUN_BAD; there is no run, it was edited, or a result is missing or damaged. What
            ``read_truth`` raises.
        LinkError: Something cannot be read; SOURCE_MISSING, of labels that are gone.
    """
    run = read_run_file(folder)
    results = ReplayResults(named_path(folder, run.results))
    found: list[Replayed] = []
    missing: list[RecordingLoss] = []
    for one in run.recordings:
        if one.error is not None:
            missing.append(RecordingLoss.of(one.name, one.error.error(), sha256=one.sha256))
            continue
        stored, fault = results.find(one.digest)
        if stored is not None and _asked(stored.job) != (one.sha256, run.bundle, run.stream, run.changes):
            stored, fault = None, "it is of another recording or bundle, or made with other settings"
        if stored is None:
            raise InputError(
                Reason.RUN_BAD,
                f"{folder}: the result of {one.name} cannot be used: {fault or 'it is missing'}",
                hint=_AGAIN,
            )
        labels = None if one.labels is None else named_path(folder, one.labels)
        found.append(
            replayed_of(one.name, stored, results, labels=labels, tags=one.tags, read_truth=read_truth)
        )
    return found, missing


def _asked(job: ReplayJob) -> tuple[str, str, str, ReplayChanges]:
    return job.recording, job.bundle, job.stream, job.changes


def run_of(replayed: CorpusReplay, read_truth: ReadTruth | None = None) -> list[Replayed]:
    """Return the replays of a corpus that was just replayed, as :func:`read_run` does.

    Raises:
        GalagoError: As :func:`read_run`.
    """
    results = ReplayResults(replayed.results)
    return [
        replayed_of(
            one.recording.name,
            one.stored,
            results,
            labels=one.recording.labels,
            tags=dict(one.recording.tags),
            read_truth=read_truth,
        )
        for one in replayed.replays
        if one.stored is not None
    ]


def replayed_of(
    name: str,
    stored: StoredReplay,
    results: ReplayResults,
    *,
    labels: Path | None,
    tags: dict[str, str],
    read_truth: ReadTruth | None,
) -> Replayed:
    """Return one result as what judges reads.

    Raises:
        GalagoError: As :func:`read_run`.
    """
    place = results.place(stored.job.digest)
    records = list(read_records(place / RECORDS))
    failure = stored.failure
    found = Replayed(
        recording=name,
        sha256=stored.job.recording,
        bundle=stored.job.bundle,
        labels=stored.labels,
        receptive_ns=stored.receptive_ns,
        duration_ns=stored.duration_ns,
        events=tuple(one for one in records if isinstance(one, EventRecord)),
        gaps=tuple(one for one in records if isinstance(one, GapRecord)),
        states=tuple(one for one in records if isinstance(one, StateRecord)),
        scores=read_scores(place / SCORES, len(stored.labels), stored.duration_ns),
        tags=tags,
        loss=None
        if failure is None
        else RecordingLoss.of(name, failure.error(), sha256=stored.job.recording),
    )
    if labels is None or read_truth is None or found.failed:
        return found
    if not is_label_file(labels):
        raise LinkError(Reason.SOURCE_MISSING, f"the labels of {name}, {labels}, do not exist", hint=_AGAIN)
    if not _ends_unknown(found):
        truth = read_truth(labels, stored.job.recording, stored.duration_ns)
        return dataclasses.replace(found, truth=truth)
    # nobody knows how long it was, but whoever labelled it whole: what is behind its end is lost
    truth = read_truth(labels, stored.job.recording, None)
    end_ns = max(
        [found.duration_ns, *(one.end_ns for one in truth.events), *(end for _, end in truth.ignored)]
    )
    if end_ns > found.duration_ns:
        stream = found.gaps[-1].stream
        lost = GapRecord(stream=stream, from_ns=found.duration_ns, to_ns=end_ns, cause="truncated")
        found = dataclasses.replace(found, gaps=(*found.gaps, lost), duration_ns=end_ns)
    return dataclasses.replace(found, truth=truth)


def _ends_unknown(found: Replayed) -> bool:
    """Tell whether it is cut off and no header says where it ended: its last gap has no length then."""
    if found.loss is None or not found.gaps:
        return False
    last = found.gaps[-1]
    return last.cause == "truncated" and last.to_ns <= last.from_ns


def record_lines(stored: StoredReplay, results: ReplayResults, file_name: str) -> bytes:
    """Return the records of a result as ``galago replay`` writes them for a recording of this file name.

    The first record holds the file's name, and one content may be replayed under several.

    Raises:
        InputError, LinkError: As ``galago_edge.read_records``.
    """
    path = results.place(stored.job.digest) / RECORDS
    return b"".join(encode_record(_named(record, file_name)) for record in read_records(path))


def _named(record: Record, file_name: str) -> Record:
    if not isinstance(record, StateRecord) or (record.subject, record.state) != ("stream", "started"):
        return record
    source = record.detail["source"]
    detail = record.detail | {"source": source | {"name": file_name} if "name" in source else source}
    return msgspec.structs.replace(record, detail=detail)
