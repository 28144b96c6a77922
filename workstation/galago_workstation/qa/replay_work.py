"""One job of a corpus, done: in a process of this computer or on a worker of a cluster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

import galago_edge
from galago_edge.api.replayed_part import ReplayedPart
from galago_edge.api.replayed_recording import Replay
from galago_edge.bundle import Bundle
from galago_edge.contract.errors import DeviceError, GalagoError, InputError, Reason
from galago_edge.contract.manifest import AudioPreprocess, Label, Preprocess
from galago_edge.contract.printable import printable
from galago_edge.contract.records import GapRecord, Record, StateRecord
from galago_edge.contract.streams import samples_to_ns
from galago_edge.pipeline.stage_hashes import StageHashes, TakeLogits
from galago_edge.pipeline.threshold_overrides import override_thresholds
from galago_edge.preprocess.image import use_one_thread
from galago_edge.sinks import JsonlSink
from galago_edge.sources.address import parse_source
from galago_edge.sources.recording_digest import recording_sha256
from galago_workstation.qa.replay_environment import environment_here
from galago_workstation.qa.replay_job import ReplayJob, computing_here
from galago_workstation.qa.replay_results import (
    LOGITS,
    RECORDS,
    SCORES,
    ReplayResults,
    StoredFailure,
    StoredReplay,
    file_sha256,
    write_stored,
)
from galago_workstation.qa.score_arrays import ScoreCollector

_BATCH_BYTES = 65_536


class ReplayOrder(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A job and where its input and output lie."""

    job: ReplayJob
    address_bytes: bytes
    """Address of the recording, with an absolute path; names of files are bytes, and need not be UTF-8."""
    bundle_bytes: bytes
    """Absolute path of the bundle."""
    results_bytes: bytes
    """Absolute path of the folder of results."""
    stages: bool = False
    block_samples: int | None = None
    """Changes no answer."""

    @classmethod
    def of(cls, job: ReplayJob, address: str, bundle: Path, results: Path, **more: Any) -> ReplayOrder:
        """Return the order for these places; paths are made absolute, and ``address`` is so already."""
        return cls(
            job=job,
            address_bytes=os.fsencode(address),
            bundle_bytes=os.fsencode(bundle.absolute()),
            results_bytes=os.fsencode(results.absolute()),
            **more,
        )

    @property
    def address(self) -> str:
        """How the recording is opened."""
        return os.fsdecode(self.address_bytes)

    @property
    def bundle(self) -> Path:
        """Where the bundle is."""
        return Path(os.fsdecode(self.bundle_bytes))

    @property
    def results(self) -> Path:
        """Where the results are."""
        return Path(os.fsdecode(self.results_bytes))


class ReplayOutcome(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """How an order ended."""

    digest: str
    error: StoredFailure | None = None
    """Why there is no result. A damaged recording has one, which holds its failure."""


def fulfil(order: ReplayOrder) -> ReplayOutcome:
    """Replay as ordered and store the result; what a person can act on is an outcome, not an exception."""
    digest = order.job.digest
    try:
        _check_computing(order.job)
        _replay(order, digest)
    except GalagoError as error:
        return ReplayOutcome(digest=digest, error=StoredFailure.of(error))
    return ReplayOutcome(digest=digest)


def receptive_ns(spec: Preprocess) -> int:
    """Return the length of one window; a frame is a moment."""
    if isinstance(spec, AudioPreprocess):
        return samples_to_ns(spec.window_samples, spec.sample_rate_hz)
    return 0


def _check_computing(job: ReplayJob) -> None:
    here = computing_here()
    if here != job.computing:
        raise DeviceError(
            Reason.ENVIRONMENT_MISMATCH,
            f"this worker computes with {here}, the job is for {job.computing}",
            hint="install the same versions of galago on every worker",
        )


def _replay(order: ReplayOrder, digest: str) -> None:
    job = order.job
    with galago_edge.open_bundle(order.bundle, unverified=True) as bundle:  # whoever ordered has verified it
        if bundle.id != job.bundle:
            raise InputError(
                Reason.DATA_BAD,
                f"{order.bundle} is bundle {bundle.id[:16]}…, {job.bundle[:16]}… is expected",
                hint="do not replace a bundle while it is replayed",
            )
        if bundle.modality == "camera":
            use_one_thread()
        labels, _ = override_thresholds(bundle.manifest.labels, job.changes.thresholds)
        with ReplayResults(order.results).writing(digest, stages=order.stages) as folder:
            _store(order, bundle, labels, folder)


def _store(order: ReplayOrder, bundle: Bundle, labels: tuple[Label, ...], folder: Path) -> None:
    job, walked = order.job, _Walked()
    failure: GalagoError | None = None
    counts, hashes = (0, 0, 0), StageHashes()
    with ExitStack() as stack:
        file = stack.enter_context((folder / RECORDS).open("wb", buffering=0))
        sink = JsonlSink(file, str(folder / RECORDS), batch_bytes=_BATCH_BYTES)
        scores = stack.enter_context(ScoreCollector(folder, len(labels)))
        take_logits = _logits_keeper(stack, folder) if order.stages else None

        def emit(records: Sequence[Record]) -> None:
            sink.emit(records)
            walked.take(records)

        try:
            replay = stack.enter_context(_opened(order, bundle))
        except InputError as error:  # damaged from its first byte: nothing is decided
            failure = error
            walked.recording = recording_sha256(Path(parse_source(order.address).target))
        else:
            replay.observe(scores.take)
            if take_logits is not None:
                hashes = replay.hash_stages(take_logits)
            failure = replay.write(emit)
            counts = (replay.windows, replay.events, replay.gaps)
        sink.flush()
        scores.save(folder / SCORES)
    _check_walked(walked, failure, order)
    stored = StoredReplay(
        job=job,
        name=printable(Path(parse_source(order.address).target).name),
        labels=labels,
        receptive_ns=receptive_ns(bundle.spec),
        duration_ns=walked.end_ns,
        windows=counts[0],
        events=counts[1],
        gaps=counts[2],
        failure=None if failure is None else StoredFailure.of(failure),
        stages={"recording": job.recording} | hashes.hexdigests() if order.stages else None,
        marks={stage: str(one) for stage, one in hashes.marks().items()} if order.stages else None,
        files={
            name: file_sha256(folder / name)
            for name in (RECORDS, SCORES, LOGITS)
            if order.stages or name != LOGITS
        },
        environment=environment_here(),
    )
    write_stored(folder, stored)


def _logits_keeper(stack: ExitStack, folder: Path) -> TakeLogits:
    """Return what writes the model's output down, run by run."""
    file = stack.enter_context((folder / LOGITS).open("wb"))

    def take(logits: npt.NDArray[np.int8]) -> None:
        file.write(logits.tobytes())

    return take


def _check_walked(walked: _Walked, failure: GalagoError | None, order: ReplayOrder) -> None:
    """Refuse what is no answer to the order: it must not bear the order's name.

    Raises:
        InputError: DATA_BAD; the recording is another by now.
        GalagoError: The failure, where the disk or the model failed: another attempt may end otherwise.
    """
    if failure is not None and not isinstance(failure, InputError):
        raise failure
    if walked.recording != order.job.recording:
        raise InputError(
            Reason.DATA_BAD,
            f"{order.address} was changed while the corpus was replayed",
            hint="run the same command again",
        )


def _opened(order: ReplayOrder, bundle: Bundle) -> Replay:
    job, changes = order.job, order.job.changes
    return Replay(
        order.address,
        bundle,
        name=job.stream,
        block_samples=order.block_samples,
        part=ReplayedPart(changes.from_ns, changes.to_ns, job.started_ns, changes.max_fps),
        view=changes.view,
        thresholds=changes.thresholds,
        faults=changes.faults,
    )


class _Walked:
    """What the records of a replay say of the recording."""

    def __init__(self) -> None:
        self.end_ns = 0
        """The latest stream time that a record speaks of."""
        self.recording: str | None = None
        """SHA-256 of what was read."""

    def take(self, records: Sequence[Record]) -> None:
        for record in records:
            if isinstance(record, StateRecord):
                self.end_ns = max(self.end_ns, record.ns)
                if (record.subject, record.state) == ("stream", "started"):
                    self.recording = record.detail["source"].get("sha256")
            else:
                self.end_ns = max(
                    self.end_ns, record.to_ns if isinstance(record, GapRecord) else record.end_ns
                )
