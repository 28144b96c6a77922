"""The list of bundles for a web server: one release for each name and channel, and never a guess."""

from __future__ import annotations

from pathlib import Path

import pytest

from galago_edge.bundle.index import write_index
from galago_edge.contract.errors import CallerError, Reason
from test_kit import TEST_KEY, make_hollow_bundle


def refusal(folder: Path) -> tuple[Reason, str]:
    with pytest.raises(CallerError) as caught:
        write_index(folder, [TEST_KEY])
    return caught.value.reason, str(caught.value)


def test_the_highest_release_of_each_name_and_channel_is_listed(tmp_path: Path) -> None:
    for number, info in enumerate(
        (
            {"release_counter": 1},
            {"release_counter": 3},
            {"release_counter": 2},
            {"release_counter": 9, "channel": "beta"},
        )
    ):
        make_hollow_bundle(tmp_path / f"{number}.galago", **info)
    made = write_index(tmp_path, [TEST_KEY])
    assert [(entry.channel, entry.file) for entry in made.bundles] == [
        ("beta", "3.galago"),
        ("stable", "1.galago"),
    ]


def test_two_bundles_with_one_release_number_are_not_chosen_between(tmp_path: Path) -> None:
    """A device that has one of them refuses the other (REPLAY), so half of a fleet would stay behind."""
    make_hollow_bundle(tmp_path / "a.galago", release_counter=2)
    make_hollow_bundle(tmp_path / "b.galago", b"another model", release_counter=2)
    reason, said = refusal(tmp_path)
    assert reason == Reason.CONFIG_BAD and "a.galago and b.galago are different bundles of tiny" in said
    assert not (tmp_path / "index.json").exists()
    make_hollow_bundle(tmp_path / "c.galago", release_counter=3)  # below the highest it does no harm
    assert [entry.file for entry in write_index(tmp_path, [TEST_KEY]).bundles] == ["c.galago"]


def test_the_same_bundle_twice_is_one(tmp_path: Path) -> None:
    for name in ("a.galago", "b.galago"):
        make_hollow_bundle(tmp_path / name)
    assert [entry.file for entry in write_index(tmp_path, [TEST_KEY]).bundles] == ["a.galago"]


def test_no_folder_is_not_called_an_empty_one(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == (Reason.TARGET_UNKNOWN, f"{tmp_path / 'none'} is no folder")
    assert refusal(tmp_path) == (Reason.TARGET_UNKNOWN, f"{tmp_path} holds no .galago file")
