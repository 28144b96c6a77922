from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import pytest

from galago_workstation.training.curves import Epoch, draw_curves, write_metrics
from galago_workstation.training.progress import LiveProgress, PlainProgress, epoch_line

EPOCH = Epoch(
    epoch=1,
    loss=0.5,
    accuracy=0.8125,
    validation_loss=1 / 3,
    validation_accuracy=0.9,
    validation_balanced=0.9,
    learning_rate=0.001,
    seconds=30.0,
    augment_change=12.5,
    augment_fresh=1.0,
)


def test_a_log_gets_a_line_per_epoch_with_the_time_that_is_left() -> None:
    lines: list[str] = []
    now = iter([100.0, 130.0, 160.0, 190.0])
    progress = PlainProgress(lines.append, clock=lambda: next(now))
    progress.begin(3, 10)
    for number in (1, 2, 3):
        for _ in range(10):
            progress.step()
        progress.epoch(dataclasses.replace(EPOCH, epoch=number), best=number == 2)
    result = "loss 0.5000, accuracy 81.25 %, validation 0.3333 and 90.00 %"
    assert lines == [
        f"epoch 1/3: {result}, 30 s, 1 min 0 s left at most",
        f"epoch 2/3: {result} (best), 30 s, 30 s left at most",
        f"epoch 3/3: {result}, 30 s",
    ]


def test_labels_of_unequal_size_have_their_balanced_accuracy_shown() -> None:
    line = epoch_line(dataclasses.replace(EPOCH, validation_balanced=0.75), 3, best=True)
    assert "validation 0.3333 and 90.00 % (balanced 75.00 %) (best)" in line


def test_what_is_left_of_a_training_that_goes_on_counts_its_own_epochs() -> None:
    lines: list[str] = []
    now = iter([100.0, 130.0])
    progress = PlainProgress(lines.append, clock=lambda: next(now))
    progress.begin(10, 5, done=7)
    progress.epoch(dataclasses.replace(EPOCH, epoch=8), best=False)
    assert lines[0].endswith("1 min 0 s left at most")


def test_a_terminal_gets_the_same_lines_above_its_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveProgress() as progress:
        progress.say("3 labels [bold]")
        progress.begin(2, 5)
        for _ in range(5):
            progress.step()
        progress.epoch(EPOCH, best=True)
    printed = " ".join(capsys.readouterr().out.split())  # rich folds lines at the width of the terminal
    assert "3 labels [bold]" in printed
    assert "epoch 1/2: loss 0.5000, accuracy 81.25 %, validation 0.3333 and 90.00 % (best), 30 s" in printed


def test_metrics_and_curves_hold_every_epoch(tmp_path: Path) -> None:
    epochs = [EPOCH, dataclasses.replace(EPOCH, epoch=2, loss=0.25)]
    write_metrics(tmp_path / "metrics.csv", epochs)
    assert (tmp_path / "metrics.csv").read_text() == (
        "epoch,loss,accuracy,validation_loss,validation_accuracy,validation_balanced,learning_rate,seconds,"
        "augment_change,augment_fresh\n"
        "1,0.5,0.8125,0.333333,0.9,0.9,0.001,30,12.5,1\n"
        "2,0.25,0.8125,0.333333,0.9,0.9,0.001,30,12.5,1\n"
    )
    draw_curves(tmp_path / "curves.png", epochs, 2, "two epochs")
    picture = cv2.imread(str(tmp_path / "curves.png"))
    assert picture is not None
    assert picture.shape[0] > 200
    assert picture.std() > 5.0
