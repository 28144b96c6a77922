"""Kills a training again and again, and looks whether it ends with the weights of one that was left alone.

    .venv/bin/python -m campaigns.resume_kills [--kills 20] [--seed 1]

A small warm start (two epochs of the head, then all) on pictures that are made here, in processes of their
own. One training is left alone; the other one gets SIGKILL after a random number of its steps, is started
again, and so on. The exit code is 1 when the weights differ by a bit, or a start does not go on where the
checkpoint was.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from galago_workstation.run_folder import Run

CONFIG = """
[data]
kind = "images"
folder = "pictures"
[preprocess]
kind = "image"
width = 16
height = 16
[model]
kind = "resnet"
filters = 16
stages = 2
dropout = 0.3
{weights}
[augment]
shift = 0.1
noise = 8
[train]
epochs = {epochs}
head_epochs = 2
min_steps = 0
batch_size = 16
patience = 100
average = 0.9
clip_norm = 1
"""
PROGRAM = """
import os, signal, sys
from pathlib import Path
from galago_workstation.training import checkpoint_saver
from galago_workstation.training.progress import PlainProgress
from galago_workstation.training.training_run import train
checkpoint_saver.SAVED_EVERY_S = 0.0
class Dying(PlainProgress):
    left = int(sys.argv[3])
    def step(self):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
train(Path(sys.argv[1]), Path(sys.argv[2]), Dying(print))
"""
EPOCHS = 24


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pictures(folder / "pictures")
        config = folder / "config.toml"
        config.write_text(CONFIG.format(weights="", epochs=1))
        trained(config, folder / "first")
        config.write_text(CONFIG.format(weights='weights = "first"', epochs=EPOCHS))
        trained(config, folder / "straight")
        straight = Run.open(folder / "straight").record.result
        kills, wrong, most = 0, 0, 6
        while kills < options.kills:
            at = rng.randint(1, most)
            done = trained(config, folder / "again", at)
            if done.returncode != -signal.SIGKILL:
                break  # it came to its end before
            kills += 1
            went_on = next((line for line in done.stdout.splitlines() if line.startswith("goes on")), "")
            print(f"kill {kills} after {at} steps: {went_on or 'had begun at the beginning'}", flush=True)
            wrong += "begins anew" in done.stdout
        trained(config, folder / "again")
        again = Run.open(folder / "again").record.result
    same = again.weights_sha256 == straight.weights_sha256 and again.best_epoch == straight.best_epoch
    print(
        json.dumps(
            {
                "kills": kills,
                "begun_anew": wrong,
                "straight": straight.weights_sha256[:16],
                "killed": again.weights_sha256[:16],
                "same": same,
            }
        )
    )
    return 0 if same and not wrong and kills >= min(options.kills, 20) else 1


def trained(config: Path, out: Path, at: int = -1) -> subprocess.CompletedProcess[str]:
    """Train, to the end or to a kill."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(config), str(out), str(at)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(done.stderr[-2_000:])
    return done


def make_pictures(folder: Path) -> None:
    """Two classes of coarse noise that nothing but its pixels tells apart."""
    for at, label in enumerate(("cat", "dog")):
        (folder / label).mkdir(parents=True)
        for number in range(40):
            coarse = np.random.default_rng((at, number)).integers(0, 256, (5, 5, 3), np.uint8)
            cv2.imwrite(str(folder / label / f"{number}.png"), cv2.resize(coarse, (16, 16)))


if __name__ == "__main__":
    sys.exit(main())
