"""Makes the two models that latency is measured with: real networks, random weights, full int8.

    .venv/bin/python benchmarks/models.py

mobilenet_v2_224         MobileNetV2, width 1.0, 224 x 224, 1000 labels
mobilenet_v1_025_96      MobileNetV1, width 0.25, 96 x 96, 2 labels (as "person or not" on small boards)

What weights a model has does not change how long it takes, so nothing is trained. Made by the product's own
converter, with metadata for other tools. Kept in benchmarks/out/models.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.manifest import ImagePreprocess

OUT = Path(__file__).parent / "out" / "models"
SPECS = {
    "mobilenet_v2_224": (ImagePreprocess(width=224, height=224), 1000),
    "mobilenet_v1_025_96": (ImagePreprocess(width=96, height=96), 2),
}
"""Preprocessing and number of labels of each model."""


def path_of(name: str) -> Path:
    """Return where the model lies."""
    return OUT / f"{name}.tflite"


def mediapipe_path_of(name: str) -> Path:
    """Return where the same network with a uint8 output lies: MediaPipe refuses int8."""
    return OUT / f"{name}.mediapipe.tflite"


def label_names(name: str) -> list[str]:
    return [f"label {number}" for number in range(SPECS[name][1])]


def network(name: str) -> Any:
    """Return the Keras model, which takes pixels and gives logits."""
    import keras

    preprocess, labels = SPECS[name]
    keras.utils.set_random_seed(1)
    shape = (preprocess.height, preprocess.width, 3)
    kind, width = (
        (keras.applications.MobileNetV2, 1.0) if "v2" in name else (keras.applications.MobileNet, 0.25)
    )
    body = kind(input_shape=shape, alpha=width, weights=None, classes=labels, classifier_activation=None)
    pixels = keras.Input(shape)
    return keras.Model(pixels, body(keras.layers.Rescaling(1 / 127.5, -1)(pixels)))


def pictures(name: str) -> npt.NDArray[np.uint8]:
    """Return what fixes the ranges: noise, and the whole range of pixels, which makes the input scale 1."""
    preprocess, _ = SPECS[name]
    rng = np.random.default_rng(1)
    found = rng.integers(0, 256, (20, preprocess.height, preprocess.width, 3), dtype=np.uint8)
    found[0], found[1] = 0, 255
    return found


def product_model(name: str, model: Any) -> bytes:
    """Convert as the product does."""
    from galago_converters.export import export
    from galago_converters.inputs import input_spec

    preprocess, labels = SPECS[name]
    return export(model, input_spec(preprocess), pictures(name), labels=labels).int8_model


def mediapipe_model(name: str, model: Any) -> bytes:
    """Convert the same network with one operator more, which makes the logits uint8."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    shape = (1, *model.input_shape[1:])
    function = tf.function(model).get_concrete_function(tf.TensorSpec(shape, tf.float32))
    frozen = convert_variables_to_constants_v2(function)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [picture[None].astype(np.float32)] for picture in pictures(name)
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    return bytes(converter.convert())


def write(path: Path, name: str, model: bytes) -> None:
    from galago_converters.metadata import embed

    whole = embed(model, name=name, labels=label_names(name), preprocess=SPECS[name][0])
    temporary = path.with_suffix(".part")
    temporary.write_bytes(whole)
    temporary.replace(path)
    print(f"{path}: {len(whole)} bytes")


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for name in SPECS:
        if path_of(name).exists() and mediapipe_path_of(name).exists():
            continue
        model = network(name)
        write(path_of(name), name, product_model(name, model))
        write(mediapipe_path_of(name), name, mediapipe_model(name, model))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
