"""One file of a spool and one file of a log, byte by byte."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from galago_edge.sinks.disk import Disk
from galago_edge.sinks.rotating_log import RETRY_S, RotatingLog
from galago_edge.sinks.segment import Segment, segments_in
from galago_edge.sinks.stored_record import DAMAGED, OVERHEAD_BYTES, StoredRecord, encode_record

FIRST = 100


def record(seq: int, kind: int = 1, line: bytes = b'{"n":1}\n') -> StoredRecord:
    return StoredRecord(seq, 7, 3, 1_000 + seq, kind, True, line, kind)


def made(folder: Path, disk: Disk | None = None) -> Segment:
    segment = Segment(disk or Disk(), folder, FIRST)
    segment.create()
    return segment


def loaded(folder: Path) -> Segment:
    segment = Segment(Disk(), folder, FIRST)
    segment.load(lambda record: record.kind)
    return segment


def written(folder: Path, data: bytes) -> Segment:
    (folder / f"{FIRST:020d}.spool").write_bytes(data)
    return loaded(folder)


def held(segment: Segment) -> list[int]:
    """Kinds from the first record on; 0 is a damaged one."""
    return list(segment.sorts)


def test_a_segment_is_named_by_its_first_record_and_knows_where_each_lies(tmp_path: Path) -> None:
    segment = made(tmp_path)
    assert segment.path == tmp_path / "00000000000000000100.spool"
    assert (segment.size, segment.end_seq, segment.dirty) == (0, FIRST, False)
    records = [record(100), record(101, 2, b"a longer line\n"), record(102, 3, b"\n")]
    segment.append(records[:1])
    segment.append(records[1:])
    assert segment.size == segment.path.stat().st_size == 3 * OVERHEAD_BYTES + 8 + 14 + 1
    assert (segment.end_seq, segment.dirty, held(segment)) == (103, True, [1, 2, 3])
    assert list(segment.times_ns) == [1_100, 1_101, 1_102]
    again = loaded(tmp_path)
    for each in (segment, again):
        assert [each.read(seq) for seq in (100, 101, 102)] == records
        each.close()
    assert (again.size, again.end_seq, held(again), list(again.times_ns)) == (
        segment.size,
        103,
        [1, 2, 3],
        [1_100, 1_101, 1_102],
    )
    assert not again.dirty


def test_a_torn_end_is_no_record(tmp_path: Path) -> None:
    whole = encode_record(record(100))
    segment = written(tmp_path, whole + encode_record(record(101))[:-1])
    assert (held(segment), segment.size) == ([1], 2 * len(whole) - 1)
    assert segment.read(100) == record(100)
    segment.close()


def test_a_damaged_record_in_the_middle_keeps_its_number(tmp_path: Path) -> None:
    frames = [encode_record(record(seq)) for seq in (100, 101, 102)]
    spoilt = bytearray(frames[1])
    spoilt[-2] ^= 1
    segment = written(tmp_path, frames[0] + bytes(spoilt) + frames[2])
    assert held(segment) == [1, DAMAGED, 1]
    assert [segment.read(seq) for seq in (100, 101, 102)] == [record(100), None, record(102)]
    assert list(segment.times_ns) == [1_100, 0, 1_102]
    segment.close()


def test_damage_at_the_beginning_shows_by_the_name_of_the_file(tmp_path: Path) -> None:
    segment = written(tmp_path, encode_record(record(103)))
    assert held(segment) == [DAMAGED] * 3 + [1]
    assert segment.read(103) == record(103)
    segment.close()


@pytest.mark.parametrize(("hole", "believed"), [(1 << 20, True), ((1 << 20) + 1, False)])
def test_a_number_too_far_ahead_is_damage(hole: int, believed: bool, tmp_path: Path) -> None:
    segment = written(tmp_path, encode_record(record(100)) + encode_record(record(101 + hole)))
    assert segment.end_seq == (102 + hole if believed else 101)


def test_a_number_that_was_there_already_is_damage(tmp_path: Path) -> None:
    frames = [encode_record(record(seq)) for seq in (100, 101, 100, 101, 102)]
    segment = written(tmp_path, b"".join(frames))
    assert held(segment) == [1, 1, 1]
    assert segment.read(102) == record(102)
    segment.close()


def test_a_record_that_rotted_since_it_was_loaded_is_none(tmp_path: Path) -> None:
    segment = written(tmp_path, b"".join(encode_record(record(seq)) for seq in (100, 101, 102)))
    data = bytearray(segment.path.read_bytes())
    data[OVERHEAD_BYTES + 8 + OVERHEAD_BYTES] ^= 1
    segment.path.write_bytes(data)
    assert [segment.read(seq) for seq in (100, 101, 102)] == [record(100), None, record(102)]
    segment.close()


def test_records_from_a_number_on_may_be_left_to_the_next_segment(tmp_path: Path) -> None:
    for seq, kept in ((103, 3), (102, 2), (100, 0), (99, 0)):
        segment = written(tmp_path, b"".join(encode_record(record(number)) for number in (100, 101, 102)))
        segment.forget_from(seq)
        assert segment.end_seq == FIRST + kept == FIRST + len(segment.times_ns)


def test_a_segment_that_somebody_removed_has_no_records(tmp_path: Path) -> None:
    segment = written(tmp_path, encode_record(record(100)))
    segment.path.unlink()
    assert segment.read(100) is None


class BadDisk(Disk):
    """Fails as the test says."""

    def __init__(self) -> None:
        self.takes = 1 << 30
        self.cuts = True
        self.bad_blocks: set[int] = set()
        self.error = errno.EIO

    def write(self, fd: int, data: bytes | memoryview) -> int:
        if not self.takes:
            raise OSError(errno.ENOSPC, "full")
        done = super().write(fd, data[: self.takes])
        self.takes -= done
        return done

    def truncate(self, fd: int, size: int) -> None:
        if not self.cuts:
            raise OSError(errno.EIO, "no")
        super().truncate(fd, size)

    def read_at(self, fd: int, size: int, offset: int) -> bytes:
        if any(
            offset <= block * 4_096 < offset + size or block == offset // 4_096 for block in self.bad_blocks
        ):
            raise OSError(self.error, "unreadable")
        return super().read_at(fd, size, offset)


def test_all_of_a_batch_is_written_or_nothing(tmp_path: Path) -> None:
    disk = BadDisk()
    segment = made(tmp_path, disk)
    segment.append([record(100)])
    size = segment.size
    disk.takes = size + 10  # the first of two, and a piece of the second
    with pytest.raises(OSError):
        segment.append([record(101), record(102)])
    assert (segment.end_seq, segment.size, segment.path.stat().st_size) == (101, size, size)
    assert not segment.broken
    disk.takes = 1 << 30
    segment.append([record(101)])
    assert loaded(tmp_path).end_seq == 102
    segment.close()


def test_half_a_record_that_cannot_be_taken_back_breaks_the_segment(tmp_path: Path) -> None:
    disk = BadDisk()
    segment = made(tmp_path, disk)
    disk.takes, disk.cuts = 10, False
    with pytest.raises(OSError):
        segment.append([record(100)])
    assert segment.broken and segment.end_seq == FIRST
    segment.close()


def test_blocks_that_cannot_be_read_cost_the_records_that_lie_there(tmp_path: Path) -> None:
    line = b"x" * (4_096 - OVERHEAD_BYTES - 1) + b"\n"
    frames = [encode_record(record(seq, 1, line)) for seq in (100, 101, 102)]
    (tmp_path / f"{FIRST:020d}.spool").write_bytes(b"".join(frames))
    disk = BadDisk()
    disk.bad_blocks = {1}
    segment = Segment(disk, tmp_path, FIRST)
    segment.load(lambda record: record.kind)
    assert held(segment) == [1, DAMAGED, 1]
    assert segment.read(102) == record(102, 1, line)
    disk.bad_blocks = {2}
    assert segment.read(102) is None
    disk.error = errno.ENOMEM  # says nothing about the record
    with pytest.raises(OSError):
        segment.read(102)
    segment.close()
    with pytest.raises(OSError):
        Segment(disk, tmp_path, FIRST).load(lambda record: record.kind)


def test_only_segments_are_found_in_their_folder_in_order(tmp_path: Path) -> None:
    names = ["00000000000000000200.spool", "00000000000000000007.spool"]
    for name in [
        *names,
        "7.spool",
        "00000000000000000007.spool.bak",
        "x00000000000000000007.spool",
        "a.cursor",
    ]:
        (tmp_path / name).write_bytes(b"")
    assert sorted(segment.first_seq for segment in segments_in(Disk(), tmp_path)) == [7, 200]


def test_a_segment_gives_its_descriptor_back(tmp_path: Path) -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = open_files()
    segment = made(tmp_path)
    segment.append([record(100)])
    segment.close()
    segment.close()
    again = loaded(tmp_path)
    assert again.read(100) == record(100)
    again.remove()
    assert open_files() == before
    assert list(tmp_path.iterdir()) == []
    again.remove()  # gone already


# ---- a log


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., RotatingLog]:
    def opened(max_bytes: int, keep: int = 9, disk: Disk | None = None) -> RotatingLog:
        found = RotatingLog(
            tmp_path / "log",
            max_bytes=max_bytes,
            keep=keep,
            disk=disk,
            monotonic=lambda: 0.0,
            wall_ns=lambda: 7,
        )
        logs.append(found)
        return found

    logs: list[RotatingLog] = []
    yield opened
    for each in logs:
        each.close()


def lines(*numbers: int) -> bytes:
    """Ten bytes each."""
    return b"".join(b"line %04d\n" % number for number in numbers)


def files(folder: Path) -> dict[str, list[int]]:
    return {
        path.name: [int(line[5:]) for line in path.read_bytes().splitlines()]
        for path in sorted(folder.iterdir())
    }


@pytest.mark.parametrize("one_by_one", [True, False])
@pytest.mark.parametrize(("max_bytes", "a_file"), [(29, 2), (30, 3), (39, 3), (40, 4)])
def test_a_log_is_renamed_before_a_line_that_would_not_fit(
    max_bytes: int, a_file: int, one_by_one: bool, tmp_path: Path, log: Callable[..., RotatingLog]
) -> None:
    opened = log(max_bytes)
    numbers = list(range(3 * a_file + 1))
    for batch in [[number] for number in numbers] if one_by_one else [numbers]:
        opened.write(lines(*batch))
    parts = [numbers[at : at + a_file] for at in range(0, len(numbers), a_file)]
    assert files(tmp_path) == {"log.3": parts[0], "log.2": parts[1], "log.1": parts[2], "log": parts[3]}
    assert (opened.written, opened.lost, opened.fault) == (len(numbers), 0, "")


@pytest.mark.parametrize(
    ("keep", "kept"), [(0, ["log"]), (1, ["log", "log.1"]), (2, ["log", "log.1", "log.2"])]
)
def test_so_many_renamed_files_stay(
    keep: int, kept: list[str], tmp_path: Path, log: Callable[..., RotatingLog]
) -> None:
    opened = log(20, keep)
    opened.write(lines(*range(11)))
    found = files(tmp_path)
    assert list(found) == kept
    assert [found[name] for name in kept] == [[10], [8, 9], [6, 7]][: len(kept)]


def test_a_log_that_is_full_already_is_renamed_by_the_first_line(
    tmp_path: Path, log: Callable[..., RotatingLog]
) -> None:
    (tmp_path / "log").write_bytes(lines(0, 1))
    log(20).write(lines(2))
    assert files(tmp_path) == {"log": [2], "log.1": [0, 1]}


def test_what_the_disk_took_in_pieces_is_counted_in_whole_lines(
    tmp_path: Path, log: Callable[..., RotatingLog]
) -> None:
    disk = BadDisk()
    disk.takes = 25
    opened = log(1_000, disk=disk)
    opened.write(lines(0, 1, 2, 3))
    assert files(tmp_path) == {"log": [0, 1]}
    assert (opened.written, opened.lost) == (2, 2)
    assert "write" in opened.fault and "\n" not in opened.fault
    opened.write(lines(4))  # too early: the disk is left alone
    assert (opened.written, opened.lost) == (2, 3)


def test_a_disk_that_refused_is_left_alone_for_a_second(
    tmp_path: Path, log: Callable[..., RotatingLog]
) -> None:
    disk = BadDisk()
    disk.takes = 0
    opened = log(1_000, disk=disk)
    now = [5.0]
    opened._monotonic = lambda: now[0]
    opened.write(lines(0))
    disk.takes = 1 << 30
    now[0] += RETRY_S - 0.001
    opened.write(lines(1))
    assert opened.lost == 2
    now[0] += 0.001
    opened.write(lines(2))
    told, line = (tmp_path / "log").read_bytes().splitlines()
    assert b'"lost":2' in told and line == b"line 0002"
    assert (opened.written, opened.lost, opened.fault) == (2, 2, "")
    opened.write(lines(3))
    assert (tmp_path / "log").read_bytes().count(b"lost") == 2  # the word, once told
