"""MobileNetV2 with the weights of a file of Keras answers as Keras' own; the file may have an address."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galago_converters.export import export
from galago_converters.frameworks import import_tensorflow
from galago_converters.inputs import InputSpec
from galago_converters.inspection import report
from galago_converters.model_runs import int8_logits
from galago_edge.contract.errors import CallerError, InputError, LinkError, Reason
from galago_workstation.training.network_kind import PIXEL_SCALE, NetworkKind, build_network
from galago_workstation.training.networks.mobilenet_v1 import NETWORK as WITHOUT_FILES
from galago_workstation.training.networks.mobilenet_v2 import NETWORK, MobileNetV2, eighths
from galago_workstation.training.weights.h5_file import KerasLayer
from galago_workstation.training.weights.start_weights import (
    StartWeights,
    h5_layers,
    open_start_weights,
    put_weights,
)
from real_parts.files import FileServer

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PIXELS, LABELS, WIDTH = 96, 5, 0.35
FILES = NETWORK.keras_files
assert FILES is not None
PLAIN = dataclasses.replace(NETWORK, keras_files=dataclasses.replace(FILES, pixel_offset=0.0))
"""The same for pixels without an offset: around the picture, padding is then black there too."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Keras' own network, with kernels and statistics that let pictures through, and its file."""
    keras = import_tensorflow().keras
    net = keras.applications.MobileNetV2((PIXELS, PIXELS, 3), WIDTH, weights=None, classes=LABELS)
    rng = np.random.default_rng(4)
    for layer in net.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            count = layer.gamma.shape[0]
            spreads = ((1.0, 0.1), (0.3, 0.2), (0.0, 0.1), (1.0, 0.1))
            layer.set_weights([np.abs(rng.normal(*spread, count)) for spread in spreads])
        elif layer.weights:
            kernel, *bias = layer.get_weights()
            depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
            inputs = kernel[..., 0, 0].size if depthwise else kernel[..., 0].size
            layer.set_weights([rng.normal(0, (1.5 / inputs) ** 0.5, kernel.shape), *bias])
    path = tmp_path_factory.mktemp("keras") / "mobilenet.h5"
    net.save(path)
    return net, path


def begun(start: StartWeights, keras_net: Any, pixels: int = PIXELS) -> Any:
    """Return our network with these weights and Keras' logits."""
    ours = build_network(MobileNetV2(width=WIDTH), (pixels, pixels, 3), LABELS, seed=1)
    put_weights(ours, start)
    ours.get_layer("logits").set_weights(keras_net.get_layer("predictions").get_weights())
    return ours


def some_pixels(count: int, side: int = PIXELS) -> Any:
    """Return pictures that differ in colour and contrast too."""
    rng = np.random.default_rng(7)
    low, high = np.sort(rng.integers(0, 256, (2, count, 1, 1, 3)), axis=0)
    coarse = low + rng.random((count, side // 8, side // 8, 3)) * (high - low)
    return coarse.round().repeat(8, axis=1).repeat(8, axis=2).astype(np.float32)


def opened(path: Path, kind: NetworkKind = NETWORK) -> StartWeights:
    return open_start_weights(path.name, kind, path.parent, pytest.fail)


def test_it_answers_as_keras_own_with_the_weights_of_its_file(published: tuple[Any, Path]) -> None:
    net, path = published
    pixels = some_pixels(4)
    expected = net(pixels * np.float32(PIXEL_SCALE), training=False).numpy()

    logits = begun(opened(path, PLAIN), net)(pixels, training=False).numpy()

    found = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.ptp(expected, axis=0).max() > 0.001  # the pictures are not all one to it
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_offset_of_its_pixels_is_in_the_first_batch_norm(published: tuple[Any, Path]) -> None:
    net, path = published
    keras = import_tensorflow().keras
    pixels = some_pixels(1)
    theirs = keras.Model(net.input, net.get_layer("Conv1_relu").output)(pixels * PIXEL_SCALE - 1.0).numpy()
    ours = begun(opened(path), net)
    first = next(layer for layer in ours.layers if isinstance(layer, keras.layers.ReLU))

    found = keras.Model(ours.input, first.output)(pixels).numpy()

    # the last row and column see the padding, which is black here and gray there
    np.testing.assert_allclose(found[:, :-1, :-1], theirs[:, :-1, :-1], rtol=1e-4, atol=1e-4)


def test_channels_are_rounded_as_keras_does_at_every_published_width() -> None:
    import_tensorflow()
    from keras.src.applications.mobilenet_v2 import _make_divisible

    for width in (0.35, 0.5, 0.75, 1.0, 1.3, 1.4):
        for channels in (16, 24, 32, 64, 96, 160, 320, 1280):
            assert eighths(channels * width) == _make_divisible(channels * width, 8)


def test_above_width_1_the_last_channels_grow_too() -> None:
    keras = import_tensorflow().keras
    theirs = keras.applications.MobileNetV2((32, 32, 3), 1.4, weights=None, include_top=False)
    ours = build_network(MobileNetV2(width=1.4), (32, 32, 3), 2, seed=1)

    shapes = [tuple(weight.shape) for weight in theirs.weights]

    assert [tuple(weight.shape) for weight in ours.weights[:-2]] == shapes


@pytest.mark.slow
def test_its_int8_model_is_accepted_and_gives_its_answers(published: tuple[Any, Path]) -> None:
    net, path = published
    side = 32
    ours = begun(opened(path, PLAIN), net, side)
    pixels = some_pixels(32, side)
    spec = InputSpec((side, side, 3), "uint8", 1.0, "NHWC")

    made = export(ours, spec, pixels.astype(np.uint8), labels=LABELS)

    assert {node.name for node in report(made.int8_model).nodes} <= {
        *("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MEAN", "FULLY_CONNECTED", "QUANTIZE", "RESHAPE")
    }
    answers = ours(pixels, training=False).numpy()
    found = int8_logits(made.int8_model, pixels.astype(np.uint8))
    between = [logits - logits.mean(axis=0) for logits in (answers, found)]
    assert np.corrcoef(*(one.ravel() for one in between))[0, 1] > 0.95


def test_a_file_of_another_width_is_refused_with_the_layer(published: tuple[Any, Path]) -> None:
    ours = build_network(MobileNetV2(width=0.5), (32, 32, 3), 2, seed=1)

    with pytest.raises(InputError, match=r"layer 11") as caught:
        put_weights(ours, opened(published[1]))

    assert caught.value.reason == Reason.WEIGHTS_BAD


def layer(**arrays: Any) -> KerasLayer:
    return KerasLayer("it", {name: np.asarray(array, np.float32) for name, array in arrays.items()})


CONV = layer(kernel=np.ones((3, 3, 3, 2)))
NORM = layer(gamma=[1, 1], beta=[0, 0], moving_mean=[0, 0], moving_variance=[1, 1])


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([], "does not begin with a convolution"),
        ([NORM, CONV], "does not begin with a convolution"),
        ([CONV, CONV], "does not begin with a convolution"),
        ([layer(kernel=np.ones((3, 3, 3, 2)), bias=[0, 0])], "it has kernel, bias"),
        ([CONV, layer(gamma=[1, 1])], "it has gamma"),
        ([CONV, layer(gamma=[1], beta=[0], moving_mean=[0], moving_variance=[1])], "first batch norm"),
        ([layer(kernel=np.full((3, 3, 3, 2), np.inf)), NORM], "no numbers"),
    ],
)
def test_layers_that_no_such_network_has_are_refused(layers: list[KerasLayer], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        h5_layers(layers, 1.0, 0.0, Path("net.h5"))

    assert caught.value.reason == Reason.WEIGHTS_BAD


@pytest.fixture
def server(
    published: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FileServer]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    started = FileServer(published[1].parent).start()
    yield started
    started.stop()


def test_a_file_is_fetched_from_its_address_once_by_its_hash(
    server: FileServer, published: tuple[Any, Path], tmp_path: Path
) -> None:
    sha256 = hashlib.sha256(published[1].read_bytes()).hexdigest()
    address = f"{server.url}mobilenet.h5"
    publisher = dataclasses.replace(FILES, address=server.url)
    kind = dataclasses.replace(NETWORK, keras_files=publisher)
    said: list[str] = []

    starts = [open_start_weights(address, kind, tmp_path, said.append, sha256=sha256) for _ in range(2)]

    assert said == [f"weights mobilenet.h5: downloading {address}"]
    assert len(server.requests) == 1
    for start in starts:
        assert (start.origin.name, start.origin.sha256) == (address, sha256)
        assert (start.origin.source, start.origin.licence) == (publisher.source, "Apache-2.0")
    other = open_start_weights(address, NETWORK, tmp_path, pytest.fail, sha256=sha256)
    assert (other.origin.source, other.origin.licence) == ("file mobilenet.h5", "")  # of somebody else


def test_what_comes_with_another_hash_is_not_kept(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"expected {'0' * 64}") as caught:
        open_start_weights(f"{server.url}mobilenet.h5", NETWORK, tmp_path, lambda _: None, sha256="0" * 64)

    assert caught.value.reason == Reason.WEIGHTS_BAD
    assert not (tmp_path / "cache").exists()


def test_a_server_that_breaks_off_says_what_to_do(server: FileServer, tmp_path: Path) -> None:
    server.cut_after_bytes = 1_000

    with pytest.raises(LinkError, match="ended after 1000") as caught:
        open_start_weights(f"{server.url}mobilenet.h5", NETWORK, tmp_path, lambda _: None, sha256="0" * 64)

    assert "bring the file" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "sha256", "said"),
    [
        ("https://host/net.h5", None, "need each other"),
        ("net.h5", "0" * 64, "need each other"),
        ("https://ho st/net.h5", "0" * 64, "no address of a file"),
        ("https://host/net.pickle", "0" * 64, "neither published weights"),
    ],
)
def test_an_address_needs_its_hash_and_to_be_one(
    text: str, sha256: str | None, said: str, tmp_path: Path
) -> None:
    with pytest.raises(CallerError, match=said) as caught:
        open_start_weights(text, NETWORK, tmp_path, lambda _: None, sha256=sha256)

    assert caught.value.reason == Reason.CONFIG_BAD


def test_a_network_without_such_files_takes_none(published: tuple[Any, Path]) -> None:
    with pytest.raises(CallerError, match="neither published weights"):
        opened(published[1], WITHOUT_FILES)
