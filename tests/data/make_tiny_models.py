"""Makes tiny_image.tflite and tiny_audio.tflite: int8 models of a few kB whose answer can be told by hand.

    .venv/bin/python tests/data/make_tiny_models.py

tiny_image  uint8 (1, 16, 16, 3), scale 1, zero point 0; logits for dark, mid, bright: the mean level decides,
            with the borders at 1/3 and 2/3 of full scale.
tiny_audio  int8 (1, 20, 10), scale 1/64, zero point 0 (log-mel codes of 20 frames and 10 bands); logits for
            quiet, low, high: the louder half of the bands wins when its mean is above code -16 or so.

The weights are set by hand, nothing is trained. Both files are committed: run this again only when a model must
change, and then tell the goldens that depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

HERE = Path(__file__).parent
LEVEL_GAIN = 24.0
LOUDNESS_GAIN = 12.0


def image_network() -> tf.keras.Model:
    """Mean level by a convolution and a pool, then three lines over it that cross at 1/3 and 2/3."""
    inputs = tf.keras.Input((16, 16, 3), batch_size=1)
    x = tf.keras.layers.Rescaling(1 / 255)(inputs)
    x = tf.keras.layers.Conv2D(4, 4, strides=4, activation="relu", name="levels")(x)
    x = tf.keras.layers.AveragePooling2D(4)(x)
    logits = tf.keras.layers.Dense(3, name="logits")(tf.keras.layers.Flatten()(x))
    model = tf.keras.Model(inputs, logits)
    share = np.array([1.0, 0.5, 0.5, 0.25])  # four filters of different gain, so that channels matter
    model.get_layer("levels").set_weights([np.full((4, 4, 3, 1), 1 / 48) * share, np.zeros(4)])
    slopes = np.array([-1.0, 0.0, 1.0]) * LEVEL_GAIN
    crossings = np.array([1 / 3, 0.0, -2 / 3]) * LEVEL_GAIN
    model.get_layer("logits").set_weights([np.outer(share, slopes) / (share @ share), crossings])
    return model


def audio_network() -> tf.keras.Model:
    """Loudness of the lower and of the upper bands above a floor, averaged over time, against a constant."""
    inputs = tf.keras.Input((20, 10), batch_size=1)
    x = tf.keras.layers.Reshape((20, 10, 1))(inputs)
    x = tf.keras.layers.Conv2D(2, (2, 5), strides=(2, 5), activation="relu", name="halves")(x)
    x = tf.keras.layers.AveragePooling2D((10, 1))(x)
    logits = tf.keras.layers.Dense(3, name="logits")(tf.keras.layers.Flatten()(x))
    model = tf.keras.Model(inputs, logits)
    # both filters measure the mean of their patch above code -48 (-0.75); the second at half the gain
    model.get_layer("halves").set_weights(
        [np.full((2, 5, 1, 2), 1 / 10) * np.array([1.0, 0.5]), np.array([0.75, 0.375])]
    )
    gain = np.array([0.8, 0.4]) * LOUDNESS_GAIN
    weights = np.zeros((2, 2, 3))  # (half, filter, label)
    weights[0, :, 1] = gain
    weights[1, :, 2] = gain
    model.get_layer("logits").set_weights([weights.reshape(4, 3), np.array([0.5 * LOUDNESS_GAIN, 0.0, 0.0])])
    return model


def image_samples() -> Iterator[list[npt.NDArray[np.float32]]]:
    """Even levels over the whole range: the extremes fix the input scale at 1 and the zero point at 0."""
    for level in range(0, 256, 5):
        yield [np.full((1, 16, 16, 3), level, np.float32)]


def audio_samples() -> Iterator[list[npt.NDArray[np.float32]]]:
    """Every mixture of low and high loudness; the extremes fix the input scale at 1/64."""
    codes = [-128, *range(-120, 127, 20), 127]
    for low in codes:
        for high in codes:
            sample = np.empty((1, 20, 10), np.float32)
            sample[..., :5] = low / 64
            sample[..., 5:] = high / 64
            yield [sample]


def int8_model(network: tf.keras.Model, samples: object, input_type: tf.DType) -> bytes:
    """Convert with full int8 quantization, ``input_type`` in and int8 out."""
    function = tf.function(network).get_concrete_function(network.inputs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = input_type
    converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def main() -> None:
    (HERE / "tiny_image.tflite").write_bytes(int8_model(image_network(), image_samples, tf.uint8))
    (HERE / "tiny_audio.tflite").write_bytes(int8_model(audio_network(), audio_samples, tf.int8))


if __name__ == "__main__":
    main()
