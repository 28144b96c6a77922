"""The average of the weights (EMA): its momentum grows, so that what chance gave does not count for long."""

from __future__ import annotations

import numpy as np
import pytest

from galago_converters.frameworks import import_tensorflow
from galago_workstation.training.phases import LearningPhase, optimizer
from galago_workstation.training_config import TrainOptions


@pytest.mark.parametrize("average", [0.15, 0.999])
def test_the_average_of_weights_forgets_where_they_began(average: float) -> None:
    keras = import_tensorflow().keras
    network = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    weight = network.trainable_variables[0]
    options = TrainOptions(average=average, weight_decay=0.0)
    phase = LearningPhase(epochs=1, body_learns=True, warm=False)
    made = optimizer(keras, options, phase, network, 0.5)
    made.build(network.trainable_variables)

    expected = 0.0
    for step, momentum in enumerate((0.0, min(average, 2 / 11), min(average, 3 / 12))):
        made.apply_gradients([(keras.ops.ones((1, 1)), weight)])
        expected = momentum * expected + (1 - momentum) * float(weight.numpy()[0, 0])
        (found,) = made._model_variables_moving_average
        np.testing.assert_allclose(found.numpy(), [[expected]], rtol=1e-5, err_msg=f"step {step}")
