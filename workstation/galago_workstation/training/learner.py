"""A network that learns: one step of it, and how good it is, the same for one device and for many."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_workstation.training.replicas import Replicas

Weights = Sequence[npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Judged:
    """How good a network is on samples that it does not learn from."""

    loss: float
    accuracy: float
    balanced: float
    """The mean of the recalls of all labels that there are samples of.

    Source: Brodersen et al., "The balanced accuracy and its posterior distribution", ICPR 2010."""


class Learner:
    """A network, its optimizer and its loss on all devices.

    Args:
        tf: TensorFlow.
        replicas: The devices.
        network: Made within their scope.
        optimizer: Of ``phases.optimizer``, made there too.
        loss: Returns the losses ``(n,)`` of targets and logits ``(n, labels)``.
        batch_size: Of all shares together.
    """

    def __init__(
        self, tf: Any, replicas: Replicas, network: Any, optimizer: Any, loss: Any, batch_size: int
    ) -> None:
        self._tf = tf
        self._replicas = replicas
        self._network = network
        self._loss = loss
        self._batch_size = batch_size
        self.optimizer = optimizer
        with replicas.scope():
            optimizer.build(network.trainable_variables)
        self._learned: list[Any] = []
        # no jit_compile: measured on x86-64, XLA's convolutions are slower than oneDNN's
        self._learn = tf.function(self._learn_together)
        self._judge = tf.function(self._judge_together)

    def learn(self, batches: Any, *, asked: bool) -> bool:
        """Learn from one batch; return whether any machine was asked to end.

        Args:
            batches: Of ``Replicas.batches``: inputs, targets and weights of the samples.
            asked: Whether this machine was asked to end.
        """
        learned = self._learn(batches, self._tf.constant(float(asked)))
        self._learned.append(learned)
        if self._replicas.machines is None:
            return asked  # the GPU need not be waited for
        return bool(learned[2].numpy() > 0.0)

    def learned(self) -> tuple[float, float]:
        """Return loss and accuracy, the mean over all steps since this was asked last."""
        steps = np.array([step.numpy() for step in self._learned], np.float64)
        self._learned.clear()
        loss, accuracy, _ = steps.mean(axis=0).tolist()
        return loss, accuracy

    def judge(self, batches: Any, steps: int) -> Judged:
        """Return how good the network is on so many batches, of samples whose weights are 1 or 0."""
        judged: npt.NDArray[np.float64] = np.array(
            [self._judge(batches).numpy() for _ in range(steps)], np.float64
        ).sum(axis=0)
        right, count = np.split(judged[1:], 2)
        there = count > 0
        return Judged(
            loss=float(judged[0] / count.sum()),
            accuracy=float(right.sum() / count.sum()),
            balanced=float((right[there] / count[there]).mean()),
        )

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the network have the averages of its weights (EMA) for the block, where they are kept."""
        inner = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        if not inner.use_ema:
            yield
            return
        own = [variable.numpy() for variable in self._network.trainable_variables]
        self._put([average.numpy() for average in inner._model_variables_moving_average])
        try:
            yield
        finally:
            self._put(own)

    def _put(self, values: Weights) -> None:
        for variable, value in zip(self._network.trainable_variables, values, strict=True):
            variable.assign(value)

    def _learn_together(self, batches: Any, asked: Any) -> Any:
        strategy = self._replicas.strategy
        learned = strategy.run(self._learn_share, args=(*next(batches), asked))
        return strategy.reduce("sum", learned, axis=None)

    def _learn_share(self, inputs: Any, targets: Any, weights: Any, asked: Any) -> Any:
        tf = self._tf
        network = self._network
        with tf.GradientTape() as tape:
            logits = network(inputs, training=True)
            # a share of the mean over the whole batch: what the devices find is summed up
            loss = tf.reduce_sum(self._loss(targets, logits) * weights) / self._batch_size
            if network.losses:
                loss += tf.add_n(network.losses) / self._replicas.count
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, network.trainable_variables)
        learning = [
            (gradient, variable)
            for gradient, variable in zip(gradients, network.trainable_variables, strict=True)
            if gradient is not None
        ]
        # before the optimizer, which clips them and looks whether they are finite: both for the whole batch
        summed = tf.distribute.get_replica_context().all_reduce("sum", [gradient for gradient, _ in learning])
        self.optimizer.apply(summed, [variable for _, variable in learning])
        right = tf.argmax(logits, axis=-1) == tf.argmax(targets, axis=-1)
        return tf.stack([loss, tf.reduce_sum(tf.cast(right, tf.float32)) / self._batch_size, asked])

    def _judge_together(self, batches: Any) -> Any:
        strategy = self._replicas.strategy
        return strategy.reduce("sum", strategy.run(self._judge_share, args=next(batches)), axis=None)

    def _judge_share(self, inputs: Any, targets: Any, weights: Any) -> Any:
        """Return the sum of the losses, the right answers of each label and its samples, in one row."""
        tf = self._tf
        logits = self._network(inputs, training=False)
        loss = tf.reduce_sum(self._loss(targets, logits) * weights)
        if self._network.losses:
            loss += tf.add_n(self._network.losses) * tf.reduce_sum(weights)
        counted = targets * weights[:, None]
        right = tf.cast(tf.argmax(logits, axis=-1) == tf.argmax(targets, axis=-1), tf.float32)
        return tf.concat(
            [loss[None], tf.reduce_sum(counted * right[:, None], axis=0), tf.reduce_sum(counted, axis=0)],
            axis=0,
        )


def sample_loss(keras: Any, activation: str, label_smoothing: float) -> Any:
    """Return the loss of each sample: cross-entropy over all labels, or of each label on its own."""
    losses = keras.losses
    kind = losses.CategoricalCrossentropy if activation == "softmax" else losses.BinaryCrossentropy
    return kind(from_logits=True, label_smoothing=label_smoothing, reduction="none")
