"""``[augment]``: presets, their bounds, and what is said of what cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from galago_edge.contract.errors import CallerError, Reason
from galago_workstation.data.augmentation.augment_options import (
    PICTURE_PRESETS,
    SOUND_PRESETS,
    AudioAugment,
    ImageAugment,
    with_preset,
)
from galago_workstation.training_config import read_config

IMAGES = """
[data]
kind = "images"
folder = "pictures"
[preprocess]
kind = "image"
width = 32
height = 24
[model]
kind = "resnet"
[augment]
"""
AUDIO = """
[data]
kind = "audio"
folder = "clips"
[preprocess]
kind = "logmel"
[model]
kind = "ds_cnn"
[augment]
"""
KINDS: list[Any] = [(IMAGES, ImageAugment, PICTURE_PRESETS), (AUDIO, AudioAugment, SOUND_PRESETS)]


def augment(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return read_config(path).augment


@pytest.mark.parametrize(("text", "type_", "presets"), KINDS)
def test_without_a_strength_only_what_is_written_happens(
    text: str, type_: Any, presets: Any, tmp_path: Path
) -> None:
    assert augment(tmp_path, text) == type_()
    assert augment(tmp_path, text + 'strength = "none"') == type_()
    assert augment(tmp_path, text + "mixup = 0.5") == type_(mixup=0.5)


@pytest.mark.parametrize("strength", ["light", "usual", "strong"])
@pytest.mark.parametrize(("text", "type_", "presets"), KINDS)
def test_a_strength_sets_every_key_that_is_not_written(
    text: str, type_: Any, presets: Any, strength: str, tmp_path: Path
) -> None:
    plain = augment(tmp_path, f'{text}strength = "{strength}"')
    own = augment(tmp_path, f'{text}strength = "{strength}"\nmixup = 0.45\nmix_alpha = 2.0')
    assert plain != type_(strength=strength)
    assert own == msgspec.structs.replace(plain, mixup=0.45, mix_alpha=2.0)


@pytest.mark.parametrize(("text", "type_", "presets"), KINDS)
def test_a_stronger_preset_never_changes_less(text: str, type_: Any, presets: Any) -> None:
    calmer = {"jpeg_quality", "share", "noise_snr_db", "context_snr_db"}  # fewer is more, or ranges
    for key, (light, usual, strong) in presets.items():
        if key not in calmer and key != "scale":
            assert light <= usual <= strong, key
    for key in ("noise_snr_db", "context_snr_db"):
        if key in presets:
            lowest = [low for low, _ in presets[key]]
            assert lowest == sorted(lowest, reverse=True)
    msgspec.convert(with_preset({"strength": "strong"}, presets), type_)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (IMAGES + 'strength = "usal"', "'usal' is none of light, none, strong, usual"),
        (IMAGES + "rotation = 5.0", "did you mean rotation_degrees?"),
        (IMAGES + "speed = 0.1", "[augment] has no setting 'speed'"),
        (IMAGES + "rotation_degrees = 200.0", "[augment] rotation_degrees: expected a number <= 180.0"),
        (IMAGES + "scale = [1.5, 0.5]", "scale is [1.5, 0.5]"),
        (IMAGES + "scale = [0.0, 1.0]", "[augment] scale"),
        (IMAGES + "mixup = 0.7\ncutmix = 0.7", "mixup and cutmix"),
        (IMAGES + "strength = 3", "[augment] strength"),
        (AUDIO + "noise_snr_db = [30, 5]", "noise_snr_db is [30.0, 5.0]"),
        (AUDIO + "context_snr_db = [30, 5]", "context_snr_db is [30.0, 5.0]"),
        (AUDIO + "noise_snr_db = [nan, nan]", "noise_snr_db is [nan, nan]"),
        (AUDIO + 'codecs = ["telefone"]', "telefone"),
        (AUDIO + "pitch = 2", "did you mean pitch_semitones?"),
    ],
)
def test_what_cannot_be_is_refused_with_the_key_and_the_nearest_name(
    text: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(CallerError) as caught:
        augment(tmp_path, text)
    assert caught.value.reason == Reason.CONFIG_BAD
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_own_noise_has_a_ratio_unless_one_is_written() -> None:
    assert AudioAugment().noise_range_db is None
    assert AudioAugment(noise_folder="n").noise_range_db == (0.0, 30.0)
    assert AudioAugment(noise_folder="n", noise_snr_db=(5.0, 6.0)).noise_range_db == (5.0, 6.0)
