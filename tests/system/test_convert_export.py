"""Keras models of many kinds through the real converter."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from galago_converters import calibration, inspection, model_runs, quality_gate
from galago_converters.export import Exported, export, logits
from galago_converters.frameworks import import_tensorflow
from galago_converters.inputs import Codes, InputSpec, input_spec
from galago_edge.contract.errors import ModelError, Reason
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess

pytestmark = [
    pytest.mark.slow,
    # Keras 3.15 saves and copies variables in a way that numpy 2.4 is about to drop
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

IMAGE = input_spec(ImagePreprocess(width=12, height=10, color="gray"))
AUDIO = input_spec(AudioPreprocess(window_frames=12, mel_bands=10))
LABELS = 3

Body = Callable[[Any], Any]


@pytest.fixture(scope="module")
def keras() -> Any:
    import_tensorflow()
    import keras

    return keras


@pytest.fixture
def mixed_float16(keras: Any) -> Any:
    keras.mixed_precision.set_global_policy("mixed_float16")
    yield
    keras.mixed_precision.set_global_policy("float32")


def image_network(keras: Any, body: Body = lambda x: x) -> Any:
    layers = keras.layers
    keras.utils.set_random_seed(3)
    image = keras.Input(IMAGE.shape)
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="conv")(x)
    x = body(layers.ReLU()(layers.BatchNormalization()(x)))
    return keras.Model(image, layers.Dense(LABELS, name="scores")(layers.GlobalAveragePooling2D()(x)))


def audio_network(keras: Any) -> Any:
    layers = keras.layers
    keras.utils.set_random_seed(3)
    window = keras.Input(AUDIO.shape)
    x = layers.Reshape((*AUDIO.shape, 1))(window)
    x = layers.ReLU()(layers.BatchNormalization()(layers.DepthwiseConv2D(3, use_bias=False)(x)))
    x = layers.ReLU()(layers.Conv2D(8, 1)(x))
    return keras.Model(window, layers.Dense(LABELS)(layers.GlobalAveragePooling2D()(x)))


def samples(spec: InputSpec, count: int = 12) -> Codes:
    low, high = spec.code_range
    values = np.random.default_rng(5).integers(low // 2, high // 2, (count, *spec.shape))
    return calibration.representative(values.astype(spec.numpy_dtype), spec)


def exported(model: Any, spec: InputSpec = IMAGE) -> Exported:
    return export(model, spec, samples(spec), labels=LABELS)


def refusal(model: Any, spec: InputSpec = IMAGE) -> tuple[Reason, str]:
    with pytest.raises(ModelError) as caught:
        found = exported(model, spec)
        quality_gate.check_int8(inspection.report(found.int8_model), spec, labels=LABELS, layers=found.layers)
    assert "\n" not in str(caught.value)
    return caught.value.reason, str(caught.value)


@pytest.mark.parametrize(("network", "spec"), [(image_network, IMAGE), (audio_network, AUDIO)])
def test_models_become_full_int8_with_the_fixed_input_scale(
    keras: Any, capfd: pytest.CaptureFixture[str], network: Any, spec: InputSpec
) -> None:
    model = network(keras)
    found = exported(model, spec)
    report = inspection.report(found.int8_model)
    quality_gate.check_int8(report, spec, labels=LABELS, layers=found.layers)
    quality_gate.check_float(inspection.report(found.float_model), spec, labels=LABELS, layers=found.layers)
    assert report.per_channel
    inputs = samples(spec)
    truth = logits(model, inputs, spec)
    assert np.abs(model_runs.float_logits(found.float_model, inputs, spec) - truth).max() < 1e-5
    output = report.outputs[0]
    stored = model_runs.int8_logits(found.int8_model, inputs).astype(float)
    assert np.abs((stored - output.zero_points[0]) * output.scales[0] - truth).max() < 6 * output.scales[0]
    assert capfd.readouterr() == ("", "")


def test_converting_twice_gives_the_same_bytes(keras: Any, tmp_path: Any) -> None:
    """In one process, and of the saved model in a fresh one, whose counters and layer numbers start again."""
    model = image_network(keras)
    first, second = exported(model), exported(model)
    assert first.float_model == second.float_model
    assert first.int8_model == second.int8_model
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "samples.npy", samples(IMAGE))
    script = (
        "import sys, hashlib, numpy as np\n"
        "from galago_converters.export import export\n"
        "from galago_converters.frameworks import import_tensorflow\n"
        "from galago_converters.inputs import InputSpec\n"
        "import_tensorflow()\n"
        "import keras\n"
        "model = keras.saving.load_model(sys.argv[1] + '/model.keras', compile=False)\n"
        "found = export(model, InputSpec((10, 12, 1), 'uint8', 1.0, 'NHWC'),"
        " np.load(sys.argv[1] + '/samples.npy'), labels=3)\n"
        "print(hashlib.sha256(found.int8_model).hexdigest())"
    )
    other = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == hashlib.sha256(first.int8_model).hexdigest()


@pytest.mark.usefixtures("mixed_float16")
def test_mixed_float16_models_are_rebuilt_under_float32(keras: Any) -> None:
    model = image_network(keras)
    assert model.get_layer("conv").compute_dtype == "float16"
    found = exported(model)
    assert found.rebuilt
    quality_gate.check_int8(inspection.report(found.int8_model), IMAGE, labels=LABELS)
    inputs = samples(IMAGE)
    delta = np.abs(
        model_runs.float_logits(found.float_model, inputs, IMAGE) - logits(model, inputs, IMAGE)
    ).max()
    assert 0 < delta < 0.01


@pytest.mark.usefixtures("mixed_float16")
def test_mixed_float16_models_that_cannot_be_rebuilt_are_refused(keras: Any) -> None:
    class Box(keras.Model):  # type: ignore[misc]
        def __init__(self, dense: Any) -> None:
            super().__init__()
            self.dense = dense

        def call(self, inputs: Any) -> Any:
            return self.dense(keras.ops.reshape(inputs, (-1, 120)))

    model = Box(keras.layers.Dense(LABELS))
    model(np.zeros((1, *IMAGE.shape), np.float32))
    reason, message = refusal(model)
    assert reason is Reason.EXPORT_FAILED
    assert "computes in mixed_float16 and cannot be rebuilt under float32" in message


def test_called_subclasses_convert_and_uncalled_ones_are_named(keras: Any) -> None:
    class Shelf(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(LABELS)

        def call(self, inputs: Any) -> Any:
            return self.dense(keras.ops.reshape(inputs, (-1, 120)))

    model = Shelf()
    reason, message = refusal(model)
    assert reason is Reason.EXPORT_FAILED
    assert "(Shelf) has no weights yet: it was never called" in message
    model(np.zeros((1, *IMAGE.shape), np.float32))
    assert inspection.report(exported(model).int8_model).outputs[0].shape == (1, LABELS)


def test_a_dictionary_of_one_input_converts_and_of_two_is_refused(keras: Any) -> None:
    layers = keras.layers
    left, right = keras.Input(IMAGE.shape, name="left"), keras.Input(IMAGE.shape, name="right")
    one = keras.Model({"left": left}, {"scores": layers.Dense(LABELS)(layers.Flatten()(left))})
    assert inspection.report(exported(one).int8_model).inputs[0].scales == (1.0,)
    both = layers.Dense(LABELS)(layers.Flatten()(layers.Add()([left, right])))
    reason, message = refusal(keras.Model({"left": left, "right": right}, both))
    assert reason is Reason.EXPORT_FAILED
    assert "takes 2 inputs (left, right), expected one" in message


def test_lambda_layers_convert_or_are_named(keras: Any) -> None:
    tf = import_tensorflow()

    def with_lambda(function: Body, name: str) -> Any:
        return image_network(keras, keras.layers.Lambda(function, name=name))

    found = exported(with_lambda(lambda x: 2.0 * x, "twice"))
    quality_gate.check_int8(inspection.report(found.int8_model), IMAGE, labels=LABELS)
    # no builtin operator at all
    assert refusal(with_lambda(tf.math.erfinv, "inverse_error")) == (
        Reason.OP_NOT_INT8,
        "TensorFlow Lite has no builtin operator for Erfinv (layer inverse_error)",
    )
    # a builtin operator, but in float only: the converter says nothing
    assert refusal(with_lambda(tf.floor, "down")) == (
        Reason.OP_NOT_INT8,
        "operator FLOOR (layer down) computes in float32: it has no int8 kernel",
    )


def test_what_a_layer_raises_is_reported_with_its_name(keras: Any) -> None:
    def shaky(x: Any) -> Any:
        if x.shape[0] == 1:
            raise ArithmeticError("not for single pictures")
        return x

    model = image_network(keras, keras.layers.Lambda(shaky, name="shaky"))
    reason, message = refusal(model)
    assert reason is Reason.EXPORT_FAILED
    assert "in layer shaky: ArithmeticError: not for single pictures" in message


def test_recurrent_layers_are_refused_before_they_crash_the_calibrator(keras: Any) -> None:
    window = keras.Input(AUDIO.shape)
    memory = keras.layers.LSTM(4, name="memory")(window)
    reason, message = refusal(keras.Model(window, keras.layers.Dense(LABELS)(memory)), AUDIO)
    assert reason is Reason.OP_NOT_INT8
    assert "operator WHILE (layer memory)" in message


def test_probabilities_and_other_shapes_are_refused(keras: Any) -> None:
    layers = keras.layers
    image = keras.Input(IMAGE.shape)
    softmax = keras.Model(image, layers.Dense(LABELS, activation="softmax")(layers.Flatten()(image)))
    assert "ends with SOFTMAX, expected logits" in refusal(softmax)[1]
    four = keras.Model(image, layers.Dense(4)(layers.Flatten()(image)))
    assert "output of model functional" in refusal(four)[1].replace(four.name, "functional")
    assert "has shape (4,), expected (3,)" in refusal(four)[1]
    assert "has shape (10, 12, 1), expected (12, 10)" in refusal(image_network(keras), AUDIO)[1]
