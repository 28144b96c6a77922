"""A training as a run of a real MLflow store in a database, and of a server that is not there.

MLflow is too large for everybody's tests: pip install "galago[mlflow]" sqlalchemy alembic.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from galago_workstation.training.curves import Epoch
from galago_workstation.training.logged_progress import LogAttempts
from galago_workstation.training.logged_training import train_logged
from galago_workstation.training.mlflow_log import MlflowLog, send_report
from galago_workstation.training.progress import PlainProgress
from galago_workstation.training.training_logs import TrainingLogs
from real_parts import free_port
from test_kit.hostile_data import encoded, picture
from test_kit.swept_runs import CONFIG

mlflow = pytest.importorskip("mlflow")
pytest.importorskip("alembic")
pytestmark = pytest.mark.filterwarnings("ignore")  # its libraries', and Keras' on saving


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for at, label in enumerate(("cat", "dog")):
        (tmp_path / "birds" / label).mkdir(parents=True)
        for number in range(12):
            content = encoded(".png", picture(1_000 * at + number, 12, 12))
            (tmp_path / "birds" / label / f"{number}.png").write_bytes(content)
    path = tmp_path / "birds.toml"
    text = CONFIG.replace("32", "12").replace('"resnet"', '"resnet"\nfilters = 8\nstages = 1')
    path.write_text(text + 'epochs = 2\nmin_steps = 0\n[decision.label."cat"]\non = 0.9\n')
    return path


def test_a_training_is_a_run_with_settings_epochs_and_files(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where MLflow puts artifacts beside a database
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    uri = f"sqlite:///{tmp_path}/ml.db"
    lines: list[str] = []
    run = train_logged(
        config, tmp_path / "run", PlainProgress(lines.append), logs=TrainingLogs(tmp_path / "tb", uri)
    )
    client = mlflow.MlflowClient(tracking_uri=uri)
    (found,) = client.search_runs([client.get_experiment_by_name("galago").experiment_id])
    assert (found.info.status, found.info.run_name) == ("FINISHED", "run")
    assert found.data.params["train.epochs"] == "2" and found.data.params["decision.label.cat.on"] == "0.9"
    assert found.data.metrics["best_epoch"] == run.record.result.best_epoch
    assert [one.step for one in client.get_metric_history(found.info.run_id, "validation_loss")] == [1, 2]
    assert {one.path for one in client.list_artifacts(found.info.run_id)} >= {"run.json", "metrics.csv"}
    assert len(list((tmp_path / "tb" / "run").iterdir())) == 2
    assert not any("Warning" in line for line in lines)

    (run.path / "report.html").write_text("<p>report</p>")
    send_report(run, uri, ("report.html",), {"test_accuracy_int8": 0.75})
    assert client.get_run(found.info.run_id).data.metrics["test_accuracy_int8"] == 0.75
    assert "report.html" in {one.path for one in client.list_artifacts(found.info.run_id)}


def test_a_server_that_is_not_there_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    lines: list[str] = []
    log = MlflowLog(f"http://me:secret@127.0.0.1:{free_port()}", "run", {"train.epochs": "2"}, {})
    attempts = LogAttempts(log, lines.append)
    epoch = Epoch(1, 0.5, 0.81, 0.4, 0.8346, 0.75, 1e-3, 21.4, 8.0, 1.0)
    attempts.epoch(epoch)
    attempts.finish(None, [epoch])
    assert "fails, the training goes on" in lines[0] and "1 of 1 epoch not written down" in lines[1]
    assert "secret" not in "".join(lines)
