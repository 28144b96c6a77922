"""Makes the int8 models of the tests: two of a few kB whose answer can be told by hand, and one for parity.

    .venv/bin/python tests/data/make_tiny_models.py

tiny_image  uint8 (1, 16, 16, 3), scale 1, zero point 0; logits for dark, mid, bright: the mean level decides,
            with the borders at 1/3 and 2/3 of full scale.
tiny_audio  int8 (1, 20, 10), scale 1/64, zero point 0 (log-mel codes of 20 frames and 10 bands); logits for
            quiet, low, high: the louder half of the bands wins when it is loud enough, else quiet does.

block_net   uint8 (1, 32, 32, 3), scale 1, zero point 0; 11 logits without a meaning: random weights in the
            operators that Galago's networks are made of, to compare runtimes with.

The weights are set by hand, nothing is trained. The files are committed: run this again only when a model
must change, and then look at the goldens that depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

HERE = Path(__file__).parent
GAINS = np.array([1.0, 0.5, 0.5, 0.25], np.float32)
"""Four channels measure the same at different gain, so that per-channel quantization has something to do."""
LEVEL_GAIN = 24.0
LOUDNESS_GAIN = 12.0
FLOOR = 1.0
"""What is below code -64 does not count as loud."""
LOUD = 0.5


def image_network(pixels: tf.Tensor) -> tf.Tensor:
    """Mean level by a convolution and a pool, then three lines over it that cross at 1/3 and 2/3."""
    patches = np.full((4, 4, 3, 1), 1 / 48, np.float32) * GAINS
    levels = tf.nn.relu(tf.nn.conv2d(pixels * (1 / 255), patches, 4, "VALID"))
    mean = tf.reshape(tf.nn.avg_pool2d(levels, 4, 4, "VALID"), (1, 4))
    slopes = np.outer(GAINS / (GAINS @ GAINS), np.array([-1, 0, 1])) * LEVEL_GAIN
    borders = np.array([1 / 3, 0, -2 / 3]) * LEVEL_GAIN
    return tf.matmul(mean, slopes.astype(np.float32)) + borders.astype(np.float32)


def audio_network(features: tf.Tensor) -> tf.Tensor:
    """Loudness of the lower and of the upper bands above FLOOR, averaged over time, against LOUD."""
    patches = np.full((2, 5, 1, 1), 1 / 10, np.float32) * GAINS
    image = tf.reshape(features, (1, 20, 10, 1))
    halves = tf.nn.conv2d(image, patches, (2, 5), "VALID") + FLOOR * GAINS
    mean = tf.reshape(tf.nn.avg_pool2d(tf.nn.relu(halves), (10, 1), (10, 1), "VALID"), (1, 8))
    weights = np.zeros((2, 4, 3), np.float32)  # (half, channel, label)
    weights[0, :, 1] = weights[1, :, 2] = GAINS / (GAINS @ GAINS) * LOUDNESS_GAIN
    quiet = np.array([LOUD * LOUDNESS_GAIN, 0, 0], np.float32)
    return tf.matmul(mean, weights.reshape(8, 3)) + quiet


def block_network(pixels: tf.Tensor) -> tf.Tensor:
    """Convolution, a separable block with a residual connection, mean over the picture, dense layer."""
    random = np.random.default_rng(20)

    def weights(*shape: int) -> npt.NDArray[np.float32]:
        fan_in = shape[0] if len(shape) == 2 else shape[0] * shape[1] * (1 if shape[-1] == 1 else shape[2])
        return random.normal(0, (2 / fan_in) ** 0.5, shape).astype(np.float32)

    x = tf.nn.relu(
        tf.nn.conv2d(pixels * (1 / 255), weights(3, 3, 3, 16), 2, "SAME") + weights(1, 16)[0] * 0.1
    )
    for _ in range(2):
        y = tf.nn.relu(tf.nn.depthwise_conv2d(x, weights(3, 3, 16, 1), (1, 1, 1, 1), "SAME"))
        x = tf.nn.relu(x + tf.nn.conv2d(y, weights(1, 1, 16, 16), 1, "SAME"))
    x = tf.nn.relu(tf.nn.conv2d(x, weights(3, 3, 16, 32), 2, "SAME"))
    return tf.matmul(tf.reduce_mean(x, (1, 2)), weights(32, 11))


def block_samples() -> Iterator[list[npt.NDArray[np.float32]]]:
    """Soft blobs of colour: the extremes are among them."""
    random = np.random.default_rng(21)
    yield [np.zeros((1, 32, 32, 3), np.float32)]
    for _ in range(60):
        blobs = np.kron(random.integers(0, 256, (1, 8, 8, 3)), np.ones((1, 4, 4, 1)))
        yield [blobs.astype(np.float32)]
    yield [np.full((1, 32, 32, 3), 255, np.float32)]


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


def int8_model(
    network: Callable[[tf.Tensor], tf.Tensor], shape: tuple[int, ...], samples: object, input_type: tf.DType
) -> bytes:
    """Convert with full int8 quantization, ``input_type`` in and int8 out."""
    function = tf.function(network).get_concrete_function(tf.TensorSpec(shape, tf.float32, name="input"))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = input_type
    converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def main() -> None:
    models = {
        "tiny_image": int8_model(image_network, (1, 16, 16, 3), image_samples, tf.uint8),
        "tiny_audio": int8_model(audio_network, (1, 20, 10), audio_samples, tf.int8),
        "block_net": int8_model(block_network, (1, 32, 32, 3), block_samples, tf.uint8),
    }
    for name, model in models.items():
        (HERE / f"{name}.tflite").write_bytes(model)


if __name__ == "__main__":
    main()
