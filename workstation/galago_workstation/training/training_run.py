"""From a configuration to a run folder."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import UNSET, UnsetType

import galago_workstation
from galago_edge.contract.printable import on_one_line, printable
from galago_edge.preprocess import fingerprint
from galago_workstation.data.augmentation.own_material import OwnFolder, own_folders
from galago_workstation.data.listing import Listing
from galago_workstation.data.sample import PARTS, samples_sha256
from galago_workstation.data.sample_reader import open_reader
from galago_workstation.data.splits import split
from galago_workstation.environment import environment, training_software
from galago_workstation.evaluation.validation_streams import (
    ValidationStreams,
    corpus_sha256,
    labelled_recordings,
    modality_of,
)
from galago_workstation.files import new_folder, write_bytes, write_json
from galago_workstation.qa.corpus import Corpus, read_corpus
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
from galago_workstation.training.epoch_streams import EpochStreams
from galago_workstation.training.loop import Parts, Trainer
from galago_workstation.training.network_kind import network_of
from galago_workstation.training.progress import TrainingProgress, duration
from galago_workstation.training.weights.start_weights import StartWeights, open_start_weights
from galago_workstation.training_config import Config, TrainOptions, label_specs, read_config

_NAMED_LABELS = 20
_UNEQUAL = 5
"""Times as many samples of one label as of another that are worth a note."""


def train(
    config_path: Path,
    out: Path,
    progress: TrainingProgress,
    *,
    fresh: bool = False,
    root: Path | None = None,
) -> Run:
    """Train what ``config_path`` says and leave the run folder ``out``.

    Paths in the configuration are relative to ``root``, or else to the folder that it lies in.

    An existing run there is replaced when training has ended well, and stays as it is otherwise. A training
    that was killed left ``OUT.unfinished``; the next one with the same data, settings and software goes on
    behind the last epoch in it, unless it is ``fresh``, and ends with the same weights.

    Raises:
        CallerError: CONFIG_BAD, or EXISTS when ``out`` is something else than a run.
        InputError: The data set is not what it should be; see ``galago_workstation.data``.
        LinkError: NO_SPACE and other trouble with the disk.
    """
    began = time.monotonic()
    config = read_config(config_path)
    preprocess_sha256 = fingerprint(config.preprocess)  # refuses what the frontend cannot do, before any work
    root = config_path.parent if root is None else root
    reader = open_reader(config, root)
    listing = reader.listing()
    label_specs(config, listing.labels)
    parts = split(listing, validation_share=config.data.validation_share, test_share=config.data.test_share)
    for line in _data_lines(listing, parts, config.train):
        progress.say(line)
    start = _start(config, root, progress)
    material = _material(config, root, parts, progress)
    corpus = _streams_corpus(config, root)
    key = _state_key(config_path, parts, start, material)
    if corpus is not None:
        key += f" {corpus_sha256(corpus)}"
    checkpoint = Checkpoint(out.with_name(out.name + ".unfinished"), key)
    if fresh:
        checkpoint.remove()
    with new_folder(out, mark=RUN_FILE) as folder:
        content = config_path.read_bytes()
        write_bytes(folder / CONFIG_FILE, content)
        write_bytes(folder / SPLIT_FILE, encode_split(parts))
        streams = _streams(config, corpus, listing.labels, folder, progress)
        trainer = Trainer(config, reader, listing.labels, parts, folder, progress, start, material, streams)
        with contextlib.closing(trainer):
            fitted = trainer.fit(checkpoint)
        best = fitted.best
        weights = trainer.save(folder / MODEL_FILE)
        draw_curves(
            folder / CURVES_FILE, fitted.epochs, best.epoch, f"{out.name}: {len(listing.labels)} labels"
        )
        write_json(folder / ENVIRONMENT_FILE, environment(trainer.tf))
        result = TrainResult(
            epochs=len(fitted.epochs),
            best_epoch=best.epoch,
            validation_accuracy=best.validation_accuracy,
            validation_loss=best.validation_loss,
            validation_balanced=best.validation_balanced,
            stream_recall=_or_unset(best.stream_recall),
            stream_false_alarms_per_hour=_or_unset(best.stream_false_alarms_per_hour),
            parameters=trainer.parameters,
            weights_sha256=weights,
            seconds=round(time.monotonic() - began, 1),
            interrupted=fitted.interrupted,
        )
        record = RunRecord(
            created_utc=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            producer=f"galago {galago_workstation.__version__}",
            seed=config.train.seed,
            labels=listing.labels,
            config_sha256=hashlib.sha256(content).hexdigest(),
            model_sha256=hashlib.sha256((folder / MODEL_FILE).read_bytes()).hexdigest(),
            preprocess_sha256=preprocess_sha256,
            data_root=DataRoot(
                relative=printable(os.path.relpath(root, out)), absolute=printable(str(root.resolve()))
            ),
            samples={part: len(parts[part]) for part in PARTS},
            samples_sha256={part: samples_sha256(parts[part]) for part in PARTS},
            duplicates_left_out=listing.duplicates_left_out,
            result=result,
            weights=UNSET if start is None else start.origin,
            material={key: _material_record(own) for key, own in material.items()} or UNSET,
            streams=_streams_record(config, corpus),
        )
        write_json(folder / RUN_FILE, record)
    checkpoint.remove()
    if streams is not None:
        progress.say(streams.verdict(best))
    progress.say(_result_line(result, len(parts["validation"])))
    return Run.open(out)


def _state_key(
    config_path: Path, parts: Parts, start: StartWeights | None, material: Mapping[str, OwnFolder]
) -> str:
    """Return what must be equal for a training to go on where another one was ended."""
    return " ".join(
        (
            hashlib.sha256(config_path.read_bytes()).hexdigest(),
            hashlib.sha256(encode_split(parts)).hexdigest(),
            "" if start is None else start.origin.sha256,
            *(own.sha256 for own in material.values()),
            training_software(),
        )
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


def _or_unset(value: float | None) -> float | UnsetType:
    return UNSET if value is None else value


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


def _result_line(result: TrainResult, validation_samples: int) -> str:
    return (
        f"kept epoch {result.best_epoch} of {result.epochs}: {100 * result.validation_accuracy:.2f} % on "
        f"{validation_samples} validation samples, {result.parameters} parameters, {duration(result.seconds)}"
    )
