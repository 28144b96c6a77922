"""The training loop: one network, its data, and the epoch whose weights are kept."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_converters.frameworks import import_tensorflow
from galago_workstation.data.augmentation.own_material import OwnFolder
from galago_workstation.data.batches import Batches, Witness
from galago_workstation.data.feed import open_feed
from galago_workstation.data.sample import Part, Sample
from galago_workstation.data.sample_reader import AudioReader, ImageReader, Inputs, real_inputs
from galago_workstation.run_folder import METRICS_FILE, weights_sha256
from galago_workstation.training.checkpoint import Checkpoint, TrainingState
from galago_workstation.training.curves import Epoch
from galago_workstation.training.epoch_keeper import EpochKeeper, balanced_accuracy, keras_callback
from galago_workstation.training.interruption import Interruption
from galago_workstation.training.network_kind import build_network
from galago_workstation.training.phases import LearningPhase, let_learn, optimizer, phases, schedule
from galago_workstation.training.progress import TrainingProgress, duration
from galago_workstation.training.solved_logits import embeddings, solve_logits
from galago_workstation.training.weights.start_weights import LOGITS, StartWeights, put_weights
from galago_workstation.training_config import Config, ImageConfig

Parts = Mapping[Part, Sequence[Sample]]

_READ_AHEAD = 4  # batches that are made while the network works on others
_EVALUATION_BATCH = 256
SAVED_EVERY_S = 20.0
"""What a training that is killed has to do again at most, beside the epoch that it was in."""


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
        self._feed = feed
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

    def fit(self, checkpoint: Checkpoint) -> FitResult:
        """Train, put the best weights back, and return all epochs and the best one.

        metrics.csv grows with every epoch. A training that was killed goes on behind the last epoch that the
        checkpoint has. Ctrl+C once ends it and keeps the best epoch.

        Raises:
            CallerError: CONFIG_BAD; the loss is no number any more, or augmentation does nothing.
            LinkError: The disk fails.
        """
        # same seed, same machine, same weights; on CPUs this costs nothing measurable
        self.tf.config.experimental.enable_op_determinism()
        if self._batches.rounds > 1:
            self._progress.say(
                f"each epoch goes through the training samples {self._batches.rounds} times, so that there "
                f"are at least {self._options.min_steps} steps"
            )
        most = min(self._options.batch_size, len(self._numbers))
        if self._batches.batch_size != most:
            self._progress.say(f"batches of {self._batches.batch_size} samples, not of {most}: even ones")
        state = self._state_of(checkpoint)
        todo = phases(self._options, warm=self._start is not None)
        if state is None and self._start is not None:
            self._solve_logits()
        self._progress.begin(
            sum(phase.epochs for phase in todo),
            self._batches.steps,
            0 if state is None else len(state.epochs),
        )
        with Interruption(self._progress.say) as interruption:
            keeper = EpochKeeper(
                self._options,
                self._folder / METRICS_FILE,
                self._progress,
                self._witness,
                augmented=self._augmented,
                interrupted=lambda: interruption.asked,
            )
            if state is not None:
                keeper.take_up(state.epochs, state.best_epoch, state.best_weights)
            for number, phase in enumerate(todo):
                if not interruption.asked and (state is None or number >= state.phase):
                    own = state if state is not None and number == state.phase else None
                    self._learn(number, phase, keeper, checkpoint, own)
        assert keeper.best is not None
        self._network.set_weights(keeper.best_weights)
        return FitResult(keeper.epochs, keeper.best, interruption.asked)

    def _solve_logits(self) -> None:
        """Let the logits begin with the best that there is for what the body gives before it learns."""
        began = time.monotonic()
        seen = embeddings(
            self.tf, self._network, self._feed, np.array(self._numbers, np.int32), self._batches
        )
        solved = solve_logits(
            seen,
            activation=self._config.decision.activation,
            label_smoothing=self._options.label_smoothing,
            label_weights=self._class_weights() if self._options.class_weights else None,
        )
        self._network.get_layer(LOGITS).set_weights([solved.kernel, solved.bias])
        self._progress.say(
            f"logits solved on {len(seen.values)} views of {seen.samples} samples in "
            f"{duration(time.monotonic() - began)}"
        )

    def _state_of(self, checkpoint: Checkpoint) -> TrainingState | None:
        state = checkpoint.read()
        if state is not None:
            self._progress.say(f"goes on behind epoch {len(state.epochs)}, where it was ended")
        elif checkpoint.exists:
            self._progress.say("begins anew: what it was ended at had other data, settings or software")
        return state

    def _learn(
        self,
        number: int,
        phase: LearningPhase,
        keeper: EpochKeeper,
        checkpoint: Checkpoint,
        state: TrainingState | None,
    ) -> None:
        """Train for the epochs of a phase, or until the best weights stay the best for too long."""
        if state is not None and state.phase_over:
            self._put(state, optimizer=False)
            return
        steps = self._batches.steps
        rate = schedule(self._keras, self._options, phase, steps)
        let_learn(self._keras, self._network, phase)
        self._network.compile(
            optimizer=optimizer(self._keras, self._options, phase, self._network, rate),
            loss=_loss(self._keras, self._config.decision.activation, self._options.label_smoothing),
            metrics=[
                self._keras.metrics.CategoricalAccuracy(name="accuracy"),
                balanced_accuracy(self._keras, len(self._labels)),
            ],
            jit_compile=False,  # measured on x86-64: XLA's convolutions are slower than oneDNN's
        )
        first = len(keeper.epochs) if state is None else state.phase_first
        if state is not None:
            self._put(state, optimizer=True)
        begins = len(keeper.epochs)
        last = first + phase.epochs
        keeper.begin(first, rate)
        saver = _Saver(checkpoint, self._network, keeper, number, range(first, last))
        self._network.fit(
            self._training_set(range(begins, last)),
            initial_epoch=begins,
            epochs=last,
            steps_per_epoch=steps,
            validation_data=self._validation_set(),
            callbacks=[
                keras_callback(
                    self._keras, keeper, lambda over: saver.save(over or len(keeper.epochs) == last)
                )
            ],
            shuffle=False,  # Batches already is in a new order every epoch
            verbose=0,
        )

    def _put(self, state: TrainingState, *, optimizer: bool) -> None:
        """Give network and optimizer the values that they had."""
        pairs = [(self._network.variables, state.variables)]
        if optimizer:
            self._network.optimizer.build(self._network.trainable_variables)
            pairs.append((self._network.optimizer.variables, state.optimizer))
        for variables, values in pairs:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

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


@dataclass(frozen=True, slots=True)
class FitResult:
    """What a training came to."""

    epochs: Sequence[Epoch]
    best: Epoch
    interrupted: bool
    """Somebody ended it before its time."""


class _Saver:
    """Writes the checkpoint after an epoch: not after each, where they are short."""

    def __init__(
        self, checkpoint: Checkpoint, network: Any, keeper: EpochKeeper, phase: int, epochs: range
    ) -> None:
        self._checkpoint = checkpoint
        self._network = network
        self._keeper = keeper
        self._phase = phase
        self._epochs = epochs
        self._saved = time.monotonic()

    def save(self, ended: bool) -> None:
        """Write where the training is, if that is worth it; ``ended`` says that the phase stops here."""
        phase_over = ended or len(self._keeper.epochs) == self._epochs.stop
        if not phase_over and time.monotonic() - self._saved < SAVED_EVERY_S:
            return
        best = self._keeper.best
        assert best is not None
        self._checkpoint.save(
            TrainingState(
                phase=self._phase,
                phase_first=self._epochs.start,
                phase_over=phase_over,
                epochs=tuple(self._keeper.epochs),
                best_epoch=best.epoch,
                variables=[variable.numpy() for variable in self._network.variables],
                optimizer=[variable.numpy() for variable in self._network.optimizer.variables],
                best_weights=self._keeper.best_weights,
            )
        )
        self._saved = time.monotonic()


def _loss(keras: Any, activation: str, label_smoothing: float) -> Any:
    losses = keras.losses
    kind = losses.CategoricalCrossentropy if activation == "softmax" else losses.BinaryCrossentropy
    return kind(from_logits=True, label_smoothing=label_smoothing)
