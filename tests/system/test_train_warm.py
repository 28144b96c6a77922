"""Trainings that begin with published weights, and with a run: up to int8 and the bundle."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from galago_edge.bundle import open_bundle
from galago_edge.commands.cli import main
from galago_edge.contract.errors import Reason
from galago_workstation.run_folder import Run
from galago_workstation.training.networks.efficientnet_lite0 import NETWORK
from real_parts import MissingPartError, missing_part, packaged_file
from test_kit.training_here import training_here

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

COLOURS = {"blue": (200, 60, 40), "green": (60, 200, 40), "red": (40, 60, 200)}
CONFIG = """
[data]
kind = "images"
folder = "{folder}"

[preprocess]
kind = "image"
width = 32
height = 32

[model]
kind = "efficientnet_lite0"
weights = "{weights}"

[train]
min_steps = 0
epochs = 3
head_epochs = 2
batch_size = 8
{more}

[convert]
max_loss_points = 100
"""


def make_data(folder: Path, colours: list[str]) -> None:
    for colour in colours:
        (folder / colour).mkdir(parents=True)
        for number in range(12):
            rng = np.random.default_rng((number, len(colour)))
            noise = rng.normal(0, 25, (40, 40, 3)) + COLOURS[colour]
            cv2.imwrite(str(folder / colour / f"{number}.png"), noise.clip(0, 255).astype(np.uint8))


def configured(folder: Path, name: str, weights: str, more: str = "") -> Path:
    config = folder / f"{name}.toml"
    config.write_text(CONFIG.format(folder=name, weights=weights, more=more), encoding="utf-8")
    return config


def galago(*arguments: object) -> Result:
    with training_here():
        return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A folder with the run ``all`` that began with published weights, and what training said."""
    try:
        weights = packaged_file(NETWORK.published[0].member)
    except MissingPartError as error:
        missing_part(str(error))
    folder = tmp_path_factory.mktemp("warm")
    make_data(folder / "all", ["blue", "green", "red"])
    done = galago("train", configured(folder, "all", str(weights)), "--out", folder / "run")
    assert done.exit_code == 0, done.output
    return folder, done


@pytest.mark.slow
def test_training_says_and_keeps_what_it_began_with(begun: tuple[Path, Result]) -> None:
    folder, done = begun

    assert "begins with EfficientNet-Lite0" in done.output
    assert "Apache-2.0" in done.output
    assert "logits solved on" in done.output
    run = Run.open(folder / "run")
    assert run.record.weights.sha256 == NETWORK.published[0].sha256  # type: ignore[union-attr]
    assert len((folder / "run" / "metrics.csv").read_text().splitlines()) == 4


@pytest.mark.slow
def test_the_network_becomes_int8_and_the_bundle_says_whose_weights_it_has(
    begun: tuple[Path, Result],
) -> None:
    folder, _ = begun
    for command in ("convert", "evaluate"):
        done = galago(command, folder / "run")
        assert done.exit_code == 0, done.output
    assert galago("keys", "new", folder / "key.pem").exit_code == 0
    out = folder / "colours-1.0.0.galago"
    arguments = ("--key", folder / "key.pem", "--name", "colours", "--version", "1.0.0", "--out", out)
    arguments += ("--allow", "so few pictures teach little, and colours are no matter here")
    done = galago("bundle", "build", folder / "run", *arguments)
    assert done.exit_code == 0, done.output

    assert {op.name for op in open_bundle(out).manifest.compat.ops} <= {
        *("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MEAN", "AVERAGE_POOL_2D", "FULLY_CONNECTED", "QUANTIZE"),
        "RESHAPE",
    }
    shown = galago("bundle", "inspect", out).output
    assert "began with weights" in shown
    assert "licence Apache-2.0" in shown


@pytest.mark.slow
def test_a_run_of_other_labels_is_a_beginning_and_its_body_can_stay(begun: tuple[Path, Result]) -> None:
    folder, _ = begun
    make_data(folder / "two", ["blue", "red"])
    config = configured(folder, "two", "run", "body_rate = 0")

    done = galago("train", config, "--out", folder / "next")

    assert done.exit_code == 0, done.output
    then, now = (Run.open(folder / name) for name in ("run", "next"))
    assert now.labels == ("blue", "red")
    assert len((folder / "next" / "metrics.csv").read_text().splitlines()) == 2
    assert now.record.result.validation_accuracy == 1.0
    assert now.record.weights.licence == "Apache-2.0"  # type: ignore[union-attr]
    for old, new in zip(then.keras_model().layers, now.keras_model().layers, strict=True):
        if old.name != "logits":
            for before, after in zip(old.get_weights(), new.get_weights(), strict=True):
                np.testing.assert_array_equal(before, after)


@pytest.mark.slow
def test_weights_that_do_not_fit_are_one_line_and_leave_nothing(begun: tuple[Path, Result]) -> None:
    folder, _ = begun
    config = configured(folder, "all", "run")
    text = config.read_text().replace('"efficientnet_lite0"', '"resnet"')
    other = folder / "other.toml"
    other.write_text(text, encoding="utf-8")

    done = galago("train", other, "--out", folder / "wrong")

    assert done.exit_code == 1
    assert f"[{Reason.WEIGHTS_BAD}]" in done.output
    assert "another network" in done.output
    assert not (folder / "wrong").exists()
