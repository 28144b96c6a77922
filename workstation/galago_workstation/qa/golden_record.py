"""Recording a golden, and recording it again: with who, when, why, and what was different."""

from __future__ import annotations

import getpass
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from galago_edge.bundle import Bundle
from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.printable import on_one_line
from galago_edge.pipeline.stage_hashes import first_difference
from galago_edge.pipeline.stage_marks import StageMarks
from galago_workstation.qa.golden_difference import ENDING
from galago_workstation.qa.golden_file import MARKS, GoldenEntry, GoldenFile, GoldenRecording
from galago_workstation.qa.golden_replay import FreshReplay
from galago_workstation.qa.replay_environment import ReplayEnvironment

_NAMED = 5
"""Recordings that are named of those that changed, came or went."""


def make_golden(
    bundle: Bundle,
    fresh: Sequence[FreshReplay],
    environment: ReplayEnvironment,
    *,
    at: datetime,
    by: str,
    why: str,
    before: GoldenFile | None = None,
) -> GoldenFile:
    """Return the golden of what was replayed; with ``before``, which keeps its history, the next one.

    Raises:
        InputError: SOURCE_TOO_SHORT; nothing was decided in any recording, so there is nothing to verify.
    """
    recordings = tuple(_kept(one.said) for one in fresh)
    if not any(one.windows for one in recordings):
        raise InputError(
            Reason.SOURCE_TOO_SHORT,
            f"none of {count_of(len(recordings), 'recording')} is as long as one window of {bundle}: a "
            f"golden of them would pass whatever a bundle says",
            hint="give recordings of some seconds",
        )
    what = f"recorded: {count_of(len(recordings), 'recording')}"
    if before is not None:
        what = changes_text(before, bundle.id, environment, recordings)
    entry = GoldenEntry(
        at=at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        by=on_one_line(by),
        why=on_one_line(why),
        what=what,
        bundle=bundle.id,
        environment=environment.fingerprint,
    )
    return GoldenFile(
        bundle=bundle.id,
        bundle_name=on_one_line(str(bundle)),
        labels=tuple(label.name for label in bundle.manifest.labels),
        environment=environment,
        history=(*(before.history if before is not None else ()), entry),
        recordings=recordings,
    )


def is_same(one: GoldenFile, other: GoldenFile) -> bool:
    """Tell whether two goldens ask for the same, whatever their histories."""
    return msgspec.structs.replace(one, history=()) == msgspec.structs.replace(other, history=())


def changes_text(
    before: GoldenFile, bundle: str, environment: ReplayEnvironment, recordings: Sequence[GoldenRecording]
) -> str:
    """Return in words what is different from an older golden."""
    old = {one.key: one for one in before.recordings}
    new = {one.key: one for one in recordings}
    stages = Counter(
        stage for key, one in new.items() if key in old and (stage := _first(old[key], one)) is not None
    )
    kept = sum(key in old for key in new)
    come = {new[key].recording for key in new.keys() - old}
    gone = {old[key].recording for key in old.keys() - new}
    parts = [f"{kept - stages.total()} of {count_of(len(old), 'recording')} equal to the byte"]
    parts += [f"{count} first in {stage}" for stage, count in sorted(stages.items())]
    parts += [
        f"{word}: {_few(names)}"
        for names, word in ((come & gone, "changed"), (come - gone, "new"), (gone - come, "gone"))
        if names
    ]
    parts += ["another bundle"] * (before.bundle != bundle)
    parts += ["another environment"] * (before.environment != environment)
    return ", ".join(parts)


def _few(names: set[str]) -> str:
    shown = sorted(names)[:_NAMED]
    return ", ".join(shown) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _first(old: GoldenRecording, new: GoldenRecording) -> str | None:
    stage = first_difference(old.stages, new.stages)
    return ENDING if stage is None and old.failure != new.failure else stage


def _kept(said: GoldenRecording) -> GoldenRecording:
    marks = {stage: str(StageMarks.parsed(text).thinned(MARKS)) for stage, text in said.marks.items()}
    return msgspec.structs.replace(said, marks=marks)


def who() -> str:
    """Return the name of whoever runs this process; ``unknown`` where the system knows none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container without a table of users
        return "unknown"
