"""The files in which the service keeps what cameras usually see."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from galago_edge.service.kept_views import KeptView

ADDRESS = "camera:rtsp://admin:hunter2@10.0.0.7/live?channel=1"


def test_what_is_saved_is_loaded_and_is_its_owners_alone(tmp_path: Path) -> None:
    keeper = KeptView(tmp_path, "door", ADDRESS)
    assert keeper.load() is None and not keeper.there()
    keeper.save(b"seen")
    keeper.save(b"seen again")
    assert keeper.path == tmp_path / "views" / "door.view"
    assert KeptView(tmp_path, "door", ADDRESS).load() == b"seen again" and keeper.there()
    assert stat.S_IMODE(keeper.path.stat().st_mode) == 0o600
    assert [path.name for path in keeper.path.parent.iterdir()] == ["door.view"]
    assert b"hunter2" not in keeper.key.encode()


def test_another_address_is_another_camera() -> None:
    keys = {KeptView(Path("/"), "door", address).key for address in (ADDRESS, ADDRESS[:-1] + "2")}
    assert len(keys) == 2


@pytest.mark.parametrize("name", ["rtsp://10.0.0.7/live", "../door", ".door", "a" * 65, ""])
def test_a_source_without_a_plain_name_has_a_file_in_the_same_folder(tmp_path: Path, name: str) -> None:
    keeper = KeptView(tmp_path, name, ADDRESS)
    assert keeper.path.parent == tmp_path / "views" and keeper.path.name == f"{keeper.key[:16]}.view"


def test_what_is_removed_is_no_longer_there(tmp_path: Path) -> None:
    keeper = KeptView(tmp_path, "door", ADDRESS)
    keeper.save(b"seen")
    keeper.path.unlink()
    assert not keeper.there() and keeper.load() is None


def test_a_pipe_a_folder_or_a_huge_file_in_its_place_is_refused_at_once(tmp_path: Path) -> None:
    keeper = KeptView(tmp_path, "door", ADDRESS)
    (tmp_path / "views").mkdir()
    os.mkfifo(keeper.path)
    with pytest.raises(OSError, match="plain"):
        keeper.load()
    keeper.path.unlink()
    with keeper.path.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(OSError, match="bytes"):
        keeper.load()
    keeper.path.unlink()
    keeper.path.mkdir()
    with pytest.raises(IsADirectoryError):
        keeper.load()
    with pytest.raises(OSError):
        keeper.save(b"seen")
