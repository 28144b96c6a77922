"""Log and spool read back: each record once, in order, also while the log is written and renamed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.records import (
    AttachmentRecord,
    EventRecord,
    GapRecord,
    Record,
    StateRecord,
    encode_record,
)
from galago_edge.sinks import log_files
from galago_edge.sinks.log_files import LogFiles
from galago_edge.sinks.record_history import RecordHistory, _joined
from galago_edge.sinks.rotating_log import RotatingLog
from galago_edge.sinks.spool import Spool
from galago_edge.sinks.spool_writer import Entry


def event(number: int) -> EventRecord:
    return EventRecord(
        stream="hall", seq=number, label="smoke", score=0.9, start_index=0, end_index=1, start_ns=0, end_ns=1,
        bundle="b", backend="cpu", wall_ns=number, clock_synced=True,
    )  # fmt: skip


def line(number: int) -> bytes:
    return encode_record(event(number))


def numbers(history: RecordHistory) -> list[int]:
    return [kept.record.seq for kept in history if isinstance(kept.record, EventRecord)]


def write_log(path: Path, values: range | list[int], *, max_lines: int = 1_000, keep: int = 9) -> None:
    log = RotatingLog(path, max_bytes=max_lines * len(line(100)) + 1, keep=keep)
    for number in values:
        log.write(line(number))
    log.close()


@pytest.fixture
def spool_with(tmp_path: Path) -> Callable[[list[int]], Path]:
    """Return what writes a spool of events that nobody has got."""

    def write(values: list[int]) -> Path:
        folder = tmp_path / "spool"
        spool = Spool(folder, "porch", {"mqtt": ("event",)}, max_bytes=1 << 20, sync_s=1)
        spool.lock()
        spool.load()
        for number in values:
            spool.append([Entry("event", line(number), True)])
        spool.close()
        return folder

    return write


def test_a_log_is_read_with_its_renamed_files_the_oldest_first(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write_log(path, range(100, 135), max_lines=4)
    (tmp_path / "log.jsonl.old").write_bytes(line(1))
    (tmp_path / "log.jsonl.2.gz").write_bytes(b"x")
    assert len(list(tmp_path.iterdir())) > 5
    history = RecordHistory(path, None)
    assert numbers(history) == list(range(100, 135))
    assert history.damaged == 0


def test_a_hole_in_the_numbers_hides_nothing_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write_log(path, range(100, 120), max_lines=4)
    (tmp_path / "log.jsonl.2").unlink()
    found = numbers(RecordHistory(path, None))
    assert found[0] == 100 and found[-1] == 119 and len(found) == 16


def test_what_stands_in_log_and_spool_is_shown_once(
    tmp_path: Path, spool_with: Callable[[list[int]], Path]
) -> None:
    path = tmp_path / "log.jsonl"
    write_log(path, [1, 2, 3, 4, 7, 8])
    folder = spool_with([3, 4, 5, 6, 7, 8, 9])
    assert numbers(RecordHistory(path, folder)) == list(range(1, 10))
    assert numbers(RecordHistory(None, folder)) == [3, 4, 5, 6, 7, 8, 9]
    assert numbers(RecordHistory(path, tmp_path / "none")) == [1, 2, 3, 4, 7, 8]
    assert numbers(RecordHistory(tmp_path / "none", folder)) == [3, 4, 5, 6, 7, 8, 9]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30))
def test_two_parts_of_one_row_are_joined_to_that_row(where: list[tuple[bool, bool]]) -> None:
    """What only one of them has may stand anywhere between the records that both have."""
    row = [b"%d" % number for number in range(len(where))]
    logged = [each for each, (in_log, _) in zip(row, where, strict=True) if in_log]
    spooled = [each for each, (_, in_spool) in zip(row, where, strict=True) if in_spool]
    found = list(_joined(logged, spooled))
    assert sorted(found, key=int) == sorted({*logged, *spooled}, key=int)
    assert [each for each in found if each in logged] == logged
    assert [each for each in found if each in spooled] == spooled


def test_records_that_are_equal_to_the_last_byte_are_as_many_as_the_log_has() -> None:
    assert list(_joined([b"a", b"a", b"b"], [])) == [b"a", b"a", b"b"]
    assert list(_joined([b"a", b"a"], [b"a", b"a", b"c"])) == [b"a", b"a", b"c"]


@pytest.mark.parametrize(
    ("damage", "count"),
    [
        (b'{"v":1,"ki\n', 1),
        (b"nonsense\n\xff\xfe\n", 2),
        (b"\0\0\0\0\n", 1),
        (b"\0\0\0", 1),
        (b'{"v":2,"kind":"event"}\n', 1),
        (b"[]\n5\n", 2),
        (b"\n\n", 0),
        (b"x" * (3 << 20) + b"\n", 1),
    ],
    ids=[
        "torn",
        "nonsense",
        "zeros",
        "zeros before a line",
        "another version",
        "other JSON",
        "empty",
        "endless",
    ],
)
def test_damaged_lines_are_counted_and_the_others_are_read(tmp_path: Path, damage: bytes, count: int) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(line(1) + damage + line(2))
    history = RecordHistory(path, None)
    assert numbers(history) == [1, 2]
    assert history.damaged == count


def test_an_unfinished_last_line_is_waited_for_and_then_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(line(1) + line(2)[:20])
    history = RecordHistory(path, None)
    assert numbers(history) == [1] and history.damaged == 1

    def finish(_: float) -> None:
        path.write_bytes(line(1) + line(2))

    monkeypatch.setattr(log_files.time, "sleep", finish)
    history = RecordHistory(path, None)
    assert numbers(history) == [1, 2] and history.damaged == 0


def test_damaged_records_of_the_spool_are_counted(
    tmp_path: Path, spool_with: Callable[[list[int]], Path]
) -> None:
    folder = spool_with([100, 101, 102, 103])
    (segment,) = folder.glob("*.spool")
    data = segment.read_bytes()
    segment.write_bytes(data.replace(b'"seq":101', b'"seq":999') + b"GSP1 torn")
    history = RecordHistory(None, folder)
    assert numbers(history) == [100, 102, 103]
    assert (history.damaged, history.damaged_spooled) == (0, 1)


def test_without_log_and_spool_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="no record yet") as caught:
        list(RecordHistory(tmp_path / "log.jsonl", tmp_path / "spool"))
    assert caught.value.reason is Reason.SOURCE_MISSING


@pytest.mark.parametrize("what", ["pipe", "folder"])
def test_what_is_no_file_is_refused_and_does_not_hang(tmp_path: Path, what: str) -> None:
    path = tmp_path / "log.jsonl"
    os.mkfifo(path) if what == "pipe" else path.mkdir()
    with pytest.raises(LinkError):
        list(RecordHistory(path, None))


def test_a_log_that_is_renamed_at_any_moment_is_read_once_and_wholly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.jsonl"
    log = RotatingLog(path, max_bytes=4 * len(line(100)) + 1, keep=50)
    for number in range(100, 118):
        log.write(line(number))
    original, calls = LogFiles._named, 0

    def named(files: LogFiles, number: int) -> Path:
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            for more in range(5):  # more than one file
                log.write(line(200 + 5 * calls + more))
        return original(files, number)

    monkeypatch.setattr(LogFiles, "_named", named)
    found = numbers(RecordHistory(path, None))
    assert found[:18] == list(range(100, 118))
    assert found == sorted(set(found))


def test_while_a_service_writes_no_record_is_missed_or_doubled(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = RotatingLog(path, max_bytes=20 * len(line(1000)), keep=900)
    written = 1_000
    stop = threading.Event()

    def write() -> None:
        nonlocal written
        while not stop.is_set() and written < 8_000:
            log.write(line(written))
            written += 1

    log.write(line(999))
    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(10):
            least = written
            found = numbers(RecordHistory(path, None))
            assert found == list(range(999, 999 + len(found)))
            assert 999 + len(found) >= least
    finally:
        stop.set()
        thread.join()


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(10, 5_000), st.integers(1, 70))
def test_the_newest_lines_come_from_the_end_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, count: int, in_a_file: int, step: int, wanted: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    for number, end in enumerate(range(count, 0, -in_a_file)):
        content = b"".join(map(line, range(max(end - in_a_file, 0), end)))
        path.with_name(f"log.jsonl.{number}" if number else path.name).write_bytes(content)
    before = log_files._STEP_BYTES
    log_files._STEP_BYTES = step
    try:
        found = RecordHistory(path, None).newest_events(wanted, 1 << 30)
    finally:
        log_files._STEP_BYTES = before
    assert [each.seq for each in found] == list(range(count - 1, count - 1 - min(wanted, count), -1))


def test_the_newest_events_are_those_of_log_and_spool_together(
    tmp_path: Path, spool_with: Callable[[list[int]], Path]
) -> None:
    path = tmp_path / "log.jsonl"
    others: list[Record] = [
        GapRecord(stream="hall", from_ns=0, to_ns=1, cause="drop"),
        StateRecord(stream="hall", subject="label:smoke", state="off", index=0, ns=0),
    ]
    path.write_bytes(
        b"".join([line(1), line(2), *map(encode_record, others), line(3), b"torn\n", line(5), line(9)[:9]])
    )
    folder = spool_with([3, 4, 5, 6])
    history = RecordHistory(path, folder)
    assert [each.seq for each in history.newest_events(4, 1 << 20)] == [6, 5, 4, 3]
    assert [each.seq for each in history.newest_events(99, 1 << 20)] == [6, 5, 4, 3, 2, 1]
    assert [each.seq for each in RecordHistory(path, None).newest_events(2, 1 << 20)] == [5, 3]
    assert [each.seq for each in RecordHistory(None, folder).newest_events(2, 0)] == [6, 5]
    assert RecordHistory(tmp_path / "none", tmp_path / "none").newest_events(2, 1 << 20) == []


def attachment(number: int) -> AttachmentRecord:
    return AttachmentRecord(
        stream="hall", seq=number, label="smoke", start_index=0, end_index=1, start_ns=0, end_ns=1,
        media_type="image/jpeg", file="x.jpg", bytes=1, sha256="", from_ns=0, to_ns=0, wall_ns=number,
    )  # fmt: skip


def test_the_newest_events_come_with_the_attachments_behind_them(
    tmp_path: Path, spool_with: Callable[[list[int]], Path]
) -> None:
    path = tmp_path / "log.jsonl"
    records = [event(1), event(2), attachment(2), event(3), attachment(1), attachment(3)]
    path.write_bytes(b"".join(map(encode_record, records)))
    for history in (RecordHistory(path, None), RecordHistory(path, spool_with([1, 2]))):
        assert history.newest_events(2, 1 << 20) == records[:0:-1]
        assert history.newest_events(9, 1 << 20) == records[::-1]


def test_a_line_that_is_nested_without_end_hides_no_event_beside_it(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    nested = line(7).replace(b'"seq"', b'"more":' + b"[" * 5_000 + b"]" * 5_000 + b',"seq"')
    log.write_bytes(line(1) + nested + line(2))
    history = RecordHistory(log, None)
    assert [record.seq for record in history.newest_events(20, 1 << 20)] == [2, 1]
    assert history.damaged == 1


def test_no_more_of_the_log_is_looked_at_than_was_allowed(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write_log(path, range(1_000, 1_100), max_lines=10)
    found: list[Any] = RecordHistory(path, None).newest_events(1_000, 15 * len(line(1_000)))
    assert 10 <= len(found) <= 16
