"""Writes the proposed configuration, and reads it back before anybody trusts it."""

from __future__ import annotations

from pathlib import Path

from galago_workstation.data.folder_survey import FolderSurvey
from galago_workstation.files import refuse_existing, write_bytes
from galago_workstation.output_kinds import CONFIGURATION
from galago_workstation.training.config_proposal import proposed_config
from galago_workstation.training.networks.speech_embedding import PUBLISHED
from galago_workstation.training.weights import published_weights
from galago_workstation.training_config import read_config


def proposal_path(data: Path, out: Path | None, *, replace: bool) -> Path:
    """Return where the configuration for the folder ``data`` goes.

    Raises:
        CallerError: OUTPUT_EXISTS; something is there that shall not be written over.
    """
    out = out or Path(f"{data.resolve().name}.toml")
    refuse_existing(out, CONFIGURATION, replace=replace)
    return out


def write_proposal(found: FolderSurvey, out: Path) -> None:
    """Write a configuration for what a folder holds.

    Raises:
        LinkError: The disk.
    """
    speech = found.kind == "audio" and published_weights.at_hand(PUBLISHED) is not None
    write_bytes(out, proposed_config(found, out, speech=speech).encode())
    read_config(out)
