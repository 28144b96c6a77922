"""Speed of the audio frontend beside librosa (float) and pymicro-features (TensorFlow's C microfrontend).

One thread, one process, the same 16 kHz samples, 30 ms frames every 10 ms, 40 mel bands. Files in one
call; streams in pushes of 100 ms and 10 ms (librosa has no streaming form). The contestants take turns in
random order and are measured in CPU time of their one thread, so that a busy machine disturbs them little and
all alike; medians are compared. The clock on the wall is recorded too.

    python benchmarks/frontend.py [--seconds 20] [--rounds 31] [--out benchmarks/out/frontend.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

RATE_HZ = 16_000
STEP_MS = {"stream, 100 ms": 100, "stream, 10 ms": 10}
OUT = Path(__file__).with_name("out") / "frontend.json"


@dataclass(frozen=True)
class Contest:
    """One way of feeding one frontend. ``run`` processes everything and returns the number of frames."""

    mode: str
    name: str
    run: Callable[[], int]


@dataclass(frozen=True)
class Result:
    mode: str
    name: str
    frames: int
    median_s: float
    """CPU time for all the audio."""

    quartiles_s: tuple[float, float]
    best_s: float
    median_wall_s: float
    real_time_factor: float
    galago_is_faster: float
    """How many times as fast galago is in this mode, by the medians."""


def contests(seconds: int) -> list[Contest]:
    import numpy as np

    # noise that swells and fades, over 60 dB: neither silence nor clipping, nothing that a cache could learn
    draw = np.random.default_rng(1)
    n = seconds * RATE_HZ
    envelope = 10 ** (1.5 * np.sin(2 * np.pi * 0.7 * np.arange(n) / RATE_HZ) + 2)
    samples = np.clip(np.rint(draw.normal(0, envelope)), -32_768, 32_767).astype(np.int16)
    return [*galago(samples), *librosa_file(samples), *microfrontend(samples)]


def galago(samples: Any) -> list[Contest]:
    from galago_edge.contract.manifest import AudioPreprocess
    from galago_edge.preprocess import LogMelFrontend, log_mel

    frontend = LogMelFrontend(AudioPreprocess())

    def run(pieces: list[Any]) -> int:
        frontend.reset()
        return sum(len(frontend.push(piece)) for piece in pieces)

    def contest(mode: str, ms: int) -> Contest:
        pieces = cut(samples, ms)
        return Contest(mode, "galago", lambda: run(pieces))

    whole = Contest("file", "galago", lambda: len(log_mel(frontend, samples)))
    return [whole, *(contest(mode, ms) for mode, ms in STEP_MS.items())]


def librosa_file(samples: Any) -> list[Contest]:
    import librosa
    import numpy as np

    # the filters and the plan of the transform are ready before the clock starts, as they are for the others
    mel = librosa.filters.mel(
        sr=RATE_HZ, n_fft=512, n_mels=40, fmin=60.0, fmax=7_600.0, htk=True, norm=None
    ).astype(np.float32)

    def run() -> int:
        audio = samples.astype(np.float32) / 32_768
        spectrum = np.abs(librosa.stft(audio, n_fft=512, hop_length=160, win_length=480, center=False))
        return librosa.amplitude_to_db(mel @ spectrum, ref=1.0, top_db=None).shape[1]

    return [Contest("file", "librosa", run)]


def microfrontend(samples: Any) -> list[Contest]:
    from pymicro_features import MicroFrontend

    frontend = MicroFrontend()

    def run(pieces: list[bytes]) -> int:
        """The library takes 10 ms at a time."""
        frontend.reset()
        process, frames = frontend.process_samples, 0
        for piece in pieces:
            for start in range(0, len(piece), 320):
                frames += bool(process(piece[start : start + 320]).features)
        return frames

    def contest(mode: str, ms: int) -> Contest:
        pieces = [piece.tobytes() for piece in cut(samples, ms)]
        return Contest(mode, "pymicro-features", lambda: run(pieces))

    whole = len(samples) * 1_000 // RATE_HZ
    return [contest("file", whole), *(contest(mode, ms) for mode, ms in STEP_MS.items())]


def cut(samples: Any, ms: int) -> list[Any]:
    step = RATE_HZ * ms // 1_000
    return [samples[start : start + step] for start in range(0, len(samples), step)]


def measure(seconds: int, rounds: int) -> list[Result]:
    taking_part = contests(seconds)
    frames = [contest.run() for contest in taking_part]  # also warms everything up
    taken: list[list[float]] = [[] for _ in taking_part]
    walls: list[list[float]] = [[] for _ in taking_part]
    order = list(range(len(taking_part)))
    shuffle = random.Random(1).shuffle
    for _ in range(rounds):
        shuffle(order)
        for index in order:
            wall, start = time.perf_counter(), time.thread_time()
            taking_part[index].run()
            taken[index].append(time.thread_time() - start)
            walls[index].append(time.perf_counter() - wall)
    medians = [statistics.median(times) for times in taken]
    ours = {
        contest.mode: median
        for contest, median in zip(taking_part, medians, strict=True)
        if contest.name == "galago"
    }
    return [
        Result(
            contest.mode,
            contest.name,
            count,
            median,
            (statistics.quantiles(times)[0], statistics.quantiles(times)[2]),
            min(times),
            statistics.median(wall),
            seconds / median,
            median / ours[contest.mode],
        )
        for contest, count, times, wall, median in zip(
            taking_part, frames, taken, walls, medians, strict=True
        )
    ]


def environment() -> dict[str, Any]:
    packages = ("numpy", "librosa", "pymicro-features", "galago-edge")
    return {
        "machine": platform.machine(),
        "processor": processor(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "threads": 1,
        "load_average": os.getloadavg()[0],
    }


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def table(results: list[Result]) -> str:
    lines = [
        f"{'mode':16}{'frontend':18}{'x real time':>12}{'at best':>9}{'us per frame':>14}{'galago is':>18}"
    ]
    for result in sorted(results, key=lambda result: [*STEP_MS, "file"].index(result.mode)):
        faster = "" if result.name == "galago" else f"{result.galago_is_faster:.2f} x as fast"
        lines.append(
            f"{result.mode:16}{result.name:18}{result.real_time_factor:12.0f}"
            f"{result.real_time_factor * result.median_s / result.best_s:9.0f}"
            f"{result.median_s / result.frames * 1e6:14.2f}{faster:>18}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=int, default=20, help="length of the audio")
    parser.add_argument("--rounds", type=int, default=31, help="measurements of every contestant")
    parser.add_argument("--out", type=Path, default=OUT, help="JSON file with all figures")
    options = parser.parse_args()
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"  # before numpy is imported
    results = measure(options.seconds, options.rounds)
    report = {
        "benchmark": "frontend",
        "audio_s": options.seconds,
        "rounds": options.rounds,
        "environment": environment(),
        "results": [asdict(result) for result in results],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(table(results))
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
