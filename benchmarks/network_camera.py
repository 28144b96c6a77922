"""What a network camera costs by PyAV, beside a bare script that reads it by OpenCV's VideoCapture.

    .venv/bin/python -m benchmarks.network_camera [--starts 10] [--rounds 5] [--seconds 8]

One RTSP camera (H.264, 640 x 480, 10 frames a second, a key frame a second), on loopback. Galago and the
script (opencv_camera.py, with the options that Galago gave OpenCV before) take turns.

  first decision   from the start of the process to the first window that was decided: ``galago run``, the
                   script with the same model
  memory           of the process that reads the camera (Galago's capture child; the script without a model),
                   while it reads: resident, and with shared pages divided among processes (PSS)
  CPU              of the same process, as a share of one core
  site-packages    what galago-edge[camera] requires, without and with extra media

``--before`` measures another checkout of Galago as well, such as the last one that read by OpenCV.
"""

from __future__ import annotations

import argparse
import configparser
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from campaigns import DATA
from campaigns import service_rig as rig
from real_parts import MissingPartError, RtspServer, wait_for

HERE = Path(__file__).parent
OUT = HERE / "out"
EDGE = HERE.parent / "edge"
PEER = HERE / "opencv_camera.py"
MODEL = DATA / "tiny_image.tflite"
FPS = 10
SETTLE_S = 2.0
NS = rig.NS


def memory_and_cpu(pid: int, seconds: float) -> dict[str, float]:
    """Return resident and proportional memory in MB, and the CPU time of so many seconds as a share."""

    def cpu_s() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    time.sleep(SETTLE_S)
    before, began = cpu_s(), time.monotonic()
    time.sleep(seconds)
    used, passed = cpu_s() - before, time.monotonic() - began
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    sizes = {line.split()[0].rstrip(":"): int(line.split()[1]) / 1_000 for line in rollup.splitlines()[1:]}
    return {"rss_mb": sizes["Rss"], "pss_mb": sizes["Pss"], "cpu": used / passed}


def galago(url: str, root: Path, folder: Path, seconds: float, code: Path) -> dict[str, float]:
    """Run the service on the camera, with the package in ``code``."""
    out = folder / "scores.jsonl"
    out.unlink(missing_ok=True)
    command = [
        sys.executable, "-m", "galago_edge", "run", "--root", str(root),
        "--stream", f"cam=camera:{url}", "--scores", "--out", str(out),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(code)}
    began = time.time_ns()
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as child:

        def first() -> int | None:
            records = rig.log_records(out)[0]
            return next((record["wall_ns"] for record in records if record["kind"] == "scores"), None)

        wall_ns = wait_for(first, "the first decision")
        assert wall_ns is not None
        found = {"first_decision_s": (wall_ns - began) / NS}
        if seconds:
            reader = next(pid for pid in rig.tree(child.pid) if "capture_child" in rig.command_of(pid))
            found |= memory_and_cpu(reader, seconds)
        child.terminate()
    return found


def script(url: str, seconds: float) -> dict[str, float]:
    """Let the script decide once, and read without a model."""
    found = {}
    for model in ([str(MODEL)], []):
        began = time.time_ns()
        command = [sys.executable, str(PEER), url, *model]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            assert child.stdout is not None
            name = "first_decision_s" if model else "first_frame_s"
            found[name] = (int(child.stdout.readline()) - began) / NS
            if seconds and not model:
                found |= memory_and_cpu(child.pid, seconds)
            child.kill()
    return found


def installed_mb(extras: set[str]) -> float:
    """Return the size of everything that galago-edge with these extras requires, in MB."""
    from packaging.requirements import Requirement

    declared = configparser.ConfigParser()
    declared.read(EDGE / "setup.cfg")
    own = [declared["options"]["install_requires"]]
    own += [declared["options.extras_require"][extra] for extra in sorted(extras)]
    seen: dict[str, int] = {}

    def take(text: str, of: set[str]) -> None:
        need = Requirement(text)
        wanted = any(need.marker is None or need.marker.evaluate({"extra": one}) for one in (*of, ""))
        if not wanted or need.name.lower() in seen:
            return
        found = importlib.metadata.distribution(need.name)
        seen[need.name.lower()] = sum(file.size or 0 for file in found.files or ())
        for line in found.requires or ():
            take(line, set(need.extras))

    for line in "\n".join(own).split("\n"):
        if line.strip():
            take(line, set())
    return sum(seen.values()) / 1e6


def report(found: dict[str, Any]) -> None:
    """Print medians, each beside the script's."""
    who = [name for name in ("galago", "before", "script") if found["runs"].get(name)]
    units = {"first_decision_s": "s", "rss_mb": "MB", "pss_mb": "MB", "cpu": ""}
    rows = [["", *who, *(f"{name} / script" for name in who[:-1])]]
    for figure, unit in units.items():
        middle = [median(found["runs"][name][figure]) for name in who]
        ratios = [f"{value / middle[-1]:.2f}" for value in middle[:-1]]
        rows.append([figure, *(f"{value:.3f} {unit}" for value in middle), *ratios])
    print(rig.table(rows, right=range(1, len(rows[0]))))
    sizes = found["site_packages_mb"]
    print(f"site-packages    camera {sizes['camera']:.0f} MB, with media {sizes['camera, media']:.0f} MB")


def measured(
    folder: Path, starts: int, rounds: int, seconds: float, before: Path | None
) -> dict[str, dict[str, list[float]]]:
    """Take turns and return everything."""
    camera = RtspServer(folder, size=(640, 480), fps=FPS).start()
    runs: dict[str, dict[str, list[float]]] = {"galago": {}, "before": {}, "script": {}}
    try:
        bundle = rig.levels_bundle(folder, rig.CUE_POLICY)
        root = rig.make_root(folder / "root", [bundle])
        for number in range(starts):
            now_s = seconds if number < rounds else 0.0
            turns = {"galago": galago(camera.url, root, folder, now_s, EDGE)}
            if before is not None:
                turns["before"] = galago(camera.url, root, folder, now_s, before / "edge")
            turns["script"] = script(camera.url, now_s)
            for who, values in turns.items():
                for name, value in values.items():
                    runs[who].setdefault(name, []).append(value)
    finally:
        camera.stop()
    return runs


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--before", type=Path, help="another checkout of Galago, measured beside this one")
    parser.add_argument("--out", type=Path, default=OUT / "network_camera.json")
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="network-camera-") as folder:
        try:
            runs = measured(Path(folder), options.starts, options.rounds, options.seconds, options.before)
        except MissingPartError as missing:
            print(f"Error: {missing}", file=sys.stderr)
            return 1
    sizes = {
        "camera": installed_mb({"camera"}),
        "camera, media": installed_mb({"camera", "media"}),
    }
    found = {"runs": runs, "site_packages_mb": sizes, "load": os.getloadavg()[0]}
    report(found)
    options.out.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
