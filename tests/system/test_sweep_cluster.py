"""A sweep on a Dask cluster: a real scheduler and real worker processes on loopback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from galago_workstation.commands.sweep import sweep
from galago_workstation.sweep import sweep_cluster
from galago_workstation.sweep.sweep_work import SweepOrder, SweepOutcome
from real_parts import DaskCluster
from test_kit.hostile_data import encoded, picture
from test_kit.swept_runs import CONFIG


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for at, label in enumerate(("cat", "dog")):
        (tmp_path / "birds" / label).mkdir(parents=True)
        for number in range(12):
            content = encoded(".png", picture(1_000 * at + number, 12, 12))
            (tmp_path / "birds" / label / f"{number}.png").write_bytes(content)
    path = tmp_path / "birds.toml"
    text = CONFIG.replace("32", "12").replace('"resnet"', '"resnet"\nfilters = 8\nstages = 1')
    path.write_text(text + "epochs = 1\nmin_steps = 0\nbatch_size = 4\n")
    return path


@pytest.mark.slow
def test_workers_train_what_is_ordered_and_what_fails_there_names_the_worker(
    config: Path, tmp_path: Path, real_part: Callable[..., Any]
) -> None:
    (tmp_path / "cluster").mkdir()
    cluster: DaskCluster = real_part(DaskCluster, tmp_path / "cluster").start()
    cluster.add_worker(training=1)
    arguments = ["--set", 'data.background=[],["emu"]', "--scheduler", cluster.address, "--json"]
    done = CliRunner().invoke(sweep, [str(config), "--out", str(tmp_path / "out"), *arguments])
    found = json.loads(done.stdout)
    assert (done.exit_code, found["trained"], len(found["points"])) == (2, 1, 1)
    (error,) = found["failed"].values()
    assert error["message"].startswith("worker tcp://127.0.0.1:") and "'emu'" in error["message"]


def test_a_worker_with_other_versions_refuses(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = {"config": config, "out": config.parent / "run", "root": config.parent}
    order = SweepOrder.of("run", "0", **places, fresh=False)
    other = msgspec.structs.replace(order, software="galago 0.0.9")
    monkeypatch.setattr(sweep_cluster, "worker_name", lambda: "tcp://far:1")
    outcome = msgspec.json.decode(sweep_cluster.on_worker(msgspec.json.encode(other)), type=SweepOutcome)
    assert outcome.error is not None and outcome.error["reason"] == "ENVIRONMENT_MISMATCH"
    assert str(outcome.error["message"]).startswith("worker tcp://far:1: this worker trains with")
    assert not (config.parent / "run").exists()
