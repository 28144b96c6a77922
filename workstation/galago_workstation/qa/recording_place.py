"""Where recordings lie that were replayed: for those who show them. What judges never opens one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from galago_edge.contract.settings import ViewSettings
from galago_workstation.files import named_path
from galago_workstation.qa.corpus_replay import CorpusReplay
from galago_workstation.qa.replay_run import read_run_file


@dataclass(frozen=True, slots=True)
class RecordingPlace:
    """Where a recording lay when it was replayed, and what of its pictures the bundle saw."""

    address: str
    """With options, as ``open_source`` takes it."""
    view: ViewSettings
    """Rotation, region and masks of the replay: what was hidden from the bundle is shown to nobody."""


Places = dict[str, RecordingPlace]
"""By the SHA-256 of the recording."""


def places_of(replayed: CorpusReplay) -> Places:
    """Return where the recordings of a corpus lie that was just replayed."""
    view = replayed.changes.view
    return {one.recording.sha256: RecordingPlace(one.recording.address, view) for one in replayed.replays}


def places_of_run(folder: Path) -> Places:
    """Return where the recordings of a run lay when it was made.

    Raises:
        InputError: RUN_BAD; there is no run, or it is damaged.
        LinkError: It cannot be read.
    """
    run = read_run_file(folder)
    return {one.sha256: RecordingPlace(_address(one.address), run.changes.view) for one in run.recordings}


def _address(said: str) -> str:
    """Return the address of a recording whose path need not be UTF-8."""
    path, mark, query = said.partition("?")
    return f"{named_path(Path(), path)}{mark}{query}"
