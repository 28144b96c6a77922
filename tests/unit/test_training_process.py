"""A training in a process of its own: what its death means, and Ctrl+C through the real command."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from campaigns.small_convolutions import Cell, outcomes
from galago_edge.contract.errors import DeviceError, GalagoError, Reason
from galago_workstation.data.batches import trained_batch
from galago_workstation.run_folder import Run
from galago_workstation.training import training_process
from galago_workstation.training.progress import PlainProgress
from galago_workstation.training.training_process import train_apart
from test_kit.hostile_data import encoded, picture

CONFIG = """
[data]
kind = "images"
folder = "pictures"
[preprocess]
kind = "image"
width = 12
height = 12
[model]
kind = "resnet"
filters = 4
stages = 1
[train]
epochs = 10000
patience = 10000
min_steps = 0
batch_size = 15
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for at, label in enumerate(("cat", "dog")):
        (folder / "pictures" / label).mkdir(parents=True)
        for number in range(20):
            content = encoded(".png", picture(1_000 * at + number, 12, 12))
            (folder / "pictures" / label / f"{number}.png").write_bytes(content)
    path = folder / "c.toml"
    path.write_text(CONFIG)
    return path


def error_of(monkeypatch: pytest.MonkeyPatch, program: str) -> tuple[GalagoError, list[str]]:
    """Return what is told of a process that does something else than to train, and what is passed on."""
    monkeypatch.setattr(training_process, "_PROGRAM", ("-c", program))
    complaints: list[str] = []
    with pytest.raises(GalagoError) as caught:
        train_apart(Path("c.toml"), Path("run"), PlainProgress(lambda _: None), complain=complaints.append)
    return caught.value, complaints


@pytest.mark.parametrize("name", ["SIGABRT", "SIGSEGV", "SIGKILL"])
def test_a_death_is_one_line_with_the_signal_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    program = "import os, signal, sys; print('corrupt', file=sys.stderr, flush=True); "
    program += f"os.kill(os.getpid(), signal.{name})"
    error, complaints = error_of(monkeypatch, program)
    assert isinstance(error, DeviceError) and error.reason == Reason.TRAIN_CRASHED and error.exit_code == 1
    assert f"was ended by {name}" in str(error) and "(corrupt)" in str(error)
    assert ("memory runs out" in str(error)) == (name == "SIGKILL")
    assert "the same command goes on" in error.hint and "run.unfinished" in error.hint
    assert complaints == ["corrupt"]


def test_a_mistake_in_the_process_is_told_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    error, complaints = error_of(monkeypatch, "raise ValueError('ours')")
    assert "ended with exit code 1 (ValueError: ours)" in str(error)
    assert complaints[0].startswith("Traceback") and complaints[-1] == "ValueError: ours"


def test_what_training_refuses_is_refused_with_the_same_code(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[data]\nkind = 7\n")
    with pytest.raises(GalagoError) as caught:
        train_apart(
            tmp_path / "c.toml", tmp_path / "run", PlainProgress(lambda _: None), complain=lambda _: None
        )
    assert (caught.value.reason, caught.value.exit_code) == (Reason.CONFIG_BAD, 2)


@contextlib.contextmanager
def training(config: Path, out: Path) -> Iterator[subprocess.Popen[str]]:
    """Give the real command, which trains without end; its third epoch is done."""
    with subprocess.Popen(
        [sys.executable, "-m", "galago_edge", "train", config, "--out", out],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_ctrl_c_heard,
    ) as process:
        try:
            wait_for(process, "epoch     3/10000")
            yield process
        finally:
            process.kill()


def _ctrl_c_heard() -> None:
    """Whoever starts the tests in the background has it ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(process: subprocess.Popen[str], beginning: str) -> None:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(beginning):
            return
    pytest.fail(f"ended without {beginning!r}: {lines}")


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def test_ctrl_c_once_ends_the_command_well(config: Path, tmp_path: Path) -> None:
    with training(config, tmp_path / "run") as process:
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()
        assert (process.returncode, errors) == (0, "")
        assert "Ctrl+C again aborts" in output and "run folder" in output
    assert Run.open(tmp_path / "run").record.result.interrupted


def test_ctrl_c_twice_aborts_the_command(config: Path, tmp_path: Path) -> None:
    with training(config, tmp_path / "run") as process:
        process.send_signal(signal.SIGINT)
        wait_for(process, "ends after this step")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
        assert (process.returncode, errors) == (130, "Interrupted\n")
    assert not (tmp_path / "run").exists()


def test_a_process_that_the_system_kills_is_one_line(config: Path, tmp_path: Path) -> None:
    with training(config, tmp_path / "run") as process:
        os.kill(child_of(process.pid), signal.SIGKILL)
        _, errors = process.communicate()
        assert process.returncode == 1
        error, hint = errors.splitlines()
    assert "SIGKILL" in error and error.endswith("[TRAIN_CRASHED]")
    assert "the same command goes on" in hint


def test_the_batches_that_training_uses_leave_the_heap_whole() -> None:
    cells = [Cell("resnet", filters, trained_batch(batch, 99)) for filters, batch in ((8, 1), (12, 13))]
    found = outcomes(cells, onednn=True)
    assert [found[cell].signal for cell in cells] == [None] * len(cells)
