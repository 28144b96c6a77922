"""The training loop: one network, its data, and the epoch whose weights are kept."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_converters.frameworks import import_tensorflow
from galago_edge.contract.errors import CallerError, Reason
from galago_workstation.data.augmentation.own_material import OwnFolder
from galago_workstation.data.batches import Batches, Witness
from galago_workstation.data.feed import open_feed
from galago_workstation.data.sample import Part, Sample
from galago_workstation.data.sample_reader import AudioReader, ImageReader, Inputs, real_inputs
from galago_workstation.run_folder import METRICS_FILE, weights_sha256
from galago_workstation.training.curves import Epoch, write_metrics
from galago_workstation.training.network_kind import build_network
from galago_workstation.training.phases import LearningPhase, let_learn, optimizer, phases, schedule
from galago_workstation.training.progress import TrainingProgress
from galago_workstation.training.weights.start_weights import StartWeights, put_weights
from galago_workstation.training_config import Config, ImageConfig

Parts = Mapping[Part, Sequence[Sample]]

_READ_AHEAD = 4  # batches that are made while the network works on others
_EVALUATION_BATCH = 256


class Trainer:
    """One network, its data, and the loop that brings them together."""

    def __init__(
        self,
        config: Config,
        reader: ImageReader | AudioReader,
        labels: Sequence[str],
        parts: Parts,
        folder: Path,
        progress: TrainingProgress,
        start: StartWeights | None = None,
        material: Mapping[str, OwnFolder] = MappingProxyType({}),
    ) -> None:
        self._config = config
        self._start = start
        self._options = config.train
        self._labels = labels
        self._folder = folder
        self._progress = progress
        self._input_shape = reader.input_shape
        train = parts["train"]
        background = {number for number, name in enumerate(labels) if name in config.data.background}
        feed = open_feed(config, reader, train, folder, background=background, material=material)
        self._witness = Witness(feed)
        self._numbers = [sample.label for sample in train]
        self._batches = Batches(
            feed,
            self._numbers,
            classes=len(labels),
            batch_size=self._options.batch_size,
            least_steps=-(-self._options.min_steps // self._options.epochs),
            seed=self._options.seed,
            witness=self._witness,
        )
        self._validation = (
            reader.inputs(parts["validation"], folder),
            np.array([sample.label for sample in parts["validation"]], np.int32),
        )
        for sample in parts["test"]:  # a test picture that cannot be read shall not be found after hours
            reader.raw(sample)
        self._augmented = config.augment != type(config.augment)()
        self.tf = import_tensorflow()  # seconds: only when the data has turned out well
        self._keras = self.tf.keras
        self._network = self._new_network()
        if start is not None:
            put_weights(self._network, start)

    @property
    def parameters(self) -> int:
        """Number of weights, batch norm statistics included."""
        return int(self._network.count_params())

    def fit(self) -> tuple[list[Epoch], Epoch]:
        """Train, put the best weights back, and return all epochs and the best one.

        metrics.csv grows with every epoch.
        """
        # same seed, same machine, same weights; on CPUs this costs nothing measurable
        self.tf.config.experimental.enable_op_determinism()
        steps = self._batches.steps
        if self._batches.rounds > 1:
            self._progress.say(
                f"each epoch goes through the training samples {self._batches.rounds} times, so that there "
                f"are at least {self._options.min_steps} steps"
            )
        self._progress.begin(self._options.epochs, steps)
        keeper = self._keeper()
        for phase in phases(self._options, warm=self._start is not None):
            self._learn(phase, keeper)
        assert keeper.best is not None
        self._network.set_weights(keeper.best_weights)
        return keeper.epochs, keeper.best

    def _learn(self, phase: LearningPhase, keeper: Any) -> None:
        """Train for the epochs of a phase, or until the best weights stay the best for too long."""
        steps = self._batches.steps
        rate = schedule(self._keras, self._options, phase, steps)
        let_learn(self._keras, self._network, phase)
        self._network.compile(
            optimizer=optimizer(self._keras, self._options, phase, self._network, rate),
            loss=_loss(self._keras, self._config.decision.activation, self._options.label_smoothing),
            metrics=[self._keras.metrics.CategoricalAccuracy(name="accuracy")],
            jit_compile=False,  # measured on x86-64: XLA's convolutions are slower than oneDNN's
        )
        first = len(keeper.epochs)
        keeper.begin(first, rate)
        self._network.fit(
            self._training_set(range(first, first + phase.epochs)),
            initial_epoch=first,
            epochs=first + phase.epochs,
            steps_per_epoch=steps,
            validation_data=self._validation_set(),
            callbacks=[keeper],
            shuffle=False,  # Batches already is in a new order every epoch
            verbose=0,
        )

    def save(self, path: Path) -> str:
        """Write the network without its optimizer; return the hash of its weights."""
        clean = self._new_network()
        clean.set_weights(self._network.get_weights())
        clean.save(path)
        return weights_sha256(clean)

    def _new_network(self) -> Any:
        return build_network(
            self._config.model, self._input_shape, len(self._labels), seed=self._options.seed
        )

    def _training_set(self, epochs: range) -> Any:
        tf = self.tf
        kind = tf.uint8 if isinstance(self._config, ImageConfig) else tf.int8
        signature = (
            tf.TensorSpec((None, *self._input_shape), kind),
            tf.TensorSpec((None, len(self._labels)), tf.float32),
        )
        batches = tf.data.Dataset.from_generator(lambda: self._batches.of(epochs), output_signature=signature)
        weights = self._class_weights() if self._options.class_weights else None

        def prepared(inputs: Any, targets: Any) -> tuple[Any, ...]:
            if weights is None:
                return self._as_floats(inputs), targets
            # Keras' own class weights are those of a target's largest label: wrong for a mixed one
            return self._as_floats(inputs), targets, tf.linalg.matvec(targets, tf.constant(weights))

        return batches.map(prepared).prefetch(_READ_AHEAD)

    def _validation_set(self) -> Any:
        inputs, labels = self._validation

        def batches() -> Iterator[tuple[Inputs, npt.NDArray[np.int32]]]:
            for start in range(0, len(labels), _EVALUATION_BATCH):
                yield inputs[start : start + _EVALUATION_BATCH], labels[start : start + _EVALUATION_BATCH]

        signature = (
            self.tf.TensorSpec((None, *self._input_shape), self.tf.as_dtype(inputs.dtype)),
            self.tf.TensorSpec((None,), self.tf.int32),
        )
        count = -(-len(labels) // _EVALUATION_BATCH)
        dataset = self.tf.data.Dataset.from_generator(batches, output_signature=signature)
        prepared = dataset.map(lambda x, y: (self._as_floats(x), self.tf.one_hot(y, len(self._labels))))
        return prepared.apply(self.tf.data.experimental.assert_cardinality(count))

    def _as_floats(self, inputs: Any) -> Any:
        scale = float(real_inputs(np.ones(1, inputs.dtype.as_numpy_dtype))[0])
        return self.tf.cast(inputs, self.tf.float32) * scale

    def _class_weights(self) -> npt.NDArray[np.float32]:
        counts = np.bincount(self._numbers, minlength=len(self._labels))
        return (len(self._numbers) / (len(counts) * counts)).astype(np.float32)

    def _keeper(self) -> Any:
        trainer = self

        class Keeper(self._keras.callbacks.Callback):  # type: ignore[name-defined,misc]
            """Reports, keeps the best weights, and stops when they stay the best for too long."""

            def __init__(self) -> None:
                super().__init__()
                self.epochs: list[Epoch] = []
                self.best: Epoch | None = None
                self.best_weights: list[npt.NDArray[np.float32]] = []
                self._began = 0.0
                self._first = 0
                self._rate: Any = None

            def begin(self, first: int, rate: Any) -> None:
                """Begin a phase with this epoch, counted from 0, and this learning rate by step."""
                self._first, self._rate = first, rate

            def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
                self._began = time.monotonic()

            def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
                trainer._progress.step()

            def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
                row = trainer._epoch(epoch, logs, self._rate, time.monotonic() - self._began)
                self.epochs.append(row)
                best = self.best is None or _goodness(row) > _goodness(self.best)
                if best:
                    self.best, self.best_weights = row, self.model.get_weights()
                write_metrics(trainer._folder / METRICS_FILE, self.epochs)
                trainer._progress.epoch(row, best)
                assert self.best is not None
                since = max(self.best.epoch, self._first)
                self.model.stop_training = row.epoch - since >= trainer._options.patience

        return Keeper()

    def _epoch(self, epoch: int, logs: dict[str, float], schedule: Any, seconds: float) -> Epoch:
        if not np.isfinite(logs["loss"]):
            raise CallerError(
                Reason.CONFIG_BAD,
                f"the loss became {logs['loss']} in epoch {epoch + 1}",
                hint="lower [train] learning_rate, or raise warmup_epochs",
            )
        change = self._witness.close(epoch)
        if self._augmented:
            self._witness.check()
        rate = schedule(self._network.optimizer.iterations)
        return Epoch(
            epoch=epoch + 1,
            loss=float(logs["loss"]),
            accuracy=float(logs["accuracy"]),
            validation_loss=float(logs["val_loss"]),
            validation_accuracy=float(logs["val_accuracy"]),
            learning_rate=float(rate),
            seconds=seconds,
            augment_change=change.size,
            augment_fresh=change.fresh,
        )


def _goodness(epoch: Epoch) -> tuple[float, float]:
    """Return what decides which weights are kept: accuracy, and loss where small sets tie."""
    return epoch.validation_accuracy, -epoch.validation_loss


def _loss(keras: Any, activation: str, label_smoothing: float) -> Any:
    losses = keras.losses
    kind = losses.CategoricalCrossentropy if activation == "softmax" else losses.BinaryCrossentropy
    return kind(from_logits=True, label_smoothing=label_smoothing)
