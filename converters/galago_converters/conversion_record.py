"""What a conversion leaves in a run: the files' names and the record that describes them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import InputError, Reason, disk_error
from galago_edge.contract.manifest import Natural, Operator, Positive, Probability, Sha256, Tensor

CONVERTED_FOLDER = "converted"
FLOAT_FILE = "float.tflite"
INT8_FILE = "int8.tflite"
CALIBRATION_FILE = "calibration.json"
CONVERSION_FILE = "conversion.json"

T = TypeVar("T")


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every object that is written to a run folder."""


class HeldOut(_Part, frozen=True, kw_only=True):
    """What quantization cost on data that neither training nor calibration has seen."""

    part: Literal["validation"] = "validation"
    samples: Positive
    accuracy_float: Probability
    """Of the float TFLite file."""
    accuracy_int8: Probability
    flips: Natural
    """Samples on which the two give another label."""
    max_loss_points: Annotated[float, msgspec.Meta(ge=0.0, le=100.0)]
    """The limit that the conversion had to keep, in percentage points."""


class AwareTraining(_Part, frozen=True, kw_only=True):
    """What quantization-aware training came to, where it was asked for and int8 lost enough."""

    epochs: Positive
    samples: Positive
    """Of the training part, without their labels."""
    batch_size: Positive
    seed: int
    learning_rate: Annotated[float, msgspec.Meta(gt=0.0)]
    distances: tuple[Annotated[float, msgspec.Meta(ge=0.0)], ...]
    """By epoch: root of the mean squared difference of a logit to the float network's, while training."""
    before: HeldOut
    """Of the int8 file whose ranges are calibrated."""
    after: HeldOut
    """Of the one that learned to live with rounding."""
    kept: bool
    """``int8.tflite`` is the second one."""


class Conversion(_Part, frozen=True, kw_only=True):
    """``conversion.json``: everything that packing needs to know about the two model files."""

    schema: Literal["galago.conversion/1"] = "galago.conversion/1"
    created_utc: Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")]
    labels: tuple[str, ...]
    """In output order."""
    input: Tensor
    output: Tensor
    ops: tuple[Operator, ...]
    """Every builtin operator of ``int8.tflite``, sorted by name, then version."""
    per_channel: bool
    """Some weights have a scale per output channel."""
    model_sha256: Sha256
    """Of the ``model.keras`` that was converted."""
    config_sha256: Sha256 | UnsetType = UNSET
    """Of the run's ``config.toml`` at that time; conversions from before this was kept have none."""
    float_sha256: Sha256
    int8_sha256: Sha256
    calibration_sha256: Sha256
    """Of ``calibration.json``."""
    preprocess_sha256: Sha256
    """``galago_edge.preprocess.fingerprint`` of the run's preprocessing."""
    float_delta: Annotated[float, msgspec.Meta(ge=0.0)]
    """Largest difference of a logit between Keras and the float TFLite file, on calibration samples."""
    held_out: HeldOut
    aware: AwareTraining | UnsetType = UNSET
    """Unset: there was no quantization-aware training."""
    versions: dict[str, str]
    """Package name to version, for everything that had a hand in the bytes."""


def encode(record: msgspec.Struct) -> bytes:
    """Return a record as indented JSON with a final newline: made to be read and compared by people too."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def read_conversion(run: Path) -> Conversion:
    """Read and check what ``galago convert`` left in the run folder ``run``.

    Raises:
        InputError: RUN_BAD; there is none, it is not one, or its files are not those it describes.
        LinkError: A file cannot be read.
    """
    folder = run / CONVERTED_FOLDER
    found = read_record(folder / CONVERSION_FILE, Conversion, remedy=f"galago convert {run}")
    for name, expected in [
        (FLOAT_FILE, found.float_sha256),
        (INT8_FILE, found.int8_sha256),
        (CALIBRATION_FILE, found.calibration_sha256),
    ]:
        if hashlib.sha256(read_file(folder / name, remedy=f"galago convert {run}")).hexdigest() != expected:
            raise InputError(
                Reason.RUN_BAD,
                f"{folder / name} is not the file that {CONVERSION_FILE} describes: its sha256 differs",
                hint=f"galago convert {run}",
            )
    return found


def read_record(path: Path, type_: type[T], *, remedy: str) -> T:
    """Read a JSON record of a run folder; ``remedy`` is the command that writes it.

    Raises:
        InputError: RUN_BAD; the file is not there or is not such a record.
        LinkError: The file cannot be read.
    """
    try:
        return from_json(read_file(path, remedy=remedy), type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(
            Reason.RUN_BAD, f"{path} is not a record of this version: {error}", hint=remedy
        ) from None


def read_file(path: Path, *, remedy: str) -> bytes:
    """Read a file that ``remedy`` would have written.

    Raises:
        InputError: RUN_BAD; the file is not there.
        LinkError: The file cannot be read.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(Reason.RUN_BAD, f"{path} does not exist", hint=remedy) from None
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
