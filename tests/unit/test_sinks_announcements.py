"""What a broker was told to keep is remembered over restarts, power cuts and full disks, within bounds."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from galago_edge.sinks import announcements
from galago_edge.sinks.announcements import Announcements
from galago_edge.sinks.topics import Component

SMOKE = Component("binary_sensor", "hall")


def opened(folder: Path) -> Announcements:
    found = Announcements(folder, "mqtt")
    found.load()
    return found


def test_what_was_published_is_known_to_the_next_process(tmp_path: Path) -> None:
    opened(tmp_path).remember(["a/lost", "a/hall/source"], "ha/config", {"hall-label-smoke": SMOKE})
    found = opened(tmp_path)
    assert found.topics == ["a/lost", "a/hall/source"]
    assert found.entities("ha/config") == {"hall-label-smoke": SMOKE}
    assert found.entities("another") == {}
    assert stat.S_IMODE((tmp_path / "mqtt.published").stat().st_mode) == 0o600


def test_what_the_broker_has_forgotten_is_forgotten_here(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.remember(["a", "b", "ha/config"], "ha/config", {"x": SMOKE, "y": SMOKE})
    first.forget(["a", "never"], "ha/config", ["x", "never"])
    found = opened(tmp_path)
    assert found.topics == ["b", "ha/config"] and found.entities("ha/config") == {"y": SMOKE}
    found.forget(["ha/config"], "", ())
    assert opened(tmp_path).entities("ha/config") == {}


def test_nothing_is_written_while_nothing_changes(tmp_path: Path) -> None:
    found = opened(tmp_path)
    found.remember(["a"], "c", {"x": SMOKE})
    before = (tmp_path / "mqtt.published").stat()
    found.remember(["a"], "c", {"x": SMOKE})
    found.forget(["z"], "c", ["z"])
    found.note(["a"])
    after = (tmp_path / "mqtt.published").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_what_is_told_between_two_connections_is_noted_too(tmp_path: Path) -> None:
    found = opened(tmp_path)
    found.remember(["a/lost"], "ha/config", {"x": SMOKE})
    found.note(["a/lost", "a/hall/source"])
    later = opened(tmp_path)
    assert later.topics == ["a/lost", "a/hall/source"] and later.entities("ha/config") == {"x": SMOKE}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b'{"v":2,"topics":[]}', b'{"v":1,"topics":3}', b"[]"]
)
def test_a_damaged_file_is_as_good_as_none_and_is_mended(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mqtt.published").write_bytes(content)
    found = opened(tmp_path)
    assert found.topics == []
    found.remember(["a"], "", {})
    assert opened(tmp_path).topics == ["a"]


def test_a_pipe_in_its_place_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mqtt.published")
    assert opened(tmp_path).topics == []


def test_a_folder_that_is_not_there_yet_costs_nothing(tmp_path: Path) -> None:
    found = Announcements(tmp_path / "spool", "mqtt")
    found.load()
    found.remember(["a"], "", {})
    assert found.topics == ["a"]
    (tmp_path / "spool").mkdir()
    found.remember(["a"], "", {})
    assert opened(tmp_path / "spool").topics == ["a"], "written as soon as that is possible"


def test_it_is_bounded_and_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcements, "_TOPICS", 5)
    found = opened(tmp_path)
    for number in range(9):
        found.remember([f"t{number}"], f"t{number}", {"x": SMOKE})
    assert opened(tmp_path).topics == ["t4", "t5", "t6", "t7", "t8"]
    assert found.entities("t3") == {} and found.entities("t8") == {"x": SMOKE}


def test_a_process_that_is_killed_while_it_writes_leaves_the_old_or_the_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = opened(tmp_path)
    found.remember(["a"], "", {})

    def killed(path: Path, data: bytes, **options: object) -> None:
        (tmp_path / "mqtt.published.part").write_bytes(data[: len(data) // 2])
        raise OSError("the power is gone")

    with monkeypatch.context() as patch:
        patch.setattr(announcements, "replace_file", killed)
        found.remember(["b"], "", {})
    assert opened(tmp_path).topics == ["a"]
    found.remember(["b"], "", {})
    assert opened(tmp_path).topics == ["a", "b"]
