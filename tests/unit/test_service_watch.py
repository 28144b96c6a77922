"""The small parts around the service: systemd, coverage, what the next process must know, limits."""

from __future__ import annotations

import configparser
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import galago_edge.intake
from galago_edge.contract.settings import LimitsSettings
from galago_edge.contract.streams import NS_PER_S, Gap
from galago_edge.service import service
from galago_edge.service.coverage import Coverage
from galago_edge.service.day_clock import DayClock
from galago_edge.service.handover import (
    ALIVE_FILE,
    COVERAGE_FILE,
    Alive,
    Heartbeat,
    Untold,
    between,
    now,
    read_coverage,
    write_coverage,
)
from galago_edge.service.limits import cap_arenas, resident_mb
from galago_edge.service.systemd import Supervisor
from galago_edge.service.watchdog import Hang, SourceProgress, StreamProgress, Watchdog
from real_parts import missing_part

DAY_S = 86_400
NOON = (20_700 * DAY_S + DAY_S // 2) * NS_PER_S  # 2026-09-04

# ---- systemd


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(10)
        yield receiver


def test_systemd_is_told_each_step(manager: socket.socket) -> None:
    supervisor = Supervisor({"NOTIFY_SOCKET": manager.getsockname()})
    supervisor.ready()
    supervisor.alive()
    supervisor.reloading(5_000_000)
    supervisor.standstill(None)  # all is well at the start
    for standstill in ("records are not written", "records are not written", None, None):
        supervisor.standstill(standstill)
    supervisor.stopping()
    told = [manager.recv(1_000).decode() for _ in range(6)]
    assert told == [
        "READY=1",
        "WATCHDOG=1",
        "RELOADING=1\nMONOTONIC_USEC=5000",
        "STATUS=records are not written",
        "STATUS=running",
        "STOPPING=1",
    ]


def test_an_abstract_socket_is_reached() -> None:
    name = f"galago-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name}")
        receiver.settimeout(10)
        Supervisor({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert receiver.recv(100) == b"READY=1"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nonexistent/socket"}])
def test_without_a_manager_nothing_is_missed(environment: dict[str, str]) -> None:
    Supervisor(environment).ready()


def test_what_is_said_again_is_told_once(manager: socket.socket) -> None:
    supervisor = Supervisor({"NOTIFY_SOCKET": str(manager.getsockname())})
    for what in (None, "records are not written", "records are not written", None, None):
        supervisor.standstill(what)
    supervisor.stopping()
    told = [manager.recv(1_000).decode() for _ in range(3)]
    assert told == ["STATUS=records are not written", "STATUS=running", "STOPPING=1"]


UNIT = Path(galago_edge.intake.__file__).parent / "galago.service"


def test_the_unit_never_gives_up_and_watches_progress() -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(UNIT)
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert unit["Service"]["Type"] == "notify"
    assert unit["Service"]["Restart"] == "always"
    assert int(unit["Service"]["WatchdogSec"]) >= 20 * service._TICK_S  # signs of life that may be late
    assert "-HUP" in unit["Service"]["ExecReload"]


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        missing_part("no systemd-analyze")
    copy = tmp_path / "galago.service"
    copy.write_text(UNIT.read_text().replace("/usr/local/bin/galago", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if "galago.service" in line]
    assert not complaints


# ---- what the next process must know


def test_coverage_goes_on_in_the_next_process(tmp_path: Path) -> None:
    clock = DayClock(wall_ns=lambda: NOON, synced=lambda: True)
    coverage = Coverage(clock)
    coverage.watched(5 * NS_PER_S)
    write_coverage(tmp_path, {"door": coverage.days()})
    again = Coverage(clock, read_coverage(tmp_path)["door"])
    again.gap(Gap(-NS_PER_S, 0, "restart"))
    again.watched(NS_PER_S)
    (day,) = again.status()
    assert (day.watched_s, day.gap_s) == (6.0, {"restart": 1.0})


@pytest.mark.parametrize("content", [None, b"", b"{", b"[1]", b'{"door": 5}', b"\xff\xfe"])
def test_a_damaged_account_costs_the_figure_and_nothing_else(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / COVERAGE_FILE).write_bytes(content)
    assert read_coverage(tmp_path) == {}


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    write_coverage(tmp_path / "none", {})
    heartbeat = Heartbeat(tmp_path / "none")
    heartbeat.beat()
    heartbeat.close()
    assert heartbeat.last is None


# ---- when the last process was alive


def moment(boot: str = "b", boot_s: float = 0, wall_s: float = 0, synced: bool = True) -> Alive:
    return Alive(boot_id=boot, boot_ns=int(boot_s * NS_PER_S), wall_ns=int(wall_s * NS_PER_S), synced=synced)


def keep(folder: Path, alive: Alive) -> None:
    (folder / ALIVE_FILE).write_bytes(msgspec.json.encode(alive))


@pytest.mark.parametrize(
    ("untold", "gaps"),
    [
        ({}, [(-7, 0, "restart")]),
        ({"hall": Untold(3 * NS_PER_S, "stall")}, [(-7, 0, "restart")]),
        ({"door": Untold(90 * NS_PER_S, "disconnect")}, [(-97, -7, "disconnect"), (-7, 0, "restart")]),
        ({"door": Untold(90 * NS_PER_S)}, [(-97, 0, "restart")]),
    ],
)
def test_a_gap_that_was_open_when_the_process_was_killed_is_told_by_the_next(
    untold: dict[str, Untold], gaps: list[tuple[int, int, str]], tmp_path: Path
) -> None:
    first = Heartbeat(tmp_path, {}, moment=lambda: moment(boot_s=100))
    first.beat(untold)
    second = Heartbeat(tmp_path, {}, moment=lambda: moment(boot_s=107))
    assert second.gaps("door") == [Gap(low * NS_PER_S, high * NS_PER_S, why) for low, high, why in gaps]
    first.close()
    second.close()


def test_a_gap_that_was_told_before_the_kill_is_not_told_again(tmp_path: Path) -> None:
    """The shorter heartbeat stands in the place of the longer one, and nothing of that is left."""
    first = Heartbeat(tmp_path, {}, moment=lambda: moment(boot_s=100))
    first.beat({f"stream {number}": Untold(90 * NS_PER_S, "disconnect") for number in range(200)})
    first.beat({})
    second = Heartbeat(tmp_path, {}, moment=lambda: moment(boot_s=107))
    assert second.gaps("stream 7") == [Gap(-7 * NS_PER_S, 0, "restart")]
    first.close()
    second.close()


def test_what_was_missing_before_a_time_that_no_clock_knows_is_no_gap(tmp_path: Path) -> None:
    keep(tmp_path, moment("a", synced=False))
    heartbeat = Heartbeat(tmp_path, {}, moment=lambda: moment("b", boot_s=5, wall_s=5))
    assert heartbeat.gaps("door") == []
    heartbeat.close()


def test_an_alive_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    (tmp_path / ALIVE_FILE).write_bytes(b'{"boot_id":"b","boot_ns":5000000000,"wall_ns":0,"synced":true}')
    heartbeat = Heartbeat(tmp_path, {}, moment=lambda: moment(boot_s=12))
    assert heartbeat.gaps("door") == [Gap(-7 * NS_PER_S, 0, "restart")]
    heartbeat.close()


@pytest.mark.parametrize(
    ("before", "after", "passed_s"),
    [
        (moment(boot_s=5), moment(boot_s=12), 7),
        (moment(boot_s=5, wall_s=0), moment(boot_s=12, wall_s=10**9), 7),  # the wall clock jumped
        (moment("a", wall_s=5), moment("b", wall_s=65), 60),
        (moment("a", wall_s=5, synced=False), moment("b", wall_s=65), None),
        (moment("a", wall_s=5), moment("b", wall_s=65, synced=False), None),
        (moment("a", wall_s=65), moment("b", wall_s=5), None),
        (moment("a", wall_s=0), moment("b", wall_s=400 * DAY_S), None),
        (moment("", boot_s=5, synced=False), moment("", boot_s=9), None),
    ],
)
def test_how_long_nobody_watched_is_said_only_when_a_clock_knows(
    before: Alive, after: Alive, passed_s: int | None
) -> None:
    assert between(before, after) == (passed_s * NS_PER_S if passed_s is not None else None)


def test_the_heartbeat_of_a_killed_process_is_found_by_the_next(tmp_path: Path) -> None:
    first = Heartbeat(tmp_path)
    assert first.last is None
    first.beat()
    second = Heartbeat(tmp_path)  # the first was never closed, as after SIGKILL
    assert second.last is not None
    passed = between(second.last, now())
    assert passed is not None and 0 <= passed < 600 * NS_PER_S
    first.close()
    second.close()


def test_where_there_is_a_folder_in_memory_the_disk_is_spared_until_the_end(tmp_path: Path) -> None:
    root, memory = tmp_path / "root", tmp_path / "run"
    root.mkdir()
    memory.mkdir()
    environment = {"RUNTIME_DIRECTORY": str(memory)}
    first = Heartbeat(root, environment)
    first.beat()
    on_disk = (root / ALIVE_FILE).read_bytes()
    for _ in range(3):
        first.beat()
    assert (root / ALIVE_FILE).read_bytes() == on_disk
    in_memory = (memory / ALIVE_FILE).read_bytes()
    assert in_memory != on_disk
    second = Heartbeat(root, environment)  # the first was killed
    assert second.last == msgspec.json.decode(in_memory.rstrip(), type=Alive)
    second.close()
    assert (root / ALIVE_FILE).read_bytes() == (memory / ALIVE_FILE).read_bytes()
    first.close()


def test_after_a_power_cut_only_the_disk_knows(tmp_path: Path) -> None:
    (tmp_path / ALIVE_FILE).write_bytes(msgspec.json.encode(moment("another boot", boot_s=10**6)))
    memory = tmp_path / "run"
    memory.mkdir()
    after_cut = Heartbeat(tmp_path, {"RUNTIME_DIRECTORY": str(memory)})
    assert after_cut.last is not None and after_cut.last.boot_id == "another boot"
    after_cut.beat()
    again = Heartbeat(tmp_path, {"RUNTIME_DIRECTORY": str(memory)})
    assert again.last is not None and again.last.boot_id == now().boot_id
    again.close()
    after_cut.close()


def test_a_torn_heartbeat_is_no_heartbeat(tmp_path: Path) -> None:
    (tmp_path / ALIVE_FILE).write_bytes(msgspec.json.encode(now())[:-9])
    torn = Heartbeat(tmp_path)
    assert torn.last is None
    torn.close()


# ---- limits


def test_resident_memory_is_what_the_kernel_says(tmp_path: Path) -> None:
    assert 5 < resident_mb() < 10_000
    assert resident_mb(tmp_path) == 0.0


def test_capping_arenas_is_accepted_by_this_c_library() -> None:
    cap_arenas()


# ---- progress

LIMITS = LimitsSettings(hang_s=10.0)


class Clock:
    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


def stream(deciding_s: float | None = None, emitting_s: float | None = None) -> StreamProgress:
    def ns(seconds: float | None) -> int | None:
        return None if seconds is None else int(seconds * NS_PER_S)

    return StreamProgress("door", ns(deciding_s), ns(emitting_s))


def test_a_window_that_takes_too_long_is_a_hang_and_a_stream_that_waits_is_not() -> None:
    clock = Clock()
    watchdog = Watchdog(LIMITS, clock)
    clock.ns = 10 * NS_PER_S
    assert watchdog.hang([stream(), stream(deciding_s=0.5)]) is None
    assert watchdog.hang([stream(), stream(deciding_s=0)]) == Hang("door", 10.0)


def test_a_source_that_is_tried_makes_progress_and_one_that_is_not_does_not() -> None:
    clock = Clock()
    watchdog = Watchdog(LIMITS, clock)
    for failures in range(100):  # it has been away for long, and every attempt counts
        assert watchdog.standstill([SourceProgress("cam", (5, 1, failures), 30.0)], [], 0.0) is None
        clock.ns += 25 * NS_PER_S
    silent = [SourceProgress("cam", (5, 1, 99), 30.0)]
    clock.ns += 6 * NS_PER_S
    told = watchdog.standstill(silent, [], 0.0)
    assert told == "source cam is neither captured nor tried"
    assert watchdog.standstill([SourceProgress("cam", (6, 1, 99), 30.0)], [], 0.0) is None


def test_records_that_nobody_takes_or_writes_are_a_standstill() -> None:
    clock = Clock()
    watchdog = Watchdog(LIMITS, clock)
    clock.ns = 11 * NS_PER_S
    assert watchdog.standstill([], [stream(emitting_s=5)], 0.0) is None
    assert watchdog.standstill([], [stream(emitting_s=0)], 0.0) == "the records of stream door are not taken"
    assert watchdog.standstill([], [], 61.0) == "records are not written"
