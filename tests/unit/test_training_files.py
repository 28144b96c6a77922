from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from galago_edge.commands.cli import main
from galago_edge.contract.errors import CallerError, InputError, LinkError, Reason
from galago_workstation.files import new_folder, process_here, read_json, write_bytes, write_json


class Thing(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    count: int = 0


def make(path: Path, content: str) -> None:
    with new_folder(path, mark="run.json") as folder:
        (folder / "run.json").write_text(content)


def tree(path: Path) -> dict[str, str]:
    return {str(one.relative_to(path)): one.read_text() for one in sorted(path.rglob("*")) if one.is_file()}


def test_a_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    with new_folder(tmp_path / "deep" / "run", mark="run.json") as folder:
        (folder / "run.json").write_text("new")
        assert not (tmp_path / "deep" / "run").exists()
    assert tree(tmp_path) == {"deep/run/run.json": "new"}


def test_a_new_folder_replaces_the_old_one_completely(tmp_path: Path) -> None:
    make(tmp_path / "run", "old")
    (tmp_path / "run" / "converted").mkdir()
    make(tmp_path / "run", "new")
    assert tree(tmp_path) == {"run/run.json": "new"}
    assert [one.name for one in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("x")], ids=repr)
def test_a_block_that_fails_leaves_the_old_folder_whole(tmp_path: Path, error: BaseException) -> None:
    make(tmp_path / "run", "old")
    with pytest.raises(type(error)), new_folder(tmp_path / "run", mark="run.json") as folder:
        (folder / "run.json").write_text("new")
        raise error
    assert tree(tmp_path) == {"run/run.json": "old"}
    assert [one.name for one in tmp_path.iterdir()] == ["run"]


def test_a_full_disk_is_one_line_and_leaves_the_old_folder_whole(tmp_path: Path) -> None:
    make(tmp_path / "run", "old")
    with pytest.raises(LinkError) as caught, new_folder(tmp_path / "run", mark="run.json"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.reason == Reason.NO_SPACE
    assert tree(tmp_path) == {"run/run.json": "old"}


def test_when_the_last_step_fails_the_old_folder_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "run", "old")
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.suffix == ".part":
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(LinkError):
        make(tmp_path / "run", "new")
    assert tree(tmp_path) == {"run/run.json": "old"}
    assert [one.name for one in tmp_path.iterdir()] == ["run"]


def test_what_a_killed_process_of_this_host_left_goes_and_what_others_write_stays(tmp_path: Path) -> None:
    host, pid = process_here()
    gone, alive, elsewhere = (
        f".run.{one}.12345678.part" for one in (f"{host}.99999999", f"{host}.{pid}", "other.99999999")
    )
    for name in (gone, alive, elsewhere, f".walk.{host}.99999999.12345678.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rest").write_text("half")
    make(tmp_path / "run", "new")
    assert {one.name for one in tmp_path.iterdir()} == {
        *("run", alive, elsewhere),
        f".walk.{host}.99999999.12345678.part",
    }


@pytest.mark.parametrize("ending", ["part", "old"])
def test_whatever_is_called_like_a_part_is_somebody_elses(tmp_path: Path, ending: str) -> None:
    make(tmp_path / "run", "old")
    write_bytes(tmp_path / "x.json", b"old")
    (tmp_path / f"run.{ending}").mkdir()
    (tmp_path / f"run.{ending}" / "cat.png").write_text("mine")
    (tmp_path / f"x.json.{ending}").write_text("mine")
    os.mkfifo(tmp_path / f"y.json.{ending}")
    make(tmp_path / "run", "new")
    for name in ("x.json", "y.json"):
        write_bytes(tmp_path / name, b"new")
    assert (tmp_path / f"run.{ending}" / "cat.png").read_text() == "mine"
    assert (tmp_path / f"x.json.{ending}").read_text() == "mine"
    assert (tmp_path / f"y.json.{ending}").is_fifo()
    assert len(list(tmp_path.iterdir())) == 6


@pytest.mark.parametrize("place", [".", "..", "/"])
def test_the_folder_one_is_in_is_no_place_for_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    with pytest.raises(CallerError, match="is in use, expected the name of a new one"):
        make(Path(place), "new")
    for call in (["score", "../run"], ["diff", "a", "b", "c"]):
        told = CliRunner().invoke(main, ["qa", *call, "--html", place])
        assert told.exit_code == 2 and "expected the name of a new one" in told.stderr
    assert [one.name for one in tmp_path.rglob("*")] == ["inner"]


def test_a_link_is_no_place_for_a_folder_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    make(tmp_path / "run", "old")
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with pytest.raises(CallerError, match="is a link"):
        make(tmp_path / "link", "new")
    assert tree(tmp_path / "run") == {"run.json": "old"}
    assert {one.name for one in tmp_path.iterdir()} == {"run", "link"}


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_somebody_else_made_is_never_replaced(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "photos"
    if kind == "file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "cat.png").write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(CallerError) as caught:
        make(target, "new")
    assert caught.value.reason == Reason.EXISTS
    assert tree(tmp_path) == before


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    make(tmp_path / "run", "new")
    assert tree(tmp_path) == {"run/run.json": "new"}


def test_a_file_that_cannot_be_written_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.json"
    write_bytes(path, b"old")

    def refuse(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(LinkError):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_json_comes_back_and_what_is_not_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "thing.json"
    write_json(path, Thing("a", 3))
    assert path.read_text() == '{\n  "name": "a",\n  "count": 3\n}\n'
    assert read_json(path, Thing, hint="h") == Thing("a", 3)
    for content in (b"{", b'{"name": "a", "size": 3}', b"\xff"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"thing\.json") as caught:
            read_json(path, Thing, hint="h")
        assert caught.value.reason == Reason.RUN_BAD
    with pytest.raises(InputError, match="does not exist"):
        read_json(tmp_path / "none.json", Thing, hint="h")
