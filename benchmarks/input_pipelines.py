"""Galago's input pipeline beside grain and tf.data, over the same function: one sample, read and augmented.

    pip install grain && python -m benchmarks.input_pipelines [--side 96] [--rounds 5]

Each contender prepares batches of 64 pictures in an order by seed, with ``strength = "usual"``, from JPEG
files that are decoded anew each time. The work on a sample gives the same bytes, so what is compared is what
is around it. They take turns, each in a process of its own; of each turn: pictures per second by the clock,
processor time of all its processes for a picture, their memory with shared pages divided (PSS), and the
seconds from asking for the first batch to having it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.process_costs import family, memory_mb, processor_s
from benchmarks.training_feed import BATCH, LABELS, FitTask, environment, write_samples, written_config
from galago_workstation.data import decoded_samples
from galago_workstation.data.batches import Batches, Witness
from galago_workstation.data.feed import PictureFeed, open_feed
from galago_workstation.data.sample_preparation import SamplePreparation
from galago_workstation.data.sample_reader import open_reader
from galago_workstation.training_config import read_config

OUT = Path(__file__).with_name("out") / "input_pipelines.json"
WORKERS = 2
EPOCHS = 3

Inputs = Iterable[Any]


class Row:
    """What the peers are given: a sample by its number; can be sent to other processes."""

    def __init__(self, feed: PictureFeed) -> None:
        self._feed = feed

    def __call__(self, number: int) -> Any:
        turn, index = divmod(int(number), len(self._feed))
        return self._feed.augmented(turn, np.array([index])).inputs[0]


def ours(workers: int) -> Callable[[PictureFeed], Inputs]:
    """Return Galago's way."""

    def batches(feed: PictureFeed) -> Iterator[Any]:
        labels = [index % LABELS for index in range(len(feed))]
        preparation = SamplePreparation(feed, workers)
        made = Batches(
            feed,
            labels,
            classes=LABELS,
            batch_size=BATCH,
            seed=1,
            witness=Witness(feed),
            preparation=preparation,
        )
        with contextlib.closing(preparation):
            yield from (inputs for inputs, _ in made.of(range(EPOCHS)))

    return batches


def grain(processes: bool) -> Callable[[PictureFeed], Inputs]:
    """Return grain's, with threads or with processes."""

    def batches(feed: PictureFeed) -> Inputs:
        library: Any = import_module("grain")
        numbers = library.MapDataset.range(len(feed)).shuffle(seed=1).repeat(EPOCHS)
        rows = numbers.map(Row(feed)).batch(BATCH, drop_remainder=True)
        if not processes:
            options = library.ReadOptions(num_threads=WORKERS, prefetch_buffer_size=2 * WORKERS)
            found: Inputs = rows.to_iter_dataset(options)
            return found
        single = library.ReadOptions(num_threads=1, prefetch_buffer_size=2)
        options = library.multiprocessing.MultiprocessingOptions(
            num_workers=WORKERS, per_worker_buffer_size=2
        )
        found = rows.to_iter_dataset(single)
        return iter(found.mp_prefetch(options))

    return batches


def tf_data(feed: PictureFeed) -> Inputs:
    """Return tf.data's, which calls Python in its threads."""
    import tensorflow as tf

    row = Row(feed)
    numbers = tf.data.Dataset.range(len(feed)).shuffle(len(feed), seed=1).repeat(EPOCHS)
    rows = numbers.map(
        lambda number: tf.numpy_function(row, [number], tf.uint8),
        num_parallel_calls=WORKERS,
        deterministic=True,
    )
    found: Inputs = rows.batch(BATCH, drop_remainder=True).prefetch(2 * WORKERS).as_numpy_iterator()
    return found


CONTENDERS: dict[str, Callable[[PictureFeed], Inputs]] = {
    "galago, 2 processes": ours(WORKERS),
    "galago, where it is asked for": ours(0),
    "grain, 2 processes": grain(True),
    "grain, 2 threads": grain(False),
    "tf.data, 2 threads": tf_data,
}


def one_turn(name: str, folder: Path, memory_bytes: int) -> dict[str, float]:
    """Measure one contender."""
    decoded_samples.MEMORY_BYTES = memory_bytes
    decoded_samples.DISK_SHARE = 0.0
    (path,) = folder.glob("*.toml")
    config = read_config(path)
    reader = open_reader(config, folder)
    feed = open_feed(config, reader, list(reader.listing().pool), folder, material={})
    assert isinstance(feed, PictureFeed)
    began = time.perf_counter()
    batches = iter(CONTENDERS[name](feed))
    warm = len(feed) // BATCH  # an epoch
    next(batches)
    first = time.perf_counter() - began
    for _ in range(warm - 1):
        next(batches)
    pids = family(os.getpid())
    wall, cpu = time.perf_counter(), processor_s(pids)
    count = sum(len(next(batches)) for _ in range(warm))
    wall, cpu = time.perf_counter() - wall, processor_s(pids) - cpu
    memory = memory_mb(pids)
    return {
        "pictures_per_s": count / wall,
        "cpu_us_per_picture": 1e6 * cpu / count,
        "memory_mb": memory,
        "first_batch_s": first,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--side", type=int, default=96, help="pixels")
    parser.add_argument("--pictures", type=int, default=1_024)
    parser.add_argument(
        "--held", action="store_true", help="pictures are held in memory, and not decoded anew"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--turn", nargs=2, help="one contender and the folder of samples; JSON to standard output"
    )
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    budget = 1 << 30 if options.held else 0
    if options.turn:
        print(json.dumps(one_turn(options.turn[0], Path(options.turn[1]), budget)), flush=True)
        os._exit(0)  # whatever threads or processes are left
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    began = environment()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_samples(folder / "samples", options.side, options.pictures, ".jpg")
        size = f'kind = "image"\nwidth = {options.side}\nheight = {options.side}'
        written_config(folder, FitTask("", options.side, 0, 'kind = "mobilenet_v1"', size), "usual", 1)
        for number in range(options.rounds):
            names = list(turns)
            for contender in names[number % len(names) :] + names[: number % len(names)]:
                command = [sys.executable, "-m", "benchmarks.input_pipelines", "--turn", contender, name]
                command += ["--held"] if options.held else []
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                turns[contender].append(json.loads(done.stdout.splitlines()[-1]))
    results = {
        contender: {key: statistics.median(turn[key] for turn in found) for key in found[0]}
        for contender, found in turns.items()
    }
    for contender, figures in results.items():
        print(f"{contender}: {', '.join(f'{key} {value:.4g}' for key, value in figures.items())}")
    report = {
        "benchmark": "input_pipelines",
        "side": options.side,
        "held": options.held,
        "grain": version("grain"),
        "began": began,
        "ended": environment(),
        "results": results,
        "turns": turns,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
