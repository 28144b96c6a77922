"""Lets the tool that a file is exported for say what it answers, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from galago_converters import peer_answers
from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import CallerError, LinkError, ModelError, Reason, disk_error
from galago_edge.contract.manifest import AudioPreprocess
from galago_workstation.exporting.export_source import ExportSource, Tried

_LONGEST_S = 600.0
_LINE = 300


class PeerAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """What the tool printed."""

    version: str
    answers: list[list[tuple[str, float]]]


def mediapipe_scores(
    python: Path, model: bytes, source: ExportSource, tried: Tried
) -> tuple[str, npt.NDArray[np.float64]]:
    """Return the version of MediaPipe and its scores ``(n, labels)``; what it does not name is 0.

    Args:
        python: A Python that has it.
        model: The exported file.
        source: Where it comes from.
        tried: The samples.

    Raises:
        CallerError: TARGET_UNKNOWN; ``python`` is no program.
        ModelError: EXPORT_FAILED; MediaPipe does not take the file, or takes another label list from it.
        LinkError: IO; it takes too long. The disk fails.
    """
    audio = isinstance(source.preprocess, AudioPreprocess)
    rate = source.preprocess.sample_rate_hz if isinstance(source.preprocess, AudioPreprocess) else 0
    kind = "mediapipe-audio" if audio else "mediapipe-image"
    try:
        with tempfile.TemporaryDirectory(prefix="galago-peer-") as folder:
            file, samples = Path(folder) / "model.tflite", Path(folder) / "samples.npy"
            file.write_bytes(model)
            np.save(samples, tried.raw, allow_pickle=False)
            told = _asked(python, [kind, str(file), str(samples), str(rate)])
    except OSError as error:
        raise disk_error(error, "write a temporary file") from error
    return told.version, np.array([_in_order(answer, source.labels) for answer in told.answers])


def _asked(python: Path, arguments: list[str]) -> PeerAnswers:
    command: list[Any] = [python, "-I", str(peer_answers.__file__), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_LONGEST_S, check=False
        )
    except (FileNotFoundError, PermissionError):
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"{python} is no Python that can be started",
            hint="give the python of an environment in which mediapipe is installed",
        ) from None
    except subprocess.TimeoutExpired:
        raise LinkError(
            Reason.IO, f"{python} has not answered in {_LONGEST_S:.0f} s", hint="try it with another one"
        ) from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise ModelError(
            Reason.EXPORT_FAILED,
            f"{python} could not classify with the exported file: {lines[-1][:_LINE]}",
            hint="pip install mediapipe in that environment; if it is there, tell who maintains Galago",
        )
    try:
        return from_json(done.stdout.strip().splitlines()[-1], type=PeerAnswers)
    except (IndexError, msgspec.DecodeError, json.JSONDecodeError) as error:
        raise ModelError(
            Reason.EXPORT_FAILED, f"{python} answered what cannot be read: {error}", hint="try another one"
        ) from None


def _in_order(answer: list[tuple[str, float]], labels: tuple[str, ...]) -> list[float]:
    scores = dict(answer)
    if strange := sorted(set(scores) - set(labels)):
        raise ModelError(
            Reason.EXPORT_FAILED,
            f"MediaPipe calls a label {strange[0]!r}, which the model does not have",
            hint="tell who maintains Galago",
        )
    return [scores.get(label, 0.0) for label in labels]
