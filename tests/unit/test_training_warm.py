"""Warm starts: published weights say what they say elsewhere, and a run's weights go on in another one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from galago_converters.frameworks import import_tensorflow
from galago_edge.bundle.weights_origin import WeightsOrigin
from galago_edge.contract.errors import CallerError, InputError, Reason
from galago_workstation.data.batches import Batches, Witness
from galago_workstation.data.feed import ChangedInputs, Indices
from galago_workstation.data.worker_crew import Begin
from galago_workstation.training.network_kind import PIXEL_SCALE, build_network
from galago_workstation.training.networks.efficientnet_lite0 import NETWORK, EfficientNetLite0
from galago_workstation.training.networks.resnet import ResNet
from galago_workstation.training.phases import let_learn, optimizer, phases, schedule
from galago_workstation.training.solved_logits import embeddings, solve_logits
from galago_workstation.training.weights.start_weights import (
    LOGITS,
    StartLogits,
    StartWeights,
    keras_layers,
    open_start_weights,
    put_logits,
    put_weights,
    weighted,
)
from galago_workstation.training.weights.torch_file import Arrays, read_torch_file
from galago_workstation.training_config import TrainOptions
from real_parts import MissingPartError, missing_part, packaged_file
from test_kit.torch_files import described, legacy_file, storages_of

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Real = npt.NDArray[np.float64]
PUBLISHED = NETWORK.published[0]


def part(path: str) -> Path:
    try:
        return packaged_file(path)
    except MissingPartError as error:
        missing_part(str(error))


@pytest.fixture(scope="module")
def imagenet() -> tuple[StartWeights, Arrays]:
    path = part(PUBLISHED.member)
    return open_start_weights(str(path), NETWORK, Path(), pytest.fail), read_torch_file(path)


def network(pixels: int, labels: int = 3, channels: int = 3) -> Any:
    return build_network(EfficientNetLite0(), (pixels, pixels, channels), labels, seed=1)


def test_what_the_weights_are_is_kept(imagenet: tuple[StartWeights, Arrays]) -> None:
    origin = imagenet[0].origin

    assert origin.sha256 == PUBLISHED.sha256
    assert origin.licence == "Apache-2.0"
    assert "Google" in origin.source


# labels of ImageNet (ILSVRC 2012), as every list of them has them
ANSWERS = {
    "chelsea.png": (281, 282, 285),  # a cat: tabby, tiger cat, Egyptian cat
    "coffee.png": (967,),  # espresso
    "motorcycle_left.png": (665, 670),  # moped, motor scooter
    "camera.png": (872,),  # tripod
}


def test_published_weights_know_the_photographs_that_everybody_has(
    imagenet: tuple[StartWeights, Arrays],
) -> None:
    start, arrays = imagenet
    whole = network(224, labels=1000)
    put_weights(whole, start)
    whole.get_layer("logits").set_weights([arrays["_fc.weight"].T, arrays["_fc.bias"]])

    for name, expected in ANSWERS.items():
        picture = cv2.imread(str(part(f"skimage/data/{name}")))[:, :, ::-1]
        side = min(picture.shape[:2])
        top, left = ((size - side) // 2 for size in picture.shape[:2])
        square = cv2.resize(
            picture[top : top + side, left : left + side], (224, 224), interpolation=cv2.INTER_AREA
        )
        logits = whole(square[None].astype(np.float32), training=False).numpy()[0]
        assert int(logits.argmax()) in expected, name


def _convolved(x: Real, kernel: Real, stride: int, groups: int) -> Real:
    """Return PyTorch's ``conv2d`` of ``(c, h, w)``, padded as TensorFlow does for an even size."""
    out_channels, per_group, size, _ = kernel.shape
    height, width = x.shape[1] // stride, x.shape[2] // stride
    pads = [max((side - 1) * stride + size - side * stride, 0) for side in (height, width)]
    padded = np.pad(x, [(0, 0), *((pad // 2, pad - pad // 2) for pad in pads)])
    result = np.zeros((out_channels, height, width))
    for channel in range(out_channels):
        first = channel * groups // out_channels * per_group
        for row, column in np.ndindex(height, width):
            patch = padded[first : first + per_group, row * stride :, column * stride :][:, :size, :size]
            result[channel, row, column] = (patch * kernel[channel]).sum()
    return result


def _normed(x: Real, arrays: Arrays, name: str) -> Real:
    gamma, beta, mean, variance = (
        arrays[f"{name}.{key}"].astype(np.float64)[:, None, None]
        for key in ("weight", "bias", "running_mean", "running_var")
    )
    return np.asarray((x - mean) / np.sqrt(variance + 1e-3) * gamma + beta)


def test_the_first_layers_compute_what_pytorch_s_formulas_say(imagenet: tuple[StartWeights, Arrays]) -> None:
    start, arrays = imagenet
    pixels = np.random.default_rng(5).integers(0, 256, (16, 16, 3)).astype(np.float64)
    x = ((pixels - 127) / 128).transpose(2, 0, 1)
    x = _normed(_convolved(x, arrays["_conv_stem.weight"].astype(np.float64), 2, 1), arrays, "_bn0")
    x = x.clip(0, 6)
    block = "_blocks.0"
    x = _convolved(x, arrays[f"{block}._depthwise_conv.weight"].astype(np.float64), 1, 32)
    x = _normed(x, arrays, f"{block}._bn1").clip(0, 6)
    x = _convolved(x, arrays[f"{block}._project_conv.weight"].astype(np.float64), 1, 1)
    expected = _normed(x, arrays, f"{block}._bn2").transpose(1, 2, 0)
    whole = network(16)
    put_weights(whole, start)
    keras = import_tensorflow().keras

    found = keras.Model(whole.input, weighted(whole)[5].output)(pixels[None].astype(np.float32)).numpy()[0]

    # in the last row and column the first kernel sees the padding, which is black here and gray there
    np.testing.assert_allclose(found[:6, :6], expected[:6, :6], rtol=1e-3, atol=1e-3)


def test_a_network_for_gray_pictures_answers_as_the_one_in_colour(
    imagenet: tuple[StartWeights, Arrays],
) -> None:
    gray, colour = network(32, channels=1), network(32)
    for one in (gray, colour):
        put_weights(one, imagenet[0])
        one.get_layer("logits").set_weights([np.full((1280, 3), 0.01, np.float32), np.zeros(3, np.float32)])
    pixels = np.random.default_rng(6).integers(0, 256, (2, 32, 32, 1)).astype(np.float32)

    np.testing.assert_allclose(gray(pixels), colour(np.repeat(pixels, 3, axis=3)), rtol=1e-3, atol=1e-3)


def toy(**changed: npt.NDArray[Any]) -> Arrays:
    rng = np.random.default_rng(1)
    arrays: Arrays = {"stem.weight": rng.random((4, 3, 3, 3), np.float32)}
    arrays |= {f"norm.{key}": rng.random(4, np.float32) for key in ("weight", "bias")}
    arrays |= {f"norm.running_{key}": rng.random(4, np.float32) for key in ("mean", "var")}
    return arrays | {"head.weight": rng.random((7, 4), np.float32)} | changed


def test_the_offset_of_the_pixels_goes_into_the_batch_norm() -> None:
    arrays = toy()

    (kernel,), norm = keras_layers(arrays, scale=0.5, offset=-2.0, path=Path("x"))

    np.testing.assert_allclose(kernel * PIXEL_SCALE, arrays["stem.weight"].transpose(2, 3, 1, 0) * 0.5, 1e-6)
    shift = 2.0 * arrays["stem.weight"].sum(axis=(1, 2, 3))
    np.testing.assert_allclose(norm[2], arrays["norm.running_mean"] + shift, 1e-6)
    assert len(keras_layers(arrays, scale=0.5, offset=-2.0, path=Path("x"))) == 2  # dense layers stay out


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"stem.weight": np.full((4, 3, 3, 3), np.nan, np.float32)}, "stem has values that are no numbers"),
        ({"norm.running_var": np.zeros((4, 1), np.float32)}, "norm.running_var is missing"),
        ({"stem.weight": np.zeros(4, np.float32)}, "stem.bias is missing"),
    ],
)
def test_weights_that_cannot_be_are_refused(changed: Arrays, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        keras_layers(toy(**changed), scale=1.0, offset=0.0, path=Path("net.pth"))

    assert caught.value.reason == Reason.WEIGHTS_BAD


def test_weights_of_another_network_are_refused_with_the_layer(imagenet: tuple[StartWeights, Arrays]) -> None:
    start = imagenet[0]
    kernel = np.zeros((5, 5, 32, 1), np.float32)
    other = StartWeights([*start.layers[:2], [kernel], *start.layers[3:]], start.origin)

    with pytest.raises(InputError, match=r"\(5, 5, 32, 1\).*layer 3.*\(3, 3, 32, 1\)") as caught:
        put_weights(network(32), other)

    assert caught.value.reason == Reason.WEIGHTS_BAD


def test_a_file_of_another_network_is_refused_by_its_number_of_layers(tmp_path: Path) -> None:
    path = tmp_path / "toy.pth"
    path.write_bytes(legacy_file(described(toy()), storages_of(toy())))
    start = open_start_weights("toy.pth", NETWORK, tmp_path, pytest.fail)
    assert start.origin.licence == ""  # nobody said one

    with pytest.raises(InputError, match="2 layers"):
        put_weights(network(32), start)


@pytest.mark.parametrize("text", ["imagnet", "runs/none", "notes.txt"])
def test_what_names_no_weights_is_refused_with_what_there_is(text: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()

    with pytest.raises(CallerError, match="neither published weights") as caught:
        open_start_weights(text, NETWORK, tmp_path, pytest.fail)

    assert caught.value.reason == Reason.CONFIG_BAD
    assert '"imagenet"' in str(caught.value.hint)


def batches() -> Iterator[tuple[Any, Any]]:
    rng = np.random.default_rng(3)
    while True:
        labels = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 8)]
        yield rng.random((8, 16, 16, 3), np.float32) * 255, labels


def learn(net: Any, options: TrainOptions, number: int) -> list[dict[str, npt.NDArray[np.float32]]]:
    """Train one step of a phase; return the weights before and behind it, by their paths."""
    keras = import_tensorflow().keras
    phase = phases(options, warm=True)[number]
    let_learn(keras, net, phase)
    rate = schedule(keras, options, phase, steps=1)
    net.compile(
        optimizer=optimizer(keras, options, phase, net, rate),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
    )
    before = {weight.path: weight.numpy() for weight in net.weights}
    net.fit(batches(), steps_per_epoch=1, epochs=1, shuffle=False, verbose=0)
    return [before, {weight.path: weight.numpy() for weight in net.weights}]


OPTIONS = TrainOptions(epochs=4, head_epochs=1, warmup_epochs=0, weight_decay=0.0, body_rate=0.1)


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {path for path, value in before.items() if not np.array_equal(value, after[path])}


def test_first_the_head_learns_alone_and_then_all_but_the_statistics() -> None:
    net = build_network(ResNet(filters=4), (16, 16, 3), 3, seed=1)

    head = changed(*learn(net, OPTIONS, 0))
    whole = changed(*learn(net, OPTIONS, 1))

    assert head == {"logits/kernel", "logits/bias"}
    kernels = {weight.path for weight in net.weights if "batch_normalization" not in weight.path}
    assert whole == kernels


def test_the_body_learns_slower_the_farther_it_is_from_the_logits() -> None:
    net = build_network(ResNet(filters=4), (16, 16, 3), 3, seed=1)
    options = TrainOptions(**{**_fields(OPTIONS), "layer_decay": 0.5})

    before, after = learn(net, options, 1)

    # Adam's first step is the learning rate, whatever the gradient
    steps = [
        float(np.abs(after[layer.kernel.path] - before[layer.kernel.path]).max())
        for layer in (*weighted(net), net.get_layer("logits"))
        if hasattr(layer, "kernel")
    ]
    rates = [step / OPTIONS.learning_rate for step in steps]
    expected = [0.1 * 0.5**farther for farther in reversed(range(len(rates) - 1))] + [1.0]
    np.testing.assert_allclose(rates, expected, rtol=0.02)


def _fields(options: TrainOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in options.__struct_fields__}


@pytest.mark.parametrize(
    ("options", "epochs"),
    [
        (TrainOptions(epochs=20), [20]),
        (TrainOptions(epochs=20, head_epochs=5), [5, 15]),
        (TrainOptions(epochs=3, head_epochs=5), [3]),
        (TrainOptions(epochs=20, body_rate=0.0), [1]),
    ],
)
def test_the_phases_are_the_epochs(options: TrainOptions, epochs: list[int]) -> None:
    assert [phase.epochs for phase in phases(options, warm=True)] == epochs
    assert [phase.body_learns for phase in phases(options, warm=False)] == [True]


def small(labels: int) -> Any:
    return build_network(ResNet(filters=4, stages=1), (8, 8, 1), labels, seed=labels)


def test_logits_of_labels_that_a_run_had_go_on_and_new_ones_begin_with_chance() -> None:
    origin = WeightsOrigin(name="run", source="a run", sha256="0" * 64)
    old, new = small(2), small(3)
    kernel, bias = old.get_layer(LOGITS).get_weights()[0], np.array([5.0, 7.0], np.float32)
    chance = [weights.copy() for weights in new.get_layer(LOGITS).get_weights()]
    start = StartWeights([], origin, StartLogits(("cat", "dog"), [kernel, bias]))

    assert put_logits(new, start, ("ant", "cat", "dog")) == ("ant",)

    kernel_now, bias_now = new.get_layer(LOGITS).get_weights()
    np.testing.assert_array_equal(kernel_now[:, 1:], kernel)
    np.testing.assert_array_equal(kernel_now[:, 0], chance[0][:, 0])
    assert bias_now.tolist() == [0.0, 5.0, 7.0]


def test_logits_can_be_kept_of_a_run_only() -> None:
    origin = WeightsOrigin(name="imagenet", source="somebody", sha256="0" * 64)
    with pytest.raises(CallerError, match="are no run") as refused:
        put_logits(small(2), StartWeights([], origin), ("cat", "dog"))
    assert refused.value.reason is Reason.CONFIG_BAD


def test_solved_logits_of_a_body_that_stays_are_only_measured() -> None:
    net = build_network(ResNet(filters=4), (16, 16, 3), 3, seed=1)

    assert changed(*learn(net, TrainOptions(body_rate=0.0), 0)) == set()


class TwoColours:
    """A feed of plain pictures, each nearly one of two grays, which no epoch changes."""

    def __init__(self) -> None:
        rng = np.random.default_rng(4)
        grays = np.tile([60, 180], 6)[:, None, None, None]
        self._pictures = (grays + rng.integers(0, 20, (12, 16, 16, 3))).astype(np.uint8)

    def __len__(self) -> int:
        return 12

    def plain(self, indices: Indices) -> npt.NDArray[np.uint8]:
        return self._pictures[indices]

    def name(self, index: int) -> str:
        return f"sample {index}"

    def augmented(self, epoch: int, indices: Indices, begin: Begin | None = None) -> ChangedInputs:
        return ChangedInputs(self.plain(indices), indices, np.ones(len(indices), np.float32))


def test_logits_are_solved_on_what_the_body_gives_for_samples_as_they_are_and_changed() -> None:
    feed = TwoColours()
    labels = np.tile([0, 1], 6).astype(np.int32)
    batches = Batches(
        feed, labels.tolist(), classes=2, batch_size=4, least_steps=6, seed=1, witness=Witness(feed)
    )
    net = build_network(ResNet(filters=4), (16, 16, 3), 2, seed=1)

    seen = embeddings(import_tensorflow(), net, feed, labels, batches)
    solved = solve_logits(seen, activation="softmax", label_smoothing=0.0, label_weights=None)

    assert seen.samples == 12 and seen.values.shape == (12 + 6 * 4, 16) == (*seen.targets.shape[:1], 16)
    np.testing.assert_array_equal(seen.targets[:12].argmax(axis=1), labels)
    net.get_layer("logits").set_weights([solved.kernel, solved.bias])
    answers = net(feed.plain(np.arange(12)).astype(np.float32), training=False).numpy()
    np.testing.assert_allclose(answers, seen.values[:12] @ solved.kernel + solved.bias, atol=1e-3)
    np.testing.assert_array_equal(answers.argmax(axis=1), labels)
