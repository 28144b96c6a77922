"""A corpus replayed for a golden: on this machine, now, every stage of it.

Nothing that was stored before is taken, whoever stored it: a golden asks what this computer computes today,
and a result of yesterday, or of another computer, would answer for it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from galago_edge.bundle import Bundle
from galago_edge.contract.errors import CallerError, Reason, disk_error
from galago_edge.contract.printable import printable
from galago_edge.pipeline.stage_hashes import STAGES
from galago_workstation.progress_lines import Report
from galago_workstation.qa.baseline import BaselineEvent
from galago_workstation.qa.corpus import Corpus
from galago_workstation.qa.corpus_replay import RecordingReplay, ReplayPlan, replay_corpus
from galago_workstation.qa.golden_file import GoldenRecording, rows_of
from galago_workstation.qa.recording_losses import RecordingLosses
from galago_workstation.qa.replay_job import ordered_query
from galago_workstation.qa.replay_results import LOGITS, ReplayResults
from galago_workstation.qa.replay_run import replayed_of
from galago_workstation.qa.replayed import Replayed


@dataclass(frozen=True, slots=True)
class FreshReplay:
    """One recording, replayed just now."""

    said: GoldenRecording
    """What a golden would hold of it, with every mark that was taken."""
    replayed: Replayed


def replay_afresh(
    corpus: Corpus, bundle: Bundle, folder: Path, *, jobs: int | None = None, report: Report | None = None
) -> list[FreshReplay]:
    """Replay a corpus into an empty folder, with the hashes of all stages; by the recordings' names.

    Raises:
        GalagoError: See ``replay_corpus``; a recording has no result. A damaged one has.
    """
    found = replay_corpus(corpus, bundle, folder, ReplayPlan(stages=True, jobs=jobs), report=report)
    results = ReplayResults(found.results)
    made = [_fresh(one, results) for one in found.replays]
    return sorted(made, key=lambda one: one.said.recording)


def losses_of(fresh: Sequence[FreshReplay]) -> RecordingLosses:
    """Return what failed and what was read in part: a golden holds how each of them ended."""
    lost = [(one.replayed.failed, one.replayed.loss) for one in fresh]
    return RecordingLosses(
        failed=tuple(loss for failed, loss in lost if failed and loss is not None),
        read_in_part=tuple(loss for failed, loss in lost if not failed and loss is not None),
    )


def _fresh(one: RecordingReplay, results: ReplayResults) -> FreshReplay:
    stored = one.stored
    if stored is None:
        assert one.error is not None  # one of the two is there
        raise one.error
    assert stored.stages is not None and stored.marks is not None  # they were asked for
    replayed = replayed_of(one.recording.name, stored, results, labels=None, tags={}, read_truth=None)
    assert replayed.scores is not None
    said = GoldenRecording(
        recording=printable(one.recording.name),
        query=ordered_query(one.recording.query),
        sha256=stored.job.recording,
        duration_ns=stored.duration_ns,
        windows=stored.windows,
        failure=None if stored.failure is None else stored.failure.reason,
        stages={stage: stored.stages[stage] for stage in STAGES},
        marks=stored.marks,
        skipped=_stretches(replayed.scores.skipped),
        events=tuple(BaselineEvent.of(each) for each in replayed.events),
        logits=rows_of(_outputs(results.place(one.digest) / LOGITS, len(stored.labels))),
    )
    return FreshReplay(said, replayed)


def _outputs(path: Path, labels: int) -> npt.NDArray[np.int8]:
    try:
        return np.frombuffer(path.read_bytes(), np.int8).reshape(-1, labels)
    except OSError as error:
        raise disk_error(error, f"read {path}") from error


def _stretches(skipped: npt.NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], skipped, [False])))).tolist()
    return tuple(zip(edges[::2], edges[1::2], strict=True))


@contextmanager
def results_folder(keep: Path | None) -> Iterator[Path]:
    """Give an empty folder: ``keep``, which stays, or one that goes when the block ends.

    Raises:
        CallerError: EXISTS; there is something in it.
        LinkError: The disk refuses.
    """
    if keep is None:
        try:
            place = tempfile.TemporaryDirectory(prefix="galago-golden-", ignore_cleanup_errors=True)
        except OSError as error:
            raise disk_error(error, f"make a folder in {tempfile.gettempdir()}") from error
        with place as name:
            yield Path(name)
        return
    try:
        taken = keep.exists() and (not keep.is_dir() or any(keep.iterdir()))
    except OSError as error:
        raise disk_error(error, f"read {keep}") from error
    if taken:
        raise CallerError(
            Reason.EXISTS,
            f"{keep} is not empty, and a golden takes nothing that was computed before",
            hint="give a new folder, or leave --keep out",
        )
    yield keep
