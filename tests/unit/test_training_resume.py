"""A training that was killed goes on and ends with the same weights; Ctrl+C once ends one well."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import InputError, Reason
from galago_workstation.data import decoded_samples
from galago_workstation.run_folder import Run
from galago_workstation.training import checkpoint_saver
from galago_workstation.training.checkpoint import Checkpoint, TrainingState
from galago_workstation.training.curves import Epoch
from galago_workstation.training.interruption import Interruption
from galago_workstation.training.progress import PlainProgress
from galago_workstation.training.training_run import train
from test_kit.hostile_data import encoded, picture

# Keras 3.15 saves its variables through an interface that numpy 2 is about to drop
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

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
filters = 16
stages = 1
dropout = 0.3
{weights}
[augment]
noise = 8
[train]
epochs = {epochs}
head_epochs = 2
min_steps = 0
batch_size = 16
average = 0.9
sampling = "balanced"
clip_norm = 1
"""


class Killed(BaseException):
    """What a kill is in the middle of a process."""


class DyingProgress(PlainProgress):
    """Ends the training at a step, as a kill would."""

    def __init__(self, at: int, death: Callable[[], None]) -> None:
        self.lines: list[str] = []
        super().__init__(self.lines.append)
        self._left = at
        self._death = death

    def step(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._death()


def kill() -> None:
    raise Killed


@pytest.fixture(autouse=True)
def ctrl_c_as_in_a_terminal() -> Iterator[None]:
    """Whoever starts the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_saver, "SAVED_EVERY_S", 0.0)


def config(folder: Path, *, epochs: int = 4, weights: str = "") -> Path:
    if not (folder / "pictures").exists():
        for at, label in enumerate(("cat", "dog")):
            (folder / "pictures" / label).mkdir(parents=True)
            for number in range(30):
                content = encoded(".png", picture(1_000 * at + number, 12, 12))
                (folder / "pictures" / label / f"{number}.png").write_bytes(content)
    path = folder / "c.toml"
    path.write_text(CONFIG.format(epochs=epochs, weights=weights))
    return path


def finished(path: Path, out: Path, death: Callable[[], None] = kill, at: int = -1) -> tuple[Run, list[str]]:
    progress = DyingProgress(at, death)
    return train(path, out, progress), progress.lines


def test_a_picture_that_is_gone_midway_ends_the_training_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded_samples, "MEMORY_BYTES", 0)
    monkeypatch.setattr(decoded_samples, "DISK_SHARE", 0.0)
    path = config(tmp_path, epochs=20)

    def lose() -> None:
        for picture_file in (tmp_path / "pictures").rglob("*.png"):
            picture_file.unlink()

    with pytest.raises(InputError, match=r"\d+.png is gone since the data was listed") as caught:
        finished(path, tmp_path / "run", death=lose, at=1)
    assert caught.value.reason == Reason.DATA_BAD
    assert not (tmp_path / "run").exists()


def test_a_training_that_is_killed_again_and_again_ends_with_the_same_weights(tmp_path: Path) -> None:
    train(config(tmp_path, epochs=1), tmp_path / "first", PlainProgress(lambda _: None))
    path = config(tmp_path, epochs=4, weights='weights = "first"')  # two epochs of the head, two of all
    straight, _ = finished(path, tmp_path / "straight")
    steps = 2  # of an epoch: 39 samples in batches of 16

    for at, done in ((steps + 1, 1), (steps + 1, 2), (steps + 1, 3)):
        with pytest.raises(Killed):
            finished(path, tmp_path / "again", at=at)
        state = np.load(tmp_path / "again.unfinished")["state"].tobytes()
        assert len(from_json(state)["epochs"]) == done
    again, lines = finished(path, tmp_path / "again")

    assert "goes on behind epoch 3, where it was ended" in lines
    assert again.record.result.weights_sha256 == straight.record.result.weights_sha256
    assert again.record.result.best_epoch == straight.record.result.best_epoch
    assert not (tmp_path / "again.unfinished").exists()


def test_other_settings_begin_anew_and_say_so(tmp_path: Path) -> None:
    path = config(tmp_path, epochs=3)
    with pytest.raises(Killed):
        finished(path, tmp_path / "run", at=3)
    assert (tmp_path / "run.unfinished").exists()

    _, lines = finished(config(tmp_path, epochs=1), tmp_path / "run")

    assert any(line.startswith("begins anew") for line in lines)


def test_ctrl_c_once_keeps_the_best_epoch(tmp_path: Path) -> None:
    run, lines = finished(
        config(tmp_path, epochs=50), tmp_path / "run", death=lambda: signal.raise_signal(signal.SIGINT), at=3
    )
    assert run.record.result.interrupted
    assert run.record.result.epochs == 2
    assert any("Ctrl+C again aborts" in line for line in lines)
    assert not (tmp_path / "run.unfinished").exists()


def test_ctrl_c_twice_aborts_and_leaves_what_was_there(tmp_path: Path) -> None:
    path = config(tmp_path, epochs=1)
    before, _ = finished(path, tmp_path / "run")

    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        finished(config(tmp_path, epochs=50), tmp_path / "run", death=twice, at=3)
    assert Run.open(tmp_path / "run").record == before.record


def test_ctrl_c_means_what_it_meant_afterwards() -> None:
    usual = signal.getsignal(signal.SIGINT)
    with Interruption(lambda _: None):
        assert signal.getsignal(signal.SIGINT) != usual
    assert signal.getsignal(signal.SIGINT) == usual


EPOCH = Epoch(1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.1, 1.0, 2.0, 1.0)


def state() -> TrainingState:
    arrays = [np.arange(3, dtype=np.float32), np.array(7, np.int64)]
    return TrainingState(1, 2, True, 64, (EPOCH,), 1, arrays, arrays[:1], arrays[1:])


def test_a_checkpoint_gives_back_what_was_saved(tmp_path: Path) -> None:
    one = Checkpoint(tmp_path / "c", "key")
    one.save(state())
    found = one.state_in(one.content())
    assert found is not None
    assert (found.phase, found.phase_first, found.phase_over, found.epochs) == (1, 2, True, (EPOCH,))
    assert (found.batch_size, found.best_epoch) == (64, 1)
    assert [array.tolist() for array in found.variables] == [[0, 1, 2], 7]
    assert Checkpoint(tmp_path / "c", "other").state_in(one.content()) is None


def test_a_damaged_checkpoint_is_none(tmp_path: Path) -> None:
    one = Checkpoint(tmp_path / "c", "key")
    assert one.content() == b""
    one.save(state())
    whole = one.content()
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 0x55
        assert one.state_in(bytes(damaged)) is None
        assert one.state_in(whole[:at]) is None
