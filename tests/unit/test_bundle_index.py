"""The list of bundles for a web server: one release for each name and channel, and never a guess."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from galago_edge.bundle.index import INDEX_LIMIT_BYTES, read_index, write_index
from galago_edge.bundle.keys import key_id
from galago_edge.bundle.signature import SIGNATURE_LIMIT_BYTES, sign
from galago_edge.bundle.trust import TrustedKeys
from galago_edge.contract.errors import BundleError, CallerError, Reason
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


@pytest.mark.parametrize("name", ["index.json", "index.sig"])
def test_only_a_former_list_is_written_over(name: str, tmp_path: Path) -> None:
    make_hollow_bundle(tmp_path / "a.galago")
    for sequence in (1, 2):
        write_index(tmp_path, [TEST_KEY], sequence=sequence)
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(CallerError) as caught:
        write_index(tmp_path, [TEST_KEY], sequence=3)
    assert caught.value.reason == Reason.EXISTS and (tmp_path / name).read_bytes() == b"mine"


def test_no_folder_is_not_called_an_empty_one(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == (Reason.TARGET_UNKNOWN, f"{tmp_path / 'none'} is no folder")
    assert refusal(tmp_path) == (Reason.TARGET_UNKNOWN, f"{tmp_path} holds no .galago file")


def files(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "index.json").read_bytes(), (folder / "index.sig").read_bytes()


def rejected(data: bytes, signature: bytes, trusted: TrustedKeys) -> tuple[Reason, str]:
    with pytest.raises(BundleError) as caught:
        read_index(data, signature, trusted, "index.json")
    return caught.value.reason, str(caught.value)


TRUSTED = TrustedKeys({key_id(TEST_KEY): "test"})


def test_each_index_is_one_further_than_the_one_that_was_there(tmp_path: Path) -> None:
    make_hollow_bundle(tmp_path / "a.galago")
    assert [write_index(tmp_path, [TEST_KEY]).sequence for _ in range(3)] == [1, 2, 3]
    assert write_index(tmp_path, [TEST_KEY], sequence=40).sequence == 40
    assert write_index(tmp_path, [TEST_KEY]).sequence == 41


def test_a_damaged_index_is_written_over_only_with_a_number_that_is_given(tmp_path: Path) -> None:
    make_hollow_bundle(tmp_path / "a.galago")
    damaged = b'{\n "schema": "galago.index/1",\n'
    (tmp_path / "index.json").write_bytes(damaged)
    reason, _ = refusal(tmp_path)
    assert reason is Reason.CONFIG_BAD
    assert (tmp_path / "index.json").read_bytes() == damaged
    assert write_index(tmp_path, [TEST_KEY], sequence=7).sequence == 7


def test_what_is_written_is_read_again_and_says_what_lies_there(tmp_path: Path) -> None:
    path = make_hollow_bundle(tmp_path / "a.galago", release_counter=4)
    made = write_index(tmp_path, [TEST_KEY])
    assert read_index(*files(tmp_path), TRUSTED, "index.json") == made
    assert files(tmp_path)[0] == msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n"
    (entry,) = made.bundles
    assert (entry.name, entry.channel, entry.release_counter) == ("tiny", "stable", 4)
    assert (entry.size, entry.sha256) == (
        path.stat().st_size,
        hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.galago", "index.json", "index.sig"]


def test_an_index_counts_only_when_who_signed_it_is_trusted(tmp_path: Path) -> None:
    make_hollow_bundle(tmp_path / "a.galago")
    write_index(tmp_path, [TEST_KEY])
    data, signature = files(tmp_path)
    assert rejected(data, signature, TrustedKeys({}))[0] is Reason.KEY_UNKNOWN
    both = TrustedKeys({key_id(TEST_KEY): "", "ab" * 32: ""}, threshold=2)
    assert rejected(data, signature, both)[0] is Reason.SIG_MISSING
    assert rejected(data + b" ", signature, TRUSTED)[0] is Reason.SIG_BAD


def test_a_manifests_signature_is_no_indexs(tmp_path: Path) -> None:
    make_hollow_bundle(tmp_path / "a.galago")
    write_index(tmp_path, [TEST_KEY])
    data, _ = files(tmp_path)
    assert rejected(data, sign(data, [TEST_KEY]), TRUSTED)[0] is Reason.SIG_BAD


@pytest.mark.parametrize(("data", "signature"), [(INDEX_LIMIT_BYTES, 0), (0, SIGNATURE_LIMIT_BYTES)])
def test_what_is_too_long_for_an_index_is_not_even_looked_at(data: int, signature: int) -> None:
    assert rejected(b" " * (data + 1), b" " * (signature + 1), TRUSTED)[0] is Reason.TOO_BIG
    assert rejected(b" " * data, b" " * signature, TRUSTED)[0] is Reason.SIG_BAD
