"""SIGKILL at any moment, and a wall clock that jumps: what was written is delivered, once per key."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from galago_edge.contract.records import EventRecord, decode_record
from galago_edge.sinks.stored_record import scan_records
from real_parts import WallClock, WebhookServer, wait_for
from real_parts.processes import Child

KILLS = 12

DEVICE = """
import sys, time
from pathlib import Path
from galago_edge.contract.records import EventRecord
from galago_edge.sinks import Outbox
from galago_edge.sinks.sink_tables import settings_of

folder, url, first, pause_s = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
box = Outbox(
    settings_of(
        {
            "stream": [{"name": "hall", "source": "x"}],
            "log": {"path": str(folder / "log.jsonl")},
            "webhook": {"url": url, "backoff_max_s": 0.2, "timeout_s": 60.0},
            "spool": {"max_mb": 4, "sync_s": 0.5},
        }
    ),
    folder,
    "porch",
)
box.start()
number = first
while not (folder / "enough").exists():
    (folder / "next").write_text(str(number + 1))
    (folder / "next").replace(folder / "emitted")  # whole at every moment
    box.emit(
        [
            EventRecord(
                stream="hall", seq=number, label="smoke", score=0.9, start_index=0, end_index=1,
                start_ns=time.monotonic_ns(), end_ns=1, bundle="b" * 64, backend="cpu",
            )
        ]
    )
    number += 1
    time.sleep(pause_s)
box.stop(30.0)
"""

StartDevice = Callable[..., Child]


@pytest.fixture
def device(tmp_path: Path, webhook: WebhookServer) -> Any:
    """Returns what starts a process that emits numbered events until the file ``enough`` is there."""
    children: list[Child] = []

    def start(first: int, pause_s: float, env: Mapping[str, str] | None = None) -> Child:
        command = [sys.executable, "-c", DEVICE, str(tmp_path), webhook.url, str(first), str(pause_s)]
        child = Child(command, tmp_path / "device.log", env=env)
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()


def logged(folder: Path) -> list[int]:
    """Numbers of the events in the log; a line that a kill tore is none."""
    found = []
    for line in (folder / "log.jsonl").read_bytes().splitlines():
        try:
            record = decode_record(line)
        except ValueError:
            continue
        assert isinstance(record, EventRecord)
        found.append(record.seq)
    return found


def lines(folder: Path) -> int:
    try:
        return (folder / "log.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def test_no_event_that_was_written_is_lost_by_kills_at_any_moment(
    tmp_path: Path, device: StartDevice, webhook: WebhookServer
) -> None:
    """The web server answers, fails and is slow in turn, so that the kills meet every state."""
    chance = random.Random(1)
    first = 0
    for kill in range(KILLS):
        webhook.status, webhook.delay_s = ((200, 0.0), (503, 0.0), (200, 0.02))[kill % 3]
        before = lines(tmp_path)
        child = device(first, 0.002)
        wanted = before + chance.randrange(1, 120)
        child.wait_until(lambda: lines(tmp_path) >= wanted, "events")  # noqa: B023
        child.kill()
        first = int((tmp_path / "emitted").read_text())
        for path in (tmp_path / "spool").glob("*.spool"):
            data = path.read_bytes()
            whole = sum(44 + len(frame.line) for _, frame in scan_records(data))
            assert len(data) - whole < 1_000, "at most the last frame is torn"
    webhook.status, webhook.delay_s = 200, 0.0
    child = device(first, 0.002)
    child.wait_until(lambda: first in logged(tmp_path), "the last life")
    (tmp_path / "enough").touch()
    wait_for(lambda: not child.running, "the end")
    assert child.process.returncode == 0, child.said()
    numbers: dict[str, int] = {}
    for request in webhook.accepted():
        if len(request.body) < int(request.headers["content-length"]):
            continue  # torn by a kill; nobody has acknowledged it to a living sender
        record = request.json()
        if record["kind"] == "event":
            assert numbers.setdefault(request.key, record["seq"]) == record["seq"], "one key, one event"
        else:
            raise AssertionError(f"something is told as lost: {record}")
    written = logged(tmp_path)
    assert len(written) == len(set(written)) > KILLS
    assert set(written) <= set(numbers.values())
    assert len(set(numbers.values())) == len(numbers), "one event, one key"
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["webhook.cursor"]


@pytest.mark.parametrize("years", [(1, 0), (-1, 0), (1, -1)], ids=["on and back", "back and on", "two years"])
def test_a_wall_clock_that_jumps_by_a_year_loses_stalls_and_reorders_nothing(
    tmp_path: Path, device: StartDevice, webhook: WebhookServer, wall_clock: WallClock, years: tuple[int, ...]
) -> None:
    child = device(0, 0.005, wall_clock.environment)
    webhook.wait_for(20)
    for each in years:
        wall_clock.jump(each * 365 * 86_400)
        webhook.wait_for(len(webhook.accepted()) + 50)
        webhook.status = 503
        wait_for(lambda: webhook.requests[-1].status == 503, "the fault")
        webhook.status = 200
        webhook.wait_for(len(webhook.accepted()) + 50)
    (tmp_path / "enough").touch()
    wait_for(lambda: not child.running, "the end")
    assert child.process.returncode == 0, child.said()
    records = [json.loads(request.body) for request in webhook.accepted()]
    assert [record["seq"] for record in records] == list(range(len(records)))
    assert set(logged(tmp_path)) == set(range(len(records)))
    walls = [record["wall_ns"] for record in records]
    steps = [abs(after - before) / 1e9 for before, after in pairwise(walls)]
    assert sum(step > 300 * 86_400 for step in steps) == len(years), "it did jump"
