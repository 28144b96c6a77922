"""``galago export``: a model for other tools, proven on samples before it takes its place."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_converters.conversion_record import encode
from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import ModelError, Reason
from galago_workstation.exporting.export_forms import ExportedForm, exported
from galago_workstation.exporting.export_record import EXPORT_FILE, Agreement, ExportRecord, Form
from galago_workstation.exporting.export_source import open_source
from galago_workstation.exporting.peer_check import mediapipe_scores
from galago_workstation.files import new_folder, write_bytes

_PACKAGES = ("galago", "ai-edge-litert", "numpy")
_LEAST_SAME = 0.98
"""Share of the samples on which the best label must be the device's; float sums are taken in another order,
and of two labels that are equally good to a device either may win."""


def export_model(
    path: Path, form: Form, out: Path, *, trusted: Sequence[Path] = (), python: Path | None = None
) -> ExportRecord:
    """Write a model in another form to the folder ``out``, and return its record.

    Args:
        path: A converted run, or a bundle.
        form: Which.
        out: A new folder, or one of a former export, which is replaced as a whole.
        trusted: Public keys; one of them must have signed the bundle.
        python: For ``mediapipe``: a Python that has it, which is asked too.

    Raises:
        InputError: RUN_BAD.
        BundleError: The bundle is not whole or not trusted.
        CallerError: CONFIG_BAD, EXISTS, TARGET_UNKNOWN.
        DeviceError: EXTRA_MISSING.
        ModelError: EXPORT_FAILED; the file cannot be made, or answers otherwise than a device.
        LinkError: The disk.
    """
    source = open_source(path, trusted)
    tried = source.tried()
    made = exported(source, form, tried)
    agreements = [_agreed(made.reader, made.answers, made)]
    if python is not None and form == "mediapipe":
        peer, scores = mediapipe_scores(python, made.files["model.tflite"], source, tried)
        agreements.append(_agreed(f"mediapipe {peer}", scores, made))
    record = ExportRecord(
        form=form,
        origin=source.origin,
        labels=source.labels,
        takes=made.takes,
        gives=made.gives,
        files={name: hashlib.sha256(content).hexdigest() for name, content in made.files.items()},
        agreement=tuple(agreements),
        versions={package: version(package) for package in _PACKAGES},
    )
    with new_folder(out, mark=EXPORT_FILE) as folder:
        for name, content in made.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(folder / name, content)
        write_bytes(folder / EXPORT_FILE, encode(record))
    return record


def _agreed(reader: str, answers: npt.NDArray[Any], made: ExportedForm) -> Agreement:
    """Return how well a reader agrees with the device.

    Raises:
        ModelError: EXPORT_FAILED; not well enough.
    """
    difference = np.abs(answers.astype(np.float64) - made.expected.astype(np.float64))
    same = int((answers.argmax(axis=1) == made.expected.argmax(axis=1)).sum())
    largest, count = float(difference.max()), len(answers)
    if not largest <= made.tolerance or same < _LEAST_SAME * count:
        raise ModelError(
            Reason.EXPORT_FAILED,
            f"{reader} gives other answers than a device: the same best label for {same} of "
            f"{count_of(count, 'sample')}, and differences up to {largest:.3g} where {made.tolerance:.3g} is "
            "expected; nothing was written",
            hint="tell who maintains Galago which model this is",
        )
    return Agreement(reader=reader, samples=count, same_top=same, largest_difference=largest)
