"""What is trained: a configuration, its data, and all that is known of both before training begins."""

from __future__ import annotations

import datetime
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import UNSET, UnsetType

import galago_workstation
from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.printable import on_one_line, printable
from galago_edge.preprocess import fingerprint
from galago_workstation.data.augmentation.own_material import OwnFolder, own_folders
from galago_workstation.data.listing import Listing
from galago_workstation.data.sample import PARTS, samples_sha256
from galago_workstation.data.sample_reader import AudioReader, ImageReader, open_reader
from galago_workstation.data.splits import split
from galago_workstation.environment import training_software
from galago_workstation.evaluation.validation_streams import (
    ValidationStreams,
    corpus_sha256,
    labelled_recordings,
    modality_of,
)
from galago_workstation.qa.corpus import Corpus, read_corpus
from galago_workstation.run_folder import (
    MODEL_FILE,
    DataRoot,
    MaterialRecord,
    RunRecord,
    TrainResult,
    encode_split,
)
from galago_workstation.training.checkpoint import Checkpoint
from galago_workstation.training.epoch_streams import EpochStreams
from galago_workstation.training.loop import Parts, Trainer
from galago_workstation.training.machines import Machines
from galago_workstation.training.network_kind import network_of
from galago_workstation.training.progress import TrainingProgress
from galago_workstation.training.weights.start_weights import StartWeights, open_start_weights
from galago_workstation.training_config import Config, TrainOptions, label_specs, read_config

_NAMED_LABELS = 20
_UNEQUAL = 5
"""Times as many samples of one label as of another that are worth a note."""


@dataclass(frozen=True, slots=True)
class TrainingJob:
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
    corpus: Corpus | None
    """Recordings by which the epoch is chosen."""

    @property
    def key(self) -> str:
        """What must be equal for a training to go on where another one was ended, or on another machine."""
        return " ".join(
            (
                hashlib.sha256(self.content).hexdigest(),
                hashlib.sha256(encode_split(self.parts)).hexdigest(),
                "" if self.start is None else self.start.origin.sha256,
                *(own.sha256 for own in self.material.values()),
                training_software(),
                *(() if self.corpus is None else (corpus_sha256(self.corpus),)),
            )
        )

    def trainer(
        self,
        folder: Path | None,
        progress: TrainingProgress,
        checkpoint: Checkpoint,
        machines: Machines | None,
        streams: EpochStreams | None = None,
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
            streams=streams,
            machines=machines,
        )

    def streams(self, folder: Path, progress: TrainingProgress) -> EpochStreams | None:
        """Return what judges epochs by recordings, whose inputs lie in ``folder``; None: by other figures."""
        return _streams(self.config, self.corpus, self.listing.labels, folder, progress)

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
            streams=_streams_record(self.config, self.corpus),
        )


def prepared_job(
    config_path: Path, root: Path | None, progress: TrainingProgress, machines: Machines | None
) -> TrainingJob:
    """Read the configuration, list the data and find what training begins with; tell of all that."""
    config = read_config(config_path)
    if machines is not None and config.validation is not UNSET:
        raise CallerError(
            Reason.CONFIG_BAD,
            f'{config_path}: [train] best_by = "streams" is for one machine, TF_CONFIG names '
            f"{len(machines.addresses)}",
            hint='take best_by = "balanced", or train on one machine',
        )
    preprocess_sha256 = fingerprint(config.preprocess)  # refuses what the frontend cannot do, before any work
    root = config_path.parent if root is None else root
    reader = open_reader(config, root)
    listing = reader.listing()
    label_specs(config, listing.labels)
    parts = split(listing, validation_share=config.data.validation_share, test_share=config.data.test_share)
    for line in _data_lines(listing, parts, config.train):
        progress.say(line)
    return TrainingJob(
        config=config,
        content=config_path.read_bytes(),
        root=root,
        preprocess_sha256=preprocess_sha256,
        reader=reader,
        listing=listing,
        parts=parts,
        start=_start(config, root, progress),
        material=_material(config, root, parts, progress),
        corpus=_streams_corpus(config, root),
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


def _streams_corpus(config: Config, root: Path) -> Corpus | None:
    """Return the recordings that ``[validation]`` names; None where there is no such table."""
    if config.validation is UNSET:
        return None
    corpus = read_corpus(root / config.validation.streams)
    return corpus.of_modality(modality_of(config.preprocess))


def _streams(
    config: Config, corpus: Corpus | None, labels: Sequence[str], folder: Path, progress: TrainingProgress
) -> EpochStreams | None:
    if corpus is None or config.validation is UNSET:
        return None
    for note in corpus.notes:
        progress.say(f"[validation] streams: {note}")
    if config.gate is not UNSET:
        progress.say("note: validation streams are judged without the activity gate")
    recordings = ValidationStreams(
        corpus,
        config.preprocess,
        label_specs(config, tuple(labels)),
        config.decision.decision(),
        folder,
        progress.say,
    )
    return EpochStreams(recordings, config.validation.false_alarms_per_hour, config.validation.every)


def _streams_record(config: Config, corpus: Corpus | None) -> MaterialRecord | UnsetType:
    if corpus is None or config.validation is UNSET:
        return UNSET
    return MaterialRecord(
        folder=printable(config.validation.streams),
        files=len(labelled_recordings(corpus)),
        sha256=corpus_sha256(corpus),
    )


def _data_lines(listing: Listing, parts: Parts, options: TrainOptions) -> Iterator[str]:
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
    if options.sampling == "balanced":
        each = sum(of_labels.values()) / len(labels)
        yield (
            f"balanced sampling: of each label about {each:.0f} samples for every {sum(of_labels.values())} "
            f"shown; each one of {on_one_line(least[1])} {each / least[0]:.1f} times, of "
            f"{on_one_line(most[1])} {each / most[0]:.2g} times"
        )
    elif most[0] >= _UNEQUAL * least[0] and not options.class_weights:
        yield (
            f"note: {on_one_line(most[1])} has {most[0] / least[0]:.0f} times as many samples as "
            f'{on_one_line(least[1])}: [train] sampling = "balanced" or class_weights = true makes up for it'
        )
