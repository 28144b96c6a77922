"""What a training writes down elsewhere; a log that fails is told of, counted, and ends nothing."""

from __future__ import annotations

import dataclasses
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from galago_edge.commands.cli import main
from galago_edge.contract.errors import InputError, LinkError, Reason
from galago_workstation.commands import evaluate
from galago_workstation.run_folder import Run
from galago_workstation.training import logged_training, mlflow_log
from galago_workstation.training.curves import Epoch, read_metrics, write_metrics
from galago_workstation.training.logged_progress import AGAIN_S, LogAttempts
from galago_workstation.training.logged_training import train_logged
from galago_workstation.training.progress import PlainProgress
from galago_workstation.training.tensorboard_log import TensorboardLog
from galago_workstation.training.training_logs import TrainingLogs
from test_kit.swept_runs import CONFIG
from test_kit.training_here import training_here


def epoch(number: int) -> Epoch:
    return Epoch(number, 0.5, 0.81, 0.4, 0.8346, 0.75, 1e-3, 21.4, 8.0, 1.0)


class Notebook:
    """A log that can be dead."""

    title = "the notebook"

    def __init__(self) -> None:
        self.dead = False
        self.asked = 0
        self.epochs: list[int] = []
        self.finished: list[object] = []

    def write(self, epochs: Sequence[Epoch]) -> None:
        self.asked += 1
        if self.dead:
            raise ConnectionError("nobody\nanswers")
        self.epochs += [one.epoch for one in epochs]

    def finish(self, run: Run | None) -> None:
        if self.dead:
            raise ConnectionError("nobody answers")
        self.finished.append(run)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


@pytest.fixture
def attempts(notebook: Notebook, told: list[str], clock: list[float]) -> LogAttempts:
    return LogAttempts(notebook, told.append, lambda: clock[0])


def test_a_dead_log_is_told_of_once_not_asked_at_every_epoch_and_gets_the_rest_when_it_lives(
    attempts: LogAttempts, notebook: Notebook, told: list[str], clock: list[float]
) -> None:
    attempts.epoch(epoch(1))
    notebook.dead = True
    for number in (2, 3, 4):
        attempts.epoch(epoch(number))
    assert notebook.asked == 2
    assert told == ["Warning: the notebook fails, the training goes on: nobody answers"]

    clock[0] += AGAIN_S
    notebook.dead = False
    attempts.epoch(epoch(5))
    assert notebook.epochs == [1, 2, 3, 4, 5]
    attempts.finish(None, [epoch(number) for number in range(1, 6)])
    assert told[1:] == ["the notebook: failed 1 time, and has everything now"]


def test_what_a_log_did_not_take_until_the_end_is_counted(
    attempts: LogAttempts, notebook: Notebook, told: list[str]
) -> None:
    attempts.epoch(epoch(1))
    notebook.dead = True
    attempts.epoch(epoch(2))
    attempts.finish(None, [epoch(1), epoch(2)])
    assert "the notebook: 1 of 2 epochs not written down, after 2 failures" in told[-1]


def test_a_log_gets_the_epochs_of_before_a_training_went_on(
    attempts: LogAttempts, notebook: Notebook
) -> None:
    attempts.epoch(epoch(3))
    attempts.finish(None, [epoch(1), epoch(2), epoch(3)])
    assert notebook.epochs == [3, 1, 2]


def test_a_training_that_fails_closes_its_logs(
    tmp_path: Path, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(config: Path, out: Path, progress: Any, **_: Any) -> Run:
        progress.epoch(epoch(1), True)
        raise InputError(Reason.DATA_BAD, "no birds", hint="")

    monkeypatch.setattr(logged_training, "_opened", lambda *_: [notebook])
    monkeypatch.setattr(logged_training, "train", failing)
    with pytest.raises(InputError, match="no birds"):
        train_logged(tmp_path, tmp_path, PlainProgress(lambda _: None), logs=TrainingLogs())
    assert (notebook.epochs, notebook.finished) == ([1], [None])


def test_metrics_are_read_as_they_were_written_and_damage_is_told(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write_metrics(path, [epoch(1), epoch(2)])
    assert read_metrics(path) == [epoch(1), epoch(2)]
    path.write_text("epoch,loss\n1,2\n")
    with pytest.raises(ValueError, match="has not the columns"):
        read_metrics(path)


def test_event_files_hold_what_tensorboard_reads(tmp_path: Path) -> None:
    log = TensorboardLog(tmp_path, "birds")
    log.write([epoch(1)])
    log.write([epoch(2)])
    log.finish(None)
    import tensorflow as tf

    (file,) = (tmp_path / "birds" / "validation").iterdir()
    found = [
        (value.tag, event.step, value.metadata.plugin_data.plugin_name, float(tf.make_ndarray(value.tensor)))
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
    ]
    assert [(tag, step) for tag, step, _, _ in found] == [
        (tag, step) for step in (1, 2) for tag in ("epoch_loss", "epoch_accuracy", "epoch_balanced")
    ]
    assert {plugin for _, _, plugin, _ in found} == {"scalars"}
    assert [value for _, _, _, value in found[:3]] == pytest.approx([0.4, 0.8346, 0.75])


class SpeakingClient:
    """A client of MLflow that says in its errors where it was to go, as the real one does."""

    def __init__(self, tracking_uri: str) -> None:
        raise ConnectionError(f"no answer from {tracking_uri} (pass/word)")


class NotingClient:
    """A client of MLflow that takes what it is given, and counts."""

    def __init__(self) -> None:
        self.metrics: list[tuple[str, float, int, int]] = []
        self.params: list[tuple[str, str]] = []

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        return "1"

    def create_run(self, experiment: str, run_name: str, tags: dict[str, str]) -> Any:
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id="r"))

    def log_batch(self, run: str, metrics: Sequence[Any] = (), params: Sequence[Any] = ()) -> None:
        self.metrics += metrics
        self.params += params


def test_mlflow_gets_every_figure_that_there_is_and_names_that_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = NotingClient()
    entities = types.SimpleNamespace(Metric=lambda *figure: figure, Param=lambda *pair: pair)
    library = types.SimpleNamespace(MlflowClient=lambda tracking_uri: client, entities=entities)
    monkeypatch.setattr(mlflow_log, "mlflow_library", lambda: library)
    settings = {f"decision.label.{number:03}.on": "0.5" for number in range(150)} | {"a'b": "1"}
    log = mlflow_log.MlflowLog("http://host", "birds", settings, {})
    log.write([epoch(1), dataclasses.replace(epoch(2), stream_recall=0.5)])
    assert [name for name, _, _, step in client.metrics if step == 1] == [
        *("loss", "accuracy", "validation_loss", "validation_accuracy", "validation_balanced"),
        *("learning_rate", "seconds", "augment_change", "augment_fresh"),
    ]
    assert [(name, value) for name, value, _, step in client.metrics if step == 2][-1] == (
        "stream_recall",
        0.5,
    )
    assert len(client.params) == 151 and ("a_b", "1") in client.params


def test_what_mlflow_says_of_an_address_shows_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    library = types.SimpleNamespace(MlflowClient=SpeakingClient)
    monkeypatch.setattr(mlflow_log, "mlflow_library", lambda: library)
    log = mlflow_log.MlflowLog("http://me:pass%2Fword@host:5000", "birds", {}, {})
    with pytest.raises(LinkError) as caught:
        log.write([epoch(1)])
    assert str(caught.value) == "no answer from http://***@host:5000 (***)"
    assert log.title == "MLflow at http://***@host:5000"


def test_a_report_of_a_run_that_was_not_logged_is_not_sent_and_the_evaluation_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = types.SimpleNamespace(path=tmp_path)
    part = types.SimpleNamespace(accuracy=0.5)
    found = types.SimpleNamespace(keras=part, tflite_float=part, tflite_int8=part)
    evaluate._send(run, found, "http://host:5000")  # type: ignore[arg-type]  # as much of both as is asked for
    error = capsys.readouterr().err
    assert error.startswith("Warning: the report is not sent to MLflow:") and "mlflow.json" in error


def test_mlflow_that_is_not_installed_and_a_place_for_events_that_is_a_file_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.toml").write_text(CONFIG)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with training_here():
        done = CliRunner().invoke(main, ["train", str(tmp_path / "c.toml"), "--mlflow", "http://x"])
        assert done.exit_code == 1
        assert done.stderr.splitlines()[0].endswith("not installed [EXTRA_MISSING]")
        assert 'pip install "galago[mlflow]"' in done.stderr
        done = CliRunner().invoke(
            main, ["train", str(tmp_path / "c.toml"), "--tensorboard", str(tmp_path / "c.toml")]
        )
    assert done.exit_code == 2 and "[EXISTS]" in done.stderr
