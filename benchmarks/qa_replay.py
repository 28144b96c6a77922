"""What replaying a corpus costs, against decode + preprocess + invoke in a loop over the same files.

    .venv/bin/python -m benchmarks.qa_replay [--only camera|microphone|scores] [--rounds 3]

Camera: 640 x 480 MJPEG, ten pictures a second, a MobileNetV2-224. Microphone: 16 kHz, a DS-CNN, ten windows
a second. ``galago replay`` and the bare loop (bare_replay.py) are commands of their own, from the start of
the process to its end, and take turns: a short recording, one four times as long, and two of those in two
processes. Of each: processor time and the clock of the whole command, and the memory of its largest process.

* stream-hours per core-hour: of the whole command over the long recording, and of what the long recording
  takes more than the short one, which is what counts for a night. Medians over the rounds of the ratios.
* two processes: recordings per second of the clock, with two processes as a multiple of with one; the bare
  loop's own says what the two cores of this machine give.
* memory: the long recording against the short one.
* scores: 100 hours of stored scores of a known generator: the curve over 1,000 thresholds, tuning over the
  whole grid.

Targets (docs/benchmarks.md): 0.9 of the bare loop, 1.8 with two processes, flat memory, seconds for scores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import galago_edge
import galago_workstation
from campaigns import quiet_models

OUT = Path(__file__).with_name("out")
MADE = OUT / "replayed"
BARE = Path(__file__).with_name("bare_replay.py")
FPS, SIZE, QUALITY = 10, (640, 480), 85
RATE_HZ = 16_000
MINUTES = {"camera": 2.0, "microphone": 30.0}
"""Of the short recording; the others have four times as much."""
LONGER = 4
BARS = {"whole": 0.9, "steady": 0.9, "two": 1.8, "memory": 1.1}
Command = list[str | Path]


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    wall_s: float
    cpu_s: float
    """Of all its processes."""
    peak_mb: float
    """Resident, of the largest of its processes."""
    windows: int


def make_camera(path: Path, minutes: float, seed: int) -> None:
    """Write pictures of a room in which something moves; the same ones come again every 20 seconds."""
    import av
    import cv2

    rng = np.random.default_rng(seed)
    width, height = SIZE
    rough = rng.integers(40, 160, (height // 8, width // 8, 3), dtype=np.uint8)
    room = cv2.resize(rough, SIZE, interpolation=cv2.INTER_CUBIC)
    encoded = []
    for number in range(20 * FPS):
        picture = room.astype(np.int16)
        left, top = (7 * number) % (width - 90), 120 + (3 * number) % 200
        picture[top : top + 120, left : left + 80] = 190
        picture += rng.normal(0, 3, picture.shape).astype(np.int16)
        shown = picture.clip(0, 255).astype(np.uint8)
        encoded.append(cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mjpeg", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"
        for number in range(round(minutes * 60 * FPS)):
            packet = av.Packet(encoded[number % len(encoded)])
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, FPS), True
            packet.pts = packet.dts = number
            container.mux(packet)


def make_microphone(path: Path, minutes: float, seed: int) -> None:
    """Write noise that swells and fades, with a tone now and then; every minute is another."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(60 * RATE_HZ) / RATE_HZ
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        for minute in range(round(minutes)):
            noise = rng.normal(0, 200 + 100 * np.sin(time_s), len(time_s))
            tone = (
                3_000 * np.sin(2 * np.pi * 3_100 * time_s) * ((time_s > 20) & (time_s < 22) & minute % 5 == 0)
            )
            file.writeframes(np.rint(noise + tone).clip(-32_768, 32_767).astype("<i2").tobytes())


def recordings(kind: str, minutes: float) -> dict[str, Path]:
    """Return the short recording and two long ones, made once."""
    make, ending = (make_camera, "avi") if kind == "camera" else (make_microphone, "wav")
    found = {}
    for seed, (name, length) in enumerate((("short", 1), ("long", LONGER), ("other", LONGER))):
        path = MADE / f"{name}-{minutes * length:g}min.{ending}"
        if not path.exists():
            part = path.with_suffix(".part")
            make(part, minutes * length, seed)
            part.replace(path)
        found[name] = path
    return found


def bundle_of(kind: Any, folder: Path) -> Path:
    """Return the quiet hour's network as a bundle."""
    from test_kit import make_bundle

    return make_bundle(
        folder / f"{kind}.galago",
        quiet_models.path_of(kind).read_bytes(),
        quiet_models.LABELS[kind],
        preprocess=quiet_models.SPECS[kind],
        modality=kind,
    )


def prepared(kind: str, minutes: float, folder: Path) -> tuple[dict[str, Path], Path]:
    """Return recordings and bundle, made by a process of its own.

    A process counts as its own peak memory what the one had that started it, so this one stays small.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(recordings, kind, minutes).result(), pool.submit(bundle_of, kind, folder).result()


def compile_packages() -> None:
    """Compile what ``galago`` runs, as pip does when it installs it: what starts must not pay for that.

    The bare loop's libraries are compiled; a working tree is only where Python may write into it.
    """
    roots = [Path(one.__path__[0]) for one in (galago_edge, galago_workstation)]
    subprocess.run([sys.executable, "-m", "compileall", "-q", *roots], check=True)


def run(command: Command, environment: dict[str, str]) -> tuple[float, float, float, str]:
    """Run a command to its end; return clock and processor seconds, megabytes and what it printed."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complaint:
        process = subprocess.Popen(
            [str(one) for one in command], stdout=said, stderr=complaint, env=environment
        )
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        complaint.seek(0)
        if process.returncode:
            sys.exit(f"{' '.join(map(str, command))}: {process.returncode}\n{complaint.read().decode()}")
        return wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, said.read().decode()


class Contest:
    """``galago replay`` and the bare loop over the same files."""

    def __init__(self, kind: str, bundle: Path) -> None:
        self.kind, self._bundle, self._model = kind, bundle, quiet_models.path_of(kind)
        self._environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

    def galago(self, files: list[Path], jobs: int = 1) -> Cost:
        """Replay into a new folder of results."""
        with tempfile.TemporaryDirectory(dir=MADE) as folder:
            out = Path(folder) / "run"
            command: Command = [
                sys.executable,
                "-m",
                "galago_edge",
                "replay",
                *files,
                "--bundle",
                self._bundle,
            ]
            wall, cpu, mb, said = run(
                [*command, "--out", out, "--jobs", str(jobs), "--json"], self._environment
            )
            rows = json.loads(said)["recordings"]
            return Cost(wall, cpu, mb, sum(row["windows"] for row in rows))

    def bare(self, files: list[Path], *options: str) -> Cost:
        """Run the loop over one file after the other."""
        command: Command = [sys.executable, BARE, self.kind, self._model, *files, *options]
        wall, cpu, mb, said = run(command, self._environment)
        return Cost(wall, cpu, mb, int(said))

    def two_bare(self, files: list[Path]) -> Cost:
        """Run two loops at once, each over one file."""
        from concurrent.futures import ThreadPoolExecutor

        start = time.perf_counter()
        with ThreadPoolExecutor(len(files)) as pool:
            both = list(pool.map(lambda path: self.bare([path]), files))
        return Cost(
            time.perf_counter() - start,
            sum(one.cpu_s for one in both),
            max(one.peak_mb for one in both),
            sum(one.windows for one in both),
        )


def measure(kind: str, minutes: float, rounds: int) -> dict[str, Any]:
    """Let all take turns, and compare them."""
    with tempfile.TemporaryDirectory() as folder:
        files, bundle = prepared(kind, minutes, Path(folder))
        both = [files["long"], files["other"]]
        contest = Contest(kind, bundle)
        turns: dict[str, Callable[[], Cost]] = {
            "galago short": lambda: contest.galago([files["short"]]),
            "galago long": lambda: contest.galago([files["long"]]),
            "galago two": lambda: contest.galago(both, jobs=2),
            "bare short": lambda: contest.bare([files["short"]]),
            "bare long": lambda: contest.bare([files["long"]]),
            "bare two": lambda: contest.two_bare(both),
        }
        if kind == "camera":
            turns["ffmpeg short"] = lambda: contest.bare([files["short"]], "--ffmpeg")
        taken: dict[str, list[Cost]] = {name: [] for name in turns}
        order, shuffle = list(turns), random.Random(0).shuffle
        for number in range(rounds):
            shuffle(order)
            for name in order:
                taken[name].append(turns[name]())
                cost = taken[name][-1]
                print(
                    f"{kind}, round {number + 1}: {name} {cost.wall_s:.2f} s, {cost.cpu_s:.2f} s of a core, "
                    f"{cost.peak_mb:.1f} MB",
                    file=sys.stderr,
                )
    for name in ("short", "long", "two"):
        if {cost.windows for who in ("galago", "bare") for cost in taken[f"{who} {name}"]} != {
            taken[f"bare {name}"][0].windows
        }:
            sys.exit(f"{kind}: galago and the bare loop have not run the same windows")
    return {
        "minutes": [minutes, LONGER * minutes],
        "bytes": files["long"].stat().st_size,
        **compared(taken, minutes),
        "taken": {name: [asdict(cost) for cost in costs] for name, costs in taken.items()},
    }


def compared(taken: dict[str, list[Cost]], minutes: float) -> dict[str, Any]:
    """Return the figures; ratios are of one round each, and medians of those."""
    hours, long_hours = minutes / 60, LONGER * minutes / 60

    def median(value: Callable[..., float], *names: str) -> float:
        return statistics.median(
            value(*costs) for costs in zip(*(taken[name] for name in names), strict=True)
        )

    def steady(short: Cost, long: Cost) -> float:
        return (long_hours - hours) / (long.cpu_s - short.cpu_s)

    found: dict[str, Any] = {}
    for who in ("galago", "bare"):
        short, long, two = f"{who} short", f"{who} long", f"{who} two"
        found[who] = {
            "whole": median(lambda cost: 3600 * long_hours / cost.cpu_s, long),
            "whole_by_clock": median(lambda cost: 3600 * long_hours / cost.wall_s, long),
            "steady": median(lambda a, b: 3600 * steady(a, b), short, long),
            "start_s": median(lambda a, b: (LONGER * a.cpu_s - b.cpu_s) / (LONGER - 1), short, long),
            "two": median(lambda one, both: 2 * one.wall_s / both.wall_s, long, two),
            "peak_mb": [median(lambda cost: cost.peak_mb, name) for name in (short, long)],
        }
    four = ("galago short", "galago long", "bare short", "bare long")
    found["ratios"] = {
        "whole": median(lambda ours, theirs: theirs.cpu_s / ours.cpu_s, "galago long", "bare long"),
        "steady": median(lambda a, b, c, d: steady(a, b) / steady(c, d), *four),
        "two": found["galago"]["two"],
        "two_of_bare": found["galago"]["two"] / found["bare"]["two"],
        "memory": median(lambda a, b: b.peak_mb / a.peak_mb, "galago short", "galago long"),
    }
    if "ffmpeg short" in taken:
        pair = ("ffmpeg short", "bare short")
        found["ffmpeg_against_bare"] = median(lambda ours, theirs: theirs.cpu_s / ours.cpu_s, *pair)
    met = {name: found["ratios"][name] >= bar for name, bar in BARS.items() if name != "memory"}
    found["met"] = met | {"memory": found["ratios"]["memory"] <= BARS["memory"]}
    return found


def measure_scores(turns: int) -> dict[str, Any]:
    """Decide 100 hours of stored scores again."""
    from campaigns.tuned_promises import LABEL, CorpusPlan, made_corpus
    from galago_workstation.qa.det_curve import det_curve
    from galago_workstation.qa.judged_corpus import JudgedCorpus
    from galago_workstation.qa.matching import MatchingRule
    from galago_workstation.qa.tuning import TuneGoal, tune

    corpus = made_corpus(1, CorpusPlan(recordings=20, hours=5.0))
    taken: dict[str, list[float]] = {"det": [], "tune": []}
    for _ in range(turns):
        start = time.perf_counter()
        curve = det_curve(corpus, LABEL, MatchingRule())
        taken["det"].append(time.perf_counter() - start)
        start = time.perf_counter()
        tuned = tune(JudgedCorpus(corpus, LABEL, MatchingRule()), TuneGoal(false_per_day=24.0))
        taken["tune"].append(time.perf_counter() - start)
        print(f"scores: {taken['det'][-1]:.2f} s, {taken['tune'][-1]:.2f} s", file=sys.stderr)
    return {
        "hours": 100,
        "windows": sum(len(one.scores.span) for one in corpus if one.scores is not None),
        "thresholds": len(curve.points),
        "policies": tuned.tried,
        **{f"{name}_s": statistics.median(found) for name, found in taken.items()},
        "taken_s": taken,
    }


def table(results: dict[str, Any]) -> str:
    lines = []
    for kind in ("camera", "microphone"):
        if (found := results.get(kind)) is None:
            continue
        short, long = found["minutes"]
        lines.append(f"{kind}: {short:g} and {long:g} minutes; stream-hours per core-hour (processor time)")
        lines.append(f"{'':<10}{'whole':>8}{'steady':>8}{'start s':>9}{'two':>6}{'peak MB':>16}")
        for who in ("galago", "bare"):
            row = found[who]
            low, high = row["peak_mb"]
            lines.append(
                f"{who:<10}{row['whole']:>8.1f}{row['steady']:>8.1f}{row['start_s']:>9.2f}{row['two']:>6.2f}"
                f"{low:>9.1f} {high:.1f}"
            )
        ratios = ", ".join(f"{name} {value:.3f}" for name, value in found["ratios"].items())
        missed = [name for name, met in found["met"].items() if not met]
        lines.append(f"ratios: {ratios}; {'missed: ' + ', '.join(missed) if missed else 'all bars met'}")
        if (other := found.get("ffmpeg_against_bare")) is not None:
            lines.append(f"the bare loop with FFmpeg's JPEG decoder: {other:.3f} of its speed")
    if (scores := results.get("scores")) is not None:
        lines.append(
            f"scores of {scores['hours']} h: {scores['thresholds']} thresholds in {scores['det_s']:.2f} s, "
            f"tuned over {scores['policies']} policies in {scores['tune_s']:.2f} s"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("camera", "microphone", "scores"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--camera-minutes", type=float, default=MINUTES["camera"])
    parser.add_argument("--microphone-minutes", type=float, default=MINUTES["microphone"])
    parser.add_argument("--keep", action="store_true", help="keep the recordings for the next time")
    parser.add_argument("--out", type=Path, default=OUT / "qa_replay.json")
    given = parser.parse_args()
    subprocess.run([sys.executable, "-m", "campaigns.quiet_models"], check=True, stderr=subprocess.DEVNULL)
    MADE.mkdir(parents=True, exist_ok=True)
    compile_packages()
    results: dict[str, Any] = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "versions": {
            name: version(name) for name in ("ai-edge-litert", "av", "numpy", "opencv-python-headless")
        },
        "bars": BARS,
    }
    for kind in ("camera", "microphone"):
        if given.only in (None, kind):
            results[kind] = measure(kind, getattr(given, f"{kind}_minutes"), given.rounds)
    if given.only in (None, "scores"):
        results["scores"] = measure_scores(given.rounds)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(results, indent=2) + "\n")
    if not given.keep:
        shutil.rmtree(MADE)
    print(table(results))


if __name__ == "__main__":
    main()
