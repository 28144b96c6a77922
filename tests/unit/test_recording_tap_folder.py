"""Recordings stay within space and age; what is deleted is counted, and nothing else is ever touched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.settings import RecordingSettings
from galago_edge.recording.tap_folder import RECORDINGS, TapFolder

MB = 1_000_000
NOW_NS = 1_795_347_780_123_000_000
DAY_NS = 86_400 * 1_000_000_000


def folder(root: Path, *, synced: bool = True, now_ns: int = NOW_NS, **settings: Any) -> TapFolder:
    table = RecordingSettings(mode="always", **{"keep_free_mb": 0, **settings})
    return TapFolder(table, root, wall_ns=lambda: now_ns, synced=lambda: synced)


def old(root: Path, name: str, size: int = 0) -> Path:
    path = root / RECORDINGS / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    os.truncate(path, size)
    return path


def test_names_say_when_and_what_and_no_two_are_equal(tmp_path: Path) -> None:
    made = folder(tmp_path)
    names = [made.begin(source).name for source in ("yard", "yard", "rtsp://cam/1 a")]
    assert names == [
        "20261122T114300123Z-yard.mcap",
        "20261122T114300123Z-yard-2.mcap",
        "20261122T114300123Z-rtsp-cam-1-a.mcap",
    ]


def test_the_oldest_go_with_their_checksum_until_there_is_room(tmp_path: Path) -> None:
    oldest = old(tmp_path, "20250101T000000000Z-yard.mcap", 6 * MB)
    checksum = old(tmp_path, "20250101T000000000Z-yard.mcap.sha256", 64)
    torn = old(tmp_path, "20250102T000000000Z-yard.mcap.part", 3 * MB)
    newest = old(tmp_path, "20250103T000000000Z-door.mcap", 5 * MB)
    stranger = old(tmp_path, "mine.mcap", 50 * MB)
    made = folder(tmp_path, max_mb=10)
    made.make_room()
    assert not oldest.exists() and not checksum.exists()
    assert torn.exists() and newest.exists() and stranger.exists()
    assert made.deleted == 1 and made.known() == (2, 8 * MB)


def test_what_is_being_written_is_not_deleted(tmp_path: Path) -> None:
    made = folder(tmp_path, max_mb=4)
    path = made.begin("yard")
    old(tmp_path, f"{path.name}.part", 4 * MB)
    with pytest.raises(LinkError, match="max_mb = 4 is little") as caught:
        made.make_room()
    assert caught.value.reason is Reason.NO_SPACE
    made.end(path)
    made.make_room()
    assert made.deleted == 1


def test_old_ones_go_only_while_the_clock_is_right(tmp_path: Path) -> None:
    names = [f"2026{day}T114300123Z-yard.mcap" for day in ("1119", "1120", "1121")]
    paths = [old(tmp_path, name, 10) for name in names]
    folder(tmp_path, max_days=2, synced=False, now_ns=NOW_NS + 1_000 * DAY_NS).make_room()
    assert all(path.exists() for path in paths)
    made = folder(tmp_path, max_days=2)
    made.make_room()
    assert [path.exists() for path in paths] == [False, True, True] and made.deleted == 1


def test_nothing_is_written_where_too_little_is_free(tmp_path: Path) -> None:
    last = old(tmp_path, "20250101T000000000Z-yard.mcap", 10)
    with pytest.raises(LinkError, match="MB are free on its disk"):
        folder(tmp_path, keep_free_mb=1_000_000).begin("yard")
    assert not last.exists()


def test_a_folder_of_ones_own_choice_is_made(tmp_path: Path) -> None:
    made = folder(tmp_path / "root", dir=str(tmp_path / "a" / "b"))
    assert made.begin("yard").parent == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()
