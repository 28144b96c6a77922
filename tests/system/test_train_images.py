"""``galago train`` on pictures: what it leaves, that it repeats, and what it refuses."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from galago_edge.commands.cli import main
from galago_edge.preprocess import ImagePreprocessor
from galago_workstation.data.sample import PARTS
from galago_workstation.data.sample_reader import real_inputs
from galago_workstation.run_folder import Run, weights_sha256
from test_kit.training_here import training_here

# Keras 3.15 saves its variables through an interface that numpy 2 is about to drop
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CONFIG = """
[data]
kind = "images"
folder = "pictures"
background = ["plain"]

[preprocess]
kind = "image"
width = 16
height = 16
color = "gray"

[model]
kind = "resnet"
filters = 4
stages = 2

[augment]
flip = true
shift = 0.1
noise = 4

[train]
min_steps = 0
epochs = 4
batch_size = 16
learning_rate = 0.02
seed = 7

[decision.label.stripes]
on = 0.9
"""
LABELS = ("checks", "plain", "stripes")


def picture(label: str, number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    rng = np.random.default_rng((number, LABELS.index(label)))
    row, column = np.indices((20, 20))
    pattern = {"plain": 0 * row, "stripes": row // 3 % 2, "checks": (row // 3 + column // 3) % 2}[label]
    gray = 60 + 120 * pattern + rng.integers(-30, 30, pattern.shape)
    return np.repeat(gray.clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def make_data(folder: Path, count: int = 40) -> Path:
    for label in LABELS:
        (folder / "pictures" / label).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(str(folder / "pictures" / label / f"{number}.png"), picture(label, number))
    checks = folder / "pictures" / "checks"  # a name that is no UTF-8 is a name too
    (checks / f"{count - 1}.png").rename(checks / os.fsdecode(b"caf\xe9.png"))
    config = folder / "config.toml"
    config.write_text(CONFIG, encoding="utf-8")
    return config


def train(config: Path, out: Path) -> Result:
    with training_here():
        return CliRunner().invoke(main, ["train", str(config), "--out", str(out)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, subprocess.CompletedProcess[str]]:
    """A run as a user makes one: in a process of its own."""
    folder = tmp_path_factory.mktemp("train")
    config = make_data(folder)
    done = subprocess.run(
        [sys.executable, "-m", "galago_edge", "train", config, "--out", folder / "run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Run.open(folder / "run"), done


@pytest.mark.slow
def test_progress_is_plain_lines_and_nothing_else(
    trained: tuple[Run, subprocess.CompletedProcess[str]],
) -> None:
    run, done = trained
    lines = done.stdout.splitlines()
    assert done.stderr == ""
    assert lines[0].startswith("3 labels; samples: ")
    assert lines[1].startswith("to learn from: ")
    assert lines[2].startswith("trains on ") and lines[2].endswith("; float32")
    epochs = lines[next(at for at, line in enumerate(lines) if line.startswith("epoch ")) :]
    assert [line.partition(":")[0] for line in epochs[:4]] == [f"epoch {number}/4" for number in (1, 2, 3, 4)]
    assert "left at most" in epochs[0]
    assert epochs[4].startswith("kept epoch ")
    assert epochs[5:] == [f"run folder: {run.path}"]


@pytest.mark.slow
def test_the_run_folder_holds_what_later_steps_need(
    trained: tuple[Run, subprocess.CompletedProcess[str]],
) -> None:
    run, _ = trained
    files = {path.name for path in run.path.iterdir()}
    expected = {"config.toml", "run.json", "split.json", "metrics.csv", "curves.png", "environment.json"}
    assert files == {*expected, "model.keras"}
    assert (run.path / "config.toml").read_text() == CONFIG
    model = (run.path / "model.keras").read_bytes()
    assert run.record.model_sha256 == hashlib.sha256(model).hexdigest()
    run.check_untouched()
    assert run.labels == LABELS
    assert [label.background for label in run.label_specs()] == [False, True, False]
    assert run.label_specs()[2].policy.on == 0.9
    assert {part: len(run.samples(part)) for part in PARTS} == run.record.samples
    assert sum(run.record.samples.values()) == 120
    assert json.loads((run.path / "environment.json").read_text())["packages"]["tensorflow"]
    assert cv2.imread(str(run.path / "curves.png")) is not None


@pytest.mark.slow
def test_metrics_follow_training_and_witness_augmentation(
    trained: tuple[Run, subprocess.CompletedProcess[str]],
) -> None:
    run, _ = trained
    with (run.path / "metrics.csv").open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1]["learning_rate"] < 1e-4 < rows[0]["learning_rate"]
    assert all(row["augment_change"] > 1.0 and row["augment_fresh"] > 0.9 for row in rows)
    best = max(rows, key=lambda row: (row["validation_accuracy"], -row["validation_loss"]))
    assert run.record.result.best_epoch == best["epoch"]


@pytest.mark.slow
def test_the_model_is_the_best_epoch_and_takes_the_run_s_own_inputs(
    trained: tuple[Run, subprocess.CompletedProcess[str]],
) -> None:
    run, _ = trained
    samples = run.samples("validation")
    inputs = run.inputs(samples)
    assert inputs.shape == (len(samples), 16, 16, 1)
    spec = run.config.preprocess
    assert np.array_equal(inputs[0], ImagePreprocessor(spec)(run.raw(samples[0])))  # type: ignore[arg-type]
    network = run.keras_model()
    logits = network.predict(real_inputs(inputs), verbose=0)
    assert logits.shape == (len(samples), 3)
    right = logits.argmax(axis=1) == [sample.label for sample in samples]
    assert right.mean() == pytest.approx(run.record.result.validation_accuracy)
    assert right.mean() > 0.5
    assert weights_sha256(network) == run.record.result.weights_sha256


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(
    trained: tuple[Run, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """In another process, from a copy of the data elsewhere, over a run that is already there."""
    run, _ = trained
    config = make_data(tmp_path)
    first = train(config, tmp_path / "run")
    assert first.exit_code == 0, first.output
    assert Run.open(tmp_path / "run").record.result.weights_sha256 == run.record.result.weights_sha256
    config.write_text(CONFIG.replace("seed = 7", "seed = 8").replace("epochs = 4", "epochs = 1"))
    assert train(config, tmp_path / "run").exit_code == 0
    again = Run.open(tmp_path / "run")
    assert again.record.result.weights_sha256 != run.record.result.weights_sha256
    assert again.record.samples_sha256 == run.record.samples_sha256  # the split does not follow the seed


@pytest.mark.slow
def test_a_run_moves_together_with_its_data(
    trained: tuple[Run, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    run, _ = trained
    (tmp_path / "elsewhere").mkdir()
    moved = tmp_path / "elsewhere" / "run"
    subprocess.run(["cp", "-r", run.path, moved], check=True)
    there = Run.open(moved).samples("test")[0].path
    assert there is not None
    assert there.is_relative_to(run.path.parent)  # the data stayed: found by its absolute path
    subprocess.run(
        ["cp", "-r", run.path.parent / "pictures", tmp_path / "elsewhere" / "pictures"], check=True
    )
    for part in PARTS:
        for one in Run.open(moved).samples(part):
            assert one.path is not None
            assert one.path.is_relative_to(tmp_path) and one.path.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 3, "NO_SPACE"),
        (KeyboardInterrupt(), 130, "Interrupted"),
    ],
    ids=["disk full", "interrupted"],
)
def test_a_training_that_breaks_off_leaves_the_old_run_whole(
    trained: tuple[Run, subprocess.CompletedProcess[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    said: str,
) -> None:
    run, _ = trained
    out = tmp_path / "run"
    subprocess.run(["cp", "-r", run.path, out], check=True)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def break_off(*_: object) -> None:
        raise error

    monkeypatch.setattr("galago_workstation.training.epoch_keeper.write_metrics", break_off)
    result = train(make_data(tmp_path), out)
    assert result.exit_code == code
    assert said in result.output
    assert "Traceback" not in result.output
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert not (tmp_path / "run.part").exists()


@pytest.mark.parametrize(
    ("break_it", "said", "code"),
    [
        (lambda folder: (folder / "pictures" / "empty").mkdir(), "CLASS_EMPTY", 1),
        (lambda folder: (folder / "pictures" / "Plain").mkdir(), "LABELS_REPEAT", 1),
        (lambda folder: (folder / "config.toml").write_text(CONFIG + "colour = 1\n"), "CONFIG_BAD", 2),
        (lambda folder: (folder / "config.toml").unlink(), "CONFIG_BAD", 2),
        (
            lambda folder: (folder / "config.toml").write_text(CONFIG.replace('"plain"', '"x"')),
            "CONFIG_BAD",
            2,
        ),
        (lambda folder: (folder / "pictures").rename(folder / "other"), "DATA_BAD", 1),
        (lambda folder: (folder / "out").write_text("a file"), "EXISTS", 2),
    ],
)
def test_bad_input_is_one_line_with_a_reason(tmp_path: Path, break_it: Any, said: str, code: int) -> None:
    config = make_data(tmp_path, count=4)
    break_it(tmp_path)
    result = train(config, tmp_path / "out")
    assert result.exit_code == code
    errors = [line for line in result.stderr.splitlines() if not line.startswith("Hint: ")]
    assert len(errors) == 1
    assert errors[0].endswith(f"[{said}]")
    assert not (tmp_path / "out").is_dir()


@pytest.mark.parametrize("content", [b"", b"a", b"not a picture", b"\x89PNG\r\n\x1a\n"])
def test_an_unreadable_picture_stops_training_before_it_starts(tmp_path: Path, content: bytes) -> None:
    """Whatever part it belongs to: its content decides that."""
    config = make_data(tmp_path, count=6)
    (tmp_path / "pictures" / "plain" / "3.png").write_bytes(content)
    result = train(config, tmp_path / "out")
    assert result.exit_code == 1
    assert "3.png" in result.stderr
    assert "IMAGE_UNREADABLE" in result.stderr
    assert "epoch" not in result.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_augmentation_that_does_nothing_stops_training(tmp_path: Path) -> None:
    config = make_data(tmp_path, count=30)
    text = CONFIG.partition("[augment]")[0] + "[augment]\nnoise = 0.01\n[train]\nepochs = 20\n"
    config.write_text(text.replace("filters = 4", "filters = 4\nblocks = 1"))
    result = train(config, tmp_path / "out")
    assert result.exit_code == 2
    assert "leaves every input as it is" in result.stderr


@pytest.mark.slow
def test_a_damaged_run_is_refused(
    trained: tuple[Run, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    run, _ = trained
    out = tmp_path / "run"
    subprocess.run(["cp", "-r", run.path, out], check=True)
    (out / "model.keras").write_bytes(b"PK\x03\x04 not a model")
    with pytest.raises(Exception, match=r"model\.keras cannot be loaded"):
        Run.open(out).keras_model()
    record = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**record, "preprocess_sha256": "0" * 64}))
    with pytest.raises(Exception, match="trained with preprocessing 000000000000"):
        Run.open(out)
    with pytest.raises(Exception, match=r"run\.json does not exist"):
        Run.open(tmp_path)


@pytest.mark.slow
def test_training_stops_when_it_gets_worse_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    """A learning rate that grows until it wrecks the network."""
    config = make_data(tmp_path)
    longer = "epochs = 60\nwarmup_epochs = 60\npatience = 5\n"
    config.write_text(CONFIG.replace("epochs = 4\n", longer).replace("0.02", "3.0"))
    result = train(config, tmp_path / "run")
    assert result.exit_code == 0, result.output
    run = Run.open(tmp_path / "run")
    kept = run.record.result
    assert kept.epochs == kept.best_epoch + 5 < 60
    samples = run.samples("validation")
    logits = run.keras_model().predict(real_inputs(run.inputs(samples)), verbose=0)
    right = logits[np.arange(len(samples)), [sample.label for sample in samples]]
    loss = (np.log(np.exp(logits).sum(axis=1)) - right).mean()
    assert loss == pytest.approx(kept.validation_loss, rel=1e-3)
    with (run.path / "metrics.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last["validation_loss"]) > 1.5 * loss


@pytest.mark.slow
def test_a_small_set_is_gone_through_until_there_are_enough_steps(tmp_path: Path) -> None:
    config = make_data(tmp_path, count=10)
    text = config.read_text().replace("min_steps = 0", "min_steps = 7").replace("epochs = 4", "epochs = 2")
    config.write_text(text, encoding="utf-8")

    done = train(config, tmp_path / "run")

    assert done.exit_code == 0, done.output
    steps = Run.open(tmp_path / "run").record.samples["train"] // 16
    times = -(-4 // steps)  # four of seven steps in each of two epochs
    assert (
        f"goes through the training samples {times} times, so that there are at least 7 steps" in done.output
    )
