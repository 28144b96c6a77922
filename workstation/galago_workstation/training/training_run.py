"""From a configuration to a run folder."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from msgspec import UNSET, UnsetType

from galago_workstation.environment import environment
from galago_workstation.files import new_folder, write_bytes, write_json
from galago_workstation.run_folder import (
    CONFIG_FILE,
    CURVES_FILE,
    ENVIRONMENT_FILE,
    MODEL_FILE,
    RUN_FILE,
    SPLIT_FILE,
    Run,
    TrainResult,
    encode_split,
)
from galago_workstation.training.checkpoint import Checkpoint
from galago_workstation.training.curves import draw_curves
from galago_workstation.training.machines import Machines
from galago_workstation.training.progress import TrainingProgress, duration
from galago_workstation.training.training_faults import faults_told
from galago_workstation.training.training_job import prepared_job


def train(
    config_path: Path,
    out: Path,
    progress: TrainingProgress,
    *,
    fresh: bool = False,
    root: Path | None = None,
    machines: Machines | None = None,
) -> Run:
    """Train what ``config_path`` says and leave the run folder ``out``.

    Paths in the configuration are relative to ``root``, or else to the folder that it lies in.

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
    job = prepared_job(config_path, root, progress, machines)
    checkpoint = Checkpoint(out.with_name(out.name + ".unfinished"), job.key)
    if fresh:
        checkpoint.remove()
    with new_folder(out, mark=RUN_FILE) as folder:
        write_bytes(folder / CONFIG_FILE, job.content)
        write_bytes(folder / SPLIT_FILE, encode_split(job.parts))
        streams = job.streams(folder, progress)
        with faults_told(job.config.train.batch_size, machines):
            trainer = job.trainer(folder, progress, checkpoint, machines, streams)
            with contextlib.closing(trainer):
                fitted = trainer.fit()
            weights = trainer.save(folder / MODEL_FILE)
        best = fitted.best
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
        draw_curves(
            folder / CURVES_FILE,
            fitted.epochs,
            best.epoch,
            f"{out.name}: {len(job.listing.labels)} labels",
        )
        write_json(folder / ENVIRONMENT_FILE, environment(trainer.tf))
        write_json(folder / RUN_FILE, job.record(out, folder, result))
    checkpoint.remove()
    trainer.part()
    if streams is not None:
        progress.say(streams.verdict(best))
    progress.say(_result_line(result, len(job.parts["validation"])))
    return Run.open(out)


def train_along(
    config_path: Path, progress: TrainingProgress, machines: Machines, *, root: Path | None = None
) -> None:
    """Train with the chief of these machines, which keeps the run; nothing is written here.

    Raises:
        GalagoError: As :func:`train`.
    """
    job = prepared_job(config_path, root, progress, machines)
    with faults_told(job.config.train.batch_size, machines):
        trainer = job.trainer(None, progress, Checkpoint(Path(os.devnull), job.key), machines)
        with contextlib.closing(trainer):
            trainer.fit()
    trainer.part()


def _or_unset(value: float | None) -> float | UnsetType:
    return UNSET if value is None else value


def _result_line(result: TrainResult, validation_samples: int) -> str:
    return (
        f"kept epoch {result.best_epoch} of {result.epochs}: {100 * result.validation_accuracy:.2f} % on "
        f"{validation_samples} validation samples, {result.parameters} parameters, {duration(result.seconds)}"
    )
