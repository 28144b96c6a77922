"""A network that rounds in training as its int8 file will on the device: fake quantization.

Jacob et al. 2018 (arXiv:1712.05877): weights and activations are rounded to 8 bits on the way forward, and
gradients go through the rounding as if it were not there. Batch norm is folded into the convolution before it
first, because the int8 file has no batch norm either. The converter takes the ranges of activations from the
fake quantization that it finds, instead of calibrating; those of weights follow from the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_converters.frameworks import import_tensorflow
from galago_converters.inputs import Codes, InputSpec
from galago_edge.contract.errors import ModelError, Reason

RANGE_MOMENTUM = 0.99
"""How slowly a range follows the batches of training."""
_LEAST_RANGE = 1e-6  # a range of nothing has no scale
_BATCH = 64


@dataclass(slots=True)
class FakeQuantized:
    """The twin of a network, which computes as its int8 file will."""

    network: Any
    """A Keras model: real inputs ``(n, *shape)`` to logits ``(n, labels)``."""
    _layers: _TwinLayers

    def observe(self, inputs: Codes, spec: InputSpec) -> None:
        """Set the range of every activation to the smallest and largest value that these inputs give.

        Args:
            inputs: Codes ``(n, *spec.shape)``.
            spec: The input tensor.
        """
        self._layers.observing = True
        for start in range(0, len(inputs), _BATCH):
            self.network(spec.real(inputs[start : start + _BATCH]), training=False)
        self._layers.observing = False

    def for_export(self) -> Any:
        """Return the network with weights that are not rounded: the converter rounds them so."""
        self._layers.rounds_weights = False
        return self.network


def fake_quantized(model: Any, spec: InputSpec) -> FakeQuantized:
    """Return the twin of a float32 network, with its weights, whose ranges nobody has set yet.

    Raises:
        ModelError: EXPORT_FAILED; it has layers of which it is not known how their int8 form rounds.
    """
    import_tensorflow()
    import keras

    plan = _Plan(keras, model)
    layers = _TwinLayers(keras, spec)

    def twin_of(layer: Any) -> Any:
        kind = plan.rounding.get(layer.name)
        config = layer.get_config()
        if kind is not None:
            return layers.rounding[kind].from_config({**config, "use_bias": True})
        if layer.name in plan.folded or isinstance(layer, keras.layers.Dropout):
            return keras.layers.Identity(name=layer.name)
        return type(layer).from_config(config)

    def called(layer: Any, x: Any, **_: Any) -> Any:
        if layer.name in plan.first:
            x = layers.activation_range("input_range", fixed=True)(x)
        y = layer(x)
        return layers.activation_range(f"{layer.name}_range")(y) if layer.name in plan.ranged else y

    network = keras.models.clone_model(model, clone_function=twin_of, call_function=called)
    for name, weights in plan.weights.items():
        network.get_layer(name).set_weights(weights)
    return FakeQuantized(network, layers)


class _Plan:
    """What becomes of each layer of a network, by its name."""

    def __init__(self, keras: Any, model: Any) -> None:
        self._k = keras.layers
        self.rounding: dict[str, str] = {}
        """Layers with weights, and which kind they are."""
        self.folded: set[str] = set()
        """Layers that went into the weights of another one."""
        self.ranged: set[str] = set()
        """Layers behind which the int8 file has a tensor of its own."""
        self.first: set[str] = set()
        """Layers that take the input."""
        self.weights: dict[str, list[npt.NDArray[np.float32]]] = {}
        if not isinstance(model, keras.Model) or not getattr(model, "operations", None):
            raise _unknown(f"model {model.name} ({type(model).__name__}) is no graph of layers")
        for layer in model.layers:
            self._place(layer)

    def _place(self, layer: Any) -> None:
        k = self._k
        if isinstance(layer, k.InputLayer):
            self.first.update(after.name for after in _after(layer))
            return
        if isinstance(layer, k.DepthwiseConv2D | k.Conv2D | k.Dense):
            self._place_weights(layer)
        elif isinstance(layer, k.BatchNormalization | k.Rescaling):
            self._check_folded(layer)
        elif not isinstance(layer, self._known()):
            raise _unknown(f"layer {layer.name} ({type(layer).__name__}) is not known to it")
        passes = isinstance(layer, k.Reshape | k.Flatten | k.Dropout | k.MaxPooling2D | k.ZeroPadding2D)
        if passes or isinstance(layer, k.Rescaling):
            return  # no operator, or one that leaves the scale as it is
        behind = _after(layer)
        if len(behind) != 1 or not isinstance(behind[0], k.BatchNormalization | k.ReLU):
            self.ranged.add(layer.name)  # else batch norm and ReLU become one operator with it

    def _known(self) -> tuple[type, ...]:
        k = self._k
        return (
            *(k.ReLU, k.Add, k.GlobalAveragePooling2D, k.AveragePooling2D, k.MaxPooling2D),
            *(k.Reshape, k.Flatten, k.Dropout, k.ZeroPadding2D),
        )

    def _place_weights(self, layer: Any) -> None:
        k = self._k
        depthwise = isinstance(layer, k.DepthwiseConv2D)
        plain = getattr(layer, "data_format", "channels_last") == "channels_last"
        plain = plain and (not depthwise or layer.depth_multiplier == 1) and getattr(layer, "groups", 1) == 1
        plain = plain and set(getattr(layer, "dilation_rate", (1,))) == {1}
        if layer.activation.__name__ not in ("linear", "relu", "relu6") or not plain:
            raise _unknown(f"layer {layer.name} ({type(layer).__name__}) has settings that it does not know")
        self.rounding[layer.name] = (
            "depthwise" if depthwise else "dense" if isinstance(layer, k.Dense) else "conv"
        )
        kernel, bias = _kernel_and_bias(layer)
        for before in _before(layer):
            if isinstance(before, k.Rescaling):
                kernel = kernel * np.float32(before.scale)
        behind = _after(layer)
        if any(isinstance(after, k.BatchNormalization) for after in behind):
            if len(behind) != 1 or layer.activation.__name__ != "linear":
                raise _unknown(f"batch norm behind layer {layer.name} cannot be folded into it")
            scale, offset = _norm(behind[0])
            kernel = kernel * (scale[:, np.newaxis] if depthwise else scale)
            bias = bias * scale + offset
            self.folded.add(behind[0].name)
        self.weights[layer.name] = [kernel.astype(np.float32), bias.astype(np.float32)]

    def _check_folded(self, layer: Any) -> None:
        """Check that batch norm is behind weights, and a scale before them: there is no operator for them."""
        k = self._k
        if isinstance(layer, k.BatchNormalization):
            if layer.name not in self.folded:
                raise _unknown(f"layer {layer.name} (batch norm) is not behind a layer with weights")
            return
        behind = _after(layer)
        only = len(behind) == 1 and isinstance(behind[0], k.Conv2D | k.DepthwiseConv2D | k.Dense)
        if not only or np.any(np.asarray(layer.offset)) or np.ndim(layer.scale):
            raise _unknown(f"layer {layer.name} (rescaling) is no scale before a layer with weights")
        self.folded.add(layer.name)


def _kernel_and_bias(layer: Any) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    kernel, *bias = layer.get_weights()
    outputs = kernel.shape[-2] if type(layer).__name__ == "DepthwiseConv2D" else kernel.shape[-1]
    return kernel, bias[0] if bias else np.zeros(outputs, np.float32)


def _norm(layer: Any) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return what inference's batch norm multiplies with and adds, per channel."""
    variance = np.asarray(layer.moving_variance, np.float32)
    mean = np.asarray(layer.moving_mean, np.float32)
    scale = 1.0 / np.sqrt(variance + np.float32(layer.epsilon))
    if layer.scale:
        scale = scale * np.asarray(layer.gamma, np.float32)
    return scale, (np.asarray(layer.beta, np.float32) if layer.center else 0.0) - mean * scale


def _after(layer: Any) -> list[Any]:
    return [node.operation for node in layer._outbound_nodes]


def _before(layer: Any) -> list[Any]:
    return [parent.operation for node in layer._inbound_nodes for parent in node.parent_nodes]


def _unknown(what: str) -> ModelError:
    return ModelError(
        Reason.EXPORT_FAILED,
        f"quantization-aware training cannot round as the int8 file does: {what}",
        hint="convert without --aware-epochs; it knows convolutions, batch norm behind them, Dense, ReLU,"
        " Add, pooling and reshaping",
    )


class _TwinLayers:
    """Makes the layers that round, which are classes of a library that is imported late."""

    def __init__(self, keras: Any, spec: InputSpec) -> None:
        self.observing = False
        """Ranges grow to what comes by, and nothing is rounded."""
        self.rounds_weights = True
        self._keras = keras
        self._tf = import_tensorflow()
        low, high = (float(spec.real(np.array(code))) for code in spec.code_range)
        self._input_range = (low, high)
        self.rounding = self._rounding_layers()
        self._range_layer = self._make_range_layer()

    def activation_range(self, name: str, *, fixed: bool = False) -> Any:
        """Return a layer that rounds to 256 steps between two values: those of the input, if ``fixed``."""
        return self._range_layer(self._input_range if fixed else None, name=name)

    def kernel(self, kernel: Any, *, depthwise: bool = False) -> Any:
        """Return a kernel rounded as the int8 file has it: 255 steps around zero for every output channel."""
        tf = self._tf
        kernel = tf.convert_to_tensor(kernel)
        if self.observing or not self.rounds_weights:
            return kernel
        flat = tf.reshape(kernel, (-1, kernel.shape[-2] if depthwise else kernel.shape[-1]))
        largest = tf.stop_gradient(tf.maximum(tf.reduce_max(tf.abs(flat), axis=0), _LEAST_RANGE))
        rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(
            flat, -largest, largest, num_bits=8, narrow_range=True
        )
        return tf.reshape(rounded, kernel.shape)

    def _rounding_layers(self) -> dict[str, Any]:
        tf, k, twin = self._tf, self._keras.layers, self

        class RoundingConv2D(k.Conv2D):  # type: ignore[misc, name-defined]
            """A convolution with a rounded kernel."""

            def call(self, x: Any) -> Any:
                """Return the convolution of ``x``."""
                y = tf.nn.conv2d(x, twin.kernel(self.kernel), self.strides, self.padding.upper())
                return self.activation(tf.nn.bias_add(y, tf.convert_to_tensor(self.bias)))

        class RoundingDepthwiseConv2D(k.DepthwiseConv2D):  # type: ignore[misc, name-defined]
            """A depthwise convolution with a rounded kernel."""

            def call(self, x: Any) -> Any:
                """Return the convolution of ``x``."""
                kernel = twin.kernel(self.kernel, depthwise=True)
                y = tf.nn.depthwise_conv2d(x, kernel, (1, *self.strides, 1), self.padding.upper())
                return self.activation(tf.nn.bias_add(y, tf.convert_to_tensor(self.bias)))

        class RoundingDense(k.Dense):  # type: ignore[misc, name-defined]
            """A fully connected layer with a rounded kernel."""

            def call(self, x: Any) -> Any:
                """Return the product with ``x``."""
                y = tf.matmul(x, twin.kernel(self.kernel))
                return self.activation(tf.nn.bias_add(y, tf.convert_to_tensor(self.bias)))

        return {"conv": RoundingConv2D, "depthwise": RoundingDepthwiseConv2D, "dense": RoundingDense}

    def _make_range_layer(self) -> Any:
        tf, keras, twin = self._tf, self._keras, self

        class ActivationRange(keras.layers.Layer):  # type: ignore[misc, name-defined]
            """Rounds to 256 steps between two values that follow what comes by, unless they are fixed."""

            def __init__(self, fixed: tuple[float, float] | None, **kwargs: Any) -> None:
                super().__init__(**kwargs)
                self._fixed = fixed

            def build(self, _: Any) -> None:
                """Make the two values."""
                for name, start in zip(("smallest", "largest"), self._fixed or (0.0, 0.0), strict=True):
                    constant = keras.initializers.Constant(start)
                    setattr(self, name, self.add_weight(name=name, initializer=constant, trainable=False))

            def call(self, x: Any, training: bool = False) -> Any:
                """Return ``x`` rounded."""
                if not self._fixed and (training or twin.observing):
                    self._follow(x, 0.0 if twin.observing else RANGE_MOMENTUM)
                if twin.observing:
                    return x
                # as in the int8 file, zero is one of the steps; a range of nothing gets a small one
                largest = tf.maximum(tf.convert_to_tensor(self.largest), self.smallest + _LEAST_RANGE)
                return tf.quantization.fake_quant_with_min_max_vars(
                    x, tf.convert_to_tensor(self.smallest), largest, num_bits=8
                )

            def _follow(self, x: Any, momentum: float) -> None:
                low, high = tf.reduce_min(x), tf.reduce_max(x)
                if twin.observing:
                    self.smallest.assign(tf.minimum(self.smallest, low))
                    self.largest.assign(tf.maximum(self.largest, high))
                    return
                for value, now in (
                    (self.smallest, tf.minimum(low, 0.0)),
                    (self.largest, tf.maximum(high, 0.0)),
                ):
                    value.assign(momentum * value + (1.0 - momentum) * now)

        return ActivationRange
