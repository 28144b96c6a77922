"""A corpus through a bundle: what is stored is taken, the rest replayed, and all of it read back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from galago_edge.api.record_reader import read_records
from galago_edge.bundle import Bundle
from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import GalagoError, LinkError, Reason
from galago_edge.contract.records import GapRecord
from galago_edge.decision import Decider
from galago_edge.pipeline.threshold_overrides import override_thresholds
from galago_edge.sources.recorded_drops import with_recorded_drops
from galago_edge.sources.recording_damage import read_in_part
from galago_workstation.progress_lines import Advance, PlainReport, Report
from galago_workstation.qa.corpus import Corpus
from galago_workstation.qa.corpus_rows import CorpusRecording
from galago_workstation.qa.replay_environment import ReplayEnvironment
from galago_workstation.qa.replay_job import ReplayChanges, ReplayJob, computing_here, ordered_query
from galago_workstation.qa.replay_results import RECORDS, ReplayResults, StoredReplay
from galago_workstation.qa.replay_work import ReplayOrder, ReplayOutcome
from galago_workstation.qa.report_words import duration_text


@dataclass(frozen=True, slots=True)
class RecordingReplay:
    """One recording of a corpus and what came of its replay."""

    recording: CorpusRecording
    digest: str
    """Of its job: where its result is."""
    stored: StoredReplay | None
    """The result; None when there is none."""
    error: GalagoError | None
    """Why it failed: the recording is damaged, and the result is what could be decided before; or there is no
    result."""
    fresh: bool
    """Whether it was replayed now, and not found."""
    read_in_part: bool = False
    """Whether it was decided as far as it could be read, and the rest is a gap: it has not failed then."""

    @property
    def outcome(self) -> str:
        """The word for it: ``whole``, ``read in part`` or ``failed``."""
        return "whole" if self.error is None else "read in part" if self.read_in_part else "failed"


@dataclass(frozen=True, slots=True)
class CorpusReplay:
    """A whole corpus through one bundle."""

    bundle: str
    """Id of the bundle."""
    stream: str
    changes: ReplayChanges
    results: Path
    """The folder of results."""
    replays: tuple[RecordingReplay, ...]
    """In the order of the corpus."""
    notes: tuple[str, ...]
    """What was left out of the corpus, and what was found damaged and computed again."""

    @property
    def exit_code(self) -> int:
        """That of the recording that fared worst, as ``galago replay`` alone would end.

        One that was read in part counts, too: the whole of it was asked for.
        """
        return max((one.error.exit_code for one in self.replays if one.error is not None), default=0)

    def environments(self) -> list[tuple[ReplayEnvironment, int]]:
        """Return on what it was computed, each with the number of recordings; more than one is told."""
        found: dict[str, tuple[ReplayEnvironment, int]] = {}
        for one in self.replays:
            if one.stored is not None:
                environment = one.stored.environment
                _, count = found.get(environment.fingerprint, (environment, 0))
                found[environment.fingerprint] = (environment, count + 1)
        return list(found.values())

    def summary(self) -> str:
        """Return what it came to, in one line."""
        stored = [one.stored for one in self.replays if one.stored is not None]
        found = sum(not one.fresh and one.stored is not None for one in self.replays)
        outcomes = Counter(one.outcome for one in self.replays)
        counts = [
            count_of(len(self.replays), "recording"),
            duration_text(sum(one.duration_ns for one in stored)),
            count_of(sum(one.windows for one in stored), "window"),
            count_of(sum(one.events for one in stored), "event"),
            count_of(sum(one.gaps for one in stored), "gap"),
        ]
        return "; ".join(
            [
                ", ".join(counts),
                f"{found} found as stored before",
                *(f"{outcomes[one]} {one}" for one in ("read in part", "failed") if outcomes[one]),
            ]
        )


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """How a corpus is replayed."""

    stream: str = "replay"
    changes: ReplayChanges = field(default_factory=ReplayChanges)
    stages: bool = False
    """Whether every stage is hashed."""
    jobs: int | None = None
    """Processes; None for one a core."""
    scheduler: str | None = None
    """Address of a Dask scheduler; None for this computer."""
    block_samples: int | None = None
    """Changes no answer."""


def replay_corpus(
    corpus: Corpus,
    bundle: Bundle,
    results: Path,
    plan: ReplayPlan | None = None,
    *,
    report: Report | None = None,
) -> CorpusReplay:
    """Replay what is not stored yet, and return what came of every recording.

    A damaged recording is a result too. An interruption leaves whole results only, and the next call goes on
    behind them.

    Raises:
        CallerError: CONFIG_BAD; the changes name no label of the bundle, or cross on and off.
        DeviceError: RUNTIME_MISSING; EXTRA_MISSING, of a cluster.
        LinkError: The folder of results cannot be used; no process, or no cluster, to replay with.
    """
    plan, told = plan or ReplayPlan(), report or PlainReport()
    labels, _ = override_thresholds(bundle.manifest.labels, plan.changes.thresholds)
    Decider(labels)  # what it refuses, every replay would
    folder = ReplayResults(results.absolute())
    folder.make()
    asked = [
        (one, _job(one, bundle, plan))
        for one in (_as_dropped(one, bundle, plan) for one in corpus.recordings)
    ]
    notes = list(corpus.notes)
    found: dict[str, StoredReplay] = {}
    orders: dict[str, ReplayOrder] = {}
    for one, job in asked:
        stored, fault = folder.find(job.digest, stages=plan.stages)
        if stored is not None:
            found[job.digest] = stored
        else:
            orders[job.digest] = _order(one, job, bundle, folder, plan)
        if fault:
            notes.append(f"the result of {one.name} is no good and is computed again: {fault}")
    with told.track("replaying", len(asked)) as advance:
        lines = _Lines([(one, job.digest) for one, job in asked], told, advance, folder)
        for digest, stored in found.items():
            lines.ended(digest, stored, None, fresh=False)
        with closing(_outcomes(list(orders.values()), plan)) as outcomes:
            for outcome in outcomes:
                stored, error = _result(outcome, folder)
                lines.ended(outcome.digest, stored, error, fresh=True)
    return CorpusReplay(
        bundle.id, plan.stream, plan.changes, folder.folder, tuple(lines.replays()), tuple(notes)
    )


def _outcomes(orders: Sequence[ReplayOrder], plan: ReplayPlan) -> Generator[ReplayOutcome, None, None]:
    if not orders:
        return
    if plan.scheduler is not None:
        from galago_workstation.qa.replay_cluster import replay_on_cluster

        yield from replay_on_cluster(orders, plan.scheduler)
    else:
        from galago_workstation.qa.replay_runner import cores, replay_here

        yield from replay_here(orders, plan.jobs or cores())


def _as_dropped(one: CorpusRecording, bundle: Bundle, plan: ReplayPlan) -> CorpusRecording:
    """Return the recording with the option that leaves out what the device dropped, if that is asked for."""
    if plan.changes.drops == "none":
        return one
    address = with_recorded_drops(one.address, bundle.modality, plan.stream)
    return one if address == one.address else replace(one, query=address[len(str(one.path)) + 1 :])


def _job(one: CorpusRecording, bundle: Bundle, plan: ReplayPlan) -> ReplayJob:
    return ReplayJob(
        recording=one.sha256,
        form=one.path.suffix.lower(),
        query=ordered_query(one.query),
        started_ns=one.started_ns,
        bundle=bundle.id,
        stream=plan.stream,
        changes=plan.changes,
        computing=computing_here(),
    )


def _order(
    one: CorpusRecording, job: ReplayJob, bundle: Bundle, folder: ReplayResults, plan: ReplayPlan
) -> ReplayOrder:
    return ReplayOrder.of(
        job,
        one.address,
        bundle.path,
        folder.folder,
        stages=plan.stages,
        block_samples=plan.block_samples,
    )


def _result(outcome: ReplayOutcome, folder: ReplayResults) -> tuple[StoredReplay | None, GalagoError | None]:
    """Return the result of an order that has ended, and what is wrong when there is none."""
    if outcome.error is not None:
        return None, outcome.error.error()
    stored, fault = folder.find(outcome.digest)
    if stored is not None:
        return stored, None
    return None, LinkError(
        Reason.IO,
        f"it was replayed, and its result is not in {folder.folder}: {fault or 'there is none'}",
        hint="give a folder of results that every worker sees under the same path",
    )


def _read_in_part(stored: StoredReplay | None, folder: ReplayResults) -> bool:
    if stored is None or stored.failure is None:
        return False
    records = read_records(folder.place(stored.job.digest) / RECORDS)
    causes = (one.cause for one in records if isinstance(one, GapRecord))
    return read_in_part(stored.windows, causes)


class _Lines:
    """Tells of every recording as soon as all before it have ended, so that two runs say the same."""

    def __init__(
        self,
        asked: Sequence[tuple[CorpusRecording, str]],
        report: Report,
        advance: Advance,
        folder: ReplayResults,
    ) -> None:
        self._asked, self._folder = [one for one, _ in asked], folder
        self._report, self._advance = report, advance
        self._of: dict[str, list[CorpusRecording]] = {}
        for one, digest in asked:
            self._of.setdefault(digest, []).append(one)
        self._ended: dict[str, RecordingReplay] = {}
        self._told = 0

    def ended(
        self, digest: str, stored: StoredReplay | None, error: GalagoError | None, *, fresh: bool
    ) -> None:
        """Take how a job ended, for every recording that it is the job of."""
        if stored is not None and stored.failure is not None:
            error = stored.failure.error()
        in_part = _read_in_part(stored, self._folder)
        for one in self._of[digest]:
            self._ended[one.name] = RecordingReplay(one, digest, stored, error, fresh, in_part)
        self._advance(len(self._ended))
        while self._told < len(self._asked):
            told = self._ended.get(self._asked[self._told].name)
            if told is None:
                return
            self._report.say(_line(told))
            self._told += 1

    def replays(self) -> Iterator[RecordingReplay]:
        """Yield every recording, in the order of the corpus."""
        return (self._ended[one.name] for one in self._asked)


def _line(told: RecordingReplay) -> str:
    """Return how much was decided; what is wrong with a recording is told once, when all have ended."""
    counts = "no result"
    if (stored := told.stored) is not None:
        told_of = ((stored.windows, "window"), (stored.events, "event"), (stored.gaps, "gap"))
        counts = ", ".join(count_of(*one) for one in told_of)
    return f"{told.recording.name}: {counts}"
