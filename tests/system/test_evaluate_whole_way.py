"""``galago train``, ``galago convert`` and ``galago evaluate`` one after the other, on data made here."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from galago_converters.conversion_record import read_conversion
from galago_edge.commands.cli import main
from galago_workstation.evaluation.evaluation_record import Evaluation, read_evaluation

pytestmark = [
    pytest.mark.slow,
    # Keras 3.15 saves and copies variables in a way that numpy 2.4 is about to drop
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

IMAGES = """
[data]
kind = "images"
folder = "data"

[preprocess]
kind = "image"
width = 24
height = 24

[model]
kind = "resnet"
filters = 8
stages = 2

[train]
min_steps = 0
epochs = 5
batch_size = 8
learning_rate = 0.01

[convert]
calibration_samples = 30
max_loss_points = 10
"""

AUDIO = """
[data]
kind = "audio"
folder = "data"

[preprocess]
kind = "logmel"
window_frames = 30
mel_bands = 16

[model]
kind = "ds_cnn"
filters = 8
blocks = 1
dropout = 0.0

[train]
min_steps = 0
epochs = 6
batch_size = 8
learning_rate = 0.02

[convert]
calibration_samples = 30
max_loss_points = 10
"""


def make_pictures(folder: Path) -> None:
    rng = np.random.default_rng(4)
    for label, period in (("fine", 2), ("plain", 24), ("wide", 8)):
        (folder / label).mkdir(parents=True)
        for number in range(40):
            pixels = rng.integers(20, 60, (32, 40, 3), np.uint8)
            for start in range(rng.integers(0, period), 40, period):
                pixels[:, start : start + (period + 1) // 2] += 150 if period < 24 else 0
            cv2.imwrite(str(folder / label / f"{number}.png"), pixels)


def make_sounds(folder: Path) -> None:
    rng = np.random.default_rng(5)
    time = np.arange(6_000) / 16_000
    for label, hz in (("hum", 250), ("quiet", 0), ("whistle", 3_000)):
        (folder / label).mkdir(parents=True)
        for number in range(40):
            tone = np.sin(2 * np.pi * hz * rng.uniform(0.9, 1.1) * time + rng.uniform(0, 6))
            signal = rng.normal(0, 0.01, len(time)) + (rng.uniform(0.1, 0.5) * tone if hz else 0.0)
            soundfile.write(folder / label / f"{number}.wav", signal, 16_000)


def whole_way(folder: Path, config: str) -> tuple[Path, Evaluation]:
    (folder / "config.toml").write_text(config, encoding="utf-8")
    run = folder / "run"
    for arguments in (
        ["train", str(folder / "config.toml"), "--out", str(run)],
        ["convert", str(run)],
        ["evaluate", str(run)],
    ):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
    return run, read_evaluation(run)


@pytest.mark.parametrize(
    ("config", "make", "shape", "dtype", "scale"),
    [
        (IMAGES, make_pictures, (1, 24, 24, 3), "uint8", 1.0),
        (AUDIO, make_sounds, (1, 30, 16), "int8", 1 / 64),
    ],
    ids=["camera", "microphone"],
)
def test_what_was_learned_survives_quantization(
    tmp_path: Path, config: str, make: object, shape: tuple[int, ...], dtype: str, scale: float
) -> None:
    assert callable(make)
    make(tmp_path / "data")
    run, found = whole_way(tmp_path, config)
    tensor = read_conversion(run).input
    assert (tensor.shape, tensor.dtype, tensor.scale, tensor.zero_point) == (shape, dtype, scale, 0)
    assert found.keras.accuracy >= 0.9
    assert found.tflite_float.flips == 0
    assert found.tflite_int8.accuracy >= found.keras.accuracy - 0.1
    assert found.tflite_int8.bytes < found.tflite_float.bytes
