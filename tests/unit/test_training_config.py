from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess, LabelPolicy
from galago_workstation import training_config
from galago_workstation.training.network_kind import NETWORKS
from galago_workstation.training_config import AudioConfig, ImageConfig, label_specs, read_config

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
"""
AUDIO = """
[data]
kind = "audio"
folder = "clips"
[preprocess]
kind = "logmel"
[model]
kind = "ds_cnn"
"""


def read(tmp_path: Path, text: str) -> training_config.Config:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return read_config(path)


def test_three_tables_are_enough(tmp_path: Path) -> None:
    images = read(tmp_path, IMAGES)
    assert isinstance(images, ImageConfig)
    assert images.preprocess == ImagePreprocess(width=32, height=24)
    audio = read(tmp_path, AUDIO)
    assert isinstance(audio, AudioConfig)
    assert audio.preprocess == AudioPreprocess()
    assert audio.train.patience == 10


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (IMAGES + "layers = 3\n", "layers"),
        (IMAGES + "[trian]\n", "did you mean train?"),
        (IMAGES + "keep_logits = true\n", "keep_logits needs weights"),
        (IMAGES + "filters = 1\n", "[model] filters: expected a whole number >= 4"),
        (IMAGES.replace("resnet", "ds_cnn"), "[model] kind: ds_cnn takes no image"),
        (IMAGES + '[gate]\nkind = "level"\n', "[gate] kind"),
        (IMAGES + '[gate]\nkind = "motion"\ncells = 0\n', "[gate] cells"),
        (AUDIO + '[gate]\nkind = "level"\nopen_dbfs = 1.0\n', "[gate] open_dbfs: expected a number <= 0.0"),
        (AUDIO.replace("ds_cnn", "lstm"), "[model] kind: 'lstm' is none; expected one of ds_cnn"),
        (AUDIO.replace("logmel", "image"), "[preprocess] kind"),
        (AUDIO + "[augment]\nflip = true\n", "flip"),
        (IMAGES.replace("images", "movies"), "[data] kind: 'movies' is none of audio, idx, images"),
        (IMAGES.replace('folder = "pictures"', ""), "folder"),
        (IMAGES + "[train]\nepochs = 0\n", "[train] epochs"),
        (IMAGES.replace("[data]", "[data]\ntest_share = 0.9"), "[data] test_share"),
        (IMAGES.replace("[data]", "[data]\ngroup = '('"), "regular expression"),
        (IMAGES.replace("[data]", "[data]\ngroup = 'speaker'"), "0 captures"),
        (IMAGES + "[decision.default]\non = 0.4\n", "on is 0.4, off is 0.5"),
        (IMAGES + "[decision.label.cat]\noff = 0.9\n", "[decision.label.cat]"),
        (IMAGES + "[decision.label.cat]\nwindows = 3\n", "windows"),
        (IMAGES + "[decision.label.cat]\nmin_count = 1.5\n", "min_count"),
        (AUDIO + "[augment]\nnoise_snr_db = [30, 5]\n", "noise_snr_db"),
        ("[data\n", "line 1"),
    ],
)
def test_a_bad_configuration_names_the_file_and_the_key(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(CallerError) as caught:
        read(tmp_path, text)
    assert caught.value.reason == Reason.CONFIG_BAD
    assert str(tmp_path / "config.toml") in str(caught.value)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_idx_test_files_go_together(tmp_path: Path) -> None:
    text = IMAGES.replace('kind = "images"\nfolder = "pictures"', 'kind = "idx"\nimages = "i"\nlabels = "l"')
    text = text.replace("[data]", '[data]\nlabel_names = ["a", "b"]')
    assert isinstance(read(tmp_path, text), ImageConfig)
    with pytest.raises(CallerError, match="go together"):
        read(tmp_path, text.replace("[data]", '[data]\ntest_images = "t"'))


def test_a_label_policy_differs_from_the_default_only_where_it_says_so(tmp_path: Path) -> None:
    text = IMAGES + "[decision.default]\non = 0.8\nmin_count = 4\n[decision.label.cat]\non = 0.9\n"
    decision = read(tmp_path, text).decision
    assert decision.policy("dog") == LabelPolicy(on=0.8, min_count=4)
    assert decision.policy("cat") == LabelPolicy(on=0.9, min_count=4)


def test_labels_carry_background_and_policy_in_order(tmp_path: Path) -> None:
    text = IMAGES.replace("[data]", '[data]\nbackground = ["none"]') + "[decision.label.cat]\non = 0.9\n"
    specs = label_specs(read(tmp_path, text), ("cat", "dog", "none"))
    assert [(label.name, label.background, label.policy.on) for label in specs] == [
        ("cat", False, 0.9),
        ("dog", False, 0.7),
        ("none", True, 0.7),
    ]


@pytest.mark.parametrize("text", ["[decision.label.horse]\non = 0.9\n", ""])
def test_names_that_are_no_labels_are_refused(tmp_path: Path, text: str) -> None:
    base = IMAGES if text else IMAGES.replace("[data]", '[data]\nbackground = ["horse"]')
    with pytest.raises(CallerError, match="horse") as caught:
        label_specs(read(tmp_path, base + text), ("cat", "dog"))
    assert "cat, dog" in caught.value.hint


def structs(type_: Any, found: set[type[msgspec.Struct]]) -> set[type[msgspec.Struct]]:
    """Return every struct that the type can hold."""
    if isinstance(type_, msgspec.inspect.StructType) and type_.cls not in found:
        found.add(type_.cls)
        for field in type_.fields:
            structs(field.type, found)
    for inner in getattr(type_, "types", ()):
        structs(inner, found)
    return found


def test_every_key_is_documented() -> None:
    docs = Path(__file__).parents[2] / "docs"
    page = "".join((docs / name).read_text(encoding="utf-8") for name in ("training.md", "augmentation.md"))
    documented = set(re.findall(r"`([a-z_0-9]+)`", page))
    found: set[type[msgspec.Struct]] = set()
    options = [kind.options for name in NETWORKS.own() if (kind := NETWORKS.find(name))]
    for type_ in (ImageConfig, AudioConfig, LabelPolicy, *options):
        structs(msgspec.inspect.type_info(type_), found)
    assert len(found) >= 14
    keys = {field for struct in found for field in struct.__struct_fields__}
    tables = {"data", "preprocess", "model", "augment", "train", "decision", "gate", "gates", "convert"} | {
        "validation"
    }
    keys -= tables | {"default", "label", "recall"}
    assert keys - documented == set()


def test_a_folder_of_data_is_told_how_to_get_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(CallerError, match="is a folder, expected a training configuration") as caught:
        read_config(tmp_path)
    assert caught.value.hint.startswith(f"galago init {tmp_path}")
