"""What a network says of itself, all networks there are, and how one is built.

A network is one module: its options, which are ``[model]`` of the training configuration, and a description
under the name ``NETWORK``. Ours stand in ``galago_workstation.training.networks``; other distributions bring
theirs through the entry-point group ``galago.networks``, under the name of the kind. How to add one:
docs/extending.md.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import msgspec

from galago_converters.frameworks import import_tensorflow
from galago_edge.contract.errors import CallerError, DeviceError, GalagoError, Reason
from galago_edge.contract.manifest import AudioPreprocess, Sha256
from galago_edge.host.plugins import Registry, fault_of
from galago_workstation.training.network_layers import Layers
from galago_workstation.training.weights.published_weights import KerasFiles, PublishedWeights

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
    weights: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)] | None = None
    """What training begins with: published weights by their name, a run folder, or a file of weights, also
    by its address; None: chance."""
    weights_sha256: Sha256 | None = None
    """Of the file at an address, without which nothing is fetched."""
    keep_logits: bool = False
    """With a run folder in ``weights``: the logits of labels that it has begin with what they were there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkKind:
    """What a network says of itself."""

    options: type[NetworkOptions]
    """``[model]``; its ``tag`` is the name of the entry point, its bounds are ``msgspec.Meta``."""
    body: Callable[[Layers, Any, Any], Any]
    """Given layers, the input ``(batch, height, width, channels)`` and the options, returns what is pooled
    over height and width and led to the logits; what is ``(batch, values)`` already is not pooled."""
    inputs: tuple[Input, ...]
    """What it is good for: pictures, log-mel windows (a picture of one channel), or both."""
    published: tuple[PublishedWeights, ...] = ()
    """Weights that packages ship for it."""
    keras_files: KerasFiles | None = None
    """Files of Keras with weights of it; None: none are taken."""
    frontend: AudioPreprocess | None = None
    """The only preprocessing that it takes, but for ``hop_frames``, and for ``window_frames``, which may be
    more; None: any."""

    def __post_init__(self) -> None:
        """Refuse what no training configuration could name.

        Raises:
            ValueError: ``options`` is no type of NetworkOptions, or ``inputs`` no tuple of inputs.
        """
        if not (isinstance(self.options, type) and issubclass(self.options, NetworkOptions)):
            raise ValueError(f"options is {self.options!r}, expected a subclass of NetworkOptions")
        known = get_args(Input)
        if not isinstance(self.inputs, tuple) or not self.inputs or not set(self.inputs) <= set(known):
            raise ValueError(f"inputs is {self.inputs!r}, expected some of {', '.join(known)}, as a tuple")


NETWORKS: Registry[NetworkKind] = Registry(
    what="network",
    group="galago.networks",
    package="galago_workstation.training.networks",
    suffix="",
    attribute="NETWORK",
    type=NetworkKind,
)


def find_network(name: str) -> NetworkKind | None:
    """Import and return the network of this name; None when there is none.

    Raises:
        DeviceError: PLUGIN_BAD; another distribution's cannot be used.
    """
    kind = NETWORKS.find(name)
    tag = kind.options.__struct_config__.tag if kind is not None else name
    if tag != name:
        raise DeviceError(
            Reason.PLUGIN_BAD,
            f"network {name} has the tag {tag!r} in its options, expected {name!r}, its entry point's name",
            hint=f'give its options tag="{name}", or its entry point the other name',
        )
    return kind


def network_of(options: NetworkOptions) -> NetworkKind:
    """Return the network that these are the options of.

    Raises:
        CallerError: CONFIG_BAD; it is not there.
        DeviceError: PLUGIN_BAD.
    """
    name = str(type(options).__struct_config__.tag)
    kind = find_network(name)
    if kind is None:
        raise CallerError(
            Reason.CONFIG_BAD, f"there is no network {name}", hint=f"networks: {', '.join(NETWORKS.names())}"
        )
    return kind


def build_network(
    options: NetworkOptions,
    input_shape: tuple[int, ...],
    labels: int,
    *,
    seed: int,
    precision: str = "float32",
) -> Any:
    """Return an untrained Keras model with float32 logits ``(batch, labels)`` and float32 weights.

    Args:
        options: The configuration's ``[model]``.
        input_shape: Without batch: ``(height, width, channels)`` pixels 0 to 255, or
            ``(window_frames, mel_bands)`` feature values.
        labels: Number of classes.
        seed: Same seed, same initial weights.
        precision: Keras' dtype policy of all layers before the pooling.

    Raises:
        CallerError: CONFIG_BAD; the network cannot be built so.
        DeviceError: PLUGIN_BAD; another distribution's network has made a mistake, with these options.
    """
    layers = Layers(import_tensorflow().keras, itertools.count(seed * 1_000_003), options.activation)
    with _computing_in(layers.keras, precision):
        return _network(layers, options, input_shape, labels)


def _network(layers: Layers, options: NetworkOptions, input_shape: tuple[int, ...], labels: int) -> Any:
    inputs = layers.keras.Input(input_shape, name="input")
    if len(input_shape) == 2:  # log-mel features become a picture of one channel
        x = layers.keras.layers.Reshape((*input_shape, 1), name="one_channel")(inputs)
    else:
        x = layers.keras.layers.Rescaling(PIXEL_SCALE, name="pixel_scale")(inputs)
    with _told(options):
        x = network_of(options).body(layers, x, options)
        if len(x.shape) == 4:
            x = layers.keras.layers.GlobalAveragePooling2D(name="pool", dtype="float32")(x)
    if options.dropout > 0.0:
        x = layers.keras.layers.Dropout(options.dropout, seed=next(layers.seeds), name="dropout")(x)
    outputs = layers.dense(x, labels)
    return layers.keras.Model(inputs, outputs, name=type(options).__name__.lower())


@contextlib.contextmanager
def _computing_in(keras: Any, precision: str) -> Iterator[None]:
    """Let new layers compute in this precision; what is not ours takes it from Keras' policy alone."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def _told(options: NetworkOptions) -> Iterator[None]:
    """Build a network: what another distribution's does wrong is one line, which says with which options.

    Raises:
        GalagoError: As the network says.
        DeviceError: PLUGIN_BAD, for whatever else another distribution's raises.
    """
    try:
        yield
    except GalagoError:
        raise
    except Exception as error:  # somebody else's code: any mistake of it is told as one of its own
        name = str(type(options).__struct_config__.tag)
        if name in NETWORKS.own():
            raise
        raise DeviceError(
            Reason.PLUGIN_BAD,
            f"network {name} cannot be built from {options}: {fault_of(error)}",
            hint="give [model] other values, or update what brings this network",
        ) from error
