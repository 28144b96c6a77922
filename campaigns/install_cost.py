"""What an install of a 3 MB bundle costs: time and bytes, and what they go to.

    .venv/bin/python -m campaigns.install_cost [--runs 15] [--folder DIR]

A MobileNetV2 of 224 x 224 with three labels and three golden pictures. Each run takes it into a store where
an older version is active, as ``galago install`` does: signature, hashes, copy, sync, reading back, first
load and golden run in a process of its own, the record. Clocks around the functions that do each of these
give the shares; each run is undone by a fresh copy of the store. Medians. The disk is that of --folder. The
whole command is also timed from outside, with the start of Python and its libraries.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import cv2
import numpy as np

from campaigns import OUT, quiet_models
from campaigns import store_rig as rig
from campaigns.service_rig import table
from galago_edge.bundle import open_bundle
from galago_edge.intake import receiver
from galago_edge.store.filesystem import StoreFs
from test_kit import make_bundle

NAMES = {
    "golden run": "first load and golden run, in a process of its own",
    "sync": "waiting for the disk (fsync)",
    "hash": "SHA-256",
    "read": "reading the bundle, and back from the disk",
    "write": "writing",
    "names": "folders, renames, permissions, lock",
    "signature": "Ed25519 signatures",
    "rest": "everything else",
}
"""What the time goes to."""
_KINDS = {
    "fsync": "sync",
    "fsync_dir": "sync",
    "allocate": "write",
    "write": "write",
    "read": "read",
}
"""What a call of the store's file system counts as; the others are names."""


class Clocks:
    """Seconds by what they went to. One that starts within another one stops that one meanwhile."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.bytes: dict[str, int] = defaultdict(int)
        self.calls: dict[str, int] = defaultdict(int)
        self._running = ["rest"]
        self._since = time.perf_counter()

    def _turn(self) -> None:
        now = time.perf_counter()
        self.seconds[self._running[-1]] += now - self._since
        self._since = now

    @contextlib.contextmanager
    def running(self, kind: str) -> Iterator[None]:
        """Count the time of the ``with`` block as ``kind``."""
        self._turn()
        self._running.append(kind)
        try:
            yield
        finally:
            self._turn()
            self._running.pop()

    def stop(self) -> None:
        """Count what has passed since the last change."""
        self._turn()

    def around(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with a clock around it."""

        @functools.wraps(function)
        def timed(*args: Any, **named: Any) -> Any:
            self.calls[kind] += 1
            with self.running(kind):
                return function(*args, **named)

        return timed


def timed_fs(clocks: Clocks) -> StoreFs:
    """Return a file system whose calls are timed and whose bytes are counted."""
    fs = StoreFs()

    def counted(name: str) -> Callable[..., Any]:
        timed = clocks.around(_KINDS.get(name, "names"), getattr(fs, name))

        def call(*args: Any, **named: Any) -> Any:
            clocks.calls[name] += 1
            if name == "write":
                clocks.bytes["written"] += len(args[1])
            return timed(*args, **named)

        return call

    for name in [name for name in dir(StoreFs) if not name.startswith("_")]:
        setattr(fs, name, counted(name))
    return fs


class _TimedHash:
    """What ``hashlib.sha256`` gives, timed."""

    def __init__(self, clocks: Clocks, data: bytes = b"") -> None:
        self._clocks = clocks
        self._digest = hashlib.sha256()
        self.update(data)

    def update(self, data: bytes) -> None:
        self._clocks.bytes["hashed"] += len(data)
        with self._clocks.running("hash"):
            self._digest.update(data)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


@contextlib.contextmanager
def clocked() -> Iterator[Clocks]:
    """Put clocks around what an install does, for the ``with`` block."""
    from galago_edge.bundle import archive, reader

    clocks = Clocks()

    def sha256(data: bytes = b"") -> _TimedHash:
        return _TimedHash(clocks, data)

    with contextlib.ExitStack() as stack:
        for place, name, substitute in (
            (reader, "verify", clocks.around("signature", reader.verify)),
            (reader, "read_at", clocks.around("read", reader.read_at)),
            (archive, "read_at", clocks.around("read", archive.read_at)),
            (reader, "hashlib", mock.Mock(sha256=sha256)),
            (receiver, "judge", clocks.around("golden run", receiver.judge)),
        ):
            stack.enter_context(mock.patch.object(place, name, substitute))
        yield clocks
        clocks.stop()


def pictures() -> dict[str, bytes]:
    """Return a golden picture for each label: noise around its gray level."""
    rng = np.random.default_rng(1)
    found = {}
    for name, level in (("dark", 40), ("usual", 128), ("bright", 215)):
        small = rng.integers(-30, 31, (56, 56, 3)) + level
        picture = cv2.resize(small.astype(np.uint8), (224, 224), interpolation=cv2.INTER_LINEAR_EXACT)
        found[name] = cv2.imencode(".png", picture)[1].tobytes()
    return found


def make_bundles(folder: Path) -> list[Path]:
    """Write the older and the newer version."""
    quiet_models.main()  # makes what is not there yet
    model = quiet_models.path_of("camera").read_bytes()
    return [
        make_bundle(
            folder / f"{rig.NAME}-{number}.0.0.galago",
            model,
            quiet_models.LABELS["camera"],
            preprocess=quiet_models.SPECS["camera"],
            golden=pictures(),
            name=rig.NAME,
            version=f"{number}.0.0",
            release_counter=number,
        )
        for number in (1, 2)
    ]


def measure(folder: Path, runs: int) -> dict[str, Any]:
    """Install so many times and return the medians."""
    old, new = make_bundles(folder)
    template = rig.make_device(folder / "before")
    receiver.receive(old, template)
    all_runs: list[Clocks] = []
    totals: list[float] = []
    block: list[int] = []
    commands: list[float] = []
    for _ in range(runs):
        root = rig.remade(template, folder / "device")
        os.sync()  # what the copy left unwritten is not the install's
        before = _block_bytes()
        with clocked() as clocks:
            began = time.perf_counter()
            receipt = receiver.receive(new, root, timed_fs(clocks))
            totals.append(time.perf_counter() - began)
        assert receipt.outcome == "installed" and receipt.phase == "on trial"
        block.append(_block_bytes() - before)
        all_runs.append(clocks)
        root = rig.remade(template, folder / "device")
        os.sync()
        began = time.perf_counter()
        command = [sys.executable, "-m", "galago_edge", "install", str(new), "--root", str(root)]
        subprocess.run(command, check=True, capture_output=True)
        commands.append(time.perf_counter() - began)
    bundle = open_bundle(new)
    first = all_runs[0]
    return {
        "runs": runs,
        "file_system": _file_system(folder),
        "bundle_bytes": new.stat().st_size,
        "model_bytes": bundle.manifest.files[0].size,
        "files": len(bundle.manifest.files),
        "total_s": median(totals),
        "command_s": median(commands),
        "seconds": {kind: median(run.seconds[kind] for run in all_runs) for kind in NAMES},
        "written_bytes": first.bytes["written"],
        "hashed_bytes": first.bytes["hashed"],
        "block_bytes": median(block),
        "syncs": first.calls["fsync"] + first.calls["fsync_dir"],
        "renames": first.calls["rename"],
        "signatures": first.calls["signature"],
        "cores": os.cpu_count(),
    }


def _block_bytes() -> int:
    """Return what this process has given to block devices to write."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def _file_system(folder: Path) -> str:
    command = ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def report(found: dict[str, Any]) -> None:
    """Print the tables."""
    print(
        f"a bundle of {found['bundle_bytes'] / 1e6:.2f} MB, {found['files']} files; "
        f"medians of {found['runs']} installs over an older version, on {found['file_system']}"
    )
    total = found["total_s"]
    rows = [["", "time", "share"]]
    for kind, seconds in sorted(found["seconds"].items(), key=lambda pair: -pair[1]):
        rows.append([NAMES[kind], f"{1_000 * seconds:.1f} ms", f"{100 * seconds / total:.1f} %"])
    rows.append(["the install", f"{1_000 * total:.1f} ms", ""])
    rows.append(["the command galago install, start of Python included", f"{found['command_s']:.2f} s", ""])
    print(table(rows, right=(1, 2)))
    size = found["bundle_bytes"]
    print(
        f"written {found['written_bytes'] / 1e6:.2f} MB ({found['written_bytes'] / size:.2f} x the bundle), "
        f"to the block device {found['block_bytes'] / 1e6:.2f} MB; "
        f"hashed {found['hashed_bytes'] / size:.1f} x the bundle; "
        f"{found['syncs']} syncs, {found['renames']} renames, {found['signatures']} signature checks"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--folder", type=Path, help="where the store lies, to choose the disk")
    parser.add_argument("--out", type=Path, default=OUT / "install_cost.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="galago-install-", dir=options.folder) as folder:
        found = measure(Path(folder), options.runs)
    report(found)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
