"""What a service writes about people is 0640, in folders of 0750, whatever the umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from galago_edge.contract.records import GapRecord, encode_record
from galago_edge.host.private_modes import make_private_folder, open_private
from galago_edge.service.kept_views import KeptView
from galago_edge.sinks.rotating_log import RotatingLog
from galago_edge.sinks.spool import Spool
from galago_edge.sinks.spool_writer import Entry

LINE = encode_record(GapRecord(stream="s", from_ns=0, to_ns=1, cause="drop"))


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=["umask 000", "umask 022", "umask 077"])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(root: Path) -> dict[str, int]:
    return {
        str(path.relative_to(root)): stat.S_IMODE(path.stat().st_mode) for path in sorted(root.rglob("*"))
    }


@pytest.mark.usefixtures("umask")
def test_a_log_and_its_renamed_files_are_for_user_and_group(tmp_path: Path) -> None:
    log = RotatingLog(tmp_path / "var" / "log" / "events.jsonl", max_bytes=2 * len(LINE), keep=3)
    for _ in range(5):
        log.write(LINE)
    log.close()
    assert modes(tmp_path) == {
        "var": 0o750,
        "var/log": 0o750,
        "var/log/events.jsonl": 0o640,
        "var/log/events.jsonl.1": 0o640,
        "var/log/events.jsonl.2": 0o640,
    }


@pytest.mark.usefixtures("umask")
def test_a_spool_is_its_users_alone(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", "porch", {"mqtt": ("gap",)}, max_bytes=1 << 20, sync_s=1)
    spool.lock()
    spool.load()
    spool.append([Entry("gap", LINE, True)])
    spool.close()
    found = modes(tmp_path)
    assert found.pop("spool") == 0o750
    assert set(found.values()) == {0o600} and len(found) == 2


@pytest.mark.usefixtures("umask")
def test_what_cameras_usually_see_is_the_users_alone(tmp_path: Path) -> None:
    KeptView(tmp_path, "door", "camera:0").save(b"seen")
    assert modes(tmp_path) == {"views": 0o750, "views/door.view": 0o600}


@pytest.mark.usefixtures("umask")
def test_what_is_there_already_stays_as_somebody_wanted_it(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    folder.chmod(0o700)
    file = folder / "events.jsonl"
    file.touch()
    file.chmod(0o604)
    make_private_folder(folder)
    os.close(open_private(file, os.O_WRONLY))
    assert modes(tmp_path) == {"log": 0o700, "log/events.jsonl": 0o604}


def test_a_folder_keeps_the_group_that_it_inherits(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    if not tmp_path.stat().st_mode & stat.S_ISGID:
        pytest.skip("this file system has no setgid folders")
    make_private_folder(tmp_path / "a" / "b")
    assert modes(tmp_path) == {"a": 0o2750, "a/b": 0o2750}


def test_a_file_in_the_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    with pytest.raises(OSError, match="exists"):
        make_private_folder(tmp_path / "log")
    with pytest.raises(OSError, match="log"):
        make_private_folder(tmp_path / "log" / "deeper")
