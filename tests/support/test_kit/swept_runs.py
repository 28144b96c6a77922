"""What trains in tests of sweeps: a process that leaves a run in milliseconds, or fails as it is told to.

``train.learning_rate`` tells it what to do: 9 fails, 8 is killed by the system, 7 trains without end.
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

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
[train]
seed = 4
"""
FAILS, KILLED, ENDLESS = 9.0, 8.0, 7.0


def train_in_milliseconds(patch: pytest.MonkeyPatch) -> None:
    """Let what trains be this."""
    program = f"import sys; sys.path[:0] = {sys.path!r}; from test_kit.swept_runs import main; main()"
    patch.setattr("galago_workstation.training.training_process._PROGRAM", ("-c", program))


def main() -> None:
    """Do as ``training_child`` does, without training."""
    from galago_edge.children.channel import Channel
    from galago_edge.children.lifeline import die_with_parent
    from galago_edge.contract.errors import InputError, Reason
    from galago_workstation.training.training_messages import LineSaid, TrainingFailed, TrainingFinished
    from galago_workstation.training_config import read_config

    die_with_parent()
    channel = Channel[LineSaid](socket.socket(fileno=int(sys.argv[1])), LineSaid)
    path, out, root = map(Path, sys.argv[3:6])
    options = read_config(path).train
    with (root / "trained.txt").open("a") as file:
        file.write(f"{out.name}\n")
    channel.send(LineSaid("2 labels"))
    if options.learning_rate == KILLED:
        os.kill(os.getpid(), signal.SIGKILL)
    if options.learning_rate == FAILS:
        channel.send(TrainingFailed(InputError(Reason.DATA_BAD, "no birds").as_data(with_exit=True)))
        return
    if options.learning_rate == ENDLESS:
        out.with_name(out.name + ".part").mkdir()
        while True:
            time.sleep(60)
    _leave_run(path, out, options.learning_rate + options.seed / 1_000)
    channel.send(TrainingFinished())


def _leave_run(config: Path, out: Path, figure: float) -> None:
    from galago_workstation.files import new_folder, write_json
    from galago_workstation.run_folder import DataRoot, RunRecord, TrainResult

    content = config.read_bytes()
    result = TrainResult(
        epochs=3,
        best_epoch=2,
        validation_accuracy=figure / 2,
        validation_balanced=figure,
        validation_loss=0.3,
        parameters=1234,
        weights_sha256="f" * 64,
        seconds=61.0,
    )
    with new_folder(out, mark="run.json") as folder:
        (folder / "config.toml").write_bytes(content)
        (folder / "model.keras").touch()
        record = RunRecord(
            created_utc="2026-01-02T03:04:05Z",
            producer="galago",
            seed=1,
            labels=("jay", "owl"),
            config_sha256=hashlib.sha256(content).hexdigest(),
            preprocess_sha256="b" * 64,
            data_root=DataRoot(relative="..", absolute="/data"),
            samples={"train": 40, "validation": 8, "test": 12},
            samples_sha256={"train": "d" * 64, "validation": "e" * 64, "test": "c" * 64},
            duplicates_left_out=0,
            result=result,
        )
        write_json(folder / "run.json", record)
