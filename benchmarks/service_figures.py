"""What the service costs: time to the first decision, memory, bytes written, share of a core.

    .venv/bin/python -m benchmarks.service_figures [--starts 10] [--rounds 3] [--seconds 30] [--idle 120]

One RTSP camera (640 x 480, H.264, 5 frames a second) on a MobileNetV2-224 and one PulseAudio microphone
(48 kHz) on a DS-CNN of 64 filters that decides ten times a second, both int8: the models of quiet_models.py.
Log, spool, MQTT and status page are on. Service and bare loop (bare_loop.py) take turns on the same sources,
each with all its processes on one core; the camera, the sound server and the broker run on the others.

  first decision   from the start of the process, on all cores, to the first window that was decided, by the
                   wall time of its record; H.264 begins with a key frame, which comes once a second here, and
                   a microphone's first window takes one second of sound
  memory           resident, of all processes together; pages that several of them map are counted once
  CPU              user and system time of all processes, as a share of one core
  written          what /proc/PID/io says was written to disk while nothing happens, scaled to an hour

Targets (docs/benchmarks.md): first decision of the MJPEG camera within 1.5 s (median), 200 MB. The exit code
is 1 when one is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from campaigns import quiet_models
from campaigns import service_rig as rig
from real_parts import Broker, MissingPartError, MjpegServer, RtspServer, SoundServer, wait_for
from real_parts.processes import Child, tool
from test_kit import make_bundle

HERE = Path(__file__).parent
OUT = HERE / "out"
START_BAR_S = 1.5
MEMORY_BAR_MB = 200.0
FPS = 5
SETTLE_S = 5.0


class Bench:
    """The parts, the store and the configuration."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        """Start the parts.

        Raises:
            MissingPartError: One is not installed.
        """
        self.folder = folder
        # what systemd gives the unit: a folder in memory
        self.memory = stack.enter_context(tempfile.TemporaryDirectory(prefix="galago-", dir="/dev/shm"))
        self.camera = RtspServer(folder, size=(640, 480), fps=FPS)
        self.mjpeg = MjpegServer(size=(640, 480), fps=FPS)
        self.sound = SoundServer(folder)
        self.broker = Broker(folder)
        self.cores = sorted(os.sched_getaffinity(0))
        if len(self.cores) > 1:
            os.sched_setaffinity(0, self.cores[1:])  # this process, and the parts that it starts
        for part in (self.camera, self.mjpeg, self.sound, self.broker):
            stack.callback(part.stop)
            part.start()
        bundles = [
            make_bundle(
                folder / f"{name}.galago",
                quiet_models.path_of(name).read_bytes(),
                quiet_models.LABELS[name],
                preprocess=spec,
                modality="camera" if name == "camera" else "microphone",
                name=name,
            )
            for name, spec in quiet_models.SPECS.items()
        ]
        self.root = rig.make_root(folder / "root", bundles)

    def settings(self, camera: str, **more: Any) -> dict[str, Any]:
        return {
            "device": {"name": "figures"},
            "source": {
                "cam": {"address": f"camera:{camera}"},
                "mic": {"address": f"microphone:{self.sound.name}?rate={self.sound.rate_hz}"},
            },
            "stream": [{"name": "cam", "source": "cam"}, {"name": "mic", "source": "mic"}],
            **more,
        }

    def service(self, config: Mapping[str, Any], cores: Iterable[int], *extra: str) -> rig.Service:
        """Return the service, to be started on these cores."""
        path = self.folder / "galago.toml"
        path.write_text(rig.toml(config))
        prefix = on(cores)
        environment = {**self.sound.environment, "RUNTIME_DIRECTORY": self.memory}
        return rig.Service(self.root, path, self.folder, environment, *extra, prefix=prefix)

    def whole(self) -> dict[str, Any]:
        """Return the configuration with everything on."""
        return self.settings(
            self.camera.url,
            log={"path": str(self.folder / "events.jsonl")},
            mqtt={"host": "127.0.0.1", "port": self.broker.port},
            page={"port": 0},
        )


def on(cores: Iterable[int]) -> tuple[str, ...]:
    """Return what starts a program on these cores."""
    return (tool("taskset"), "-c", ",".join(map(str, cores)))


def first_decisions(bench: Bench, camera: str, starts: int) -> dict[str, list[float]]:
    """Start the service so often; return for each stream after how many seconds it first decided."""
    config = bench.settings(camera)
    out = bench.folder / "scores.jsonl"
    found: dict[str, list[float]] = {"cam": [], "mic": []}
    for _ in range(starts):
        out.unlink(missing_ok=True)
        service = bench.service(config, bench.cores, "--scores", "--out", str(out)).start()

        def scores(service: rig.Service = service) -> dict[str, int] | None:
            assert service.child is not None and service.child.running, "the service ended"
            records = rig.log_records(out)[0]
            first = {r["stream"]: r["wall_ns"] for r in reversed(records) if r["kind"] == "scores"}
            return first if len(first) == len(found) else None

        first = wait_for(scores, "the first decisions")
        assert first is not None
        for stream, wall_ns in first.items():
            found[stream].append((wall_ns - service.started_wall_ns) / rig.NS)
        service.stop()
    return found


def measured(pid: int, seconds: float) -> dict[str, Any]:
    """Return what a process and its children use, each by itself and together, over so many seconds."""
    pids = rig.tree(pid)
    before, began = [rig.usage([one]) for one in pids], time.monotonic()
    time.sleep(seconds)
    after, together = [rig.usage([one]) for one in pids], rig.usage(pids)
    passed = time.monotonic() - began
    each = [
        {**asdict(new), "cpu": (new.cpu_s - old.cpu_s) / passed, "what": what_is(one)}
        for one, old, new in zip(pids, before, after, strict=True)
    ]
    return {**asdict(together), "cpu": sum(one["cpu"] for one in each), "each": each}


def what_is(pid: int) -> str:
    """Return what a process is there for."""
    if "capture" not in rig.command_of(pid):
        return "all the rest"
    heard = "portaudio" in Path(f"/proc/{pid}/maps").read_text()
    return "capture of the microphone" if heard else "capture of the camera"


def running(bench: Bench) -> rig.Service:
    """Return the service with everything on, once both streams decide."""
    service = bench.service(bench.whole(), bench.cores[:1]).start()
    service.wait("both streams decide", lambda status: all(stream.windows for stream in status.streams))
    time.sleep(SETTLE_S)
    return service


def of_service(bench: Bench, seconds: float) -> dict[str, Any]:
    """Run the service for a while."""
    service = running(bench)
    before = service.status()
    found = measured(service.pid, seconds)
    after = service.status()
    service.stop()
    assert before is not None and after is not None
    passed = after.uptime_s - before.uptime_s
    pairs = zip(before.streams, after.streams, strict=True)
    return found | {"decided_hz": {new.name: (new.windows - old.windows) / passed for old, new in pairs}}


def of_bare_loop(bench: Bench, seconds: float) -> dict[str, Any]:
    """Run the bare loop for as long."""
    command = [
        *on(bench.cores[:1]), sys.executable, str(HERE / "bare_loop.py"), bench.camera.url,
        str(quiet_models.path_of("camera")), bench.sound.name, str(quiet_models.path_of("microphone")),
    ]  # fmt: skip
    env = {**bench.sound.environment, "OPENCV_FFMPEG_CAPTURE_OPTIONS": "rtsp_transport;tcp"}
    said = bench.folder / "bare.log"
    said.unlink(missing_ok=True)
    child = Child(command, said, env=env)
    child.wait_until(lambda: "ready" in said.read_text(), "the bare loop")
    time.sleep(SETTLE_S)
    found = measured(child.pid, seconds)
    child.kill()
    return found


def written_per_hour(bench: Bench, seconds: float) -> float:
    """Return the bytes that the service writes in an hour in which nothing happens."""
    service = running(bench)
    before = service.status()
    pids = rig.tree(service.pid)
    start = rig.usage(pids).written_bytes
    time.sleep(seconds)
    written = rig.usage(pids).written_bytes - start
    after = service.status()
    service.stop()
    assert before is not None and after is not None
    events = sum(stream.events for stream in after.streams) - sum(stream.events for stream in before.streams)
    assert events == 0, f"{events} events in an idle hour"
    return written * 3_600 / seconds


def report(found: dict[str, Any]) -> list[str]:
    """Print the figures and return what missed its bar."""
    missed: list[str] = []

    def bar(name: str, holds: bool) -> str:
        if not holds:
            missed.append(name)
        return "" if holds else "  MISSED"

    for name, starts in found["first_decision_s"].items():
        middle = median(starts)
        told = f"median {middle:.2f} s, worst {max(starts):.2f} s of {len(starts)} starts"
        held = bar("first decision", middle <= START_BAR_S) if name == "MJPEG camera" else ""
        print(f"first decision   {name}: {told}{held}")
    rows = [["", "CPU of one core", "MB", "sum of RSS", "processes", "threads"]]
    for name in ("service", "bare loop"):
        runs = found[name]
        cpu = [run["cpu"] for run in runs]
        rows.append(
            [
                name,
                f"{median(cpu):.1%} ({min(cpu):.1%} to {max(cpu):.1%})",
                f"{median(run['mb'] for run in runs):.0f}",
                f"{median(run['rss_mb'] for run in runs):.0f}",
                f"{runs[-1]['processes']}",
                f"{runs[-1]['threads']}",
            ]
        )
    print(rig.table(rows, right=range(1, 6)))
    most = max(run["mb"] for run in found["service"])
    print(f"memory           camera + microphone: {most:.0f} MB" + bar("memory", most <= MEMORY_BAR_MB))
    for each in found["service"][-1]["each"]:
        print(f"                 {each['rss_mb']:5.0f} MB RSS, {each['cpu']:5.1%} of a core: {each['what']}")
    rates = ", ".join(f"{name} {hz:.1f}" for name, hz in found["service"][-1]["decided_hz"].items())
    print(f"decided          windows a second: {rates}")
    print(
        f"written          {found['written_per_idle_hour'] / 1e6:.2f} MB in an idle hour "
        f"(scaled from {found['idle_s']:.0f} s)"
    )
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--idle", type=float, default=120.0)
    parser.add_argument("--out", type=Path, default=OUT / "service_figures.json")
    options = parser.parse_args()
    subprocess.run([sys.executable, "-m", "campaigns.quiet_models"], check=True, stderr=subprocess.DEVNULL)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="figures-", dir=OUT)))
        try:
            bench = Bench(folder, stack)
        except MissingPartError as missing:
            print(f"Error: {missing}", file=sys.stderr)
            return 1
        found: dict[str, Any] = {
            "cores": os.cpu_count(),
            "load_before": os.getloadavg()[0],
            "first_decision_s": {},
            "service": [],
            "bare loop": [],
        }
        for name, url in (("MJPEG camera", bench.mjpeg.url), ("RTSP camera", bench.camera.url)):
            starts = first_decisions(bench, url, options.starts)
            found["first_decision_s"][name] = starts["cam"]
            found["first_decision_s"].setdefault("microphone", []).extend(starts["mic"])
        for _ in range(options.rounds):
            found["service"].append(of_service(bench, options.seconds))
            found["bare loop"].append(of_bare_loop(bench, options.seconds))
        found["idle_s"] = options.idle
        found["written_per_idle_hour"] = written_per_hour(bench, options.idle)
        missed = report(found)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found | {"missed": missed}, indent=2) + "\n")
    print("bars             " + (f"MISSED: {', '.join(missed)}" if missed else "all met"))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
