"""What a training in a process of its own tells whoever started it."""

from __future__ import annotations

import msgspec

from galago_workstation.training.curves import Epoch


class LineSaid(msgspec.Struct, frozen=True, tag="line"):
    """A line for people."""

    text: str


class TrainingBegun(msgspec.Struct, frozen=True, tag="begun"):
    """As ``TrainingProgress.begin``."""

    epochs: int
    steps: int
    done: int


class StepDone(msgspec.Struct, frozen=True, tag="step"):
    """One more batch is done."""


class EpochDone(msgspec.Struct, frozen=True, tag="epoch"):
    """As ``TrainingProgress.epoch``."""

    epoch: Epoch
    best: bool


class TrainingFailed(msgspec.Struct, frozen=True, tag="failed"):
    """It ended with a GalagoError: its data, with the exit code."""

    data: dict[str, str | int]


class TrainingAborted(msgspec.Struct, frozen=True, tag="aborted"):
    """Ctrl+C ended it before its time."""


class TrainingFinished(msgspec.Struct, frozen=True, tag="finished"):
    """The run folder is there."""


TrainingMessage = (
    LineSaid | TrainingBegun | StepDone | EpochDone | TrainingFailed | TrainingAborted | TrainingFinished
)
