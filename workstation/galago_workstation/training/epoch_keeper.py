"""What is done while a network learns: told, measured, kept, written down, and ended when it is time."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from galago_edge.contract.errors import CallerError, Reason
from galago_workstation.data.batches import Witness
from galago_workstation.evaluation.validation_streams import StreamFigures
from galago_workstation.training.curves import Epoch, write_metrics
from galago_workstation.training.epoch_streams import EpochStreams
from galago_workstation.training.learner import Judged, Weights
from galago_workstation.training.progress import TrainingProgress
from galago_workstation.training_config import TrainOptions


class EpochKeeper:
    """Keeps the best weights, and stops when they stay the best for too long.

    Args:
        options: The configuration's ``[train]``.
        metrics: The file of metrics, which grows with every epoch; None: another machine has it.
        progress: Is told of steps and epochs.
        witness: What augmentation does.
        augmented: Whether it shall do anything.
        streams: Judges epochs by recordings; None where they are not chosen by them.
    """

    def __init__(
        self,
        options: TrainOptions,
        metrics: Path | None,
        progress: TrainingProgress,
        witness: Witness,
        *,
        augmented: bool,
        streams: EpochStreams | None = None,
    ) -> None:
        self._options = options
        self._metrics = metrics
        self._progress = progress
        self._witness = witness
        self._augmented = augmented
        self._streams = streams
        self._began = 0.0
        self._first = 0
        self.epochs: list[Epoch] = []
        self.best: Epoch | None = None
        self.best_weights: Weights = []

    def begin(self, first: int) -> None:
        """Begin a phase with this epoch, counted from 0."""
        self._first = first

    def take_up(self, epochs: Sequence[Epoch], best_epoch: int, best_weights: Weights) -> None:
        """Go on where a training that was killed had been."""
        self.epochs = list(epochs)
        self.best = self.epochs[best_epoch - 1]
        self.best_weights = best_weights

    def epoch_begins(self) -> None:
        """Look at the clock."""
        self._began = time.monotonic()

    def step_ends(self) -> None:
        """Tell of a step."""
        self._progress.step()

    def judged_by_streams(self, network: Any) -> StreamFigures | None:
        """Return what the weights that would be kept of the epoch that ends come to on recordings."""
        return None if self._streams is None else self._streams.judge(len(self.epochs) + 1, network)

    def epoch_ends(
        self,
        learned: tuple[float, float],
        judged: Judged,
        learning_rate: float,
        weights: Callable[[], Weights],
        streams: StreamFigures | None = None,
    ) -> bool:
        """Note an epoch; return whether to go on.

        Args:
            learned: Loss and accuracy of its steps.
            judged: How good the network is behind it, on the validation part.
            learning_rate: Of its last step.
            weights: Returns what would be kept of this epoch.
            streams: What it came to on recordings.
        """
        row = self._row(len(self.epochs), learned, judged, learning_rate)
        if streams is not None:
            row = dataclasses.replace(
                row,
                stream_recall=streams.recall,
                stream_false_alarms_per_hour=streams.false_alarms_per_hour,
            )
        self.epochs.append(row)
        best = self.best is None or self._goodness(row) > self._goodness(self.best)
        if best:
            self.best, self.best_weights = row, weights()
        if self._metrics is not None:
            write_metrics(self._metrics, self.epochs)
        self._progress.epoch(row, best)
        assert self.best is not None
        since = max(self.best.epoch, self._first)
        return row.epoch - since < self._options.patience

    def _row(self, epoch: int, learned: tuple[float, float], judged: Judged, learning_rate: float) -> Epoch:
        loss, accuracy = learned
        if not np.isfinite(loss):
            raise CallerError(
                Reason.CONFIG_BAD,
                f"the loss became {loss} in epoch {epoch + 1}",
                hint="lower [train] learning_rate, raise warmup_epochs, or set clip_norm = 1",
            )
        change = self._witness.close(epoch)
        if self._augmented:
            self._witness.check()
        return Epoch(
            epoch=epoch + 1,
            loss=loss,
            accuracy=accuracy,
            validation_loss=judged.loss,
            validation_accuracy=judged.accuracy,
            validation_balanced=judged.balanced,
            learning_rate=learning_rate,
            seconds=time.monotonic() - self._began,
            augment_change=change.size,
            augment_fresh=change.fresh,
        )

    def _goodness(self, epoch: Epoch) -> tuple[float, ...]:
        """Return what decides which weights are kept, and the loss where small sets tie."""
        if self._streams is not None:
            return self._streams.goodness(epoch)
        balanced = self._options.best_by == "balanced"
        return epoch.validation_balanced if balanced else epoch.validation_accuracy, -epoch.validation_loss
