"""Quantization-aware training: the int8 network learns to answer as the float network does.

The float network is the teacher (Hinton et al. 2015, arXiv:1503.02531, with the squared difference of the
logits, Ba and Caruana 2014, arXiv:1312.6184): no label is needed, nothing new is learnt, and what is
minimised is what int8 costs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from galago_converters.chatter import captured
from galago_converters.export import as_float32, export_rounding, logits
from galago_converters.fake_quantization import fake_quantized
from galago_converters.frameworks import import_tensorflow
from galago_converters.inputs import Codes, InputSpec
from galago_edge.contract.errors import ModelError, Reason

LEARNING_RATE = 1e-4
"""Where it begins; a cosine leads it down to zero. The network is trained already."""
LEAST_STEPS = 50
"""Of an epoch: a small set is gone through several times, else an epoch would change nothing."""
_PROBES = 16  # samples on which a network that computed in less than float32 is compared


@dataclass(frozen=True, slots=True)
class Retrained:
    """What quantization-aware training came to."""

    int8_model: bytes
    """Without embedded metadata."""
    distances: tuple[float, ...]
    """By epoch: root of the mean squared difference of a logit to the float network's, while training."""


def train_rounding(
    model: Any,
    inputs: Codes,
    spec: InputSpec,
    *,
    representative: Codes,
    epochs: int,
    batch_size: int,
    seed: int,
    done: Callable[[int], None] = lambda _: None,
) -> Retrained:
    """Return the int8 file of a network that learned to live with rounding; the model stays as it is.

    Same model, data, seed and versions, same bytes.

    Args:
        model: A trained Keras model, as for :func:`galago_converters.export.export`.
        inputs: Codes of training samples ``(n, *spec.shape)``.
        spec: The input tensor.
        representative: Codes that set the first ranges.
        epochs: How often all inputs are gone through, or oftener: see ``LEAST_STEPS``.
        batch_size: At most n. An even number: docs/adr/0019-even-batches.md.
        seed: Of the order.
        done: Is called with the number of epochs done.

    Raises:
        ModelError: EXPORT_FAILED; the network has layers that are not known, or does not learn.
    """
    tf = import_tensorflow()
    tf.config.experimental.enable_op_determinism()
    plain = as_float32(model, inputs[:_PROBES], spec)
    twin = fake_quantized(plain, spec)
    twin.observe(representative, spec)
    teacher = logits(plain, inputs, spec)
    once = len(inputs) // batch_size
    rounds = -(-LEAST_STEPS // once)
    rate = tf.keras.optimizers.schedules.CosineDecay(LEARNING_RATE, epochs * rounds * once)
    twin.network.compile(optimizer=tf.keras.optimizers.Adam(rate), loss="mse", jit_compile=False)
    distances = []
    with captured():
        for epoch in range(epochs):
            twin.network.reset_metrics()
            for turn in range(epoch * rounds, (epoch + 1) * rounds):
                order = np.random.default_rng((seed, turn)).permutation(len(inputs))
                for chosen in np.split(order[: once * batch_size], once):
                    batch = spec.real(inputs[chosen]), teacher[chosen]
                    found = twin.network.train_on_batch(*batch, return_dict=True)
            distances.append(_distance(float(found["loss"]), epoch))  # Keras averages over the epoch
            done(epoch + 1)
    return Retrained(export_rounding(twin.for_export(), spec), tuple(distances))


def _distance(loss: float, epoch: int) -> float:
    if not math.isfinite(loss):
        raise ModelError(
            Reason.EXPORT_FAILED,
            f"quantization-aware training gives {loss} in epoch {epoch + 1}, expected a number",
            hint="convert without --aware-epochs, and look at the training's curves",
        )
    return math.sqrt(loss)
