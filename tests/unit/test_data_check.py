"""``galago data check`` names every problem of a folder of training data at once."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import msgspec
import pytest
from click.testing import CliRunner, Result

from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess
from galago_edge.contract.printable import on_one_line
from galago_workstation.commands.data_check import check
from galago_workstation.data.data_inspection import InspectedData, inspect_data
from galago_workstation.progress_lines import PlainReport
from galago_workstation.training_config import AudioFolders, IdxFiles, ImageFolders
from test_kit.hostile_data import HostileThing, encoded, hostile_pictures, hostile_sounds, is_told, picture


def ask(*arguments: object) -> Result:
    return CliRunner().invoke(check, [str(argument) for argument in arguments])


def untold(found: InspectedData, things: list[HostileThing]) -> list[HostileThing]:
    findings = [msgspec.to_builtins(finding) for finding in found.findings.all()]
    return [thing for thing in things if thing.code and not is_told(thing, findings)]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[InspectedData, list[HostileThing]]:
    folder = tmp_path_factory.mktemp("pictures")
    things = hostile_pictures(folder)
    spec = ImagePreprocess(width=32, height=32)
    return inspect_data(ImageFolders(folder="."), folder, spec, PlainReport()), things


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> tuple[InspectedData, list[HostileThing]]:
    folder = tmp_path_factory.mktemp("sounds")
    things = hostile_sounds(folder)
    return inspect_data(AudioFolders(folder="."), folder, AudioPreprocess(), PlainReport()), things


def test_every_hostile_picture_is_told_of_at_once(
    pictures: tuple[InspectedData, list[HostileThing]],
) -> None:
    found, things = pictures
    assert untold(found, things) == []
    assert not found.usable


def test_every_hostile_sound_is_told_of_at_once(sounds: tuple[InspectedData, list[HostileThing]]) -> None:
    found, things = sounds
    assert untold(found, things) == []


def test_what_is_a_sample_as_any_other_is_in_no_error(
    pictures: tuple[InspectedData, list[HostileThing]], sounds: tuple[InspectedData, list[HostileThing]]
) -> None:
    for found, things in (pictures, sounds):
        errors = [
            name for finding in found.findings.all() if finding.level == "error" for name in finding.names
        ]
        for thing in things:
            if not thing.code:
                assert not any(on_one_line(Path(thing.name).name) in error for error in errors), thing.what


def test_a_label_in_decomposed_letters_is_composed(
    pictures: tuple[InspectedData, list[HostileThing]],
) -> None:
    assert "köter" in pictures[0].labels


def test_names_in_findings_are_one_line_each(pictures: tuple[InspectedData, list[HostileThing]]) -> None:
    for finding in pictures[0].findings.all():
        assert all(on_one_line(name) == name for name in finding.names)


def good(folder: Path, count: int = 12) -> Path:
    for at, label in enumerate(("cat", "none")):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            (folder / label / f"{number}.png").write_bytes(encoded(".png", picture(100 * at + number)))
    return folder


def test_good_data_exits_0_and_shows_how_it_is_divided(tmp_path: Path) -> None:
    done = ask(good(tmp_path / "data"))

    assert done.exit_code == 0, done.output
    assert "24 pictures of 2 labels" in done.output
    assert "cat: 12 (train" in done.output
    assert "nothing to say against it" in done.output


def test_bad_data_exits_1_and_json_has_all_names(tmp_path: Path) -> None:
    folder = good(tmp_path / "data")
    for number in range(5):
        (folder / "cat" / f"bad{number}.png").write_bytes(b"bad %d" % number)

    done = ask(folder, "--json")

    assert done.exit_code == 1
    result = json.loads(done.output)
    (error,) = [finding for finding in result["findings"] if finding["level"] == "error"]
    assert (error["code"], error["count"], len(error["names"])) == ("IMAGE_UNREADABLE", 5, 5)
    assert not result["usable"]
    lines = ask(folder).output
    assert "and 2 more" in lines
    assert "training would refuse it" in lines


def test_many_files_are_looked_at_by_several_processes_and_found_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = good(tmp_path / "data")
    (folder / "cat" / "bad.png").write_bytes(b"")
    alone = inspect_data(ImageFolders(folder="."), folder, None, PlainReport())
    monkeypatch.setattr("galago_workstation.data.data_inspection.WORTH_A_PROCESS", 2)

    together = inspect_data(ImageFolders(folder="."), folder, None, PlainReport())

    assert together.findings.all() == alone.findings.all()


def test_formats_that_give_the_label_away_are_told_of(tmp_path: Path) -> None:
    folder = good(tmp_path / "data")
    for path in (folder / "none").iterdir():
        path.with_suffix(".jpg").write_bytes(encoded(".jpg", cv2.imread(str(path))))
        path.unlink()

    found = inspect_data(ImageFolders(folder="."), folder, None, PlainReport())

    assert "format_tells_label" in [finding.code for finding in found.findings.all()]


def test_what_looks_alike_on_two_sides_of_the_split_is_told_of(tmp_path: Path) -> None:
    folder = good(tmp_path / "data")
    for number in range(12):  # each once more, saved again: some pairs are torn apart
        content = cv2.imread(str(folder / "cat" / f"{number}.png"))
        (folder / "cat" / f"{number}.jpg").write_bytes(encoded(".jpg", content))

    def codes(data: ImageFolders) -> list[str]:
        return [finding.code for finding in inspect_data(data, folder, None, PlainReport()).findings.all()]

    assert "alike_other_part" in codes(ImageFolders(folder="."))
    grouped = ImageFolders(folder=".", group=r"^([a-z]+/[0-9]+)\.")
    assert "alike_other_part" not in codes(grouped)


def test_a_folder_that_is_none_is_one_line(tmp_path: Path) -> None:
    found = inspect_data(ImageFolders(folder="nowhere"), tmp_path, None, PlainReport())
    (finding,) = found.findings.all()
    assert (finding.code, finding.level) == ("DATA_BAD", "error")


def test_idx_files_are_looked_at_too(tmp_path: Path) -> None:
    data = IdxFiles(images="a", labels="b", label_names=("x", "y"))
    (finding,) = inspect_data(data, tmp_path, None, PlainReport()).findings.all()
    assert finding.level == "error"
