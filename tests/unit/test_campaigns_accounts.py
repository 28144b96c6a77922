"""The books of the long runs: what they would miss would go unseen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from campaigns import service_rig
from campaigns.soak_accounts import unaccounted_s


@pytest.fixture
def rig() -> Any:
    return service_rig


def record(kind: str, number: int | str, **more: Any) -> bytes:
    base = {"v": 1, "kind": kind, "stream": "cam", "seq": 0, "start_ns": 1, "end_ns": 2, "wall_ns": 3}
    return json.dumps(base | {"key": f"dev-0123:{number}"} | more).encode()


def test_a_record_that_never_came_is_missed_by_its_number(rig: Any) -> None:
    inbox = rig.Inbox()
    for number in (1, 2, 4, 7):
        inbox.take(record("state", number, subject="label:a"))
    assert inbox.missing_numbers() == [3, 5, 6]


def test_deliveries_are_counted_once_by_key_and_their_repetitions_are_told(rig: Any) -> None:
    inbox = rig.Inbox()
    for number in (1, 1, 2, 1):
        inbox.take(record("event", number))
    assert (len(inbox.records), inbox.duplicates()) == (2, 2)
    assert len(inbox.events()) == 2


def test_what_the_spool_says_it_lost_and_what_nobody_can_read_is_counted(rig: Any) -> None:
    inbox = rig.Inbox()
    inbox.take(record("state", "lost:5:3", subject="spool", state="lost", detail={"lost": 3}))
    inbox.take(b'{"half a rec')
    inbox.take(b'{"kind":"event"}')
    assert (inbox.told_lost(), inbox.unreadable, inbox.missing_numbers()) == (3, 2, [])


def test_events_that_differ_in_one_time_are_two_events(rig: Any) -> None:
    one, other = json.loads(record("event", 1)), json.loads(record("event", 2, end_ns=9))
    assert rig.identity(one) != rig.identity(other)
    assert rig.identity(one) == rig.identity(json.loads(record("event", 3)))


def test_an_absence_is_accounted_for_by_the_gaps_that_lie_in_it(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gaps = [(0.0, 3.0), (9.0, 10.5), (20.0, 30.0)]
    assert unaccounted_s(gaps, 1.0, 11.0) == pytest.approx(10.0 - 2.0 - 1.5)
    assert unaccounted_s(gaps, 21.0, 29.0) == 0.0


def test_a_rotated_log_is_read_from_its_oldest_file_and_broken_lines_are_counted(
    rig: Any, tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"
    for name, numbers in (("log.jsonl.10", (1,)), ("log.jsonl.2", (2, 3)), ("log.jsonl", (4,))):
        (tmp_path / name).write_bytes(b"".join(record("event", number) + b"\n" for number in numbers))
    with path.open("ab") as file:
        file.write(b'{"v":1,"ki')
    records, broken = rig.log_records(path)
    assert [int(found["key"].rpartition(":")[2]) for found in records] == [1, 2, 3, 4]
    assert broken == 1


def test_shared_memory_is_counted_once_for_all_processes(rig: Any) -> None:
    program = (
        "import mmap, os, sys\n"
        "pages = mmap.mmap(-1, 32 << 20)\n"
        "pages.write(b'x' * (32 << 20))\n"
        "child = os.fork()\n"
        "sum(pages[::4096])\n"
        "print(os.getpid(), child, flush=True) if child else None\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-S", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        # the child reads all pages before it waits for the end of its input, as the parent does
        found = rig.usage(pids)
        alone = rig.usage(pids[:1])
        assert sorted(rig.tree(process.pid)) == sorted(pids)
        process.stdin.close()
    assert alone.mb >= 33
    assert found.processes == 2
    assert found.mb < alone.mb + 20
    assert os.getpid() not in pids


def test_a_configuration_is_written_as_toml_that_is_read_back(rig: Any) -> None:
    import tomllib

    tables = {
        "device": {"name": "a"},
        "source": {"cam": {"address": "camera:x", "plausibility": {"dark_s": 1.0}}, "mic": {"address": "m"}},
        "stream": [{"name": "s", "source": "cam", "thresholds": {"low": {"on": 0.5}}}, {"name": "t"}],
    }
    assert tomllib.loads(rig.toml(tables)) == tables
