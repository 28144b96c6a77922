"""From a configuration to a run folder."""

from __future__ import annotations

import datetime
import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from msgspec import UNSET

import galago_workstation
from galago_edge.contract.printable import on_one_line, printable
from galago_edge.preprocess import fingerprint
from galago_workstation.data.augmentation.own_material import OwnFolder, own_folders
from galago_workstation.data.listing import Listing
from galago_workstation.data.sample import PARTS, samples_sha256
from galago_workstation.data.sample_reader import AudioReader, ImageReader, open_reader
from galago_workstation.data.splits import split
from galago_workstation.environment import environment
from galago_workstation.files import new_folder, write_bytes, write_json
from galago_workstation.run_folder import (
    CONFIG_FILE,
    CURVES_FILE,
    ENVIRONMENT_FILE,
    MODEL_FILE,
    RUN_FILE,
    SPLIT_FILE,
    DataRoot,
    MaterialRecord,
    Run,
    RunRecord,
    TrainResult,
    encode_split,
)
from galago_workstation.training.checkpoint import Checkpoint
from galago_workstation.training.curves import draw_curves
from galago_workstation.training.loop import Parts, Trainer
from galago_workstation.training.machines import Machines
from galago_workstation.training.network_kind import network_of
from galago_workstation.training.progress import TrainingProgress, duration
from galago_workstation.training.training_faults import faults_told
from galago_workstation.training.weights.start_weights import StartWeights, open_start_weights
from galago_workstation.training_config import Config, label_specs, read_config

_NAMED_LABELS = 20
_UNEQUAL = 5
"""Times as many samples of one label as of another that are worth a note."""


def train(
    config_path: Path,
    out: Path,
    progress: TrainingProgress,
    *,
    fresh: bool = False,
    machines: Machines | None = None,
) -> Run:
    """Train what ``config_path`` says and leave the run folder ``out``.

    An existing run there is replaced when training has ended well, and stays as it is otherwise. A training
    that was killed left ``OUT.unfinished``; the next one with the same data, settings and software goes on
    behind the last epoch in it, unless it is ``fresh``, and ends with the same weights.

    Args:
        config_path: The configuration.
        out: The run folder.
        progress: Is told what happens.
        fresh: Begin anew.
        machines: Others that train along (:func:`train_along`), for which it waits; this one is their chief.

    Raises:
        CallerError: CONFIG_BAD, or EXISTS when ``out`` is something else than a run.
        InputError: The data set is not what it should be; see ``galago_workstation.data``.
        DeviceError: TRAIN_MEMORY.
        LinkError: NO_SPACE and other trouble with the disk. WORKER_LOST; another machine has not come, or
            has ended.
    """
    began = time.monotonic()
    job = _prepared(config_path, progress)
    checkpoint = Checkpoint(out.with_name(out.name + ".unfinished"), job.key)
    if fresh:
        checkpoint.remove()
    with new_folder(out, mark=RUN_FILE) as folder:
        write_bytes(folder / CONFIG_FILE, job.content)
        write_bytes(folder / SPLIT_FILE, encode_split(job.parts))
        with faults_told(job.config.train.batch_size, machines):
            trainer = job.trainer(folder, progress, checkpoint, machines)
            fitted = trainer.fit()
            weights = trainer.save(folder / MODEL_FILE)
        result = TrainResult(
            epochs=len(fitted.epochs),
            best_epoch=fitted.best.epoch,
            validation_accuracy=fitted.best.validation_accuracy,
            validation_loss=fitted.best.validation_loss,
            parameters=trainer.parameters,
            weights_sha256=weights,
            seconds=round(time.monotonic() - began, 1),
            interrupted=fitted.interrupted,
        )
        draw_curves(
            folder / CURVES_FILE,
            fitted.epochs,
            fitted.best.epoch,
            f"{out.name}: {len(job.listing.labels)} labels",
        )
        write_json(folder / ENVIRONMENT_FILE, environment(trainer.tf))
        write_json(folder / RUN_FILE, job.record(out, folder, result))
    checkpoint.remove()
    trainer.part()
    progress.say(_result_line(result, len(job.parts["validation"])))
    return Run.open(out)


def train_along(config_path: Path, progress: TrainingProgress, machines: Machines) -> None:
    """Train with the chief of these machines, which keeps the run; nothing is written here.

    Raises:
        GalagoError: As :func:`train`.
    """
    job = _prepared(config_path, progress)
    with faults_told(job.config.train.batch_size, machines):
        trainer = job.trainer(None, progress, Checkpoint(Path(os.devnull), job.key), machines)
        trainer.fit()
    trainer.part()


@dataclass(frozen=True, slots=True)
class _Job:
    """What is trained, and all that is known of it before."""

    config: Config
    content: bytes
    """Of the configuration file."""
    root: Path
    preprocess_sha256: str
    reader: ImageReader | AudioReader
    listing: Listing
    parts: Parts
    start: StartWeights | None
    material: Mapping[str, OwnFolder]

    @property
    def key(self) -> str:
        """What must be equal for a training to go on where another one was ended, or on another machine."""
        return " ".join(
            (
                hashlib.sha256(self.content).hexdigest(),
                hashlib.sha256(encode_split(self.parts)).hexdigest(),
                "" if self.start is None else self.start.origin.sha256,
                *(own.sha256 for own in self.material.values()),
                galago_workstation.__version__,
                *(f"{name}={version(name)}" for name in ("tensorflow", "keras", "numpy")),
            )
        )

    def trainer(
        self,
        folder: Path | None,
        progress: TrainingProgress,
        checkpoint: Checkpoint,
        machines: Machines | None,
    ) -> Trainer:
        """Return what trains it."""
        return Trainer(
            self.config,
            self.reader,
            self.listing.labels,
            self.parts,
            folder,
            progress,
            checkpoint,
            start=self.start,
            material=self.material,
            machines=machines,
        )

    def record(self, out: Path, folder: Path, result: TrainResult) -> RunRecord:
        """Return what run.json of ``out`` says, whose files are in ``folder`` as yet."""
        return RunRecord(
            created_utc=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            producer=f"galago {galago_workstation.__version__}",
            seed=self.config.train.seed,
            labels=self.listing.labels,
            config_sha256=hashlib.sha256(self.content).hexdigest(),
            model_sha256=hashlib.sha256((folder / MODEL_FILE).read_bytes()).hexdigest(),
            preprocess_sha256=self.preprocess_sha256,
            data_root=DataRoot(
                relative=printable(os.path.relpath(self.root, out)),
                absolute=printable(str(self.root.resolve())),
            ),
            samples={part: len(self.parts[part]) for part in PARTS},
            samples_sha256={part: samples_sha256(self.parts[part]) for part in PARTS},
            duplicates_left_out=self.listing.duplicates_left_out,
            result=result,
            weights=UNSET if self.start is None else self.start.origin,
            material={key: _material_record(own) for key, own in self.material.items()} or UNSET,
        )


def _prepared(config_path: Path, progress: TrainingProgress) -> _Job:
    """Read the configuration, list the data and find what training begins with; tell of all that."""
    config = read_config(config_path)
    preprocess_sha256 = fingerprint(config.preprocess)  # refuses what the frontend cannot do, before any work
    root = config_path.parent
    reader = open_reader(config, root)
    listing = reader.listing()
    label_specs(config, listing.labels)
    parts = split(listing, validation_share=config.data.validation_share, test_share=config.data.test_share)
    for line in _data_lines(listing, parts):
        progress.say(line)
    return _Job(
        config=config,
        content=config_path.read_bytes(),
        root=root,
        preprocess_sha256=preprocess_sha256,
        reader=reader,
        listing=listing,
        parts=parts,
        start=_start(config, root, progress),
        material=_material(config, root, parts, progress),
    )


def _start(config: Config, root: Path, progress: TrainingProgress) -> StartWeights | None:
    """Return what ``[model] weights`` names; None where training begins with chance."""
    if config.model.weights is None:
        return None
    start = open_start_weights(
        config.model.weights,
        network_of(config.model),
        root,
        progress.say,
        sha256=config.model.weights_sha256,
    )
    licence = f", {start.origin.licence}" if start.origin.licence else ""
    progress.say(f"begins with {start.origin.source} (sha256 {start.origin.sha256[:12]}{licence})")
    return start


def _material(config: Config, root: Path, parts: Parts, progress: TrainingProgress) -> dict[str, OwnFolder]:
    """Return what the folders hold that ``[augment]`` names."""
    found = own_folders(config.augment, root, parts)
    for own in found.values():
        progress.say(own.said())
    return found


def _material_record(own: OwnFolder) -> MaterialRecord:
    return MaterialRecord(folder=printable(own.name), files=len(own.files), sha256=own.sha256)


def _data_lines(listing: Listing, parts: Parts) -> Iterator[str]:
    counts = ", ".join(f"{len(parts[part])} {part}" for part in PARTS)
    left_out = listing.duplicates_left_out
    copies = f"; {left_out} left out as copies of others" if left_out else ""
    yield f"{len(listing.labels)} labels; samples: {counts}{copies}"
    if listing.strays:
        kinds = ", ".join(
            f"{suffix or 'no suffix'} {count}" for suffix, count in sorted(listing.strays.items())
        )
        yield f"left out, no samples: {sum(listing.strays.values())} files ({kinds})"
    of_labels = Counter(sample.label for sample in parts["train"])
    labels = sorted(((of_labels[number], name) for number, name in enumerate(listing.labels)), reverse=True)
    shown = [f"{on_one_line(name)} {count}" for count, name in labels]
    if len(shown) > _NAMED_LABELS:
        shown = [*shown[: _NAMED_LABELS // 2], "...", *shown[-_NAMED_LABELS // 2 :]]
    yield f"to learn from: {', '.join(shown)}"
    most, least = labels[0], labels[-1]
    if most[0] >= _UNEQUAL * least[0]:
        yield (
            f"note: {on_one_line(most[1])} has {most[0] / least[0]:.0f} times as many samples as "
            f"{on_one_line(least[1])}: [train] class_weights = true makes up for it"
        )


def _result_line(result: TrainResult, validation_samples: int) -> str:
    return (
        f"kept epoch {result.best_epoch} of {result.epochs}: {100 * result.validation_accuracy:.2f} % on "
        f"{validation_samples} validation samples, {result.parameters} parameters, {duration(result.seconds)}"
    )
