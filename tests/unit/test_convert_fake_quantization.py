"""Fake quantization computes what the int8 file will, and training under it takes back what int8 costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from galago_converters import calibration, inspection, model_runs, quality_gate
from galago_converters.export import export, export_rounding, logits
from galago_converters.fake_quantization import fake_quantized
from galago_converters.frameworks import import_tensorflow
from galago_converters.inputs import Codes, InputSpec, input_spec
from galago_converters.quantization_training import Retrained, train_rounding
from galago_edge.contract.errors import ModelError, Reason
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess
from galago_workstation.training.network_kind import NetworkOptions, build_network
from galago_workstation.training.networks.ds_cnn import DsCnn
from galago_workstation.training.networks.mobilenet_v1 import MobileNetV1
from galago_workstation.training.networks.resnet import ResNet

pytestmark = [
    pytest.mark.slow,
    # Keras 3.15 saves and copies variables in a way that numpy 2.4 is about to drop
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

IMAGE = input_spec(ImagePreprocess(width=32, height=32))
AUDIO = input_spec(AudioPreprocess(window_frames=20, mel_bands=10))
LABELS = 3
NETWORKS = {
    "ds_cnn": (DsCnn(filters=4, blocks=1), AUDIO),
    "mobilenet_v1": (MobileNetV1(width=0.25, depth=0), IMAGE),
    "resnet": (ResNet(filters=4, stages=2), IMAGE),
}


def some_codes(spec: InputSpec, count: int) -> Codes:
    low, high = spec.code_range
    return np.random.default_rng(3).integers(low, high, (count, *spec.shape), spec.numpy_dtype, endpoint=True)


def lively(options: NetworkOptions, spec: InputSpec) -> Any:
    """A network whose batch norms have seen something, so that folding them is not for nothing."""
    network = build_network(options, spec.shape, LABELS, seed=1)
    rng = np.random.default_rng(2)
    for layer in network.layers:
        if type(layer).__name__ == "BatchNormalization":
            size = layer.gamma.shape[0]
            layer.set_weights(
                [
                    rng.uniform(0.5, 1.5, size),
                    rng.normal(0, 0.3, size),
                    rng.normal(0, 0.3, size),
                    rng.uniform(0.3, 2, size),
                ]
            )
    return network


@pytest.mark.parametrize("name", NETWORKS)
def test_the_twin_is_the_network_until_it_rounds_and_then_what_its_int8_file_gives(name: str) -> None:
    options, spec = NETWORKS[name]
    network, codes = lively(options, spec), some_codes(spec, 24)
    twin = fake_quantized(network, spec)
    twin.observe(codes, spec)
    expected = logits(network, codes, spec)

    rounded = logits(twin.network, codes, spec)
    file = export_rounding(twin.for_export(), spec)
    unrounded = logits(twin.network, codes, spec)  # activations still are
    quality_gate.check_int8(inspection.report(file), spec, labels=LABELS)
    output = inspection.report(file).outputs[0]
    given = model_runs.int8_logits(file, codes).astype(np.float32) - output.zero_points[0]
    steps = np.abs(given * output.scales[0] - rounded) / output.scales[0]

    assert steps.max() <= 1.01, "the converter rounds otherwise than training did"
    assert 0 < np.abs(rounded - expected).max() < 0.2 * np.abs(expected).max()
    assert np.abs(unrounded - rounded).max() > 0


def test_batch_norm_and_the_scale_of_pixels_are_folded_without_changing_any_answer() -> None:
    options, spec = NETWORKS["mobilenet_v1"]
    network, codes = lively(options, spec), some_codes(spec, 8)
    twin = fake_quantized(network, spec)
    twin._layers.observing = True  # nothing is rounded while ranges are looked for
    np.testing.assert_allclose(
        logits(twin.network, codes, spec), logits(network, codes, spec), rtol=1e-4, atol=1e-5
    )
    kinds = {type(layer).__name__ for layer in twin.network.layers}
    assert not kinds & {"BatchNormalization", "Rescaling", "Dropout"}


def one_loud_channel(loudness: float) -> Any:
    """A network of which one channel is so loud that the others' activations have few int8 steps left."""
    network = lively(DsCnn(filters=4, blocks=1), AUDIO)
    norm = [layer for layer in network.layers if type(layer).__name__ == "BatchNormalization"][-1]
    gamma, beta, mean, variance = norm.get_weights()
    loud = np.array([loudness, 1, 1, 1], np.float32)
    norm.set_weights([gamma * loud, beta * loud, mean, variance])  # ReLU lets the factor through
    kernel, bias = network.get_layer("logits").get_weights()
    network.get_layer("logits").set_weights([kernel / loud[:, np.newaxis], bias])
    return network


def trained(network: Any, codes: Codes, *, epochs: int) -> Retrained:
    representative = calibration.representative(codes, AUDIO)
    return train_rounding(
        network, codes, AUDIO, representative=representative, epochs=epochs, batch_size=16, seed=5
    )


def distance(file: bytes, network: Any, codes: Codes) -> float:
    output = inspection.report(file).outputs[0]
    given = model_runs.int8_logits(file, codes).astype(np.float32) - output.zero_points[0]
    return float(np.sqrt(np.mean((given * output.scales[0] - logits(network, codes, AUDIO)) ** 2)))


def test_a_network_that_loses_by_int8_learns_to_live_with_it_and_the_float_one_stays() -> None:
    network, codes = one_loud_channel(60.0), some_codes(AUDIO, 32)
    weights = network.get_weights()
    representative = calibration.representative(codes, AUDIO)
    calibrated = export(network, AUDIO, representative, labels=LABELS).int8_model
    learned = trained(network, codes, epochs=6)

    before, after = (distance(file, network, codes) for file in (calibrated, learned.int8_model))
    assert after < 0.6 * before, (before, after, learned.distances)
    assert learned.distances[-1] < learned.distances[0]
    quality_gate.check_int8(inspection.report(learned.int8_model), AUDIO, labels=LABELS)
    for kept, old in zip(network.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(kept, old)


def test_the_same_training_gives_the_same_bytes() -> None:
    network, codes = one_loud_channel(10.0), some_codes(AUDIO, 16)
    first, second = (trained(network, codes, epochs=1) for _ in range(2))
    assert first == second


def test_what_it_cannot_round_as_the_int8_file_does_is_refused_by_name() -> None:
    layers = import_tensorflow().keras.layers
    image = layers.Input(IMAGE.shape)
    normed = layers.BatchNormalization(name="early")(image)
    smooth = layers.Conv2D(4, 3, activation="tanh", name="smooth")(image)
    leaky = layers.LeakyReLU(name="leaky")(layers.Conv2D(4, 3)(image))
    shifted = layers.Conv2D(4, 3)(layers.Rescaling(1 / 127, -1, name="shifted")(image))
    model = import_tensorflow().keras.Model
    for output, named in ((normed, "early"), (smooth, "smooth"), (leaky, "leaky"), (shifted, "shifted")):
        with pytest.raises(ModelError, match=f"layer {named} ") as caught:
            fake_quantized(model(image, output), IMAGE)
        assert caught.value.reason is Reason.EXPORT_FAILED
