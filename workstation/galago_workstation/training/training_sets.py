"""What a network is shown: batches in shares of one device each, as datasets of TensorFlow."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import GalagoError
from galago_workstation.data.batches import Batches
from galago_workstation.data.sample_reader import Inputs, real_inputs
from galago_workstation.training.replicas import Replicas
from galago_workstation.training_config import Config, ImageConfig

_READ_AHEAD = 4  # batches that are made while the network works on others
_EVALUATION_BATCH = 256


class TrainingSets:
    """The training and the validation part.

    Args:
        tf: TensorFlow.
        config: The configuration.
        classes: Number of labels.
        numbers: The label of each training sample.
        batches: Of the training part.
        validation: Inputs and labels of the validation part.
        replicas: The devices.
    """

    def __init__(
        self,
        tf: Any,
        config: Config,
        classes: int,
        numbers: Sequence[int],
        batches: Batches,
        validation: tuple[Inputs, npt.NDArray[np.int32]],
        replicas: Replicas,
    ) -> None:
        self._tf = tf
        self._config = config
        self._classes = classes
        self._numbers = numbers
        self._batches = batches
        self._validation = validation
        self._input_shape = validation[0].shape[1:]
        self._replicas = replicas
        self._failed: GalagoError | None = None

    @contextlib.contextmanager
    def own_errors(self) -> Iterator[None]:
        """Raise what preparing a batch raised as it was, not what TensorFlow makes of it."""
        try:
            yield
        except self._tf.errors.OpError:
            if self._failed is not None:
                raise self._failed from None
            raise

    def _batches_of(self, epochs: range) -> Iterator[tuple[Inputs, npt.NDArray[np.float32]]]:
        try:
            yield from self._batches.of(epochs)
        except GalagoError as error:
            self._failed = error
            raise

    def training(self, epochs: range) -> Any:
        """Return the batches of these epochs, in shares of one device each: inputs, targets, weights."""
        tf = self._tf
        kind = tf.uint8 if isinstance(self._config, ImageConfig) else tf.int8
        signature = (
            tf.TensorSpec((None, *self._input_shape), kind),
            tf.TensorSpec((None, self._classes), tf.float32),
        )
        shares = tf.data.Dataset.from_generator(lambda: self._batches_of(epochs), output_signature=signature)
        weights = self.class_weights()

        def prepared(inputs: Any, targets: Any) -> tuple[Any, ...]:
            # Keras' own class weights are those of a target's largest label: wrong for a mixed one
            return self._as_floats(inputs), targets, tf.linalg.matvec(targets, tf.constant(weights))

        return shares.map(prepared).prefetch(_READ_AHEAD * len(self._replicas.own))

    @property
    def validation_steps(self) -> int:
        """How many batches the validation part is."""
        return -(-len(self._validation[1]) // (_EVALUATION_BATCH * self._replicas.count))

    def validation(self) -> Any:
        """Return the validation part again and again, in equal shares: what fills the last has no weight."""
        tf = self._tf
        inputs, labels = self._validation
        devices = self._replicas.count
        share = -(-len(labels) // (self.validation_steps * devices))

        def shares() -> Iterator[tuple[Inputs, npt.NDArray[np.int32], npt.NDArray[np.float32]]]:
            while True:
                for step, device in itertools.product(range(self.validation_steps), self._replicas.own):
                    rows = (step * devices + device) * share + np.arange(share)
                    there = np.minimum(rows, len(labels) - 1)
                    yield inputs[there], labels[there], (rows < len(labels)).astype(np.float32)

        signature = (
            tf.TensorSpec((None, *self._input_shape), tf.as_dtype(inputs.dtype)),
            tf.TensorSpec((None,), tf.int32),
            tf.TensorSpec((None,), tf.float32),
        )
        dataset = tf.data.Dataset.from_generator(shares, output_signature=signature)
        return dataset.map(lambda x, y, weight: (self._as_floats(x), tf.one_hot(y, self._classes), weight))

    def _as_floats(self, inputs: Any) -> Any:
        scale = float(real_inputs(np.ones(1, inputs.dtype.as_numpy_dtype))[0])
        return self._tf.cast(inputs, self._tf.float32) * scale

    def class_weights(self) -> npt.NDArray[np.float32]:
        """Return what a sample of each label counts, ``(classes,)``."""
        if not self._config.train.class_weights:
            return np.ones(self._classes, np.float32)
        counts = np.bincount(self._numbers, minlength=self._classes)
        return (len(self._numbers) / (len(counts) * counts)).astype(np.float32)
