"""Replays as goldens see them, for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from galago_edge.pipeline.stage_hashes import STAGES
from galago_workstation.qa.baseline import BaselineEvent
from galago_workstation.qa.golden_file import (
    GoldenEntry,
    GoldenFile,
    GoldenRecording,
    events_sha256,
    rows_of,
)
from galago_workstation.qa.golden_replay import FreshReplay
from galago_workstation.qa.replay_environment import environment_here
from galago_workstation.qa.replayed import Replayed
from test_kit.replays import BUNDLE

_EMPTY = hashlib.sha256().hexdigest()


def fresh_replay(
    replayed: Replayed, outputs: npt.NDArray[np.int8] | None = None, **changes: Any
) -> FreshReplay:
    """Return a replay as if just made, with these int8 outputs; ``changes`` are of its ``said``."""
    windows = 0 if replayed.scores is None else len(replayed.scores.span)
    labels = len(replayed.labels)
    outputs = np.zeros((windows, labels), np.int8) if outputs is None else outputs
    events = tuple(BaselineEvent.of(one) for one in replayed.events)
    stages = dict.fromkeys(STAGES, _EMPTY)
    stages |= {"logits": hashlib.sha256(outputs.tobytes()).hexdigest(), "events": events_sha256(events)}
    said = GoldenRecording(
        recording=replayed.recording,
        query="",
        sha256=replayed.sha256,
        duration_ns=replayed.duration_ns,
        windows=windows,
        failure=None,
        stages=stages,
        marks=dict.fromkeys(STAGES, "1"),
        skipped=(),
        events=events,
        logits=rows_of(outputs),
    )
    return FreshReplay(msgspec.structs.replace(said, **changes), replayed)


def golden_of(recordings: Sequence[GoldenRecording], labels: Sequence[str] = ("quiet", "horn")) -> GoldenFile:
    """Return a golden of these recordings, recorded here."""
    here = environment_here()
    entry = GoldenEntry(
        at="2026-05-01T22:00:00Z",
        by="ann",
        why="first recorded",
        what="recorded",
        bundle=BUNDLE,
        environment=here.fingerprint,
    )
    return GoldenFile(
        bundle=BUNDLE,
        bundle_name="alarms 1.0.0",
        labels=tuple(labels),
        environment=here,
        history=(entry,),
        recordings=tuple(recordings),
    )
