"""``galago status`` beside a running service, without one, and beside one that hangs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from galago_edge.commands.cli import main
from galago_edge.commands.service_lines import service_lines
from galago_edge.contract.status import (
    AttachmentsStatus,
    BackendStatus,
    CoverageStatus,
    ScrubStatus,
    ServiceStatus,
    SinkStatus,
    TrialStatus,
)
from galago_edge.service.control import Control
from galago_edge.store import running_service
from test_kit import changed, make_service_status


def galago_status(root: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["status", "--root", str(root), *options])


def told(root: Path, status: Callable[[], ServiceStatus], *options: str) -> Result:
    with Control(root, status):
        return galago_status(root, *options)


def test_without_a_service_status_tells_the_rest(tmp_path: Path) -> None:
    result = galago_status(tmp_path)
    assert result.exit_code == 0
    assert "service  none runs on this store" in result.output and "trusts " in result.output
    data = json.loads(galago_status(tmp_path, "--json").stdout)
    assert (data["service"], data["service_fault"]) == (None, None)


def test_the_running_service_stands_below_the_store(tmp_path: Path) -> None:
    result = told(tmp_path, make_service_status)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-11:] == [
        "service  ok, process 4242 on porch for 11 h 43 min, galago-edge 0.1.0, 144 MB, 54 °C",
        "sources  yard (camera): healthy for 1 h 0 min, 5.0 fps, 210905 arrived, 7 dropped, 1 failure",
        "         ceiling (microphone): healthy for 11 h 43 min, 16000.0 Hz, -44 dBFS, 675088000 arrived",
        "streams  door (source yard, digits 1.4.0): running on cpu, 61203 windows, 17 events, 3 gaps, "
        "48112 skipped by the gate, 5 dropped, motion gate open",
        "           watched 99.97 % of 11 h 43 min on 2026-11-22; missing: 12.0 s stall, 0.5 s connecting",
        "           on now: seven 0.91",
        "         hall (source ceiling, alarms 2.0.1): running on cpu, 421930 windows, 2 events, 1 gap",
        "           watched 100 % of 11 h 43 min on 2026-11-22",
        "sinks    log: ok, 1204 delivered",
        "         mqtt: ok, 1203 delivered, 1 waiting, the oldest for 0.2 s",
        "events   2026-11-18 11:06:40Z seven on door, score 0.91",
    ]


def test_every_heading_stands_apart_from_its_lines_and_all_lines_begin_below_each_other(
    tmp_path: Path,
) -> None:
    made = AttachmentsStatus(made=6, files=6, max_bytes=8_000_000, skipped={}, fault="disk full")
    scrub = ScrubStatus(ago_s=5.0, bundles=1, damaged=0)
    samples = {"kept_today": 4, "bytes": 2**21}
    status = make_service_status(attachments=made, scrub=scrub, samples=samples)
    lines = told(tmp_path, lambda: status).stdout.splitlines()
    begins = next(line for line in lines if line.startswith("attachments ")).index("6 made")
    for line in lines:
        assert line[begins - 1] == " " and line[: begins - 1].strip().count(" ") == 0, line
        assert not line[:begins].strip() or line[begins] != " ", line


def test_a_trial_says_how_far_it_is_and_what_it_lacks() -> None:
    trial = TrialStatus(
        name="digits",
        bundle_id="5b" * 32,
        version="1.5.0",
        state="judging",
        left=1,
        streams=("door",),
        inferences=12,
        needed=20,
        live_s=31.6,
        trial_s=120.0,
        p99_ms=8.24,
        fault="could not commit digits: No space left on device [NO_SPACE]",
    )
    assert "trial" not in service_lines(make_service_status())
    assert service_lines(make_service_status(trials=(trial,)))["trial"] == [
        "digits 1.5.0: judging on door, 12 inferences (20 needed), 32 s of 120 s with something to see or "
        "hear, p99 8.2 ms, 1 boot attempt left",
        "  could not commit digits: No space left on device [NO_SPACE]",
    ]


def test_the_last_scrub_says_when_it_was_and_how_many_bundles_are_damaged() -> None:
    assert "scrub" not in service_lines(make_service_status(scrub=None))
    for damaged, how in ((0, "all whole"), (1, "1 DAMAGED")):
        scrub = ScrubStatus(ago_s=5_400, bundles=3, damaged=damaged)
        lines = service_lines(make_service_status(scrub=scrub))["scrub"]
        assert lines == [f"3 bundles read 1 h 30 min ago, {how}"]


def test_programs_get_the_whole_status(tmp_path: Path) -> None:
    data = json.loads(told(tmp_path, make_service_status, "--json").stdout)
    assert msgspec.convert(data["service"], ServiceStatus) == make_service_status()
    assert data["service_fault"] is None and data["healthy"] is True


def test_what_is_wrong_is_told_and_is_no_failure_of_status(tmp_path: Path) -> None:
    ok = make_service_status()
    status = make_service_status(
        state="degraded",
        problems=("source yard is escalated for 40 s: no route to host",),
        clock_synced=False,
        sources=(changed(ok.sources[0], liveness="escalated", fault="no route to host", alarms=("dark",)),),
        streams=(
            changed(
                ok.streams[0],
                every=4,
                backend=BackendStatus(backend="cpu", wanted="edgetpu", reason="delegate_hung"),
            ),
        ),
        sinks=(SinkStatus(name="mqtt", state="retrying", fault="refused", lost=3),),
        samples={"kept_today": 4, "bytes": 2**21, "fault": "disk full"},
    )
    result = told(tmp_path, lambda: status)
    assert result.exit_code == 0
    for line in (
        "service  degraded, ",
        "clock not synchronised",
        "           ! source yard is escalated for 40 s: no route to host",
        "NOT PLAUSIBLE: dark",
        "           no route to host",
        "running on cpu instead of edgetpu (delegate_hung)",
        "1 window in 4 (governor)",
        "mqtt: retrying, 0 delivered, 3 LOST",
        "           refused",
        "samples  4 kept today, 2.0 MB in all; disk full",
    ):
        assert line in result.output, line


def test_a_service_that_hangs_fails_status_which_still_tells_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def hanging() -> ServiceStatus:
        release.wait(30)
        return make_service_status()

    ask = running_service.ask_status
    monkeypatch.setattr(running_service, "ask_status", lambda root: ask(root, timeout_s=0.2))
    with Control(tmp_path, hanging):
        shown, data = galago_status(tmp_path), json.loads(galago_status(tmp_path, "--json").stdout)
        release.set()
    assert shown.exit_code == 1
    assert "does not say how it is: no answer within 0.2 s [SERVICE_SILENT]" in shown.output
    assert "systemctl restart galago" in shown.output and "store    ok" in shown.output
    assert data["service"] is None and data["service_fault"]["reason"] == "SERVICE_SILENT"


@pytest.mark.parametrize(
    ("watched_s", "gap_s", "line"),
    [
        (
            50_000.0,
            {"stall": 0.0001},
            "  watched 99.99 % of 13 h 53 min on 2026-11-22; missing: 0.0 s stall",
        ),
        (0.0, {}, "  watched nothing yet on 2026-11-22"),
        (0.0, {"connecting": 20.0}, "  watched 0 % of 20.0 s on 2026-11-22; missing: 20.0 s connecting"),
    ],
    ids=["hardly anything missed", "just begun", "nothing seen"],
)
def test_coverage_is_never_rounded_up(watched_s: float, gap_s: dict[str, float], line: str) -> None:
    day = CoverageStatus(day="2026-11-22", watched_s=watched_s, gap_s=gap_s)
    stream = changed(make_service_status().streams[1], coverage=(day,))
    assert service_lines(make_service_status(streams=(stream,)))["streams"][1] == line


def test_a_service_with_nothing_to_show_yet_is_told_in_full() -> None:
    lines = service_lines(
        make_service_status(state="starting", sources=(), streams=(), sinks=(), last_events=())
    )
    assert lines["service"][0].startswith("starting, process 4242")
    assert [lines[part] for part in ("sources", "streams", "sinks", "events")] == [
        ["none"],
        ["none"],
        ["standard output"],
        ["none yet"],
    ]
