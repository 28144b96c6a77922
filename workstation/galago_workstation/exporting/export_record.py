"""``export.json``: what an exported model is, and who has been asked whether it answers alike."""

from __future__ import annotations

from typing import Literal

import msgspec

EXPORT_FILE = "export.json"

Form = Literal["mediapipe", "tflite-plain", "onnx", "saved-model", "c-array"]


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader of the exported file said to samples, beside what a device says."""

    reader: str
    """Tool and version: ``mediapipe 1.2.3``."""
    samples: int
    same_top: int
    """Samples with the same best label."""
    largest_difference: float
    """Of a score (``mediapipe``), of a logit (``onnx``, ``saved-model``), of a code (others)."""


class ExportRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Content of export.json."""

    schema: Literal["galago.export/1"] = "galago.export/1"
    form: Form
    origin: dict[str, str]
    """The run or bundle, and the sha256 of its int8 model."""
    labels: tuple[str, ...]
    """In output order."""
    takes: str
    """What is to be fed, in words."""
    gives: str
    """What comes out, in words."""
    files: dict[str, str]
    """Path to sha256."""
    agreement: tuple[Agreement, ...]
    versions: dict[str, str]
