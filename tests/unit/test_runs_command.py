"""``galago runs`` lists, shows and compares what training left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from galago_workstation.commands.runs import runs
from galago_workstation.files import write_json
from galago_workstation.run_folder import CONFIG_FILE, RUN_FILE, DataRoot, RunRecord, TrainResult
from galago_workstation.training_config import read_config

CONFIG = """
[data]
kind = "images"
folder = "birds"
[preprocess]
kind = "image"
width = 32
height = 32
[model]
kind = "resnet"
filters = {filters}
[train]
epochs = {epochs}
"""


def run(
    folder: Path, *, filters: int = 8, epochs: int = 3, test: str = "c" * 64, created: str = "2026-01-02"
) -> Path:
    folder.mkdir(parents=True)
    (folder / CONFIG_FILE).write_text(CONFIG.format(filters=filters, epochs=epochs))
    read_config(folder / CONFIG_FILE)
    record = RunRecord(
        created_utc=f"{created}T03:04:05Z",
        producer="galago",
        seed=1,
        labels=("jay", "owl"),
        config_sha256="a" * 64,
        preprocess_sha256="b" * 64,
        data_root=DataRoot(relative="..", absolute="/data"),
        samples={"train": 40, "validation": 8, "test": 12},
        samples_sha256={"train": "d" * 64, "validation": "e" * 64, "test": test},
        duplicates_left_out=0,
        result=TrainResult(
            epochs=epochs,
            best_epoch=2,
            validation_accuracy=0.875,
            validation_loss=0.3,
            parameters=1234,
            weights_sha256="f" * 64,
            seconds=61.0,
            interrupted=epochs == 2,
        ),
    )
    write_json(folder / RUN_FILE, record)
    return folder


def ask(*arguments: object) -> Result:
    return CliRunner().invoke(runs, [str(argument) for argument in arguments])


def test_runs_are_listed_oldest_first_with_what_they_came_to(tmp_path: Path) -> None:
    run(tmp_path / "new", created="2026-02-01")
    run(tmp_path / "old", created="2026-01-01", epochs=2)

    lines = ask("list", tmp_path).output.splitlines()

    assert [line.split()[0] for line in lines] == ["old", "new"]
    assert "best 2 of 2, interrupted  validation 87.50 %  test -" in lines[0]
    found = json.loads(ask("list", tmp_path, "--json").output)
    assert [Path(one["path"]).name for one in found["runs"]] == ["old", "new"]
    assert found["runs"][0]["test_accuracy"] is None


def test_a_damaged_run_is_told_of_and_the_others_are_listed(tmp_path: Path) -> None:
    run(tmp_path / "good")
    (run(tmp_path / "bad") / RUN_FILE).write_text("{")

    done = ask("list", tmp_path)

    assert done.exit_code == 1
    assert "good" in done.stdout
    assert "bad" in done.stderr and "RUN_BAD" in done.stderr
    assert len(json.loads(ask("list", tmp_path, "--json").stdout)["damaged"]) == 1


def test_a_folder_without_runs_says_so(tmp_path: Path) -> None:
    assert ask("list", tmp_path).output == f"no runs in {tmp_path}\n"


def test_a_run_is_shown_in_words_and_data(tmp_path: Path) -> None:
    path = run(tmp_path / "birds")

    told = ask("show", path).output

    assert "trained                2026-01-02T03:04:05Z, 1 min 1 s" in told
    assert "begins with            chance" in told
    assert json.loads(ask("show", path, "--json").output)["parameters"] == 1234


def test_runs_are_compared_by_what_differs_only(tmp_path: Path) -> None:
    one, two = run(tmp_path / "one"), run(tmp_path / "two", filters=16, epochs=2)

    told = ask("compare", one, two).output

    assert told.splitlines()[0].split() == ["one", "two"]
    assert any(line.split() == ["model.filters", "8", "16"] for line in told.splitlines())
    assert "best epoch" in told
    assert "width" not in told and "labels" not in told
    assert "note:" not in told
    rows = json.loads(ask("compare", one, two, "--json").output)
    assert rows["one_test_set"] and {"what": "train.epochs", "values": ["3", "2"]} in rows["differences"]


def test_other_test_samples_are_said(tmp_path: Path) -> None:
    told = ask("compare", run(tmp_path / "one"), run(tmp_path / "two", test="9" * 64)).output
    assert "note: their test samples are not the same" in told


def test_equal_runs_do_not_differ(tmp_path: Path) -> None:
    assert "they do not differ" in ask("compare", run(tmp_path / "one"), run(tmp_path / "two")).output


@pytest.mark.parametrize(
    "arguments", [("show", "nowhere"), ("compare", "nowhere", "there"), ("list", "nowhere")]
)
def test_what_is_no_run_is_refused(arguments: tuple[str, ...]) -> None:
    done = ask(*arguments)
    assert done.exception is not None
    assert "nowhere" in str(done.exception)
