"""What lies on a device while a bundle is being sent to it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from galago_edge.contract.errors import BusyError, LinkError
from galago_edge.intake import inbox
from galago_edge.intake.inbox import Upload

DATA = bytes(range(256)) * 100
SHA = hashlib.sha256(DATA).hexdigest()


def parts(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "inbox").iterdir())


def test_an_upload_is_whole_only_when_its_hash_is_the_promised_one(tmp_path: Path) -> None:
    with Upload.open(tmp_path, SHA, len(DATA)) as upload:
        upload.write(DATA)
        upload.finish()
        assert upload.path.read_bytes() == DATA
        upload.discard()
    assert parts(tmp_path) == []


def test_what_came_so_far_is_there_for_the_next_attempt(tmp_path: Path) -> None:
    with Upload.open(tmp_path, SHA, len(DATA)) as upload:
        upload.write(DATA[:10_000])
    with Upload.open(tmp_path, SHA, len(DATA)) as upload:
        assert upload.received == 10_000
        assert upload.digest() == hashlib.sha256(DATA[:10_000]).hexdigest()
        upload.write(DATA[10_000:])
        upload.finish()


def test_a_damaged_beginning_can_be_forgotten(tmp_path: Path) -> None:
    with Upload.open(tmp_path, SHA, len(DATA)) as upload:
        upload.write(b"?" * 10_000)
    with Upload.open(tmp_path, SHA, len(DATA)) as upload:
        upload.restart()
        upload.write(DATA)
        upload.finish()


@pytest.mark.parametrize("wrong", [DATA[:-1], DATA[:-1] + b"?"], ids=["too short", "another byte"])
def test_other_bytes_than_promised_are_refused(tmp_path: Path, wrong: bytes) -> None:
    with Upload.open(tmp_path, SHA, len(DATA)) as upload:
        upload.write(wrong)
        with pytest.raises(LinkError) as refused:
            upload.finish()
        assert refused.value.reason == "TRANSPORT"


def test_more_than_promised_is_never_written(tmp_path: Path) -> None:
    with Upload.open(tmp_path, SHA, 10) as upload:
        upload.write(DATA[:10])
        with pytest.raises(LinkError, match="more than the promised 10 bytes"):
            upload.write(b"?")
        assert upload.path.stat().st_size == 10


def test_a_longer_leftover_is_forgotten(tmp_path: Path) -> None:
    with Upload.open(tmp_path, SHA, len(DATA)) as upload:
        upload.write(DATA)
    with Upload.open(tmp_path, SHA, 10) as upload:
        assert upload.received == 0


def test_a_second_upload_of_the_same_file_waits_and_then_says_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "PATIENCE_S", 0.3)
    waited: list[bool] = []
    with Upload.open(tmp_path, SHA, len(DATA)) as upload:
        upload.write(DATA[:100])
        with (
            pytest.raises(BusyError),
            Upload.open(tmp_path, SHA, len(DATA), waiting=lambda: waited.append(True)),
        ):
            pass
        assert waited
        upload.write(DATA[100:])
        upload.finish()
    with Upload.open(tmp_path, SHA, len(DATA)) as later:
        assert later.received == len(DATA)


def test_a_file_that_went_while_it_was_waited_for_is_made_anew(tmp_path: Path) -> None:
    waiting = []

    with Upload.open(tmp_path, SHA, len(DATA)) as first:
        first.write(DATA)
        # the name goes while the lock is held: whoever opened it meanwhile holds no file of the inbox
        first.discard()
        with Upload.open(tmp_path, SHA, len(DATA), waiting=lambda: waiting.append(1)) as second:
            assert second.received == 0
            second.write(DATA)
            second.finish()
    assert parts(tmp_path) == [f"{SHA}.part"]


def test_the_inbox_does_not_grow(tmp_path: Path) -> None:
    for number in range(5):
        sha = hashlib.sha256(bytes([number])).hexdigest()
        with Upload.open(tmp_path, sha, 100) as upload:
            upload.write(b"x" * 10)
    assert parts(tmp_path) == [f"{sha}.part"]
    assert Upload.present(tmp_path) == 10


def test_an_upload_that_goes_on_is_not_swept_by_another(tmp_path: Path) -> None:
    other = hashlib.sha256(b"other").hexdigest()
    with Upload.open(tmp_path, SHA, len(DATA)) as upload:
        upload.write(DATA)
        with Upload.open(tmp_path, other, 100):
            assert parts(tmp_path) == sorted([f"{SHA}.part", f"{other}.part"])
        upload.finish()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_root_leaves_belongs_to_the_owner_of_the_store(tmp_path: Path) -> None:
    """Or the service's user could not pull the rest of it."""
    os.chown(tmp_path, 12_345, 12_346)
    with Upload.open(tmp_path, SHA, len(DATA)) as upload:
        upload.write(DATA[:100])
    for path in (tmp_path / "inbox", upload.path):
        assert (path.stat().st_uid, path.stat().st_gid) == (12_345, 12_346)


def test_no_link_is_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / f"{SHA}.part").symlink_to(victim)
    with pytest.raises(LinkError), Upload.open(tmp_path, SHA, len(DATA)):
        pass
    (tmp_path / "inbox" / f"{SHA}.part").unlink()
    (tmp_path / "inbox" / "other.part").symlink_to(victim)
    with Upload.open(tmp_path, SHA, len(DATA)):
        assert parts(tmp_path) == [f"{SHA}.part"]
    assert victim.read_bytes() == b"precious"
