"""Which layers learn when, and how fast: all at once, or the body more slowly than the logits behind it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from galago_workstation.training.weights.start_weights import weighted
from galago_workstation.training_config import TrainOptions

_REPLICA = re.compile(
    r"/replica_[0-9]+$"
)  # what TensorFlow calls a variable on another device than the first


@dataclass(frozen=True, slots=True)
class LearningPhase:
    """Epochs in which the same layers learn, with a learning rate that rises and falls once."""

    epochs: int
    body_learns: bool
    warm: bool
    """The body began with weights of another training."""
    measures: bool = False
    """Nothing learns any more: the solved logits of an untouched body are the best that there are."""


def phases(options: TrainOptions, *, warm: bool) -> tuple[LearningPhase, ...]:
    """Return the phases of a training.

    >>> [phase.epochs for phase in phases(TrainOptions(epochs=20), warm=True)]
    [20]
    """
    if not warm:
        return (LearningPhase(options.epochs, body_learns=True, warm=False),)
    if options.body_rate == 0.0:
        return (LearningPhase(1, body_learns=False, warm=True, measures=True),)
    head = min(options.head_epochs, options.epochs)
    both = (LearningPhase(head, False, True), LearningPhase(options.epochs - head, True, True))
    return tuple(phase for phase in both if phase.epochs)


def let_learn(keras: Any, network: Any, phase: LearningPhase) -> None:
    """Say which layers learn.

    Batch norm of a body that began with other weights keeps its statistics: those of a few small batches
    are worse than those of a million pictures.
    """
    for layer in weighted(network):
        norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = phase.body_learns and not (phase.warm and norm)


def schedule(keras: Any, options: TrainOptions, phase: LearningPhase, steps: int) -> Any:
    """Return the learning rate by step: linear warm-up, then a cosine down to zero; else zero throughout.

    Args:
        keras: The library.
        options: The configuration's ``[train]``.
        phase: The phase.
        steps: Of one epoch.
    """
    total = phase.epochs * steps
    if phase.measures:
        return keras.optimizers.schedules.CosineDecay(0.0, total)
    warmup = min(round(options.warmup_epochs * steps), total - 1) if phase.body_learns else 0
    if warmup == 0:
        return keras.optimizers.schedules.CosineDecay(options.learning_rate, total)
    return keras.optimizers.schedules.CosineDecay(
        0.0, total - warmup, warmup_target=options.learning_rate, warmup_steps=warmup
    )


def optimizer(keras: Any, options: TrainOptions, phase: LearningPhase, network: Any, rate: Any) -> Any:
    """Return AdamW for the gradients of a whole batch, with a slower rate for the layers of a warm body.

    With float16 it scales the loss, so that small gradients do not become zero, and leaves out a step whose
    gradients are not finite.

    Args:
        keras: The library.
        options: The configuration's ``[train]``.
        phase: The phase.
        network: Whose layers learn.
        rate: The schedule.
    """
    shares = _shares(keras, options, network) if phase.warm and phase.body_learns else {}

    class AdamWByLayer(keras.optimizers.AdamW):  # type: ignore[misc]
        """Each variable has its share of the learning rate."""

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            """Move one variable."""
            # under TensorFlow the backend's own variable comes here, whose name is Keras' path
            path = getattr(variable, "path", None) or str(variable.name).partition(":")[0]
            path = _REPLICA.sub("", path)
            super().update_step(gradient, variable, learning_rate * shares.get(path, 1.0))

        def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
            """Leave the gradients as they are: Keras would sum them up over all devices, after clipping them
            on each; ``Learner`` has done it before."""
            return grads_and_vars

        def _update_model_variables_moving_average(self, trainable_variables: Any) -> None:
            """Average the weights with a momentum that grows to the one asked for, as TensorFlow's
            ``ExponentialMovingAverage`` does: with that one alone, the weights of the first step would count
            for a thousand steps."""
            steps = keras.ops.cast(self.iterations, "float32")
            grown = keras.ops.minimum(options.average, (1 + steps) / (10 + steps))
            momentum = keras.ops.where(steps > 0, grown, 0.0)  # averages are zero before the first step
            averages = self._model_variables_moving_average
            for variable, average in zip(trainable_variables, averages, strict=True):
                average.assign(momentum * average + (1 - momentum) * variable)

        def finalize_variable_values(self, var_list: Any) -> None:
            """Leave the weights as they are: Keras would put their average there when a phase ends."""

    made = AdamWByLayer(
        rate,
        weight_decay=options.weight_decay,
        global_clipnorm=options.clip_norm or None,
        use_ema=options.average > 0.0,
        ema_momentum=options.average or 0.99,
    )
    made.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return keras.optimizers.LossScaleOptimizer(made) if options.precision == "mixed_float16" else made


def _shares(keras: Any, options: TrainOptions, network: Any) -> dict[str, float]:
    """Return each weight's share of the learning rate, by its path; the logits have all of it."""
    shares: dict[str, float] = {}
    share = options.body_rate
    for layer in reversed(weighted(network)):
        shares.update((weight.path, share) for weight in layer.weights)
        if not isinstance(layer, keras.layers.BatchNormalization):
            share *= options.layer_decay
    return shares
