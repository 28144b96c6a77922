from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from galago_edge.contract.records import GapRecord, StateRecord, decode_record, encode_record
from galago_edge.sinks.disk import Disk
from galago_edge.sinks.rotating_log import RotatingLog
from real_parts import small_disk


def line(number: int) -> bytes:
    return encode_record(GapRecord(stream="s", from_ns=number, to_ns=number + 1, cause="drop"))


def lines(first: int, count: int) -> bytes:
    return b"".join(map(line, range(first, first + count)))


class Clock:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


LOGS: list[RotatingLog] = []


@pytest.fixture(autouse=True)
def closed_logs() -> Iterator[None]:
    yield
    while LOGS:
        LOGS.pop().close()


def log(path: Path, *, max_bytes: int = 1 << 20, keep: int = 3, disk: Disk | None = None) -> RotatingLog:
    clock = Clock()
    opened = RotatingLog(path, max_bytes=max_bytes, keep=keep, disk=disk, monotonic=clock, wall_ns=lambda: 7)
    opened.clock = clock  # type: ignore[attr-defined]
    LOGS.append(opened)
    return opened


def later(opened: RotatingLog) -> None:
    opened.clock.s += 2  # type: ignore[attr-defined]


def numbers(*paths: Path) -> list[int]:
    """The gaps in these files; records of loss count as their number below zero."""
    found = []
    for path in paths:
        for each in path.read_bytes().splitlines(keepends=True):
            record = decode_record(each)
            assert each.endswith(b"\n")
            if isinstance(record, StateRecord):
                found.append(-record.detail["lost"])
            else:
                assert isinstance(record, GapRecord)
                found.append(record.from_ns)
    return found


def test_the_log_is_made_with_its_folder_and_the_first_record(tmp_path: Path) -> None:
    path = tmp_path / "var" / "log.jsonl"
    opened = log(path)
    assert not path.parent.exists()
    opened.write(lines(0, 3))
    assert numbers(path) == [0, 1, 2]
    assert opened.written == 3


def test_a_full_log_is_renamed_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    opened = log(path, max_bytes=10 * len(line(100)), keep=2)
    for first in range(100, 135, 7):
        opened.write(lines(first, 7))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["log.jsonl", "log.jsonl.1", "log.jsonl.2"]
    assert all(each.stat().st_size <= 10 * len(line(100)) for each in tmp_path.iterdir())
    found = numbers(path.with_suffix(".jsonl.2"), path.with_suffix(".jsonl.1"), path)
    assert found == list(range(135 - len(found), 135)) and len(found) > 20
    assert (opened.written, opened.lost) == (35, 0)


def test_one_large_batch_fills_several_files_and_no_line_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log(path, max_bytes=10 * len(line(100)), keep=9).write(lines(100, 45))
    files = [path.with_suffix(f".jsonl.{number}") for number in (4, 3, 2, 1)]
    assert numbers(*files, path) == list(range(100, 145))


def test_without_old_files_to_keep_the_log_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    opened = log(path, max_bytes=10 * len(line(100)), keep=0)
    opened.write(lines(100, 25))
    assert list(tmp_path.iterdir()) == [path]
    assert numbers(path) == [120, 121, 122, 123, 124]


def test_a_line_larger_than_the_log_is_written_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log(path, max_bytes=10, keep=5).write(lines(0, 3))
    assert numbers(path.with_suffix(".jsonl.2"), path.with_suffix(".jsonl.1"), path) == [0, 1, 2]


def test_a_restart_goes_on_behind_what_is_there_and_ends_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(line(0) + b'{"v":1,"ki')
    log(path).write(lines(1, 1))
    first, torn, last = path.read_bytes().splitlines()
    assert (decode_record(first), torn, decode_record(last)) == (
        decode_record(line(0)),
        b'{"v":1,"ki',
        decode_record(line(1)),
    )


@pytest.mark.parametrize("how", ["renamed", "removed", "folder removed"])
def test_a_log_that_somebody_takes_away_is_made_anew(tmp_path: Path, how: str) -> None:
    path = tmp_path / "logs" / "log.jsonl"
    opened = log(path)
    opened.write(line(0))
    if how == "renamed":
        path.rename(tmp_path / "taken")
    else:
        path.unlink()
        if how == "folder removed":
            path.parent.rmdir()
    opened.write(line(1))
    assert numbers(path) == [1]


class SmallDisk(Disk):
    room = 250

    def write(self, fd: int, data: bytes | memoryview) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = super().write(fd, data[: self.room])
        self.room -= done
        return done


def test_a_disk_that_becomes_full_leaves_whole_lines_and_the_loss_is_counted_and_told(tmp_path: Path) -> None:
    path, disk = tmp_path / "log.jsonl", SmallDisk()
    opened = log(path, disk=disk)
    opened.write(lines(0, 10))
    whole = numbers(path)
    assert 0 < len(whole) < 10 and whole == list(range(len(whole)))
    assert "No space left" in opened.fault
    opened.write(lines(10, 5))
    assert opened.lost == 15 - len(whole)
    disk.room = 10_000
    opened.write(line(15))
    assert opened.lost == 16 - len(whole), "not before the pause is over"
    later(opened)
    opened.write(line(16))
    assert numbers(path) == [*whole, -opened.lost, 16]
    assert opened.fault == ""


def test_a_log_starts_on_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "none" / "log.jsonl"

    class Full(Disk):
        full = True

        def make_folder(self, path: Path) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            super().make_folder(path)

    disk = Full()
    opened = log(path, disk=disk)
    opened.write(lines(0, 2))
    disk.full = False
    later(opened)
    opened.write(line(2))
    assert numbers(path) == [-2, 2]


def test_a_rename_that_fails_loses_counted_lines_and_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"

    class Stubborn(Disk):
        refusing = True

        def rename(self, source: Path, target: Path) -> None:
            if self.refusing:
                raise OSError(errno.EACCES, "Permission denied")
            super().rename(source, target)

    disk = Stubborn()
    opened = log(path, max_bytes=10 * len(line(100)), disk=disk)
    opened.write(lines(100, 15))
    assert opened.lost == 5 and "Permission denied" in opened.fault
    disk.refusing = False
    later(opened)
    opened.write(lines(115, 3))
    assert numbers(path.with_suffix(".jsonl.1"), path) == [*range(100, 110), -5, 115, 116, 117]


def test_a_pipe_that_nobody_reads_does_not_hold_anybody_up(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    opened = log(path)
    opened.write(lines(0, 3))
    assert opened.lost == 3


def test_a_real_full_disk_is_survived(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as folder:
        opened = log(folder / "log.jsonl", max_bytes=1 << 20)
        for first in range(0, 2_000, 10):
            opened.write(lines(first, 10))
        assert opened.lost + opened.written == 2_000 and opened.lost > 0
        (folder / "log.jsonl").unlink()
        later(opened)
        lost = opened.lost
        opened.write(line(2_000))
        assert numbers(folder / "log.jsonl") == [-lost, 2_000]
        LOGS.pop().close()
