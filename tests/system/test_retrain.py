"""The whole way once more with new samples: ``galago retrain`` leaves a run that every next step takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from galago_edge.commands.cli import main
from galago_edge.contract.decoding import from_json
from galago_workstation.retraining.run_comparison import RETRAIN_FILE, RetrainRecord
from galago_workstation.run_folder import Run
from test_kit.training_here import training_here

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

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
stages = 1

[train]
min_steps = 0
epochs = 2
batch_size = 16
learning_rate = 0.02

[convert]
max_loss_points = 100
"""


def picture(path: Path, label: str, number: int, dark: int = 60) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(number).integers(-30, 30, (20, 20))
    row, column = np.indices(noise.shape)
    pattern = {"plain": 0 * row, "stripes": row // 3 % 2, "bars": column // 3 % 2}[label]
    cv2.imwrite(str(path), (dark + 100 * pattern + noise).clip(0, 255).astype(np.uint8))


def galago(*arguments: object) -> Result:
    with training_here():
        return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A folder with ``runs/two``, and ``runs/two-2``, which was made of it with a new label."""
    folder = tmp_path_factory.mktemp("retrain")
    for place, label in enumerate(("plain", "stripes")):
        for number in range(20):
            picture(folder / "pictures" / label / f"{number}.png", label, 100 * place + number)
    rows = [
        {"path": f"field/{label}{number}.png", "label": label}
        for label in ("plain", "bars")
        for number in range(8)
    ]
    for number, row in enumerate(rows):
        picture(folder / row["path"], row["label"], 300 + number, dark=110)
    (folder / "field.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "two.toml").write_text(CONFIG)
    trained = galago("train", folder / "two.toml", "--out", folder / "runs" / "two")
    assert trained.exit_code == 0, trained.output
    done = galago("retrain", folder / "runs" / "two", "--with", folder / "field.jsonl")
    assert done.exit_code == 0, done.output
    return folder, done


def test_old_and_new_are_shown_on_the_old_test_set_and_on_the_new_samples(
    retrained: tuple[Path, Result],
) -> None:
    folder, done = retrained
    lines = done.output.splitlines()
    assert lines[0] == "16 new samples (bars 8, plain 8): 10 to learn from, 2 to validate with, 4 held out"
    assert any("does not have: bars; their logits begin with chance" in line for line in lines)
    heads = [line.split()[:3] for line in lines if line.endswith("lost  gained")]
    assert heads == [["old", "test", "set,"], ["new", "samples", "held"]]
    assert lines[-1].startswith(f"run folder: {folder / 'runs' / 'two-2'}")


def test_the_old_test_set_is_as_it_was_and_the_record_knows_the_parent(
    retrained: tuple[Path, Result],
) -> None:
    folder, _ = retrained
    old, new = (Run.open(folder / "runs" / name) for name in ("two", "two-2"))
    hashes: dict[str, dict[str, set[str]]] = {
        run.path.name: {
            part: {one.sha256 for one in run.samples(part)} for part in ("train", "validation", "test")
        }
        for run in (old, new)
    }
    for part in ("train", "validation", "test"):
        assert hashes["two"][part] <= hashes["two-2"][part]  # no old sample has changed its side
    assert new.labels == ("bars", "plain", "stripes")
    record = from_json((new.path / RETRAIN_FILE).read_bytes(), type=RetrainRecord)
    assert record.parent.weights_sha256 == old.record.result.weights_sha256
    assert record.parent.test_sha256 == old.samples_sha256("test")
    assert record.sets[0].all.samples == len(old.samples("test"))
    assert (
        record.sets[1].all.samples
        == record.new["test"]
        == len(new.samples("test")) - len(old.samples("test"))
    )
    assert new.record.weights.name == "./two"  # type: ignore[union-attr]


def test_the_new_run_converts_and_is_trained_further_as_any_other(retrained: tuple[Path, Result]) -> None:
    folder, _ = retrained
    new = folder / "runs" / "two-2"
    assert (done := galago("convert", new)).exit_code == 0, done.output
    listed = galago("data", "review", folder / "field", "--run", new, "--out", folder / "out", "--list")
    assert listed.exit_code == 0, listed.output
    assert listed.output.startswith("16 pictures; labels: bars, plain, stripes\n")
    for number in range(3):
        picture(folder / "more" / "bars" / f"{number}.png", "bars", 900 + number, dark=90)
    done = galago(
        "retrain", new, "--with", folder / "more", "--with", folder / "field.jsonl", "--json", "--epochs", 1
    )
    assert done.exit_code == 0, done.output
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["parent"]["path"] == str(new) and sum(told["new"].values()) == 3 and told["new_labels"] == []
    assert told["worse"] == (told["sets"][0]["points"] < 0)
    assert told["left_out"][0].startswith("left out, in the run's train part already: ")
    assert Run.open(folder / "runs" / "two-3").config.train.head_epochs == 0


def test_what_cannot_be_is_one_line_and_leaves_nothing(retrained: tuple[Path, Result]) -> None:
    folder, _ = retrained
    before = sorted(path.name for path in (folder / "runs").iterdir())
    for arguments, told in (
        ((folder / "runs" / "two", "--with", folder / "pictures"), "[DATA_BAD]"),
        ((folder / "runs" / "two", "--with", folder / "nowhere"), "[DATA_BAD]"),
        ((folder / "pictures", "--with", folder / "field.jsonl"), "[RUN_BAD]"),
        (
            (folder / "runs" / "two", "--with", folder / "field.jsonl", "--out", folder / "pictures"),
            "[EXISTS]",
        ),
    ):
        done = galago("retrain", *arguments)
        assert done.exit_code in (1, 2) and told in done.output and "Traceback" not in done.output, (
            done.output
        )
    assert sorted(path.name for path in (folder / "runs").iterdir()) == before
