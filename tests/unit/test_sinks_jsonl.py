from __future__ import annotations

import ctypes
import io
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.records import GapRecord, Record, decode_record, encode_record
from galago_edge.host.file_replacement import Durable, replacement
from galago_edge.host.wall_clock import clock_synced
from galago_edge.sinks import JsonlSink, open_jsonl


def gap(number: int) -> Record:
    return GapRecord(stream="s", from_ns=number, to_ns=number + 1, cause="drop")


LINES = b"".join(encode_record(gap(number)) for number in range(100))


def test_a_finished_file_holds_every_record(tmp_path: Path) -> None:
    with open_jsonl(tmp_path / "events.jsonl") as sink:
        for number in range(100):
            sink.emit([gap(number)])
    assert (tmp_path / "events.jsonl").read_bytes() == LINES
    assert [path.name for path in tmp_path.iterdir()] == ["events.jsonl"]


def test_when_the_work_fails_the_file_that_was_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("old\n")
    with pytest.raises(RuntimeError), open_jsonl(path) as sink:
        sink.emit([gap(1)])
        raise RuntimeError
    assert path.read_text() == "old\n"
    assert [path.name for path in tmp_path.iterdir()] == ["events.jsonl"]


def test_a_log_is_continued_record_by_record(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for number in range(2):
        with open_jsonl(path, append=True) as sink:
            sink.emit([gap(number)])
            assert path.read_bytes().count(b"\n") == number + 1  # at once, not when it is closed


def test_a_line_that_a_power_cut_tore_is_ended_before_the_log_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(encode_record(gap(0)) + b'{"v":1,"ki')
    with open_jsonl(path, append=True) as sink:
        sink.emit([gap(1)])
    first, torn, last = path.read_bytes().splitlines()
    assert decode_record(first) == gap(0)
    assert torn == b'{"v":1,"ki'
    assert decode_record(last) == gap(1)


@pytest.mark.parametrize("append", [True, False])
def test_a_full_disk_is_one_error(append: bool, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.symlink_to("/dev/full")  # the device itself must survive a bug
    with pytest.raises(LinkError, match="No space left") as caught, open_jsonl(full, append=append) as sink:
        sink.emit([gap(1)])
    assert caught.value.reason is Reason.NO_SPACE
    assert caught.value.exit_code == 3
    assert full.is_symlink()


class FillingDisk(io.FileIO):
    """A file on a disk with little room left."""

    room = 250

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if not self.room:
            raise OSError(28, "No space left on device")
        written = super().write(data[: self.room])
        assert written is not None
        self.room -= written
        return written


@pytest.mark.parametrize("batch_bytes", [0, 10_000])
def test_a_disk_that_becomes_full_leaves_whole_lines(batch_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with FillingDisk(path, "w") as stream, pytest.raises(LinkError):
        sink = JsonlSink(stream, "log.jsonl", batch_bytes=batch_bytes)
        for number in range(100):
            sink.emit([gap(number)])
        sink.flush()
    data = path.read_bytes()
    assert 0 < len(data) <= FillingDisk.room
    assert data.endswith(b"\n")
    assert LINES.startswith(data)


def test_a_folder_that_does_not_exist_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(LinkError) as caught, open_jsonl(tmp_path / "no" / "events.jsonl"):
        pass
    assert caught.value.reason is Reason.IO
    assert "events.jsonl" in str(caught.value)


@pytest.mark.parametrize("name", ["none/events.jsonl", "n" * 300, "n" * 245])
def test_an_error_names_the_file_that_was_asked_for(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(LinkError) as caught, open_jsonl(path):
        raise AssertionError("not reached")
    assert str(path) in str(caught.value) and ".part" not in str(caught.value)


@pytest.mark.parametrize("gone", ["folder", "target"])
def test_an_error_of_a_replacement_names_the_file_that_was_asked_for(gone: str, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    with pytest.raises(OSError, match="file") as caught, replacement(path, durable=Durable.NO) as new:
        if gone == "folder":
            path.parent.rmdir()
            new.write_bytes(b"x")
        new.write_bytes(b"x")
        path.mkdir()
    assert caught.value.filename == str(path) and ".part" not in str(caught.value)
    assert not list(tmp_path.rglob("*.part"))


def test_nobody_reading_is_not_an_error_of_the_disk() -> None:
    read, write = os.pipe()
    os.close(read)
    with io.FileIO(write, "w") as stream, pytest.raises(BrokenPipeError):
        JsonlSink(stream, "standard output").emit([gap(1)])


@pytest.mark.parametrize(("state", "synced"), [(0, True), (1, True), (4, True), (5, False), (-1, False)])
def test_the_kernel_is_asked_whether_its_clock_is_synchronized(
    state: int, synced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """adjtimex(2): 5 is TIME_ERROR, -1 that it may not be asked."""
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(adjtimex=lambda timex: state))
    assert clock_synced() is synced


def test_asking_the_real_kernel_changes_nothing() -> None:
    before = time.time_ns() - time.monotonic_ns()
    clock_synced()
    assert abs(time.time_ns() - time.monotonic_ns() - before) < 1_000_000_000
