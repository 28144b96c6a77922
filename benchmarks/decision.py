"""What one camera decision costs, end to end, against the bare ``Interpreter.invoke()`` of the same model.

    .venv/bin/python -m benchmarks.decision [--no-mediapipe]

A decision begins with a 640 x 480 frame that was just decoded and ends with records in a sink: resize,
colour, tensor write, invoke, scores, smoothing and events. The bare loop runs the same model bytes in the
same process with one thread. Contenders take turns in blocks, in random order, so that a busy machine hurts
all alike; ratios are of medians over blocks, with a bootstrap interval over rounds. Each is measured by the
wall clock, and in blocks of their own by the thread's CPU time, which leaves out what other programs take.
MediaPipe runs in a process of its own, on the same network with a uint8 output, for it refuses int8 ones.

Targets (docs/benchmarks.md): 1.10 for MobileNetV2-224, 1.25 for the model of about 0.4 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import models
from campaigns.mediapipe_env import mediapipe_python
from galago_edge.bundle import open_bundle
from galago_edge.contract.streams import Frame, Span
from galago_edge.decision import Decider
from galago_edge.engine import interpreter_class, runtime
from galago_edge.pipeline import DecidingStream, LoadedBundle, load
from galago_edge.preprocess import ImagePreprocessor
from galago_edge.preprocess.image import use_one_thread
from galago_edge.sinks import JsonlSink
from test_kit import make_bundle

HERE = Path(__file__).parent
BARS = {"mobilenet_v2_224": 1.10, "mobilenet_v1_025_96": 1.25}
BLOCKS = {"mobilenet_v2_224": 8, "mobilenet_v1_025_96": 60}
"""Calls in one turn."""
FRAMES = 8
FRAME_NS = 33_333_333
WARM_UP_ROUNDS = 5

Prepare = Callable[[], Any]
Call = Callable[[Any], object]
"""Takes what the contender's ``Prepare`` gave, which is not measured."""
Clock = Callable[[], int]
Block = Callable[[int], list[int]]
"""Runs so many calls and returns what each took, in nanoseconds."""


def block_of(prepare: Prepare, call: Call, clock: Clock) -> Block:
    def run(count: int) -> list[int]:
        taken = []
        for _ in range(count):
            prepared = prepare()
            start = clock()
            call(prepared)
            taken.append(clock() - start)
        return taken

    return run


def bare(name: str) -> tuple[Prepare, Call]:
    """Return the loop that nothing can beat."""
    interpreter = interpreter_class()(model_content=models.path_of(name).read_bytes(), num_threads=1)
    interpreter.allocate_tensors()
    return lambda: None, lambda _: interpreter.invoke()


def loaded_bundle(name: str, folder: Path) -> LoadedBundle:
    """Return the model as a device has it."""
    path = make_bundle(
        folder / f"{name}.galago",
        models.path_of(name).read_bytes(),
        models.label_names(name),
        preprocess=models.SPECS[name][0],
    )
    return load(open_bundle(path))


def decision(loaded: LoadedBundle, pictures: npt.NDArray[np.uint8]) -> tuple[Prepare, Call]:
    """Return how a frame comes from its decoder, and one step of a running stream."""
    stream = DecidingStream("bench", loaded)
    with Path(os.devnull).open("wb", buffering=0) as null:
        sink = JsonlSink(os.fdopen(os.dup(null.fileno()), "wb", buffering=0), "null")
    index = 0

    def decoded() -> Frame:
        nonlocal index
        index += 1
        return Frame(pictures[index % FRAMES].copy(), index, index * FRAME_NS)

    def step(frame: Frame) -> None:
        if records := stream.push(frame):
            sink.emit(records)

    return decoded, step


class MediaPipe:
    """MediaPipe's ImageClassifier in its own environment."""

    def __init__(self, python: str, model: Path, frames: Path) -> None:
        self._process = subprocess.Popen(
            [python, str(HERE / "mediapipe_classifier.py"), str(model), str(frames)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.version = self._answer()["version"]

    def block(self, count: int) -> list[int]:
        """Return what each of ``count`` classifications took, in nanoseconds."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        taken: list[int] = self._answer()
        return taken

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"mediapipe ended with exit code {self._process.wait()}")
        return json.loads(line)


def stages(loaded: LoadedBundle, pictures: npt.NDArray[np.uint8], count: int) -> dict[str, float]:
    """Return the median CPU time of each part of a decision in microseconds, run one after the other."""
    engine, activation = loaded.engine, loaded.activation
    assert isinstance(loaded.preprocessor, ImagePreprocessor)
    decider = Decider(loaded.manifest.labels)
    names = ("input view", "resize and colour", "invoke", "logits", "scores", "decide")
    taken: list[list[int]] = []
    clock = time.thread_time_ns
    for index in range(count):
        pixels = pictures[index % FRAMES].copy()
        times = [clock()]
        view = engine.input_view()
        times.append(clock())
        loaded.preprocessor.into(pixels, view)
        times.append(clock())
        engine.invoke()
        times.append(clock())
        logits = engine.logits()
        times.append(clock())
        scores = activation.scores(logits)
        times.append(clock())
        decider.step(scores, Span(index, index + 1, index * FRAME_NS, index * FRAME_NS))
        times.append(clock())
        taken.append(np.diff(times).tolist())
    medians = np.median(np.array(taken), axis=0) / 1_000
    return dict(zip(names, medians.round(2).tolist(), strict=True))


def interval(numerators: npt.NDArray[np.float64], denominators: npt.NDArray[np.float64]) -> list[float]:
    """Return the 95 % bootstrap interval of the ratio of medians, over rounds."""
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(numerators), (2_000, len(numerators)))
    ratios = np.median(numerators[picks], axis=1) / np.median(denominators[picks], axis=1)
    return np.quantile(ratios, [0.025, 0.975]).round(3).tolist()


def figures(rounds: Sequence[list[int]]) -> dict[str, Any]:
    calls = np.array([taken for round_ in rounds for taken in round_]) / 1_000
    quantiles = np.quantile(calls, [0.5, 0.9, 0.99]).round(1).tolist()
    return dict(zip(("p50_us", "p90_us", "p99_us"), quantiles, strict=True)) | {"n": len(calls)}


def measure(name: str, rounds: int, mediapipe: str | None, folder: Path) -> dict[str, Any]:
    """Let the contenders take turns and return the figures."""
    pictures = np.random.default_rng(0).integers(0, 256, (FRAMES, 480, 640, 3), dtype=np.uint8)
    loaded = loaded_bundle(name, folder)
    calls = {"bare": bare(name), "decision": decision(loaded, pictures)}
    blocks = {what: block_of(*both, time.perf_counter_ns) for what, both in calls.items()}
    blocks |= {f"{what} (cpu)": block_of(*both, time.thread_time_ns) for what, both in calls.items()}
    peer = None
    if mediapipe is not None:
        np.save(folder / "frames.npy", pictures)
        peer = MediaPipe(mediapipe, models.mediapipe_path_of(name), folder / "frames.npy")
        blocks["mediapipe"] = peer.block
    taken = take_turns(blocks, BLOCKS[name], rounds)
    if peer is not None:
        peer.close()
    medians = {contender: np.median(np.array(rounds_), axis=1) for contender, rounds_ in taken.items()}
    contenders: dict[str, Any] = {}
    for contender, rounds_ in taken.items():
        base = medians["bare (cpu)" if contender.endswith("(cpu)") else "bare"]
        ratio = np.median(medians[contender]) / np.median(base)
        contenders[contender] = figures(rounds_)
        contenders[contender] |= {
            "ratio": round(float(ratio), 3),
            "ratio_95": interval(medians[contender], base),
        }
    return {
        "bar": BARS[name],
        "met": contenders["decision"]["ratio"] <= BARS[name],
        "overhead_us": round(float(np.median(medians["decision"]) - np.median(medians["bare"])) / 1_000, 1),
        "contenders": contenders,
        "stages_us": stages(loaded, pictures, 4 * BLOCKS[name]),
        "mediapipe_version": None if peer is None else peer.version,
    }


def take_turns(blocks: dict[str, Block], count: int, rounds: int) -> dict[str, list[list[int]]]:
    """Run one block of every contender a round, in random order; return the blocks after the warm-up."""
    taken: dict[str, list[list[int]]] = {contender: [] for contender in blocks}
    order = list(blocks)
    shuffle = random.Random(0).shuffle
    for number in range(WARM_UP_ROUNDS + rounds):
        shuffle(order)
        for contender in order:
            block = blocks[contender](count)
            if number >= WARM_UP_ROUNDS:
                taken[contender].append(block)
    return taken


def table(results: dict[str, Any]) -> str:
    lines = [
        f"{'model':<22}{'what':<16}{'p50 us':>9}{'p90 us':>9}{'p99 us':>9}{'ratio':>8}  95 % interval   bar"
    ]
    for name, result in results["models"].items():
        for contender, found in result["contenders"].items():
            low, high = found["ratio_95"]
            bar = (
                f"{result['bar']:.2f} {'met' if result['met'] else 'MISSED'}"
                if contender == "decision"
                else ""
            )
            lines.append(
                f"{name:<22}{contender:<16}{found['p50_us']:>9.1f}{found['p90_us']:>9.1f}{found['p99_us']:>9.1f}"
                f"{found['ratio']:>8.3f}  {low:.3f} - {high:.3f}   {bar}"
            )
        lines.append(f"{'':<22}a decision adds {result['overhead_us']:.1f} us to the bare invoke")
        parts = ", ".join(f"{stage} {us:.1f}" for stage, us in result["stages_us"].items())
        lines.append(f"{'':<22}its parts, CPU time in us: {parts}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--no-mediapipe", action="store_true", help="measure without the peer")
    parser.add_argument("--out", type=Path, default=HERE / "out" / "decision.json")
    options = parser.parse_args()
    subprocess.run([sys.executable, str(HERE / "models.py")], check=True, stderr=subprocess.DEVNULL)
    mediapipe = None if options.no_mediapipe else mediapipe_python()
    use_one_thread()
    engine = runtime()
    results: dict[str, Any] = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "runtime": f"{engine.package} {engine.version}",
        "frame": "640x480 BGR",
        "models": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        for name in models.SPECS:
            results["models"][name] = measure(name, options.rounds, mediapipe, Path(folder))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
