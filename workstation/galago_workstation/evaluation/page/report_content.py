"""What the report of a run holds: plain data, which the page's script draws and never makes markup of."""

from __future__ import annotations

from typing import Literal

import msgspec

from galago_edge.decision.activation import ONE
from galago_workstation.evaluation.model_doubts import ModelDoubt
from galago_workstation.evaluation.page.answer_figures import (
    Calibration,
    GroupFigures,
    LabelCurves,
    LabelFigures,
)

SCHEMA: Literal["galago.report/1"] = "galago.report/1"
Q16 = ONE


class ReportSample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One sample that can be looked at, and heard if it is a sound."""

    id: str
    part: str
    label: int
    picture: str
    """Name of the medium: the picture itself, or what the model is given of the sound."""
    sound: str = ""
    group: str = ""
    given: int = -1
    """The int8 model's answer, where it is wrong."""
    score: float = 0.0
    """Of the answer."""
    true_score: float = 0.0
    """Of the label that the sample has."""
    label_doubtful: bool = False
    """Every form of the model gives the same other label, and the int8 one is sure of it."""


class ReportForm(msgspec.Struct, frozen=True, kw_only=True):
    """One form of the model."""

    name: str
    confusion: tuple[tuple[int, ...], ...]
    """Empty where there are too many labels for a matrix."""
    pairs: tuple[tuple[int, int, int], ...]
    """True label, given label, samples: the most frequent confusions, the worst first."""
    labels: tuple[LabelFigures, ...]


class AlikeSamples(msgspec.Struct, frozen=True, kw_only=True):
    """Two samples that are nearly the same and have different labels."""

    samples: tuple[ReportSample, ReportSample]
    alike: float
    """Correlation of their thumbprints, as ``galago data check`` tells near copies."""


class ReportEpoch(msgspec.Struct, frozen=True, kw_only=True):
    """One line of metrics.csv."""

    epoch: int
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float


class ReportContent(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the page shows."""

    name: str
    made: str
    facts: tuple[str, ...]
    doubts: tuple[ModelDoubt, ...]
    labels: tuple[str, ...]
    side_by_side: tuple[tuple[str, ...], ...]
    """Rows of texts, the heads first."""
    forms: tuple[ReportForm, ...]
    wrong: int
    """Samples that the int8 model gets wrong; the worst are in ``errors``."""
    errors: tuple[ReportSample, ...]
    curves: tuple[LabelCurves, ...]
    """Those with the smallest average precision, where there are many labels."""
    calibration: Calibration
    groups: tuple[GroupFigures, ...]
    more_groups: int
    alike: tuple[AlikeSamples, ...]
    """Samples of different labels that are nearly the same, the most alike first."""
    alike_text: str
    """How many pairs there are, and of how many samples."""
    boards: tuple[tuple[str, ...], ...]
    """Rows of texts, the heads first; empty where there is no int8 model."""
    boards_text: str
    epochs: tuple[ReportEpoch, ...]
    best_epoch: int
    counts: tuple[tuple[str, tuple[int, ...]], ...]
    """Samples by label of each part."""
    sheet: tuple[ReportSample, ...]
    augmented: tuple[ReportSample, ...]
    """Training samples as they are, each followed by what some epochs make of it."""
    left_out: str
    """What of errors and contact sheet is not shown, and why."""
