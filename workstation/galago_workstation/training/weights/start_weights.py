"""What a training begins with instead of chance: weights of a finished run, or published ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import UNSET

from galago_edge.bundle.weights_origin import WeightsOrigin
from galago_edge.contract.errors import CallerError, InputError, Reason, disk_error
from galago_workstation.run_folder import MODEL_FILE, RUN_FILE, Run
from galago_workstation.training.network_kind import PIXEL_SCALE, NetworkKind
from galago_workstation.training.weights.h5_file import H5_SUFFIXES, KerasLayer, read_h5_file
from galago_workstation.training.weights.published_weights import (
    KerasFiles,
    PublishedWeights,
    fetch_weights,
    find_published,
)
from galago_workstation.training.weights.tflite_file import FoldedConvolution, read_tflite_file
from galago_workstation.training.weights.torch_file import Arrays, read_torch_file

LayerWeights = list[npt.NDArray[np.float32]]
"""Of one layer, in Keras' order and shapes."""

LOGITS = "logits"
"""Name of the layer that is new, because its labels are this training's, unless they shall be kept."""

TORCH_SUFFIXES = (".pth", ".pt")
TFLITE_SUFFIXES = (".tflite",)
_ADDRESSES = ("https://", "http://")
NORM_EPSILON = 1e-3
"""Of Keras' batch norm."""


@dataclass(frozen=True, slots=True)
class StartLogits:
    """The last layer of a run: kernel ``(features, labels)``, bias ``(labels,)``."""

    labels: tuple[str, ...]
    weights: LayerWeights


@dataclass(frozen=True, slots=True)
class StartWeights:
    """Weights of every layer but the logits, in the order in which the network has them."""

    layers: list[LayerWeights]
    origin: WeightsOrigin
    logits: StartLogits | None = None
    """Of a run."""


def open_start_weights(
    text: str, kind: NetworkKind, root: Path, say: Callable[[str], None], *, sha256: str | None = None
) -> StartWeights:
    """Return what ``[model] weights`` names.

    Args:
        text: The name of published weights of this network, a run folder, or a file of the kind that its
            published weights are, or that Keras publishes; paths are relative to ``root``. The address of
            such a file.
        kind: The network that is to be trained.
        root: The folder of the configuration.
        say: Is told what takes long.
        sha256: Of the file at an address, and only then.

    Raises:
        CallerError: CONFIG_BAD; it is none of these, or an address without a hash. WEIGHTS_MISSING; published
            weights cannot be had. TARGET_UNKNOWN; the server does not have the file.
        InputError: WEIGHTS_BAD; the file is damaged, or something else. RUN_BAD; the run is.
        LinkError: A file cannot be read. TRANSPORT; the server or the way to it fails.
    """
    if text.startswith(_ADDRESSES) != (sha256 is not None):
        raise CallerError(
            Reason.CONFIG_BAD,
            "[model] weights_sha256 and an address in weights need each other",
            hint="what comes over a network is taken by its SHA-256 only, and every other file by its name",
        )
    published = {weights.name: weights for weights in kind.published}
    path = root / text
    if text in published:
        return _of_file(find_published(published[text], say), text, published[text])
    if path.is_dir():
        return _of_run(path, text)
    suffix = PurePosixPath(text).suffix
    if sha256 is not None and suffix in _suffixes(kind):
        path = fetch_weights(text, sha256, say)
    if suffix in _suffixes(kind) and path.is_file():
        if kind.keras_files is not None and suffix in H5_SUFFIXES:
            return _of_keras_file(path, text, kind.keras_files)
        weights = next(one for one in kind.published if suffix in _alike(one.suffix))
        return _of_file(path, text, weights)
    names = ", ".join(f'"{name}"' for name in published) or "none of their own"
    raise CallerError(
        Reason.CONFIG_BAD,
        f"[model] weights = {text!r} is neither published weights nor a run folder nor a file of weights",
        hint=f"published for this network: {names}; files: {', '.join(_suffixes(kind)) or 'none'}; "
        f"looked for {path}",
    )


def _of_run(path: Path, text: str) -> StartWeights:
    run = Run.open(path)
    run.check_untouched()
    network = run.keras_model()
    layers = [[np.asarray(weights) for weights in layer.get_weights()] for layer in weighted(network)]
    logits = [np.asarray(weights) for weights in network.get_layer(LOGITS).get_weights()]
    began = run.record.weights
    origin = WeightsOrigin(
        name=text,
        source=f"run of {run.record.created_utc}, {RUN_FILE} {run.record.config_sha256[:12]}",
        sha256=_sha256(path / MODEL_FILE),
        licence="" if began is UNSET else began.licence,
    )
    return StartWeights(layers, origin, StartLogits(run.labels, logits))


def _alike(suffix: str) -> tuple[str, ...]:
    """Return the suffixes of files that are read as one with this suffix."""
    return TORCH_SUFFIXES if suffix in TORCH_SUFFIXES else TFLITE_SUFFIXES


def _suffixes(kind: NetworkKind) -> tuple[str, ...]:
    """Return what the names of files end with that a network takes weights from."""
    found = dict.fromkeys(suffix for one in kind.published for suffix in _alike(one.suffix))
    return (*found, *(H5_SUFFIXES if kind.keras_files is not None else ()))


def _of_keras_file(path: Path, text: str, files: KerasFiles) -> StartWeights:
    published = text.startswith(files.address)
    origin = WeightsOrigin(
        name=text,
        source=files.source if published else f"file {PurePosixPath(text).name}",
        sha256=_sha256(path),
        licence=files.licence if published else "",
    )
    layers = h5_layers(read_h5_file(path), files.pixel_scale, files.pixel_offset, path)
    return StartWeights(layers, origin)


def _of_file(path: Path, text: str, published: PublishedWeights) -> StartWeights:
    if published.suffix in TORCH_SUFFIXES:
        layers = keras_layers(read_torch_file(path), published.pixel_scale, published.pixel_offset, path)
    else:
        layers = unfolded_layers(read_tflite_file(path), published.bias_lift, published.last_scale)
    sha256 = _sha256(path)
    known = sha256 == published.sha256
    origin = WeightsOrigin(
        name=text,
        source=published.source if known else f"file {path.name}",
        sha256=sha256,
        licence=published.licence if known else "",
    )
    return StartWeights(layers, origin)


def unfolded_layers(
    convolutions: Sequence[FoldedConvolution], lift: float, last_scale: float
) -> list[LayerWeights]:
    """Return convolutions with biases as convolutions and batch norms that add the biases.

    Args:
        convolutions: In the order of the network.
        lift: Added to all biases but the last convolution's.
        last_scale: What the last convolution's results are multiplied with.
    """
    found: list[LayerWeights] = []
    for number, one in enumerate(convolutions):
        last = number == len(convolutions) - 1
        scale, added = np.float32(last_scale if last else 1.0), np.float32(0.0 if last else lift)
        nothing, all_of_it = np.zeros_like(one.bias), np.ones_like(one.bias)
        norm = [all_of_it * scale, one.bias * scale + added, nothing, all_of_it - np.float32(NORM_EPSILON)]
        found += [[one.kernel], norm]
    return found


def keras_layers(arrays: Arrays, scale: float, offset: float, path: Path) -> list[LayerWeights]:
    """Return PyTorch's convolutions and batch norms as Keras has them, in the order of the file.

    The first kernel takes over how pixels come in: ours are ``PIXEL_SCALE * p``, without an offset. Its batch
    norm takes the offset: ``conv(p * scale + offset)`` is ``conv(p * scale)`` and a constant, but for the
    padding, which was gray there and is black here.

    Args:
        arrays: By name, ``LAYER.weight`` and so on.
        scale: Of the pixels that the network was trained with.
        offset: Likewise.
        path: For errors.

    Raises:
        InputError: WEIGHTS_BAD; a layer is of another kind, not whole, or has values that are no numbers.
    """
    found: list[LayerWeights] = []
    for name, weight in arrays.items():
        layer, _, part = name.rpartition(".")
        if part != "weight" or weight.ndim == 2:  # a dense layer: the logits of what it was trained for
            continue
        if weight.ndim == 4:
            found.append([_kernel(weight, depthwise=bool(found) and weight.shape[1] == 1)])
        else:
            found.append([_vector(arrays, f"{layer}.{key}", path) for key in _NORM])
        if not all(np.isfinite(array).all() for array in found[-1]):
            raise _bad(path, f"{layer} has values that are no numbers")
    return _with_our_pixels(found, scale, offset, path)


def h5_layers(layers: Sequence[KerasLayer], scale: float, offset: float, path: Path) -> list[LayerWeights]:
    """Return Keras' convolutions and batch norms, in the order of the file.

    That order is the model's, by which Keras itself takes weights: names differ between published files of
    one network (``Conv1``, ``mobl0_conv_0_expand``).

    Args:
        layers: Of the file; dense ones stay out.
        scale: As in :func:`keras_layers`.
        offset: Likewise.
        path: For errors.

    Raises:
        InputError: WEIGHTS_BAD; a layer is of another kind, or has values that are no numbers.
    """
    found: list[LayerWeights] = []
    for layer in layers:
        arrays = layer.arrays
        kernel = arrays.get("depthwise_kernel", arrays.get("kernel"))
        if kernel is not None and kernel.ndim == 2:  # the logits of what it was trained for
            continue
        if kernel is not None and kernel.ndim == 4 and len(arrays) == 1:
            found.append([kernel])
        elif set(arrays) == set(_H5_NORM) and len({array.shape for array in arrays.values()}) == 1:
            found.append([arrays[name] for name in _H5_NORM])
        else:
            raise _bad(path, f"{layer.name} has {', '.join(arrays)}: no convolution and no batch norm")
        if not all(np.isfinite(array).all() for array in found[-1]):
            raise _bad(path, f"{layer.name} has values that are no numbers")
    return _with_our_pixels(found, scale, offset, path)


def _with_our_pixels(
    found: list[LayerWeights], scale: float, offset: float, path: Path
) -> list[LayerWeights]:
    """Let the first two layers, a convolution and its batch norm, take pixels as ours come in."""
    if len(found) < 2 or found[0][0].ndim != 4 or len(found[1]) != len(_NORM):
        raise _bad(path, "it does not begin with a convolution and its batch norm")
    (kernel,), norm = found[0], found[1]
    if norm[2].shape != kernel.shape[3:]:
        raise _bad(path, f"its first batch norm has {norm[2].shape}, expected {kernel.shape[3:]}")
    norm[2] = norm[2] - np.float32(offset) * kernel.sum(axis=(0, 1, 2))
    found[0] = [kernel * np.float32(scale / PIXEL_SCALE)]
    return found


_H5_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
_NORM = ("weight", "bias", "running_mean", "running_var")
"""Keras' order: gamma, beta, mean, variance."""


def _kernel(weight: npt.NDArray[Any], *, depthwise: bool) -> npt.NDArray[np.float32]:
    """Return ``(out, in, h, w)`` as ``(h, w, in, out)``; depthwise ``(c, 1, h, w)`` as ``(h, w, c, 1)``."""
    order = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
    return np.ascontiguousarray(weight.transpose(order), np.float32)


def _vector(arrays: Arrays, name: str, path: Path) -> npt.NDArray[np.float32]:
    if name not in arrays or arrays[name].ndim != 1:
        raise _bad(path, f"{name} is missing, or no list of numbers")
    return arrays[name].astype(np.float32)


def weighted(network: Any) -> list[Any]:
    """Return the layers of a Keras model that have weights, without the logits, in the model's order."""
    return [layer for layer in network.layers if layer.weights and layer.name != LOGITS]


def put_weights(network: Any, start: StartWeights) -> None:
    """Give a new network the weights that training begins with; its logits stay new.

    A network for gray pictures takes the sum over the colours of the first kernel, which answers to gray as
    the whole one does to gray in colour.

    Raises:
        InputError: WEIGHTS_BAD; they are of another network. The network is then half filled.
    """
    layers = weighted(network)
    if len(layers) != len(start.layers):
        raise _other(start, f"{len(start.layers)} layers", f"{len(layers)}")
    for number, (layer, weights) in enumerate(zip(layers, start.layers, strict=True)):
        given = weights
        if number == 0 and _shapes(weights)[0][2:3] == (3,) and tuple(layer.kernel.shape)[2] == 1:
            given = [weights[0].sum(axis=2, keepdims=True), *weights[1:]]
        expected = [tuple(weight.shape) for weight in layer.weights]
        if _shapes(given) != expected:
            raise _other(start, f"{_shapes(given)} in layer {number + 1}, {layer.name},", f"{expected}")
        layer.set_weights(given)


def put_logits(network: Any, start: StartWeights, labels: Sequence[str]) -> tuple[str, ...]:
    """Give the logits of labels that the run had what they were there; return the labels that are new.

    Args:
        network: Whose other layers fit already.
        start: Of a run.
        labels: The network's, in the order of its logits.

    Raises:
        CallerError: CONFIG_BAD; the weights are not a run's.
    """
    if start.logits is None:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"[model] keep_logits: weights {start.origin.name!r} are no run, and have no such logits",
            hint="name a run folder in weights, or leave keep_logits out",
        )
    layer = network.get_layer(LOGITS)
    given = [weights.copy() for weights in layer.get_weights()]
    before = {label: place for place, label in enumerate(start.logits.labels)}
    for place, label in enumerate(labels):
        if label in before:
            for new, old in zip(given, start.logits.weights, strict=True):
                new[..., place] = old[..., before[label]]
    layer.set_weights(given)
    return tuple(label for label in labels if label not in before)


def _shapes(weights: Sequence[npt.NDArray[Any]]) -> list[tuple[int, ...]]:
    return [tuple(array.shape) for array in weights]


def _other(start: StartWeights, found: str, expected: str) -> InputError:
    return InputError(
        Reason.WEIGHTS_BAD,
        f"weights {start.origin.name!r} are of another network: {found} where this one has {expected}",
        hint="give [model] the kind and the sizes that they were trained with",
    )


def _bad(path: Path, what: str) -> InputError:
    return InputError(
        Reason.WEIGHTS_BAD, f"{path} holds no weights that can be used: {what}", hint="take another file"
    )


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
