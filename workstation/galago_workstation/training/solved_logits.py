"""The logits of a network whose body knows much already: solved instead of learned step by step.

What a body with other weights gives for the samples does not change while only the logits learn. That is a
logistic regression, which has one best answer: it needs no learning rate, no luck and few seconds.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_workstation.data.batches import Batches
from galago_workstation.data.feed import Feed
from galago_workstation.data.sample_reader import real_inputs
from galago_workstation.training.weights.start_weights import LOGITS

MOST_SEEN = 10_000
"""Training samples as they are that are looked at, and as many as augmentation changes them: twice 10,000
embeddings of 1280 values take 0.2 GB, and more change little."""
_LOOSENESS = 10.0
"""How far the logits may go for a sample, on embeddings of the mean length 1: the inverse of the L2 penalty,
scikit-learn's ``C``. Measured: 3 to 100 differ by less than a point on pictures and on words."""
_MOST_TURNS = 300

Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """What the body of a network gives for training samples, each seen several times."""

    values: npt.NDArray[np.float32]
    """``(n, values)``: what the logits are made of."""
    targets: npt.NDArray[np.float32]
    """``(n, labels)``: the share of each label."""
    samples: int
    """How many of the ``n`` are not the same sample, seen in another way."""


@dataclass(frozen=True, slots=True)
class SolvedLogits:
    """The weights of a dense layer."""

    kernel: npt.NDArray[np.float32]
    """``(values, labels)``"""
    bias: npt.NDArray[np.float32]
    """``(labels,)``"""


def embeddings(
    tf: Any, network: Any, feed: Feed, labels: npt.NDArray[np.int32], batches: Batches
) -> Embeddings:
    """Return what the body gives for the samples as they are, and as the first epoch changes them.

    Args:
        tf: TensorFlow.
        network: A Keras model whose last layer are the logits.
        feed: Training samples.
        labels: Theirs, by position.
        batches: Of the training.
    """
    logits = network.get_layer(LOGITS)
    body = tf.keras.Model(network.input, logits.input)
    embed = tf.function(lambda inputs: body(inputs, training=False), reduce_retracing=True)
    size, whole = batches.batch_size, np.eye(logits.units, dtype=np.float32)
    # of more than can be looked at, every so manieth: of all labels, whatever order the samples have
    chosen = np.linspace(0, len(feed) - 1, min(MOST_SEEN, len(feed))).astype(np.int64)
    plain = np.split(chosen, range(size, len(chosen), size))
    values, targets = [], []
    for inputs, wanted in itertools.chain(
        ((feed.plain(indices), whole[labels[indices]]) for indices in plain),
        itertools.islice(batches.of(range(1)), max(1, MOST_SEEN // size)),
    ):
        values.append(embed(real_inputs(inputs)).numpy())
        targets.append(wanted)
    return Embeddings(np.concatenate(values), np.concatenate(targets), len(chosen))


def solve_logits(
    seen: Embeddings,
    *,
    activation: str,
    label_smoothing: float,
    label_weights: npt.NDArray[np.float32] | None,
) -> SolvedLogits:
    """Return the logits with the least cross-entropy and an L2 penalty on the kernel, found by L-BFGS.

    Embeddings are centred and divided by their mean length first, so that the penalty means the same for
    every body; both are undone in what is returned.

    Args:
        seen: The embeddings.
        activation: ``softmax``, or ``sigmoid``: each label on its own.
        label_smoothing: As in the training.
        label_weights: ``(labels,)``: how much a label counts; None: all the same.
    """
    from scipy.optimize import minimize

    labels = seen.targets.shape[1]
    wanted = seen.targets.astype(np.float64)
    share = np.ones(len(wanted)) if label_weights is None else wanted @ label_weights.astype(np.float64)
    share *= seen.samples / share.sum()
    wanted = wanted * (1.0 - label_smoothing) + label_smoothing / (labels if activation == "softmax" else 2)
    mean = seen.values.mean(axis=0, dtype=np.float64)
    x = seen.values - mean
    length = float(np.sqrt((x**2).sum(axis=1).mean())) or 1.0
    x /= length
    loss = _softmax_loss if activation == "softmax" else _sigmoid_loss

    def penalised(weights: Reals) -> tuple[float, Reals]:
        kernel, bias = weights[:-labels].reshape(-1, labels), weights[-labels:]
        losses, slopes = loss(x @ kernel + bias, wanted)
        slopes *= share[:, None]
        value = float(share @ losses) + 0.5 / _LOOSENESS * float((kernel**2).sum())
        return value, np.concatenate([(x.T @ slopes + kernel / _LOOSENESS).ravel(), slopes.sum(axis=0)])

    start = np.zeros((x.shape[1] + 1) * labels)
    found = minimize(penalised, start, jac=True, method="L-BFGS-B", options={"maxiter": _MOST_TURNS}).x
    kernel = found[:-labels].reshape(-1, labels) / length
    return SolvedLogits(kernel.astype(np.float32), (found[-labels:] - mean @ kernel).astype(np.float32))


def _softmax_loss(logits: Reals, wanted: Reals) -> tuple[Reals, Reals]:
    """Return the cross-entropy ``(n,)`` and its derivative ``(n, labels)``."""
    logits -= logits.max(axis=1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -(wanted * logs).sum(axis=1), np.exp(logs) - wanted


def _sigmoid_loss(logits: Reals, wanted: Reals) -> tuple[Reals, Reals]:
    """Return the mean of the labels' binary cross-entropies ``(n,)`` and its derivative ``(n, labels)``."""
    losses = np.logaddexp(0.0, logits) - wanted * logits
    return losses.mean(axis=1), (np.exp(-np.logaddexp(0.0, -logits)) - wanted) / logits.shape[1]
