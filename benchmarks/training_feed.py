"""What feeding a training costs: Galago's loop beside plain Keras, and its input pipeline alone.

    python -m benchmarks.training_feed [--only fit|pipeline] [--rounds 4] [--epochs 5]

fit: the same network, optimizer, loss, metrics, batches and validation. ``keras.Model.fit`` has everything
as float32 arrays in memory; Galago's loop begins with files, without augmentation for equal work, and with
``strength = "usual"``. They take turns in rounds of a few epochs in one process; the first epoch of each
round, in which TensorFlow traces the network, does not count. Of each epoch: the clock and processor time.

pipeline: batches of 64 as training gets them, with all that ``strength`` switches on, without a network:
pictures per second of processor time, so per core, and by the clock with as many workers as cores. Pictures
are held as in a training that fits into memory, or decoded anew from JPEG files each time.

Target (docs/benchmarks.md): without augmentation 0.95 of the speed of plain Keras.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.process_costs import family, processor_s
from galago_workstation.data import decoded_samples
from galago_workstation.data.batches import Batches, Witness
from galago_workstation.data.feed import open_feed
from galago_workstation.data.sample_preparation import SamplePreparation
from galago_workstation.data.sample_reader import open_reader, real_inputs
from galago_workstation.data.splits import split
from galago_workstation.data.worker_crew import usual_workers
from galago_workstation.training.checkpoint import Checkpoint
from galago_workstation.training.loop import Trainer
from galago_workstation.training.network_kind import build_network
from galago_workstation.training.phases import optimizer, phases, schedule
from galago_workstation.training.progress import PlainProgress
from galago_workstation.training_config import Config, read_config

OUT = Path(__file__).with_name("out") / "training_feed.json"
TARGET = 0.95
RATE_HZ = 16_000
LABELS = 4
BATCH = 64

Turn = Callable[[int], list["EpochCost"]]


@dataclass(frozen=True)
class EpochCost:
    """What an epoch took."""

    wall_s: float
    cpu_s: float
    """Of all threads, and of the processes that prepare samples."""


@dataclass(frozen=True)
class FitTask:
    """Something to learn."""

    name: str
    side: int
    """Of a picture in pixels; 0: sounds of a second."""
    samples: int
    model: str
    preprocess: str


FIT_TASKS = (
    FitTask(
        "28 x 28 gray, resnet of 16 filters",
        28,
        2_000,
        'kind = "resnet"\nfilters = 16\nstages = 1',
        'kind = "image"\nwidth = 28\nheight = 28\ncolor = "gray"',
    ),
    FitTask(
        "96 x 96 colour, mobilenet_v1 of width 0.25",
        96,
        1_000,
        'kind = "mobilenet_v1"\nwidth = 0.25',
        'kind = "image"\nwidth = 96\nheight = 96',
    ),
    FitTask(
        "sounds of 1 s, ds_cnn of 32 filters", 0, 800, 'kind = "ds_cnn"\nfilters = 32', 'kind = "logmel"'
    ),
)


def used_s() -> float:
    """Return the processor time of this process and those that come from it."""
    return processor_s(family(os.getpid()))


def picture(rng: np.random.Generator, side: int) -> npt.NDArray[np.uint8]:
    """Return a picture of soft colours and some noise, BGR."""
    import cv2

    rough = rng.integers(0, 200, (6, 6, 3), dtype=np.uint8)
    soft = cv2.resize(rough, (side, side), interpolation=cv2.INTER_CUBIC)
    noise = rng.integers(0, 12, soft.shape, dtype=np.uint8)
    return np.asarray(cv2.add(soft, noise), np.uint8)


def write_samples(folder: Path, side: int, count: int, suffix: str = ".png") -> None:
    """Write so many pictures, or sounds with ``side`` 0, in class folders."""
    import cv2

    rng = np.random.default_rng(1)
    for number in range(count):
        place = folder / f"label{number % LABELS}"
        place.mkdir(parents=True, exist_ok=True)
        if side:
            cv2.imwrite(str(place / f"{number}{suffix}"), picture(rng, side))
            continue
        tone = 4_000 * np.sin(2 * np.pi * (300 + 200 * (number % LABELS)) * np.arange(RATE_HZ) / RATE_HZ)
        with wave.open(str(place / f"{number}.wav"), "wb") as file:
            file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
            file.writeframes(np.rint(tone + rng.normal(0, 500, RATE_HZ)).astype("<i2").tobytes())


def written_config(folder: Path, task: FitTask, strength: str, epochs: int) -> Config:
    """Return a configuration for samples in ``folder/samples``."""
    kind = "images" if task.side else "audio"
    path = folder / f"{strength}.toml"
    path.write_text(
        f'[data]\nkind = "{kind}"\nfolder = "samples"\n[preprocess]\n{task.preprocess}\n'
        f'[model]\n{task.model}\n[augment]\nstrength = "{strength}"\n'
        f"[train]\nepochs = {epochs}\nmin_steps = 0\nbatch_size = {BATCH}\npatience = {epochs}\n"
    )
    return read_config(path)


def galago(folder: Path, config: Config) -> Turn:
    """Return what trains for some epochs in Galago's loop; its epochs tell their time themselves."""
    reader = open_reader(config, folder)
    listing = reader.listing()
    parts = split(listing, validation_share=0.15, test_share=0.15)
    run = folder / f"run-{config.augment.strength}"
    run.mkdir()

    class CpuClock(PlainProgress):
        """Looks at the processor's clock whenever an epoch ends."""

        def __init__(self) -> None:
            super().__init__(lambda _: None)
            self.ends: list[float] = []

        def epoch(self, epoch: Any, best: bool) -> None:
            self.ends.append(used_s())

    clock = CpuClock()
    checkpoint = Checkpoint(run / "state", "benchmark")
    trainer = Trainer(config, reader, listing.labels, parts, run, clock, checkpoint)

    def turn(epochs: int) -> list[EpochCost]:
        clock.ends.clear()
        fitted = trainer.fit()
        assert len(fitted.epochs) == epochs
        cpu = np.diff(clock.ends).tolist()
        return [EpochCost(row.seconds, used) for row, used in zip(fitted.epochs[1:], cpu, strict=True)]

    return turn


def plain_keras(folder: Path, config: Config) -> tuple[Turn, int]:
    """Return what trains in ``keras.Model.fit`` on arrays, and the samples of an epoch."""
    import keras

    reader = open_reader(config, folder)
    listing = reader.listing()
    parts = split(listing, validation_share=0.15, test_share=0.15)
    count = len(parts["train"]) // BATCH * BATCH  # as many steps as ours has
    arrays = {
        part: (
            real_inputs(reader.inputs(parts[part])),
            np.eye(LABELS, dtype=np.float32)[[sample.label for sample in parts[part]]],
        )
        for part in ("train", "validation")
    }
    inputs, targets = (array[:count] for array in arrays["train"])
    network = build_network(config.model, reader.input_shape, LABELS, seed=1)
    (phase,) = phases(config.train, warm=False)

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_begin(self, logs: Any = None) -> None:
            self.costs: list[EpochCost] = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self._began = time.monotonic(), used_s()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            wall, cpu = self._began
            self.costs.append(EpochCost(time.monotonic() - wall, used_s() - cpu))

    def turn(epochs: int) -> list[EpochCost]:
        rate = schedule(keras, config.train, phase, count // BATCH)
        network.compile(
            optimizer=optimizer(keras, config.train, phase, network, rate),
            loss=keras.losses.CategoricalCrossentropy(from_logits=True),
            metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
            jit_compile=False,
        )
        clock = Clock()
        network.fit(
            inputs,
            targets,
            batch_size=BATCH,
            epochs=epochs,
            validation_data=arrays["validation"],
            callbacks=[clock],
            verbose=0,
        )
        return clock.costs[1:]

    return turn, count


def fit_result(task: FitTask, rounds: int, epochs: int) -> dict[str, Any]:
    """Measure a task; in a process in which TensorFlow is not loaded yet."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_samples(folder / "samples", task.side, task.samples)
        # as a training does it: its processes before TensorFlow, which the second one needs none of
        turns = {
            strength: galago(folder, written_config(folder, task, strength, epochs))
            for strength in ("usual", "none")
        }
        import tensorflow as tf

        tf.keras.utils.set_random_seed(1)
        tf.config.experimental.enable_op_determinism()  # as our loop does
        turns["keras"], count = plain_keras(folder, read_config(folder / "none.toml"))
        costs: dict[str, list[EpochCost]] = {name: [] for name in turns}
        for number in range(rounds):
            order = list(turns)
            for contender in order[number % 3 :] + order[: number % 3]:
                costs[contender] += turns[contender](epochs)
    medians = {
        name: EpochCost(
            statistics.median(cost.wall_s for cost in found), statistics.median(cost.cpu_s for cost in found)
        )
        for name, found in costs.items()
    }
    plain = medians["keras"]
    return {
        "task": task.name,
        "samples": count,
        "medians": {name: asdict(found) for name, found in medians.items()},
        "speed": {
            name: {"wall": plain.wall_s / found.wall_s, "cpu": plain.cpu_s / found.cpu_s}
            for name, found in medians.items()
            if name != "keras"
        },
        "epochs": {name: [asdict(cost) for cost in found] for name, found in costs.items()},
    }


def pipeline_results(count: int) -> Iterator[dict[str, Any]]:
    """Measure the pipeline alone, for both sizes, strengths and places."""
    for side in (96, 224):
        task = FitTask(
            "", side, count, 'kind = "mobilenet_v1"', f'kind = "image"\nwidth = {side}\nheight = {side}'
        )
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_samples(folder / "samples", side, count, ".jpg")
            for strength in ("none", "usual", "strong"):
                config = written_config(folder, task, strength, 1)
                for place, budget in (("held in memory", decoded_samples.MEMORY_BYTES), ("JPEG files", 0)):
                    yield {"side": side, "strength": strength, "place": place} | pipeline_result(
                        folder, config, budget
                    )


def pipeline_result(folder: Path, config: Config, memory_bytes: int) -> dict[str, float]:
    """Return pictures per second of processor time, and by the clock with a process for each core."""
    kept, decoded_samples.MEMORY_BYTES = decoded_samples.MEMORY_BYTES, memory_bytes
    share, decoded_samples.DISK_SHARE = decoded_samples.DISK_SHARE, 0.0
    try:
        reader = open_reader(config, folder)
        samples = list(reader.listing().pool)
        feed = open_feed(config, reader, samples, folder, material={})
    finally:
        decoded_samples.MEMORY_BYTES, decoded_samples.DISK_SHARE = kept, share
    found = {}
    for name, workers in (("one process", 0), ("a process a core", usual_workers())):
        preparation = SamplePreparation(feed, workers)
        batches = Batches(
            feed,
            [sample.label for sample in samples],
            classes=LABELS,
            batch_size=BATCH,
            seed=1,
            witness=Witness(feed),
            preparation=preparation,
        )
        with contextlib.closing(preparation):
            running = batches.of(range(3))
            for _ in range(batches.steps):  # everything is loaded, and every worker is at work
                next(running)
            wall, cpu = time.perf_counter(), time.process_time()
            pictures = sum(len(inputs) for inputs, _ in running)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        found |= {f"{name}, by the clock": pictures / wall}
        if not workers:
            found |= {"per second of a core": pictures / cpu}
        else:
            found |= {"processor time that taking batches costs the training": cpu / wall}
    return found


def environment() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return {
        "processor": next((line.partition(":")[2].strip() for line in lines if "model name" in line), ""),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": {
            name: version(name) for name in ("numpy", "opencv-python-headless", "tensorflow", "keras")
        },
        "load_average": os.getloadavg()[0],
    }


def fit_line(found: dict[str, Any]) -> str:
    def figures(name: str) -> str:
        cost = found["medians"][name]
        said = f"{name} {cost['wall_s']:.2f} ({cost['cpu_s']:.2f})"
        speed = found["speed"].get(name)
        return said if speed is None else f"{said}: {speed['wall']:.2f} ({speed['cpu']:.2f}) of the speed"

    shown = ", ".join(figures(name) for name in ("keras", "none", "usual"))
    return f"{found['task']}: {found['samples']} samples, seconds of an epoch (of processor time): {shown}"


def pipeline_line(found: dict[str, Any]) -> str:
    where = f"{found['side']} pixels, {found['strength']}, {found['place']}"
    figures = (f"{name} {value:.4g}" for name, value in found.items() if isinstance(value, float))
    return f"{where}: {', '.join(figures)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", choices=("fit", "pipeline"))
    parser.add_argument("--rounds", type=int, default=4, help="of each contender")
    parser.add_argument("--epochs", type=int, default=5, help="of a round; the first one does not count")
    parser.add_argument("--pictures", type=int, default=512, help="of each size, for the pipeline alone")
    parser.add_argument("--task", type=int, help="one task of fit, its results to --out")
    parser.add_argument("--out", type=Path, default=OUT, help="JSON file with all figures")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if options.task is not None:
        found = fit_result(FIT_TASKS[options.task], options.rounds, options.epochs)
        options.out.write_text(json.dumps(found))
        return 0
    report: dict[str, Any] = {"benchmark": "training_feed", "began": environment(), "fit": [], "pipeline": []}
    for number in range(len(FIT_TASKS)) if options.only != "pipeline" else ():
        part = options.out.with_suffix(f".{number}.json")
        settings = ("--rounds", str(options.rounds), "--epochs", str(options.epochs))
        command = [
            sys.executable,
            "-m",
            "benchmarks.training_feed",
            "--task",
            str(number),
            "--out",
            str(part),
        ]
        subprocess.run([*command, *settings], check=True)
        report["fit"].append(json.loads(part.read_text()))
        part.unlink()
        print(fit_line(report["fit"][-1]), flush=True)
    for found in pipeline_results(options.pictures) if options.only != "fit" else ():
        report["pipeline"].append(found)
        print(pipeline_line(found), flush=True)
    report["ended"] = environment()
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    met = all(found["speed"]["none"]["wall"] >= TARGET for found in report["fit"])
    print(f"target of {TARGET} {'met' if met else 'missed'}; wrote {options.out}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
