"""``galago init`` looks at a folder of somebody's own data and writes a configuration that trains on it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from galago_edge.recording.sample_media import wav_bytes
from galago_workstation.commands.init import init
from galago_workstation.data.folder_survey import survey
from galago_workstation.training.networks.ds_cnn import DsCnn
from galago_workstation.training.networks.speech_embedding import SpeechEmbedding
from galago_workstation.training.weights import published_weights
from galago_workstation.training_config import AudioConfig, ImageConfig, read_config


def pictures(folder: Path, counts: dict[str, int], size: tuple[int, int] = (120, 90)) -> None:
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(
                str(folder / name / f"{number}.png"), np.full((size[1], size[0], 3), number, np.uint8)
            )


def sounds(folder: Path, seconds: dict[str, float], rate: int = 16_000, count: int = 3) -> None:
    for name, length in seconds.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            samples = np.full(round(length * rate), number, np.int16)
            (folder / name / f"{number}.wav").write_bytes(wav_bytes(samples, rate))


def ask(*arguments: object) -> Result:
    return CliRunner().invoke(init, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def _no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this computer has kept of published weights, these tests do not find it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_pictures_get_published_weights_and_a_size_that_they_have(tmp_path: Path) -> None:
    pictures(tmp_path / "birds", {"jay": 12, "none": 3, "owl": 2})

    done = ask(tmp_path / "birds", "--out", tmp_path / "birds.toml")

    assert done.exit_code == 0, done.output
    assert "17 pictures in 3 classes" in done.output
    config = read_config(tmp_path / "birds.toml")
    assert isinstance(config, ImageConfig)
    assert config.data.background == ("none",)
    assert (config.preprocess.width, config.preprocess.height) == (224, 224)
    assert config.model.weights == "imagenet"
    assert config.train.class_weights  # jay has six times as many as owl


def test_small_pictures_keep_their_size(tmp_path: Path) -> None:
    pictures(tmp_path / "digits", {"0": 2, "1": 2}, size=(28, 28))

    ask(tmp_path / "digits", "--out", tmp_path / "c.toml")

    config = read_config(tmp_path / "c.toml")
    assert isinstance(config, ImageConfig)
    assert (config.preprocess.width, config.preprocess.height) == (28, 28)
    assert config.model.weights is None


def test_wide_pictures_keep_their_shape(tmp_path: Path) -> None:
    pictures(tmp_path / "roads", {"car": 2, "free": 2}, size=(400, 100))

    ask(tmp_path / "roads", "--out", tmp_path / "c.toml")

    config = read_config(tmp_path / "c.toml")
    assert isinstance(config, ImageConfig)
    assert config.preprocess.resize == "letterbox"


@pytest.mark.parametrize(
    ("seconds", "rate", "window_s", "smoothing"),
    [(0.3, 16_000, 0.5, 3), (1.0, 44_100, 1.0, 3), (9.0, 8_000, 4.0, 3)],
)
def test_sounds_get_a_window_and_a_policy_that_fit_their_length(
    seconds: float, rate: int, window_s: float, smoothing: int, tmp_path: Path
) -> None:
    sounds(tmp_path / "words", {"yes": seconds, "noise": seconds}, rate)

    done = ask(tmp_path / "words", "--out", tmp_path / "words.toml")

    assert done.exit_code == 0, done.output
    config = read_config(tmp_path / "words.toml")
    assert isinstance(config, AudioConfig)
    spec = config.preprocess
    assert spec.window_samples / spec.sample_rate_hz == pytest.approx(window_s, abs=0.02)
    assert spec.sample_rate_hz == min(rate, 16_000)
    assert config.decision.default.smoothing_windows == smoothing
    assert config.data.background == ("noise",)


def test_train_and_test_folders_are_parts_and_no_labels(tmp_path: Path) -> None:
    pictures(tmp_path / "set" / "Train", {"a": 2, "b": 2})
    pictures(tmp_path / "set" / "test", {"a": 1, "b": 1})

    done = ask(tmp_path / "set", "--out", tmp_path / "c.toml")

    assert "is the test set" in done.output
    data = read_config(tmp_path / "c.toml").data
    assert (data.folder, data.test_folder) == ("set/Train", "set/test")  # type: ignore[union-attr]


def test_what_is_left_out_is_counted_and_said(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    pictures(folder, {"a": 3, "b": 2, "ghost": 0})
    (folder / "a" / "notes.txt").touch()
    (folder / "a" / "Thumbs.db").touch()
    (folder / "a" / ".hidden").touch()
    (folder / "a" / "broken.png").write_bytes(b"no picture")
    (folder / "readme.md").touch()
    (folder / "b" / "more").symlink_to(folder / "a")

    done = ask(folder, "--out", tmp_path / "c.toml")

    assert "left out, no pictures: 2 files (.db 1, .txt 1)" in done.output
    assert "left out, beside the class folders: 1 files" in done.output
    assert "links to folders, not followed: b/more" in done.output
    assert "unreadable: a/broken.png" in done.output
    assert "ghost: 0 (an empty class cannot be learned)" in done.output
    assert "no class looks like background" in done.output


def test_what_exists_is_not_written_over(tmp_path: Path) -> None:
    pictures(tmp_path / "birds", {"jay": 2, "owl": 2})
    config = tmp_path / "c.toml"
    config.write_text("mine")

    assert "EXISTS" in str(ask(tmp_path / "birds", "--out", config).exception.reason)  # type: ignore[union-attr]
    assert config.read_text() == "mine"
    assert ask(tmp_path / "birds", "--out", config, "--replace").exception.reason == "EXISTS"  # type: ignore[union-attr]
    config.write_text("# mine\n\n[data]\n")
    assert ask(tmp_path / "birds", "--out", config, "--replace").exit_code == 0


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, Path.touch])
def test_a_folder_without_samples_is_one_line(make: object, tmp_path: Path) -> None:
    make(tmp_path / "data")  # type: ignore[operator]

    error = ask(tmp_path / "data", "--out", tmp_path / "c.toml").exception

    assert error.reason == "DATA_BAD"  # type: ignore[union-attr]
    assert not (tmp_path / "c.toml").exists()


def test_names_that_are_no_utf8_are_told(tmp_path: Path) -> None:
    sounds(tmp_path / "words", {"caf\udce9": 0.5, "no": 0.5})

    assert survey(tmp_path / "words").background == ["no"]
    done = ask(tmp_path / "words", "--out", tmp_path / "c.toml")
    assert done.exit_code == 0, done.output
    assert "caf\\xe9: 3" in done.output


def test_few_short_sounds_get_the_network_that_knows_speech_where_its_weights_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sounds(tmp_path / "words", {"yes": 0.6, "no": 1.9})
    monkeypatch.setattr(published_weights, "at_hand", lambda weights: tmp_path)

    done = ask(tmp_path / "words", "--out", tmp_path / "words.toml")

    assert done.exit_code == 0, done.output
    config = read_config(tmp_path / "words.toml")
    assert isinstance(config, AudioConfig)
    assert isinstance(config.model, SpeechEmbedding) and config.model.weights == "speech"
    assert (config.preprocess.version, config.preprocess.window_frames) == ("logmel/2", 196)
    assert config.preprocess.window_samples >= 1.9 * 16_000 - 80
    assert config.train.body_rate == 0
    text = (tmp_path / "words.toml").read_text()
    assert "for words from few recordings" in text and "Google" in text


def test_without_the_weights_the_file_says_where_they_are(tmp_path: Path) -> None:
    sounds(tmp_path / "words", {"yes": 0.6, "no": 0.6})

    ask(tmp_path / "words", "--out", tmp_path / "words.toml")

    assert read_config(tmp_path / "words.toml").model == DsCnn()
    assert "pip install --no-deps pyopen-wakeword==1.1.0" in (tmp_path / "words.toml").read_text()


def test_long_sounds_are_no_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sounds(tmp_path / "noises", {"rain": 2.5, "wind": 2.5})
    monkeypatch.setattr(published_weights, "at_hand", lambda weights: tmp_path)

    ask(tmp_path / "noises", "--out", tmp_path / "noises.toml")

    assert read_config(tmp_path / "noises.toml").model == DsCnn()
    assert "words" not in (tmp_path / "noises.toml").read_text()
