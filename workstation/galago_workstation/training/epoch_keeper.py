"""What is done while a network learns: told, measured, kept, written down, and ended when it is time."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import CallerError, Reason
from galago_workstation.data.batches import Witness
from galago_workstation.evaluation.validation_streams import StreamFigures
from galago_workstation.training.curves import Epoch, write_metrics
from galago_workstation.training.epoch_streams import EpochStreams
from galago_workstation.training.progress import TrainingProgress
from galago_workstation.training_config import TrainOptions

Weights = Sequence[npt.NDArray[Any]]


class EpochKeeper:
    """Keeps the best weights, and stops when they stay the best for too long.

    Args:
        options: The configuration's ``[train]``.
        metrics: The file of metrics, which grows with every epoch.
        progress: Is told of steps and epochs.
        witness: What augmentation does.
        augmented: Whether it shall do anything.
        interrupted: Tells whether somebody wants it to end.
        streams: Judges epochs by recordings; None where they are not chosen by them.
    """

    def __init__(
        self,
        options: TrainOptions,
        metrics: Path,
        progress: TrainingProgress,
        witness: Witness,
        *,
        augmented: bool,
        interrupted: Callable[[], bool],
        streams: EpochStreams | None = None,
    ) -> None:
        self._options = options
        self._metrics = metrics
        self._progress = progress
        self._witness = witness
        self._augmented = augmented
        self._interrupted = interrupted
        self._streams = streams
        self._began = 0.0
        self._first = 0
        self._rate: Any = None
        self.epochs: list[Epoch] = []
        self.best: Epoch | None = None
        self.best_weights: Weights = []

    def begin(self, first: int, rate: Any) -> None:
        """Begin a phase with this epoch, counted from 0, and this learning rate by step."""
        self._first, self._rate = first, rate

    def take_up(self, epochs: Sequence[Epoch], best_epoch: int, best_weights: Weights) -> None:
        """Go on where a training that was killed had been."""
        self.epochs = list(epochs)
        self.best = self.epochs[best_epoch - 1]
        self.best_weights = best_weights

    def epoch_begins(self) -> None:
        """Look at the clock."""
        self._began = time.monotonic()

    def step_ends(self) -> bool:
        """Tell of a step; return whether to go on."""
        self._progress.step()
        return not self._interrupted()

    def judged_by_streams(self, network: Any) -> StreamFigures | None:
        """Return what the weights that would be kept of the epoch that ends come to on recordings."""
        return None if self._streams is None else self._streams.judge(len(self.epochs) + 1, network)

    def epoch_ends(
        self,
        network: Any,
        logs: dict[str, float],
        weights: Callable[[], Weights],
        streams: StreamFigures | None = None,
    ) -> bool:
        """Measure an epoch; return whether to go on.

        Args:
            network: Whose optimizer tells the learning rate.
            logs: What Keras measured.
            weights: Returns what would be kept of this epoch.
            streams: What it came to on recordings.
        """
        row = self._row(len(self.epochs), network, logs)
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
        write_metrics(self._metrics, self.epochs)
        self._progress.epoch(row, best)
        assert self.best is not None
        since = max(self.best.epoch, self._first)
        return row.epoch - since < self._options.patience and not self._interrupted()

    def _row(self, epoch: int, network: Any, logs: dict[str, float]) -> Epoch:
        if not np.isfinite(logs["loss"]):
            raise CallerError(
                Reason.CONFIG_BAD,
                f"the loss became {logs['loss']} in epoch {epoch + 1}",
                hint="lower [train] learning_rate, raise warmup_epochs, or set clip_norm = 1",
            )
        change = self._witness.close(epoch)
        if self._augmented:
            self._witness.check()
        return Epoch(
            epoch=epoch + 1,
            loss=float(logs["loss"]),
            accuracy=float(logs["accuracy"]),
            validation_loss=float(logs["val_loss"]),
            validation_accuracy=float(logs["val_accuracy"]),
            validation_balanced=float(logs["val_balanced"]),
            learning_rate=float(self._rate(network.optimizer.iterations)),
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


def keras_callback(keras: Any, keeper: EpochKeeper, over: Callable[[bool], None]) -> Any:
    """Return what tells the keeper of a ``fit``; ``over`` is told after each epoch whether it was the last.

    With an average of the weights (EMA), validation sees it, and it is what is kept.
    """

    class Keeper(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            keeper.epoch_begins()

        def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
            if not keeper.step_ends():
                self.model.stop_training = True

        def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
            self._own = [variable.numpy() for variable in self.model.trainable_variables]
            self._put(_averages(self.model))

        def on_test_end(self, logs: dict[str, float] | None = None) -> None:
            self._put(self._own)

        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            self._put(_averages(self.model))
            streams = keeper.judged_by_streams(self.model)
            self._put(self._own)
            goes_on = keeper.epoch_ends(self.model, logs, self._kept, streams)
            self.model.stop_training = not goes_on
            over(not goes_on)

        def _kept(self) -> Weights:
            self._put(_averages(self.model))
            kept = self.model.get_weights()
            self._put(self._own)
            return kept  # type: ignore[no-any-return]

        def _put(self, values: Weights | None) -> None:
            if values is not None:
                for variable, value in zip(self.model.trainable_variables, values, strict=True):
                    variable.assign(value)

    return Keeper()


def _averages(network: Any) -> Weights | None:
    """Return the averages of what learns; None when the optimizer keeps none."""
    optimizer = network.optimizer
    if not optimizer.use_ema:
        return None
    return [average.numpy() for average in optimizer._model_variables_moving_average]


def balanced_accuracy(keras: Any, labels: int) -> Any:
    """Return the metric ``balanced``: the mean of the recalls of all labels that there are samples of.

    Source: Brodersen et al., "The balanced accuracy and its posterior distribution", ICPR 2010.
    """

    class BalancedAccuracy(keras.metrics.Metric):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="balanced")
            self.right = self.add_weight(shape=(labels,), initializer="zeros", name="right")
            self.count = self.add_weight(shape=(labels,), initializer="zeros", name="count")

        def update_state(self, truth: Any, logits: Any, sample_weight: Any = None) -> None:
            numbers = keras.ops.argmax(truth, axis=-1)
            of_label = keras.ops.one_hot(numbers, labels)
            right = keras.ops.cast(keras.ops.argmax(logits, axis=-1) == numbers, of_label.dtype)
            self.right.assign_add(keras.ops.sum(of_label * right[:, None], axis=0))
            self.count.assign_add(keras.ops.sum(of_label, axis=0))

        def result(self) -> Any:
            there = keras.ops.cast(self.count > 0, self.count.dtype)
            recalls = self.right / keras.ops.maximum(self.count, 1.0)
            return keras.ops.sum(recalls * there) / keras.ops.maximum(keras.ops.sum(there), 1.0)

    return BalancedAccuracy()
