"""The layers that networks are made of, initialised from one sequence of seeds.

Padding is "same" inside the convolutions, so no PAD operator appears.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

BATCH_NORM_MOMENTUM = 0.9
"""Keras' own 0.99 needs several hundred steps before validation means anything; small sets have fewer."""


@dataclass(slots=True)
class Layers:
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
        padding: Literal["same", "valid"] = "same",
        activate: bool = True,
    ) -> Any:
        """Return a convolution of ``x``, batch-normed, with the activation unless told otherwise."""
        x = self.keras.layers.Conv2D(
            channels, kernel, stride, padding=padding, use_bias=False, kernel_initializer=self._he_normal()
        )(x)
        return self._norm(x, activate)

    def depthwise(self, x: Any, *, kernel: int = 3, stride: int = 1) -> Any:
        """Return a depthwise convolution of ``x``, batch-normed, with the activation."""
        x = self.keras.layers.DepthwiseConv2D(
            kernel, stride, padding="same", use_bias=False, depthwise_initializer=self._he_normal()
        )(x)
        return self._norm(x, activate=True)

    def inverted_residual(
        self, x: Any, channels: int, *, kernel: int = 3, stride: int = 1, expansion: int = 6
    ) -> Any:
        """Return MobileNetV2's block (arXiv:1801.04381, table 1): to ``expansion`` times as many channels,
        depthwise, to ``channels`` without activation; ``x`` is added where it has the same shape."""
        y = x if expansion == 1 else self.conv(x, int(x.shape[-1]) * expansion, kernel=1)
        y = self.depthwise(y, kernel=kernel, stride=stride)
        y = self.conv(y, channels, kernel=1, activate=False)
        if stride == 1 and x.shape[-1] == channels:
            return self.keras.layers.Add()([x, y])
        return y

    def dense(self, x: Any, units: int) -> Any:
        """Return the logits, float32: one for each label."""
        glorot = self.keras.initializers.GlorotUniform(seed=next(self.seeds))
        return self.keras.layers.Dense(units, kernel_initializer=glorot, name="logits", dtype="float32")(x)

    def activate(self, x: Any) -> Any:
        """Return the activation of ``x``."""
        # ReLU and ReLU6 fuse into the operator before them
        return self.keras.layers.ReLU(6.0 if self.activation == "relu6" else None)(x)

    def _norm(self, x: Any, activate: bool) -> Any:
        x = self.keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
        return self.activate(x) if activate else x

    def _he_normal(self) -> Any:
        return self.keras.initializers.HeNormal(seed=next(self.seeds))
