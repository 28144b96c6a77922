"""Memory of a training's input pipeline where the data is much larger than memory.

    python -m benchmarks.training_stream [--pictures 100000] [--hours 100] [--disk-gb 2] [--batches N]

Pictures of 224 x 224 as small JPEG files, and sounds of a minute as FLAC files: few contents, each file made
another one by a comment in it. They are listed, decoded once and prepared for one epoch with
``strength = "light"``, as ``galago train`` does it, without a network. A process that watches adds up the
memory of all of them every two seconds; the largest sum of each stage counts. 1 GiB of decoded samples stays
in memory and ``--disk-gb`` on the disk; the rest is decoded anew.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.process_costs import family, memory_mb, processor_s
from benchmarks.training_feed import BATCH, LABELS, RATE_HZ, FitTask, environment, picture, written_config
from galago_workstation.data import decoded_samples
from galago_workstation.data.batches import Batches, Witness
from galago_workstation.data.feed import open_feed
from galago_workstation.data.sample_preparation import SamplePreparation
from galago_workstation.data.sample_reader import open_reader
from galago_workstation.data.worker_crew import usual_workers
from galago_workstation.training_config import read_config

OUT = Path(__file__).with_name("out") / "training_stream.json"
SIDE, QUALITY = 224, 30
CONTENTS = 16
MINUTE_S = 60
EVERY_S = 2.0
PICTURES = FitTask("", SIDE, 0, 'kind = "mobilenet_v1"', f'kind = "image"\nwidth = {SIDE}\nheight = {SIDE}')
SOUNDS = FitTask("", 0, 0, 'kind = "ds_cnn"', 'kind = "logmel"')


def write_pictures(folder: Path, count: int) -> None:
    """Write JPEG files of few contents, each with its number as a comment."""
    import cv2

    rng = np.random.default_rng(1)
    quality = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    contents = [cv2.imencode(".jpg", picture(rng, SIDE), quality)[1].tobytes() for _ in range(CONTENTS)]
    for number in range(count):
        content = contents[number % CONTENTS]
        comment = f"{number:08}".encode()
        length = (2 + len(comment)).to_bytes(2)
        _write(folder, number, ".jpg", content[:2] + b"\xff\xfe" + length + comment + content[2:])


def write_sounds(folder: Path, minutes: int) -> None:
    """Write FLAC files of a minute, of few contents, each with its number as an application's block."""
    import soundfile

    rng = np.random.default_rng(1)
    contents = []
    for number in range(CONTENTS):
        sound = rng.integers(-2, 3, MINUTE_S * RATE_HZ).astype(np.int16)
        tone = 6_000 * np.sin(2 * np.pi * (300 + 100 * number) * np.arange(2 * RATE_HZ) / RATE_HZ)
        sound[RATE_HZ * number : RATE_HZ * (number + 2)] += np.rint(tone).astype(np.int16)
        file = io.BytesIO()
        soundfile.write(file, sound, RATE_HZ, format="FLAC")
        contents.append(file.getvalue())
    head = 4 + 4 + 34  # fLaC, and the block STREAMINFO (RFC 9639)
    for number in range(minutes):
        content = contents[number % CONTENTS]
        block = b"glgo" + f"{number:08}".encode()
        found = content[:head] + b"\x02" + len(block).to_bytes(3) + block + content[head:]
        _write(folder, number, ".flac", found)


def _write(folder: Path, number: int, suffix: str, content: bytes) -> None:
    place = folder / f"label{number % LABELS}" / f"{number // 1_000}"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{number}{suffix}").write_bytes(content)


def work(folder: Path, disk_gb: float, most: int | None) -> None:
    """List, decode and prepare an epoch, or so many batches of it; say which stage begins."""
    free = shutil.disk_usage(folder).free
    decoded_samples.DISK_SHARE = min(decoded_samples.DISK_SHARE, disk_gb * (1 << 30) / free)

    def stage(name: str, **found: Any) -> None:
        print(json.dumps({"stage": name, **found}), flush=True)

    (path,) = folder.glob("*.toml")
    config = read_config(path)
    stage("listed")
    reader = open_reader(config, folder)
    samples = list(reader.listing().pool)
    stage("decoded", samples=len(samples))
    feed = open_feed(config, reader, samples, folder, material={})
    stage("an epoch", held=feed.held.said())
    preparation = SamplePreparation(feed, usual_workers())
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
        prepared = sum(len(inputs) for inputs, _ in itertools.islice(batches.of(range(1)), most))
    stage("", prepared=prepared)


def watched(folder: Path, settings: list[str]) -> dict[str, Any]:
    """Run the work in another process, and return what it said and took."""
    command = [sys.executable, "-m", "benchmarks.training_stream", "--work", str(folder), *settings]
    said = folder / "said"
    stages: dict[str, dict[str, float]] = {}
    with said.open("w") as out:
        child = subprocess.Popen(command, stdout=out)
    began = time.monotonic()
    last = 0.0
    while child.poll() is None:
        time.sleep(EVERY_S)
        lines = [json.loads(line) for line in said.read_text().splitlines()]
        pids = family(child.pid)
        now = lines[-1]["stage"] if lines else ""
        if not now:
            continue
        found = stages.setdefault(
            now, {"memory_mb": 0.0, "of_it_anonymous_mb": 0.0, "processes": 0, "s": 0.0}
        )
        found["memory_mb"] = max(found["memory_mb"], memory_mb(pids))
        found["of_it_anonymous_mb"] = max(found["of_it_anonymous_mb"], memory_mb(pids, "Pss_Anon"))
        found["processes"] = max(found["processes"], len(pids))
        found["s"] += time.monotonic() - began - last
        found["processor_s_so_far"] = processor_s(pids)
        last = time.monotonic() - began
    if child.returncode:
        raise SystemExit(f"the work ended with {child.returncode}")
    told = {key: value for line in said.read_text().splitlines() for key, value in json.loads(line).items()}
    return {"stages": stages, **told}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--hours", type=float, default=100.0, help="of sound")
    parser.add_argument("--disk-gb", type=float, default=2.0, help="of the disk for decoded samples, in GiB")
    parser.add_argument("--batches", type=int, help="of the epoch; all if not given")
    parser.add_argument("--work", type=Path, help="only the work on samples that are there")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    if options.work is not None:
        work(options.work, options.disk_gb, options.batches)
        return
    settings = ["--disk-gb", str(options.disk_gb)]
    settings += [] if options.batches is None else ["--batches", str(options.batches)]
    report: dict[str, Any] = {"benchmark": "training_stream", "began": environment()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for name, task, write, count in (
        ("pictures", PICTURES, write_pictures, options.pictures),
        ("sounds", SOUNDS, write_sounds, round(options.hours * 60)),
    ):
        if not count:
            continue
        with tempfile.TemporaryDirectory(dir=options.out.parent) as scratch:
            folder = Path(scratch)
            write(folder / "samples", count)
            written_config(folder, task, "light", 1)
            report[name] = watched(folder, settings)
        found = report[name]
        print(f"{name}: {found['samples']} files, {found['held']}; {found['prepared']} prepared")
        for stage, found in report[name]["stages"].items():
            print(
                f"  {stage}: " + ", ".join(f"{key} {value:.0f}" for key, value in found.items()), flush=True
            )
        options.out.write_text(json.dumps(report | {"ended": environment()}, indent=1) + "\n")
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
