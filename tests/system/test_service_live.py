"""``galago run --config`` as a process: a camera that comes and goes, signals, systemd, a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from galago_edge.bundle import TrustedKeys, open_bundle
from galago_edge.bundle.keys import key_id
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.records import EventRecord, GapRecord, Record, StateRecord, decode_record
from galago_edge.contract.status import ServiceStatus
from galago_edge.service.handover import read_coverage
from galago_edge.store import Store, install_bundle
from galago_edge.store.running_service import ask_status
from galago_edge.store.transitions import commit
from real_parts import MjpegServer, small_disk, wait_for
from real_parts.processes import DEADLINE_S, free_port
from test_kit import TEST_KEY, accepted_here, make_bundle, trust

POLICY = LabelPolicy(on=0.6, off=0.4, smoothing_windows=2, min_count=2, refractory_ms=100)
CONFIG = """
[device]
name = "porch"
[source.cam]
address = "camera:{url}"
stall_s = 60.0
open_s = 60.0
gap_ms = 60_000
backoff_s = 0.1
backoff_max_s = 0.5
steady_s = 0.2
[[stream]]
name = "door"
source = "cam"
bundle = "levels"
[[stream]]
name = "door-again"
source = "cam"
bundle = "levels"
[log]
path = "events.jsonl"
[page]
port = 0
"""
"""A camera that goes closes its connections, which is noticed at once; one that is well has no gap, however
busy this machine is with something else."""


def install(root: Path, path: Path) -> str:
    bundle = open_bundle(path)
    install_bundle(Store(trust(root)), bundle, TrustedKeys({key_id(TEST_KEY): "test"}), accepted_here)
    return bundle.id


def make(tmp_path: Path, model: bytes, version: str, counter: int, brightest: str = "bright") -> Path:
    labels = [
        Label(name=name, background=name == "dark", policy=POLICY) for name in ("dark", "mid", brightest)
    ]
    return make_bundle(
        tmp_path / f"levels-{version}.galago",
        model,
        labels,
        name="levels",
        version=version,
        release_counter=counter,
    )


@pytest.fixture
def root(tmp_path: Path, tiny_image_model: bytes) -> Path:
    install(tmp_path / "root", make(tmp_path, tiny_image_model, "1.0.0", 1))
    return tmp_path / "root"


class Running:
    """The service as a process, and what it wrote."""

    def __init__(self, process: subprocess.Popen[bytes], root: Path, log: Path) -> None:
        self.process = process
        self.root = root
        self.log = log

    def records(self) -> list[Record]:
        data = self.log.read_bytes() if self.log.exists() else b""
        return [decode_record(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]

    def events(self, stream: str = "door") -> list[EventRecord]:
        return [r for r in self.records() if isinstance(r, EventRecord) and r.stream == stream]

    def gaps(self, stream: str = "door") -> list[GapRecord]:
        return [r for r in self.records() if isinstance(r, GapRecord) and r.stream == stream]

    def states(self, subject: str, stream: str = "door") -> list[str]:
        return [
            r.state
            for r in self.records()
            if isinstance(r, StateRecord) and (r.subject, r.stream) == (subject, stream)
        ]

    def status(self) -> ServiceStatus:
        status = ask_status(self.root, timeout_s=DEADLINE_S)
        assert status is not None
        return status

    def windows(self) -> int:
        status = ask_status(self.root, timeout_s=DEADLINE_S)  # None while it is still starting
        return status.streams[0].windows if status is not None else 0

    def until(self, condition: Callable[[], object], what: str) -> None:
        def checked() -> object:
            assert self.process.poll() is None, self.ended()
            return condition()

        wait_for(checked, what)

    def ended(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def terminate(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, errors.decode()


@contextmanager
def service(
    tmp_path: Path, root: Path, url: str, config: str = CONFIG, **environment: str
) -> Iterator[Running]:
    path = tmp_path / "galago.toml"
    path.write_text(config.format(url=url))
    command = [sys.executable, "-m", "galago_edge", "run", "--root", str(root), "--config", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, **environment}) as process:
        try:
            yield Running(process, root, tmp_path / "events.jsonl")
        finally:
            process.kill()


@pytest.fixture
def camera(real_part: Callable[..., MjpegServer]) -> MjpegServer:
    found = real_part(MjpegServer, size=(64, 48), fps=20, login=("admin", "hunter2")).start()
    found.level = 30
    return found


def test_a_camera_that_goes_and_returns_is_told_counted_and_watched_again(
    root: Path, tmp_path: Path, camera: MjpegServer
) -> None:
    with service(tmp_path, root, camera.url) as running:
        camera.level = 225
        running.until(lambda: running.events() and running.events("door-again"), "the first event")
        camera.stop()
        running.until(lambda: "alarmed" in running.states("source"), "the alarm")
        running.until(lambda: running.status().state == "degraded", "the problem in the status")
        assert any("cam" in problem for problem in running.status().problems)
        camera.level = 30
        camera.start()
        running.until(lambda: running.status().state == "ok", "health")
        camera.level = 225
        running.until(
            lambda: all(len(running.events(stream)) >= 2 for stream in ("door", "door-again")),
            "another event",
        )
        assert camera.connections == running.status().sources[0].connects == 2  # captured once ...
        code, errors = running.terminate()
    assert code == 0, errors
    assert [gap.cause for gap in running.gaps()] == ["connecting", "disconnect"]
    assert running.states("stream") == ["started", "ended"]
    assert len(running.events("door-again")) == len(running.events())  # ... and decided twice
    assert "hunter2" not in errors + running.log.read_text()


def test_coverage_accounts_for_the_whole_time_to_within_one_frame(
    root: Path, tmp_path: Path, camera: MjpegServer
) -> None:
    with service(tmp_path, root, camera.url) as running:
        running.until(lambda: running.windows() > 5, "windows")
        camera.stop()
        running.until(lambda: "alarmed" in running.states("source"), "the alarm")
        camera.start()
        running.until(lambda: len(running.gaps()) >= 2, "the gap")
        code, errors = running.terminate()
    assert code == 0, errors
    kept = read_coverage(root)["door"]
    parts = [part for day in kept.values() for part in (day, *day.aside.values())]  # this clock may be unset
    gaps = running.gaps()
    # everything up to the last item, or the gap that ended the stream
    last = [r for r in running.records() if isinstance(r, StateRecord) and r.stream == "door"][-1]
    told = sum(gap.to_ns - gap.from_ns for gap in gaps)
    assert sum(sum(part.gap_ns.values()) for part in parts) == told
    assert abs(sum(part.total_ns for part in parts) - last.ns) <= 1_000_000_000 // 20


def test_a_new_bundle_takes_over_at_sighup_and_one_that_is_damaged_does_not(
    root: Path, tmp_path: Path, camera: MjpegServer, tiny_image_model: bytes
) -> None:
    with service(tmp_path, root, camera.url) as running:
        running.until(lambda: running.windows() > 3, "windows")
        first = running.status().streams[0].bundle_id
        second = install(root, make(tmp_path, tiny_image_model, "2.0.0", 2))
        commit(Store(root), "levels")  # trials: test_service_trial.py
        running.process.send_signal(signal.SIGHUP)
        running.until(
            lambda: {s.bundle_id for s in running.status().streams} == {second}, "the new bundle in both"
        )
        running.until(lambda: running.states("bundle"), "the record of it")
        assert running.states("bundle") == ["reloaded"]
        camera.level = 225
        running.until(running.events, "an event")
        assert running.events()[0].bundle == second != first
        third = install(root, make(tmp_path, tiny_image_model, "3.0.0", 3))
        for file in (root / "bundles" / third).rglob("*.tflite"):
            file.chmod(0o644)
            file.write_bytes(b"damaged")
        running.process.send_signal(signal.SIGHUP)
        running.until(lambda: "rolled_back" in running.states("bundle", stream=""), "the refusal")
        assert running.status().streams[0].bundle_id == second
        code, errors = running.terminate()
    assert code == 0, errors
    assert not running.gaps()[1:]  # nobody was blind while bundles changed hands


def test_an_active_bundle_that_cannot_take_over_is_a_problem_until_one_does(
    root: Path, tmp_path: Path, camera: MjpegServer, tiny_image_model: bytes
) -> None:
    config = CONFIG.replace("[log]", "[stream.thresholds.bright]\non = 0.7\n[log]", 1)  # of door-again alone
    with service(tmp_path, root, camera.url, config) as running:
        running.until(lambda: running.windows() > 3, "windows")
        wanted = install(root, make(tmp_path, tiny_image_model, "2.0.0", 2, brightest="glaring"))
        commit(Store(root), "levels")
        running.process.send_signal(signal.SIGHUP)
        running.until(lambda: running.states("bundle", "door-again") == ["reload_failed"], "the refusal")
        running.process.send_signal(signal.SIGHUP)
        running.until(lambda: len(running.states("bundle", "door-again")) == 2, "the second refusal")
        refused = [r for r in running.records() if isinstance(r, StateRecord) and r.state == "reload_failed"]
        assert [(r.detail["name"], r.detail["to"]) for r in refused] == [("levels", wanted)] * 2
        assert all(r.index > 0 and r.ns > 0 for r in refused)
        running.until(
            lambda: [s.version for s in running.status().streams] == ["2.0.0", "1.0.0"], "the first"
        )
        assert running.status().state == "degraded"
        (problem,) = running.status().problems
        assert problem.startswith("stream door-again goes on with the bundle before")
        assert problem.endswith("[CONFIG_BAD]")
        install(root, make(tmp_path, tiny_image_model, "3.0.0", 3))
        commit(Store(root), "levels")
        running.process.send_signal(signal.SIGHUP)
        running.until(
            lambda: [s.version for s in running.status().streams] == ["3.0.0", "3.0.0"], "the third"
        )
        assert running.status().problems == ()
        code, errors = running.terminate()
    assert code == 0, errors


def test_a_bundle_that_rots_on_the_disk_is_found_while_the_service_runs_and_repaired(
    root: Path, tmp_path: Path, camera: MjpegServer, tiny_image_model: bytes
) -> None:
    with service(tmp_path, root, camera.url, config=CONFIG + "[store]\nscrub_every_s = 0.5\n") as running:
        running.until(lambda: running.windows() > 3, "windows")
        running.until(lambda: running.status().scrub, "a scrub")
        scrubbed = running.status().scrub
        assert scrubbed is not None and (scrubbed.bundles, scrubbed.damaged) == (1, 0)
        active = running.status().streams[0].bundle_id
        for file in (root / "bundles" / active).rglob("*.tflite"):
            file.chmod(0o644)
            file.write_bytes(file.read_bytes()[:-1] + b"\xff")
        running.until(lambda: running.states("bundle", stream=""), "the record")
        assert running.status().state == "degraded"
        assert any("(active) is damaged on the disk" in problem for problem in running.status().problems)
        assert install(root, tmp_path / "levels-1.0.0.galago") == active
        running.until(lambda: running.states("bundle", stream="") == ["damaged", "whole"], "the repair")
        running.until(lambda: running.status().state == "ok", "health")
        before = running.windows()
        running.until(lambda: running.windows() > before, "more windows")  # what is in memory went on
        code, errors = running.terminate()
    assert code == 0, errors
    assert not running.gaps()[1:]


def test_a_store_that_has_become_read_only_runs_what_is_committed_and_says_why(
    root: Path, tmp_path: Path, camera: MjpegServer, tiny_image_model: bytes
) -> None:
    """A worn card protects itself so; what is on trial could not be counted there."""
    first = Store(root).state().slots["levels"].active.id
    install(root, make(tmp_path, tiny_image_model, "2.0.0", 2))
    with small_disk(tmp_path / "card", "4m") as card:
        shutil.copytree(root, card / "root")
        subprocess.run(["mount", "-o", "remount,ro", str(card)], check=True)
        config = CONFIG.replace("port = 0", f"port = {(port := free_port())}")
        with service(tmp_path, card / "root", camera.url, config=config) as running:
            camera.level = 225
            running.until(running.events, "an event")
            assert running.events()[0].bundle == first
            told = urllib.request.urlopen(f"http://127.0.0.1:{port}/api/status", timeout=DEADLINE_S).read()
            problems = json.loads(told)["problems"]
            assert any("galago status cannot ask this service" in problem for problem in problems)
            assert any("1.0.0" in problem and "previous" in problem for problem in problems)
            code, errors = running.terminate()
        assert code == 0, errors
    assert Store(root).state().slots["levels"].active.version == "2.0.0"


def test_systemd_hears_ready_progress_and_the_end(root: Path, tmp_path: Path, camera: MjpegServer) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        name = f"galago-{os.getpid()}-{tmp_path.name}"
        manager.bind(f"\0{name}")
        manager.settimeout(DEADLINE_S)
        with service(
            tmp_path, root, camera.url, NOTIFY_SOCKET=f"@{name}", WATCHDOG_USEC="10000000"
        ) as running:
            assert manager.recv(100) == b"READY=1"
            assert manager.recv(100) == b"WATCHDOG=1"
            camera.stop()  # that is the camera's fault: restarting the service would not help
            running.until(lambda: "alarmed" in running.states("source"), "the alarm")
            while manager.recv(100) != b"WATCHDOG=1":
                pass
            running.process.send_signal(signal.SIGTERM)
            while manager.recv(100) != b"STOPPING=1":
                pass
            assert running.process.wait(DEADLINE_S) == 0


def test_a_killed_service_leaves_the_time_it_was_dead_as_a_gap(
    root: Path, tmp_path: Path, camera: MjpegServer
) -> None:
    with service(tmp_path, root, camera.url) as running:
        running.until(lambda: running.windows() > 3, "windows")
        running.process.kill()
        running.process.wait(DEADLINE_S)
    with service(tmp_path, root, camera.url) as running:
        running.until(lambda: any(gap.cause == "restart" for gap in running.gaps()), "the gap")
        running.until(lambda: running.windows() > 3, "windows")
        running.terminate()
    (gap,) = [gap for gap in running.gaps() if gap.cause == "restart"]
    assert gap.from_ns < 0 == gap.to_ns


def test_a_service_that_is_killed_while_the_camera_is_away_leaves_that_time_as_a_gap_too(
    root: Path, tmp_path: Path, camera: MjpegServer
) -> None:
    with service(tmp_path, root, camera.url) as running:
        running.until(lambda: running.windows() > 3, "windows")
        camera.stop()
        running.until(lambda: "escalated" in running.states("source"), "the escalation")
        source = [r for r in running.records() if isinstance(r, StateRecord) and r.subject == "source"]
        escalated = next(r for r in source if (r.stream, r.state) == ("door", "escalated"))
        alarmed = next(r for r in source if (r.stream, r.state) == ("door", "alarmed"))
        wait_for(lambda: "untold" in (root / "alive.json").read_text(), "the heartbeat that says so")
        running.process.kill()
        running.process.wait(DEADLINE_S)
    camera.start()
    with service(tmp_path, root, camera.url) as running:
        running.until(lambda: running.windows() > 3, "windows")
        running.terminate()
    away, dead = [gap for gap in running.gaps() if gap.from_ns < 0]
    assert (away.cause, dead.cause) == ("disconnect", "restart")
    assert away.to_ns == dead.from_ns and dead.to_ns == 0
    assert dead.to_ns - away.from_ns > escalated.ns - alarmed.ns > 0


def test_a_camera_that_is_away_at_the_start_is_waited_for(
    root: Path, tmp_path: Path, camera: MjpegServer
) -> None:
    camera.stop()
    with service(tmp_path, root, camera.url) as running:
        running.until(lambda: "escalated" in running.states("source"), "the escalation")
        camera.level = 225
        camera.start()
        running.until(running.events, "an event")
        code, errors = running.terminate()
    assert code == 0, errors
    assert running.gaps()[0].from_ns == 0
