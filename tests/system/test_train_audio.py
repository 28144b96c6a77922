"""``galago train`` on sound: a tone, a hum and noise, told apart within seconds."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from galago_edge.commands.cli import main
from galago_edge.preprocess import log_mel
from galago_workstation.data.sample_reader import real_inputs
from galago_workstation.run_folder import Run
from test_kit.training_here import training_here

# Keras 3.15 saves its variables through an interface that numpy 2 is about to drop
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CONFIG = """
[data]
kind = "audio"
folder = "clips"
group = "/([a-z]+)-"
background = ["noise"]

[preprocess]
kind = "logmel"
window_frames = 30
mel_bands = 16

[model]
kind = "ds_cnn"
filters = 8
blocks = 1

[augment]
shift_ms = 20
gain_db = 6
noise_snr_db = [30, 40]
noise_folder = "hiss"
share = 0.3
time_mask = 0.1
mixup = 0.1

[train]
min_steps = 0
epochs = 12
batch_size = 8
learning_rate = 0.02
class_weights = true
label_smoothing = 0.05
patience = 6

[decision]
activation = "sigmoid"
"""


def make_data(folder: Path) -> Path:
    rng = np.random.default_rng(3)
    for label, hz in (("hum", 200), ("noise", 0), ("tone", 3_000)):
        (folder / "clips" / label).mkdir(parents=True)
        for place in ("hall", "kitchen", "office", "street", "yard"):
            for take in range(3 if label == "noise" else 6):
                time = np.arange(int(16_000 * rng.uniform(0.2, 0.6))) / 16_000
                signal = np.sin(2 * np.pi * hz * rng.uniform(0.9, 1.1) * time) if hz else 0 * time
                signal = signal * rng.uniform(0.1, 0.5) + rng.normal(0.0, 0.02, len(time))
                soundfile.write(folder / "clips" / label / f"{place}-{take}.wav", signal, 16_000)
    (folder / "hiss").mkdir()
    soundfile.write(folder / "hiss" / "tap.wav", rng.normal(0.0, 0.1, 8_000), 8_000)
    config = folder / "config.toml"
    config.write_text(CONFIG, encoding="utf-8")
    return config


@pytest.mark.slow
def test_a_microphone_model_learns_and_keeps_places_apart(tmp_path: Path) -> None:
    config = make_data(tmp_path)
    with training_here():
        result = CliRunner().invoke(main, ["train", str(config), "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    run = Run.open(tmp_path / "run")
    assert run.modality == "microphone"
    assert "noise_folder hiss: 1 file" in result.output
    assert run.record.material is not msgspec.UNSET
    used = run.record.material["noise_folder"]
    assert (used.folder, used.files, len(used.sha256)) == ("hiss", 1, 64)
    groups = [
        {sample.group for sample in run.samples("train")},
        {sample.group for sample in run.samples("validation")},
        {sample.group for sample in run.samples("test")},
    ]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 5
    samples = run.samples("test")
    inputs = run.inputs(samples)
    assert inputs.shape == (len(samples), 30, 16)
    assert np.array_equal(inputs[0], log_mel(run.preprocess, run.raw(samples[0])))  # type: ignore[arg-type]
    logits = run.keras_model().predict(real_inputs(inputs), verbose=0)
    right = logits.argmax(axis=1) == [sample.label for sample in samples]
    assert right.mean() >= 0.8
