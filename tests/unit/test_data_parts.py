"""Who divides data into training, validation and test: its maker, by folders, groups or a table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from galago_edge.contract.errors import GalagoError, Reason
from galago_workstation.data.class_folders import list_folders
from galago_workstation.data.listing import Listing
from galago_workstation.data.sample import PARTS
from galago_workstation.data.sample_manifest import list_manifest
from galago_workstation.data.splits import split
from galago_workstation.training_config import ImageFolders, read_config
from test_kit.hostile_data import encoded, picture

WHOLE = """
[data]
kind = "images"
{data}
[preprocess]
kind = "image"
width = 32
height = 32
[model]
kind = "resnet"
"""


def fill(folder: Path, first: int, count: int = 6, labels: tuple[str, ...] = ("cat", "dog")) -> Path:
    for at, label in enumerate(labels):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            name = f"{'abc'[number % 3]}_{number}.png"
            (folder / label / name).write_bytes(encoded(".png", picture(first + 100 * at + number)))
    return folder


def parts_of(listing: Listing) -> dict[str, list[str]]:
    parts = split(listing, validation_share=0.2, test_share=0.2)
    return {part: [sample.id for sample in parts[part]] for part in PARTS}


def refusal(data: ImageFolders, root: Path) -> GalagoError:
    with pytest.raises(GalagoError) as caught:
        (list_folders if data.manifest is None else list_manifest)(data, root)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "valid", "testing")])
def test_folders_of_parts_are_parts_and_not_labels(names: tuple[str, ...], tmp_path: Path) -> None:
    for at, name in enumerate(names):
        fill(tmp_path / "set" / name, 1_000 * at)

    listing = list_folders(ImageFolders(folder="set"), tmp_path)

    assert listing.labels == ("cat", "dog")
    for part, name in zip(PARTS, names, strict=True):
        assert len(parts_of(listing)[part]) == 12
        assert all(one.startswith(f"set/{name}/") for one in parts_of(listing)[part])


def test_without_a_test_folder_the_test_is_held_out_of_training(tmp_path: Path) -> None:
    fill(tmp_path / "set" / "train", 0, 20)
    fill(tmp_path / "set" / "val", 1_000)
    parts = parts_of(list_folders(ImageFolders(folder="set"), tmp_path))
    assert len(parts["validation"]) == 12
    assert all("/train/" in one for one in parts["test"])
    assert len(parts["train"]) + len(parts["test"]) == 40


def test_classes_that_are_called_train_and_test_are_labels_when_files_are_in_them(tmp_path: Path) -> None:
    fill(tmp_path, 0, labels=("test", "train"))
    assert list_folders(ImageFolders(folder="."), tmp_path).labels == ("test", "train")


def test_groups_that_are_named_go_where_they_are_named(tmp_path: Path) -> None:
    fill(tmp_path, 0)
    data = ImageFolders(folder=".", group="/([abc])_", validation_groups=("b",), test_groups=("c",))
    parts = parts_of(list_folders(data, tmp_path))
    assert {part: {Path(one).name[0] for one in ids} for part, ids in parts.items()} == {
        "train": {"a"},
        "validation": {"b"},
        "test": {"c"},
    }


def test_a_group_that_nobody_has_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, 0)
    error = refusal(ImageFolders(folder=".", group="/([abc])_", test_groups=("x",)), tmp_path)
    assert error.reason == Reason.DATA_BAD
    assert "'x'" in str(error)
    assert error.hint == "groups: a, b, c"


def test_a_group_on_two_sides_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "train", 0)
    fill(tmp_path / "val", 1_000)
    error = refusal(ImageFolders(folder=".", group="/([abc])_"), tmp_path)
    assert "group 'a' is on two sides" in str(error)


def test_a_copy_of_a_validation_sample_is_no_training_sample(tmp_path: Path) -> None:
    fill(tmp_path / "train", 0)
    fill(tmp_path / "val", 1_000)
    twin = (tmp_path / "val" / "cat" / "a_0.png").read_bytes()
    (tmp_path / "train" / "cat" / "aa.png").write_bytes(twin)
    listing = list_folders(ImageFolders(folder="."), tmp_path)
    assert [copy.left_out.id for copy in listing.copies] == ["train/cat/aa.png"]


def test_only_what_matches_the_pattern_and_is_not_ignored_is_a_sample(tmp_path: Path) -> None:
    fill(tmp_path, 0)
    data = ImageFolders(folder=".", pattern="[ab]_*", ignore=("dog/a_*",))
    listing = list_folders(data, tmp_path)
    assert {Path(sample.id).name[0] for sample in listing.pool if sample.label == 1} == {"b"}
    assert {Path(sample.id).name[0] for sample in listing.pool if sample.label == 0} == {"a", "b"}
    assert listing.ignored == 6


def test_classes_one_folder_deeper_are_guessed(tmp_path: Path) -> None:
    fill(tmp_path / "set" / "photos", 0)
    error = refusal(ImageFolders(folder="set"), tmp_path)
    assert error.reason == Reason.CLASS_SINGLE
    assert "set/photos" in error.hint


def manifest(folder: Path, name: str, rows: list[dict[str, str]]) -> ImageFolders:
    fill(folder / "pictures", 0)
    if name.endswith(".csv"):
        keys = list(rows[0])
        lines = [",".join(keys), *(",".join(row[key] for key in keys) for row in rows)]
    else:
        lines = [json.dumps(row) for row in rows]
    (folder / name).write_text("\n".join(lines) + "\n")
    return ImageFolders(manifest=name)


def rows_of(count: int = 6) -> list[dict[str, str]]:
    return [
        {"path": f"pictures/{label}/{'abc'[n % 3]}_{n}.png", "label": label, "group": f"{n}", "part": part}
        for label in ("cat", "dog")
        for n, part in zip(range(count), ("train", "validation", "test", "", "train", ""), strict=False)
    ]


@pytest.mark.parametrize("name", ["samples.csv", "samples.jsonl"])
def test_a_table_says_label_group_and_part(name: str, tmp_path: Path) -> None:
    listing = list_manifest(manifest(tmp_path, name, rows_of()), tmp_path)
    assert listing.labels == ("cat", "dog")
    parts = parts_of(listing)
    assert parts["validation"] == ["pictures/cat/b_1.png", "pictures/dog/b_1.png"]
    assert parts["test"] == ["pictures/cat/c_2.png", "pictures/dog/c_2.png"]
    assert len(parts["train"]) == 8
    assert {sample.group for sample in listing.pool} == set("012345")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"part": "tset"}, "line 2: Invalid enum value 'tset'"),
        ({"path": "nowhere.png"}, "line 2: "),
        ({"path": "pictures/cat"}, "is no file"),
        ({"label": ""}, "line 2: "),
        ({"path": "pictures/dog/b_1.png"}, "line 9: 'pictures/dog/b_1.png' is also in line 2"),
    ],
)
@pytest.mark.parametrize("name", ["samples.csv", "samples.jsonl"])
def test_a_bad_row_is_refused_with_its_line(
    name: str, change: dict[str, str], said: str, tmp_path: Path
) -> None:
    rows = rows_of()
    rows[0] |= change
    error = refusal(manifest(tmp_path, name, rows), tmp_path)
    line = 0 if name.endswith("csv") else 1  # JSON lines have no line of names
    expected = said.replace("line 2", f"line {2 - line}").replace("line 9", f"line {9 - line}")
    assert expected in str(error)
    assert name in str(error)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"path;label\na;b\n", "line 2: "),
        (b"path,label,lable\na,b,c\n", "unknown field `lable`"),
        (b"path,label\na,b,c\n", "unknown field `column 3`"),
        (b"path,label\na\n", "missing required field `label`"),
        (b"path,label\n\xff,a\n", "is not UTF-8"),
        (b'path,label\n"a,b\n', "no CSV"),
        (b"", "no class"),
    ],
)
def test_a_table_that_is_none_is_one_line(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "samples.csv").write_bytes(content)
    assert said in str(refusal(ImageFolders(manifest="samples.csv"), tmp_path))


GROUPED = 'folder = "a"\ngroup = "(a)"\ntest_groups = ["x"]\n'


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", "neither folder nor manifest"),
        ('folder = "a"\nmanifest = "b.csv"', "folder and manifest"),
        ('manifest = "b.csv"\ngroup = "(a)"', "manifest and group"),
        ('folder = "a"\ntest_groups = ["x"]', "test_groups needs group"),
        (GROUPED + 'test_folder = "b"', "test_groups and test_folder"),
        (GROUPED + 'validation_groups = ["x"]', "in validation_groups and in test_groups"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(data: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(WHOLE.format(data=data))
    with pytest.raises(GalagoError, match=said):
        read_config(tmp_path / "c.toml")
