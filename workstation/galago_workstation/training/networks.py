"""The networks: convolution, batch norm, ReLU, average pool, dense logits, and nothing else.

Everything here folds into int8 kernels that every TFLite runtime has: no squeeze-and-excite, no
hard-swish, no softmax inside. Padding is "same" inside the convolutions, so no PAD operator appears.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from galago_converters.frameworks import import_tensorflow
from galago_workstation.training_config import DsCnn, MobileNetV1, ResNet

PIXEL_SCALE = 1 / 127.5
"""Pixels 0 to 255 become 0 to 2. A scale without an offset can be folded into the first kernel exactly,
because padding stays zero; batch norm takes care of the mean."""

BATCH_NORM_MOMENTUM = 0.9
"""Keras' own 0.99 needs several hundred steps before validation means anything; small sets have fewer."""


def build_network(
    options: MobileNetV1 | ResNet | DsCnn, input_shape: tuple[int, ...], labels: int, *, seed: int
) -> Any:
    """Return an untrained Keras model with float32 logits ``(batch, labels)``.

    Args:
        options: The configuration's ``[model]``.
        input_shape: Without batch: ``(height, width, channels)`` pixels 0 to 255, or
            ``(window_frames, mel_bands)`` feature values.
        labels: Number of classes.
        seed: Same seed, same initial weights.
    """
    layers = _Layers(import_tensorflow().keras, itertools.count(seed * 1_000_003), options.activation)
    inputs = layers.keras.Input(input_shape, name="input")
    if len(input_shape) == 2:  # log-mel features become a picture of one channel
        x = layers.keras.layers.Reshape((*input_shape, 1), name="one_channel")(inputs)
    else:
        x = layers.keras.layers.Rescaling(PIXEL_SCALE, name="pixel_scale")(inputs)
    if isinstance(options, MobileNetV1):
        x = _mobilenet_v1(layers, x, options)
    elif isinstance(options, ResNet):
        x = _resnet(layers, x, options)
    else:
        x = _ds_cnn(layers, x, options)
    x = layers.keras.layers.GlobalAveragePooling2D(name="pool")(x)
    if options.dropout > 0.0:
        x = layers.keras.layers.Dropout(options.dropout, seed=next(layers.seeds), name="dropout")(x)
    outputs = layers.dense(x, labels)
    return layers.keras.Model(inputs, outputs, name=type(options).__name__.lower())


def _mobilenet_v1(layers: _Layers, x: Any, options: MobileNetV1) -> Any:
    def channels(count: int) -> int:
        return max(8, round(count * options.width / 8) * 8)

    x = layers.conv(x, channels(32), stride=2)
    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    plan += [(512, 1)] * options.depth + [(1024, 2), (1024, 1)]
    for count, stride in plan:
        x = layers.depthwise(x, stride=stride)
        x = layers.conv(x, channels(count), kernel=1)
    return x


def _resnet(layers: _Layers, x: Any, options: ResNet) -> Any:
    x = layers.conv(x, options.filters, stride=options.stem_stride)
    for stage in range(options.stages):
        for block in range(options.blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _residual_block(layers, x, options.filters * 2**stage, stride)
    return x


def _residual_block(layers: _Layers, x: Any, channels: int, stride: int) -> Any:
    shortcut = x
    if stride != 1 or x.shape[-1] != channels:
        shortcut = layers.conv(x, channels, kernel=1, stride=stride, activate=False)
    y = layers.conv(x, channels, stride=stride)
    y = layers.conv(y, channels, activate=False)
    return layers.activate(layers.keras.layers.Add()([shortcut, y]))


def _ds_cnn(layers: _Layers, x: Any, options: DsCnn) -> Any:
    # the first kernel spans 10 frames and 4 bands and halves both axes, as in the paper's small net
    x = layers.conv(x, options.filters, kernel=(10, 4), stride=2)
    for _ in range(options.blocks):
        x = layers.depthwise(x)
        x = layers.conv(x, options.filters, kernel=1)
    return x


@dataclass(slots=True)
class _Layers:
    """Makes layers that are initialised from one sequence of seeds."""

    keras: Any
    seeds: Iterator[int]
    activation: str

    def conv(
        self,
        x: Any,
        channels: int,
        *,
        kernel: int | tuple[int, int] = 3,
        stride: int = 1,
        activate: bool = True,
    ) -> Any:
        x = self.keras.layers.Conv2D(
            channels, kernel, stride, padding="same", use_bias=False, kernel_initializer=self._he_normal()
        )(x)
        return self._norm(x, activate)

    def depthwise(self, x: Any, *, stride: int = 1) -> Any:
        x = self.keras.layers.DepthwiseConv2D(
            3, stride, padding="same", use_bias=False, depthwise_initializer=self._he_normal()
        )(x)
        return self._norm(x, activate=True)

    def dense(self, x: Any, units: int) -> Any:
        glorot = self.keras.initializers.GlorotUniform(seed=next(self.seeds))
        return self.keras.layers.Dense(units, kernel_initializer=glorot, name="logits")(x)

    def activate(self, x: Any) -> Any:
        # ReLU and ReLU6 fuse into the operator before them
        return self.keras.layers.ReLU(6.0 if self.activation == "relu6" else None)(x)

    def _norm(self, x: Any, activate: bool) -> Any:
        x = self.keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
        return self.activate(x) if activate else x

    def _he_normal(self) -> Any:
        return self.keras.initializers.HeNormal(seed=next(self.seeds))
