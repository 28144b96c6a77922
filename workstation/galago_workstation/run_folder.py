"""The run folder: everything that training leaves behind, and how later steps read it.

```
RUN/config.toml        the configuration, byte for byte
RUN/run.json           labels, hashes, seed, result (RunRecord)
RUN/split.json         every sample with its hash and its part
RUN/metrics.csv        one line per epoch; RUN/curves.png draws it
RUN/environment.json   versions, CPU, threads
RUN/model.keras        the best weights on the validation part
RUN/converted/         written by ``galago convert``
```
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET, UnsetType

from galago_edge.bundle.weights_origin import WeightsOrigin
from galago_edge.contract.errors import InputError, Reason, disk_error
from galago_edge.contract.manifest import ImagePreprocess, Label, LabelName, Preprocess, Sha256
from galago_edge.contract.modality import Modality
from galago_edge.contract.printable import unprintable
from galago_workstation.data.sample import PARTS, Part, Sample
from galago_workstation.files import read_json
from galago_workstation.training_config import Config, IdxFiles, label_specs, read_config

if TYPE_CHECKING:
    from galago_workstation.data.sample_reader import Reader

RUN_FILE = "run.json"
SPLIT_FILE = "split.json"
CONFIG_FILE = "config.toml"
MODEL_FILE = "model.keras"
METRICS_FILE = "metrics.csv"
CURVES_FILE = "curves.png"
ENVIRONMENT_FILE = "environment.json"

_HINT = "run galago train again"


class DataRoot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The folder that sample ids are relative to: where the configuration file lay."""

    relative: str
    """As seen from the run folder, so that both may move together."""
    absolute: str


class TrainResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What training came to."""

    epochs: int
    best_epoch: int
    """Counted from 1, as in metrics.csv; its weights are the model's."""
    validation_accuracy: float
    validation_loss: float
    validation_balanced: float | UnsetType = UNSET
    """Mean of all labels' recalls; runs from before this was kept have it in metrics.csv alone."""
    stream_recall: float | UnsetType = UNSET
    """Of what is in the validation recordings, where epochs were chosen by them."""
    stream_false_alarms_per_hour: float | UnsetType = UNSET
    parameters: int
    weights_sha256: Sha256
    seconds: float
    interrupted: bool = False
    """Somebody ended it before its time."""


class MaterialRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A folder of somebody's own sounds or pictures that training used beside its samples."""

    folder: str
    """As the configuration names it, made printable."""
    files: int
    sha256: Sha256
    """Over the contents, as ``samples_sha256``."""


class RunRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of run.json."""

    schema: Literal["galago.run/1"] = "galago.run/1"
    created_utc: str
    producer: str
    seed: int
    labels: tuple[LabelName, ...]
    config_sha256: Sha256
    """Of config.toml."""
    model_sha256: Sha256 | UnsetType = UNSET
    """Of model.keras; runs from before this was kept have only the hash of its weights."""
    preprocess_sha256: Sha256
    """``galago_edge.preprocess.fingerprint`` at training time."""
    data_root: DataRoot
    samples: dict[str, int]
    """Number of samples by part."""
    samples_sha256: dict[str, Sha256]
    """Hash over the samples' contents by part."""
    duplicates_left_out: int
    result: TrainResult
    weights: WeightsOrigin | UnsetType = UNSET
    """What training began with, unless with chance."""
    material: dict[str, MaterialRecord] | UnsetType = UNSET
    """By the key of ``[augment]`` that names the folder."""
    streams: MaterialRecord | UnsetType = UNSET
    """The recordings of ``[validation]``."""


class SplitSample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line of split.json."""

    id: str
    sha256: Sha256
    label: int
    group: str | None = None
    part: Part


class SplitRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of split.json."""

    schema: Literal["galago.split/1"] = "galago.split/1"
    samples: Annotated[tuple[SplitSample, ...], msgspec.Meta(min_length=1)]


def encode_split(parts: Mapping[Part, Sequence[Sample]]) -> bytes:
    """Return the content of split.json, one sample a line."""
    lines = [
        msgspec.json.encode(
            SplitSample(id=sample.id, sha256=sample.sha256, label=sample.label, group=sample.group, part=part)
        )
        for part in PARTS
        for sample in parts[part]
    ]
    return b'{"schema": "galago.split/1", "samples": [\n' + b",\n".join(lines) + b"\n]}\n"


def sample_path(root: Path, sample_id: str) -> Path:
    """Return the file of a sample, whose name may have had bytes that are no UTF-8."""
    path = root / sample_id
    return path if "\\x" not in sample_id or path.exists() else root / unprintable(sample_id)


class Run:
    """A finished training run."""

    def __init__(self, path: Path, record: RunRecord, config: Config) -> None:
        self.path = path
        self.record = record
        self.config = config

    @classmethod
    def open(cls, path: Path) -> Run:
        """Open a run folder.

        Raises:
            InputError: RUN_BAD; a file is missing, unreadable, or was made by other preprocessing.
        """
        from galago_edge.preprocess import fingerprint

        record = read_json(path / RUN_FILE, RunRecord, hint=f"{path} is not a run folder; run galago train")
        run = cls(path, record, read_config(path / CONFIG_FILE))
        then, now = record.preprocess_sha256, fingerprint(run.preprocess)
        if now != then:
            raise InputError(
                Reason.RUN_BAD,
                f"{path} was trained with preprocessing {then[:12]}, here it is {now[:12]}",
                hint=_HINT,
            )
        return run

    def check_untouched(self) -> None:
        """Refuse a run whose configuration or network is not the one that training left.

        A run from before the hash of model.keras was kept is judged by the hash of the weights, for which
        the network is loaded.

        Raises:
            InputError: RUN_BAD; one of the two is missing, or is another one.
            LinkError: A file cannot be read.
        """
        if (found := _file_sha256(self.path / CONFIG_FILE)) != self.record.config_sha256:
            raise InputError(
                Reason.RUN_BAD,
                f"{self.path / CONFIG_FILE} is not the one that the run was trained with: its sha256 is "
                f"{found[:12]}, {RUN_FILE} says {self.record.config_sha256[:12]}",
                hint=f"put the old one back, or {_HINT}; galago bundle repolicy changes a bundle's policy",
            )
        trained = self.record.model_sha256
        found = _file_sha256(self.path / MODEL_FILE)
        if trained is UNSET:
            trained, found = self.record.result.weights_sha256, weights_sha256(self.keras_model())
        if found != trained:
            raise InputError(
                Reason.RUN_BAD,
                f"{self.path / MODEL_FILE} is not the network that was trained: its sha256 is {found[:12]}, "
                f"{RUN_FILE} says {trained[:12]}",
                hint=f"put the old one back, or {_HINT}",
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in output order."""
        return self.record.labels

    @property
    def preprocess(self) -> Preprocess:
        """The manifest's preprocessing specification."""
        return self.config.preprocess

    @property
    def modality(self) -> Modality:
        """Which sense this model is for."""
        return "camera" if isinstance(self.preprocess, ImagePreprocess) else "microphone"

    def label_specs(self) -> tuple[Label, ...]:
        """Return the manifest's labels, with background flags and decision policies."""
        return label_specs(self.config, self.labels)

    @cached_property
    def data_root(self) -> Path:
        """Folder that sample ids are relative to.

        Raises:
            InputError: RUN_BAD; it is neither where it was nor beside the run as it was.
        """
        root = self.record.data_root
        first = self._split_record.samples[0].id
        if isinstance(self.config.data, IdxFiles):
            first = self.config.data.images
        for candidate in (
            *(self.path / root.relative, Path(root.absolute)),
            *(self.path / unprintable(root.relative), Path(unprintable(root.absolute))),
        ):
            if sample_path(candidate, first).exists():
                return Path(os.path.normpath(candidate))
        raise InputError(
            Reason.RUN_BAD,
            f"the data of {self.path} is neither in {root.relative} beside it nor in {root.absolute}",
            hint="move the data back, or train again where it is now",
        )

    @cached_property
    def _split_record(self) -> SplitRecord:
        return read_json(self.path / SPLIT_FILE, SplitRecord, hint=_HINT)

    @cached_property
    def _split(self) -> dict[str, list[Sample]]:
        parts: dict[str, list[Sample]] = {}
        for entry in self._split_record.samples:
            path = None if isinstance(self.config.data, IdxFiles) else sample_path(self.data_root, entry.id)
            sample = Sample(entry.id, path, entry.sha256, entry.label, entry.group)
            parts.setdefault(entry.part, []).append(sample)
        return parts

    def samples(self, part: Part) -> list[Sample]:
        """Return the samples of one part, ordered by id.

        Raises:
            InputError: RUN_BAD; split.json or the data folder is not there.
        """
        return list(self._split.get(part, []))

    def samples_sha256(self, part: Part) -> str:
        """Return the hash over the contents of one part's samples."""
        return self.record.samples_sha256[part]

    @cached_property
    def reader(self) -> Reader:
        """Reads samples as the device would."""
        from galago_workstation.data.sample_reader import open_reader

        return open_reader(self.config, self.data_root)

    def inputs(self, samples: list[Sample]) -> npt.NDArray[np.uint8] | npt.NDArray[np.int8]:
        """Return model inputs without augmentation, through ``galago_edge.preprocess``.

        Pictures: ``(n, height, width, channels)`` uint8. Clips: ``(n, window_frames, mel_bands)`` int8,
        one window each, from the middle of the clip; a shorter clip lies in the middle of silence.

        Raises:
            InputError: IMAGE_UNREADABLE or AUDIO_UNREADABLE; DATA_BAD when a file has changed since.
        """
        return self.reader.inputs(samples)

    def raw(self, sample: Sample) -> npt.NDArray[np.uint8] | npt.NDArray[np.int16]:
        """Return what a device would capture: pixels ``(h, w, 3)`` BGR uint8, or int16 mono samples.

        The samples ``(window_samples,)`` are the very window that :meth:`inputs` uses, at the model's rate.

        Raises:
            InputError: As :meth:`inputs`.
        """
        return self.reader.raw(sample)

    def keras_model(self) -> Any:
        """Return the trained Keras model: float32 input (pixels 0 to 255, or codes / 64), logits out.

        Raises:
            InputError: RUN_BAD; the file is missing or damaged.
        """
        from galago_converters.frameworks import import_tensorflow

        path = self.path / MODEL_FILE
        keras = import_tensorflow().keras
        try:
            return keras.models.load_model(path, compile=False)
        except Exception as error:  # noqa: BLE001 (zip, JSON, HDF5 and Keras raise what they like)
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise InputError(Reason.RUN_BAD, f"{path} cannot be loaded: {reason}", hint=_HINT) from None


def weights_sha256(network: Any) -> str:
    """Return one hash over all weights of a Keras model, in its own order."""
    digest = hashlib.sha256()
    for weights in network.get_weights():
        digest.update(np.ascontiguousarray(weights).tobytes())
    return digest.hexdigest()


def _file_sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise InputError(Reason.RUN_BAD, f"{path} does not exist", hint=_HINT) from None
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
