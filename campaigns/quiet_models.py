"""Makes the two models of the quiet hour: networks of usual size whose answer can be told by hand.

    .venv/bin/python -m campaigns.quiet_models

camera       MobileNetV2, width 1.0, 224 x 224 -> dark, usual, bright: by the mean level of the picture
microphone   DS-CNN of 64 filters, 98 x 40 log-mel codes -> quiet, low, high: which half of the bands is loud

The whole network is computed, with random weights; its features end in a dense layer beside the mean level,
and only the weights of the latter are not zero. So a window costs what it costs with a trained network, and
the events are known beforehand. Made by the product's own converter; kept in campaigns/out/models.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from campaigns import OUT
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess, Label, LabelPolicy, Preprocess

MODELS = OUT / "models"
SPECS: dict[str, Preprocess] = {
    "camera": ImagePreprocess(width=224, height=224),
    "microphone": AudioPreprocess(hop_frames=10),
}
_POLICY = LabelPolicy(on=0.7, off=0.4, smoothing_windows=3, min_count=2, refractory_ms=1_000)
LABELS = {
    "camera": (
        Label(name="dark", policy=_POLICY),
        Label(name="usual", background=True),
        Label(name="bright", policy=_POLICY),
    ),
    "microphone": (
        Label(name="quiet", background=True),
        Label(name="low", background=True),
        Label(name="high", policy=_POLICY),
    ),
}
_LEVEL_GAIN = 24.0
_LOUD_GAIN, _LOUD = 60.0, 3.0


def path_of(name: str) -> Path:
    """Return where the model lies."""
    return MODELS / f"quiet_{name}.tflite"


def _camera(keras: Any) -> Any:
    layers = keras.layers
    pixels = keras.Input((224, 224, 3))
    body = keras.applications.MobileNetV2(
        input_shape=(224, 224, 3), weights=None, include_top=False, pooling="avg"
    )
    features = body(layers.Rescaling(1 / 127.5, -1)(pixels))
    level = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(pixels))
    head = layers.Dense(3)
    logits = head(layers.Concatenate()([features, level]))
    kernel = np.zeros((1_283, 3), np.float32)
    kernel[-3:] = (
        np.array([-1, 0, 1]) * _LEVEL_GAIN / 3
    )  # three lines that cross at 1/3 and 2/3 of full scale
    head.set_weights([kernel, np.array([1 / 3, 0, -2 / 3], np.float32) * _LEVEL_GAIN])
    return keras.Model(pixels, logits)


def _microphone(keras: Any) -> Any:
    from galago_workstation.training.network_kind import build_network
    from galago_workstation.training.networks.ds_cnn import DsCnn

    layers = keras.layers
    network = build_network(DsCnn(filters=64, dropout=0.0), (98, 40), 3, seed=1)
    codes = network.input
    loud = layers.ReLU()(layers.Reshape((98, 40, 1))(codes))
    halves = layers.Flatten()(layers.AveragePooling2D((98, 20))(loud))
    features = layers.Concatenate()([network.get_layer("pool").output, halves])
    head = layers.Dense(3)
    logits = head(features)
    kernel = np.zeros((66, 3), np.float32)
    kernel[-2, 1] = kernel[-1, 2] = _LOUD_GAIN
    head.set_weights([kernel, np.array([_LOUD, 0, 0], np.float32)])
    return keras.Model(codes, logits)


def _samples(name: str) -> npt.NDArray[Any]:
    """Return what fixes the ranges: noise, and even pictures or sounds of every level."""
    rng = np.random.default_rng(1)
    if name == "camera":
        noise = rng.integers(0, 256, (8, 224, 224, 3), dtype=np.uint8)
        even = np.arange(0, 256, 15, dtype=np.uint8)[:, None, None, None]
        return np.concatenate((noise, even.repeat(224, 1).repeat(224, 2).repeat(3, 3)))
    codes = rng.integers(-128, 128, (20, 98, 40), dtype=np.int8)
    for row, level in enumerate(range(-128, 128, 17)):
        codes[row, :, : 20 if row % 2 else 40] = level
    codes[18], codes[19] = -128, 127
    return codes


def main() -> None:
    from galago_converters.export import export
    from galago_converters.inputs import input_spec

    MODELS.mkdir(parents=True, exist_ok=True)
    for name, build in (("camera", _camera), ("microphone", _microphone)):
        if path_of(name).exists():
            continue
        import keras

        keras.utils.set_random_seed(1)
        model = export(build(keras), input_spec(SPECS[name]), _samples(name), labels=3).int8_model
        temporary = path_of(name).with_suffix(".part")
        temporary.write_bytes(model)
        temporary.replace(path_of(name))
        print(f"{path_of(name)}: {len(model)} bytes")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
