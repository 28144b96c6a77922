"""Hashes of recordings are believed while nothing about the files changed, and never longer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from galago_edge.commands.cli import main
from galago_edge.contract.errors import InputError
from galago_edge.sources.recording_digest import recording_sha256
from galago_workstation.qa import content_hashes
from galago_workstation.qa.content_hashes import HASHES, ContentHashes
from galago_workstation.qa.corpus import read_corpus
from test_kit.corpora import write_night


def an_hour_later() -> int:
    return time.time_ns() + 3_600_000_000_000


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two sounds and a folder of pictures."""
    top = tmp_path / "corpus"
    write_night(top / "a.wav", 300)
    write_night(top / "b.wav", 400)
    (top / "door").mkdir()
    for number in range(2):
        (top / "door" / f"{number}.jpg").write_bytes(b"\xff\xd8\xff" + bytes([number]))
    return top


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the recordings that were read."""
    found: list[str] = []

    def noted(path: Path) -> str | None:
        found.append(path.name)
        return recording_sha256(path)

    monkeypatch.setattr(content_hashes, "recording_sha256", noted)
    return found


def hashes(
    results: Path, *, reread: bool = False, now_ns: Callable[[], int] = an_hour_later
) -> ContentHashes:
    return ContentHashes(results, reread=reread, now_ns=now_ns)


def test_what_was_not_changed_is_not_read_again_and_that_is_said(
    corpus: Path, results: Path, read: list[str]
) -> None:
    first = read_corpus(corpus, hashes=hashes(results))
    assert (read, first.notes) == (["a.wav", "b.wav", "door"], ())
    again = read_corpus(corpus, hashes=hashes(results))
    assert len(read) == 3 and again.recordings == first.recordings
    assert again.notes == (
        "not read again, for size and times are as when they were: 3 of 3 recordings; --rehash reads them",
    )


def change_content(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def change_content_and_set_the_time_back(path: Path) -> None:
    before = path.stat()
    change_content(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def put_another_in_its_place(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes()[:-1] + b"x")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize(
    "change", [change_content, change_content_and_set_the_time_back, put_another_in_its_place]
)
def test_what_was_changed_is_read_again_whatever_its_size_and_time_say(
    corpus: Path, results: Path, read: list[str], change: Callable[[Path], None]
) -> None:
    before = read_corpus(corpus, hashes=hashes(results)).recordings
    change(corpus / "b.wav")
    change(corpus / "door" / "1.jpg")
    after = read_corpus(corpus, hashes=hashes(results)).recordings
    assert read[3:] == ["b.wav", "door"]
    assert [one.sha256 != other.sha256 for one, other in zip(before, after, strict=True)] == [
        False,
        True,
        True,
    ]


def test_a_picture_that_comes_or_goes_changes_its_folder(
    corpus: Path, results: Path, read: list[str]
) -> None:
    read_corpus(corpus, hashes=hashes(results))
    (corpus / "door" / "0.jpg").unlink()
    read_corpus(corpus, hashes=hashes(results))
    assert read[3:] == ["door"]


def test_what_was_changed_a_moment_before_it_was_read_is_read_again(
    corpus: Path, results: Path, read: list[str]
) -> None:
    """Its next change might come within one step of the disk's clock."""

    def then() -> int:
        return (corpus / "a.wav").stat().st_ctime_ns + 1_999_999_999

    read_corpus(corpus, hashes=hashes(results, now_ns=then))
    assert not (results / HASHES).exists() and not results.exists()
    read_corpus(corpus, hashes=hashes(results, now_ns=then))
    assert len(read) == 6


def test_rehash_reads_everything_and_says_what_changed_unseen(
    corpus: Path, results: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_corpus(corpus, hashes=hashes(results))
    monkeypatch.setattr(content_hashes, "recording_sha256", lambda path: f"{path.name:0>64}")  # a bad disk
    found = read_corpus(corpus, hashes=hashes(results, reread=True))
    assert [one.sha256[-5:] for one in found.recordings] == ["a.wav", "b.wav", "0door"]
    assert len(found.notes) == 3 and "its content is not what it was, although its size" in found.notes[0]


def test_a_damaged_file_of_hashes_is_said_and_everything_read(
    corpus: Path, results: Path, read: list[str]
) -> None:
    read_corpus(corpus, hashes=hashes(results))
    (results / HASHES).write_bytes(b"{")
    found = read_corpus(corpus, hashes=hashes(results))
    assert len(read) == 6
    (note,) = found.notes
    assert "recordings.json cannot be used, and every recording is read" in note
    assert len(read_corpus(corpus, hashes=hashes(results)).notes) == 1 and len(read) == 6


def test_a_corpus_that_is_refused_leaves_no_folder_of_results(corpus: Path, results: Path) -> None:
    (corpus / "copy.wav").write_bytes((corpus / "a.wav").read_bytes())
    with pytest.raises(InputError, match="hold the same recording"):
        read_corpus(corpus, hashes=hashes(results))
    assert not results.exists()


def test_names_that_are_no_text_are_remembered_too(results: Path, tmp_path: Path, read: list[str]) -> None:
    name = os.fsdecode(b"night-\xff.wav")
    path = write_night(tmp_path / "odd" / name)
    for _ in range(2):
        found = hashes(results)
        with found.kept():
            found.of(path)
    assert read == [name]


def test_two_commands_that_remember_at_once_lose_no_more_than_one_reading(
    corpus: Path, results: Path, read: list[str]
) -> None:
    one, other = hashes(results), hashes(results)
    with one.kept(), other.kept():
        one.of(corpus / "a.wav")
        other.of(corpus / "b.wav")
    hashes(results).of(corpus / "a.wav")
    hashes(results).of(corpus / "b.wav")
    assert read == ["a.wav", "b.wav"]


def test_a_folder_that_cannot_be_written_costs_only_the_memory(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = read_corpus(corpus, hashes=hashes(tmp_path / "file" / "results"))
    (note,) = [note for note in found.notes if note.startswith("hashes are not remembered")]
    assert "file" in note and len(found.recordings) == 3


def test_the_command_has_the_option() -> None:
    assert "--rehash" in CliRunner().invoke(main, ["replay", "--help"]).output
