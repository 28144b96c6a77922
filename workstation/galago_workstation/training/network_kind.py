"""What a network says of itself, all networks there are, and how one is built.

A network is one module: its options, which are ``[model]`` of the training configuration, and a description
under the name ``NETWORK``. Ours stand in ``galago_workstation.training.networks``; other distributions bring
theirs through the entry-point group ``galago.networks``, under the name of the kind. How to add one:
docs/extending.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from galago_converters.frameworks import import_tensorflow
from galago_edge.contract.errors import CallerError, Reason
from galago_edge.host.plugins import Registry
from galago_workstation.training.network_layers import Layers

PIXEL_SCALE = 1 / 127.5
"""Pixels 0 to 255 become 0 to 2. A scale without an offset can be folded into the first kernel exactly,
because padding stays zero; batch norm takes care of the mean."""

Dropout = Annotated[float, msgspec.Meta(ge=0.0, le=0.9)]
Activation = Literal["relu", "relu6"]
Input = Literal["image", "audio"]


class NetworkOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """Base of every network's ``[model]``; a subclass has ``tag="NAME"``."""

    activation: Activation = "relu"
    dropout: Dropout = 0.0
    """Before the logits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkKind:
    """What a network says of itself."""

    options: type[NetworkOptions]
    body: Callable[[Layers, Any, Any], Any]
    """Given layers, the input ``(batch, height, width, channels)`` and the options, returns what is pooled
    over height and width and led to the logits."""
    inputs: tuple[Input, ...]
    """What it is good for: pictures, log-mel windows (a picture of one channel), or both."""


NETWORKS: Registry[NetworkKind] = Registry(
    what="network",
    group="galago.networks",
    package="galago_workstation.training.networks",
    suffix="",
    attribute="NETWORK",
    type=NetworkKind,
)


def network_of(options: NetworkOptions) -> NetworkKind:
    """Return the network that these are the options of.

    Raises:
        CallerError: CONFIG_BAD; it is not there.
        DeviceError: PLUGIN_BAD.
    """
    name = str(type(options).__struct_config__.tag)
    kind = NETWORKS.find(name)
    if kind is None:
        raise CallerError(
            Reason.CONFIG_BAD, f"there is no network {name}", hint=f"networks: {', '.join(NETWORKS.names())}"
        )
    return kind


def build_network(options: NetworkOptions, input_shape: tuple[int, ...], labels: int, *, seed: int) -> Any:
    """Return an untrained Keras model with float32 logits ``(batch, labels)``.

    Args:
        options: The configuration's ``[model]``.
        input_shape: Without batch: ``(height, width, channels)`` pixels 0 to 255, or
            ``(window_frames, mel_bands)`` feature values.
        labels: Number of classes.
        seed: Same seed, same initial weights.

    Raises:
        CallerError: CONFIG_BAD; the network cannot be built so.
    """
    layers = Layers(import_tensorflow().keras, itertools.count(seed * 1_000_003), options.activation)
    inputs = layers.keras.Input(input_shape, name="input")
    if len(input_shape) == 2:  # log-mel features become a picture of one channel
        x = layers.keras.layers.Reshape((*input_shape, 1), name="one_channel")(inputs)
    else:
        x = layers.keras.layers.Rescaling(PIXEL_SCALE, name="pixel_scale")(inputs)
    x = network_of(options).body(layers, x, options)
    x = layers.keras.layers.GlobalAveragePooling2D(name="pool")(x)
    if options.dropout > 0.0:
        x = layers.keras.layers.Dropout(options.dropout, seed=next(layers.seeds), name="dropout")(x)
    outputs = layers.dense(x, labels)
    return layers.keras.Model(inputs, outputs, name=type(options).__name__.lower())
