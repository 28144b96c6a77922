"""Words that begin with the published speech embedding, from ``galago init`` to a bundle."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from galago_edge.bundle import open_bundle
from galago_edge.commands.cli import main
from galago_edge.recording.sample_media import wav_bytes
from galago_workstation.run_folder import Run
from galago_workstation.training.networks.speech_embedding import PUBLISHED
from real_parts import MissingPartError, missing_part, packaged_file

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

RATE_HZ = 16_000


def make_words(folder: Path) -> None:
    """Write sounds of 0.9 s: tones that rise, and tones that fall."""
    for name, start, stop in (("falling", 900, 300), ("rising", 300, 900)):
        (folder / name).mkdir(parents=True)
        for number in range(6):
            pitch = np.linspace(start, stop, int(0.9 * RATE_HZ)) * (1 + 0.04 * number)
            wave = np.sign(np.sin(2 * np.pi * np.cumsum(pitch) / RATE_HZ)) * 3_000
            (folder / name / f"{number}.wav").write_bytes(wav_bytes(wave.astype(np.int16), RATE_HZ))


def galago(*arguments: object) -> Result:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done


def test_words_go_the_whole_way_with_the_second_frontend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        weights = packaged_file(PUBLISHED.member)
    except MissingPartError as error:
        missing_part(str(error))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kept = tmp_path / "cache" / "galago" / "weights"
    kept.mkdir(parents=True)
    shutil.copy(weights, kept / PUBLISHED.sha256)
    make_words(tmp_path / "words")
    config, run = tmp_path / "words.toml", tmp_path / "run"
    galago("init", tmp_path / "words", "--out", config)
    text = config.read_text()
    shorter = text.replace("epochs = 10", "epochs = 2\nbatch_size = 6").replace(
        "min_steps = 200", "min_steps = 8"
    )
    config.write_text(shorter + "\n[convert]\nmax_loss_points = 100\n")

    told = galago("train", config, "--out", run).output
    galago("convert", run)
    galago("evaluate", run)
    galago("keys", "new", tmp_path / "key.pem")
    bundle = tmp_path / "words-1.0.0.galago"
    options = ("--name", "words", "--version", "1.0.0", "--key", tmp_path / "key.pem", "--out", bundle)
    galago("bundle", "build", run, *options, "--allow", "so few sounds teach little, and that is no matter")

    assert "begins with speech embedding by Google" in told and "Apache-2.0" in told
    record = Run.open(run).record
    assert record.weights.sha256 == PUBLISHED.sha256  # type: ignore[union-attr]
    manifest = open_bundle(bundle).manifest
    assert manifest.preprocess.spec.version == "logmel/2"
    assert manifest.compat.features == ("logmel/2",)
    # no float operator, and none that XNNPACK lacks for int8
    assert {op.name for op in manifest.compat.ops} <= {
        *("CONV_2D", "ADD", "LEAKY_RELU", "MAX_POOL_2D", "MUL", "PAD", "RESHAPE", "FULLY_CONNECTED"),
    }
    assert "licence Apache-2.0" in galago("bundle", "inspect", bundle).output
    answered = galago("classify", tmp_path / "words" / "rising" / "0.wav", "--bundle", bundle).output
    assert "rising" in answered
