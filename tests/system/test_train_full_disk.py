"""A disk that is full while a training is saved: one line, nothing of before is lost, and it goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from galago_edge.contract.errors import LinkError, Reason
from galago_workstation.run_folder import Run
from galago_workstation.training import checkpoint_saver
from galago_workstation.training.curves import Epoch
from galago_workstation.training.loop import Trainer
from galago_workstation.training.progress import PlainProgress
from galago_workstation.training.training_run import train
from real_parts.disk import small_disk
from test_kit.hostile_data import encoded, picture

pytestmark = [
    pytest.mark.slow,
    # Keras 3.15 saves its variables through an interface that numpy 2 is about to drop
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

CONFIG = """
[data]
kind = "images"
folder = "pictures"
[preprocess]
kind = "image"
width = 8
height = 8
[model]
kind = "resnet"
filters = 16
stages = 1
[train]
epochs = 2
min_steps = 0
batch_size = 16
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for at, label in enumerate(("cat", "dog")):
        (folder / "pictures" / label).mkdir(parents=True)
        for number in range(20):
            content = encoded(".png", picture(1_000 * at + number, 8, 8))
            (folder / "pictures" / label / f"{number}.png").write_bytes(content)
    path = folder / "c.toml"
    path.write_text(CONFIG)
    return path


class TellingProgress(PlainProgress):
    """Does something when an epoch is told of, before the training is kept behind it."""

    def __init__(self, at: int, then: Callable[[], None]) -> None:
        self.lines: list[str] = []
        super().__init__(self.lines.append)
        self._at = at
        self._then = then

    def epoch(self, epoch: Epoch, best: bool) -> None:
        super().epoch(epoch, best)
        if epoch.epoch == self._at:
            self._then()


def fill(disk: Path) -> None:
    """Write until nothing more fits."""
    with (disk / "filler").open("wb", buffering=0) as file:
        for size in (65_536, 1_024, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("while_saving", ["the training", "the network"])
def test_a_full_disk_loses_nothing_and_the_training_goes_on(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, while_saving: str
) -> None:
    monkeypatch.setattr(checkpoint_saver, "SAVED_EVERY_S", 0.0)
    with small_disk(tmp_path / "disk", "16m") as disk:
        out = disk / "run"
        straight = train(config, out, PlainProgress(lambda _: None))
        before = tree(out)

        def nothing() -> None:
            pass

        at, then = (2, lambda: fill(disk)) if while_saving == "the training" else (0, nothing)
        save = Trainer.save

        def save_when_full(trainer: Trainer, path: Path) -> Any:
            fill(disk)
            return save(trainer, path)

        if while_saving == "the network":
            monkeypatch.setattr(Trainer, "save", save_when_full)
        with pytest.raises(LinkError) as caught:
            train(config, out, TellingProgress(at, then))
        assert caught.value.reason == Reason.NO_SPACE and "free some space" in caught.value.hint
        assert tree(out) == before
        assert {path.name for path in disk.iterdir()} == {"run", "run.unfinished", "filler"}

        (disk / "filler").unlink()
        monkeypatch.setattr(Trainer, "save", save)
        progress = TellingProgress(0, nothing)
        again = train(config, out, progress)
        done = 1 if while_saving == "the training" else 2
        assert f"goes on behind epoch {done}, where it was ended" in progress.lines
        assert again.record.result.weights_sha256 == straight.record.result.weights_sha256
        assert Run.open(out).record == again.record
        assert not (disk / "run.unfinished").exists()
