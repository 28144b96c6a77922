"""Gives a device bad bundles by the ten thousand and looks whether it refuses each one without a scratch.

    .venv/bin/python -m campaigns.fuzz_bundles [--mutants 20000] [--models 200] [--seed 0] [--jobs 2]

The device has a store with an active bundle; what it is given goes through the one way in that every
transport uses (galago_edge.intake.receiver). First every bit of manifest and signature file and one bit of
every other byte is flipped, and the file is cut at every byte. Then come mutants of archive, signature file
and signed manifest (fuzz_mutants.py): so many from a seeded generator, by number, and as many that
hypothesis draws. Then models that are damaged flatbuffers, rightly signed, each first loaded in a process
of its own.

Bars; the exit code is 1 when one is missed:

  refused      every mutant, with a reason code. Only a damaged model may be taken, when it still gives every
               golden answer; and a manifest that is signed, whole, and newer than the active one
  traceback    none: nothing but the errors that an operator can act on
  effect       none: after a refusal every file of the store is what it was
  hang, crash  none of the device's own process within 30 s
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from campaigns import DATA, OUT
from campaigns import fuzz_mutants as mutants
from galago_devices import profile_text
from galago_edge.bundle import TrustedKeys, open_bundle
from galago_edge.bundle.archive import BLOCK
from galago_edge.bundle.keys import key_id
from galago_edge.contract.errors import BundleError, GalagoError
from galago_edge.contract.profile import PROFILE_FILE
from galago_edge.contract.wishes import Wishes
from galago_edge.engine import check_model_file
from galago_edge.host.machine import this_arch
from galago_edge.intake.receiver import receive
from galago_edge.store import Store
from galago_edge.store.trust_folder import revoke_key, set_channel
from test_kit import OTHER_KEY, TEST_KEY, make_bundle, trust

COUNTER = 1_000
"""Release counter of the active bundle."""
HANG_S = 30
KINDS = {**mutants.UNSIGNED, **mutants.SIGNED}
MODEL_KIND = "signed, model"
MODEL_CHECK_KIND = "model file alone"
TAKEN = "taken"


class HungError(BaseException):
    """One mutant took too long; not an Exception, so that nothing on the way takes it for an error."""


@dataclass
class Tally:
    """What became of the mutants."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By kind of mutant, and reason code or ``taken``."""
    failures: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Take in what another process found."""
        self.outcomes += other.outcomes
        self.failures += other.failures


class Device:
    """A device's store with one active bundle, and what it says to bad ones."""

    def __init__(self, folder: Path, keep: Path | None = None) -> None:
        self.root, self._template = folder / "device", folder / "as delivered"
        self._keep = keep
        self._path = folder / "given.galago"
        self.tally = Tally()
        good = make_bundle(
            folder / "good.galago",
            (DATA / "tiny_image.tflite").read_bytes(),
            ["dark", "mid", "bright"],
            version=f"{COUNTER}.0.0",
            release_counter=COUNTER,
        )
        self.seed = mutants.Seed(open_bundle(good))
        trust(self._template)
        board = "generic-arm64" if this_arch() == "aarch64" else "generic-x86-64"
        (self._template / PROFILE_FILE).write_text(profile_text(board), encoding="utf-8")
        store = Store(self._template)
        revoke_key(store, key_id(OTHER_KEY), "its owner has left")
        set_channel(store, "stable")
        receive(good, self._template, wishes=Wishes(commit=True))
        self._restore()

    def give(self, kind: str, data: bytes, what: str) -> None:
        """Install a mutant and note what became of it; ``what`` tells how to make it again."""
        self._path.write_bytes(data)
        previous = signal.signal(signal.SIGALRM, _hung)
        signal.alarm(HANG_S)
        try:
            receive(self._path, self.root)
            outcome = TAKEN
        except GalagoError as error:
            outcome = str(error.reason)
            if "\n" in str(error) or not error.hint:
                self._failed(kind, what, f"is refused with {error!r}, not with one line and a hint", data)
        except HungError:
            outcome = "HANG"
            self._failed(kind, what, f"took more than {HANG_S} s", data)
        except Exception as error:  # noqa: BLE001 - the very thing that is looked for
            outcome = "TRACEBACK"
            self._failed(kind, what, f"ended in {error!r}", data)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, previous)
        self.tally.outcomes[kind, outcome] += 1
        if outcome == TAKEN:
            if not self._may_be_taken(kind):
                self._failed(kind, what, "was taken", data)
            self._restore()
        elif self._seen() != self._before:
            self._failed(kind, what, f"was refused with {outcome} and changed the store", data)
            self._restore()

    def check_model(self, data: bytes, what: str) -> None:
        """Give a damaged model to the check in front of every loader."""
        try:
            check_model_file(data)
            outcome = "passed on to the loader"
        except BundleError as error:
            outcome = str(error.reason)
        except Exception as error:  # noqa: BLE001
            outcome = "TRACEBACK"
            self._failed(MODEL_CHECK_KIND, what, f"ended in {error!r}", data)
        self.tally.outcomes[MODEL_CHECK_KIND, outcome] += 1

    def _may_be_taken(self, kind: str) -> bool:
        """Whether what was taken is a good bundle: rightly signed, newer, whole where it lies now."""
        if kind not in mutants.SIGNED and kind != MODEL_KIND:
            return False
        opened = open_bundle(self._path, TrustedKeys({key_id(TEST_KEY): ""}))
        active = Store(self.root).active(opened.manifest.bundle.name)
        info = opened.manifest.bundle
        newer = info.release_counter > COUNTER or info.name != self.seed.bundle.manifest.bundle.name
        return newer and active.id == opened.id

    def _failed(self, kind: str, what: str, text: str, data: bytes) -> None:
        self.tally.failures.append(f"{kind}, {what}: {text}")
        if self._keep is not None:
            self._keep.mkdir(parents=True, exist_ok=True)
            (self._keep / f"{kind}-{what}.galago".replace(" ", "-").replace(",", "")).write_bytes(data)

    def _restore(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self._template, self.root)
        self._before = self._seen()

    def _seen(self) -> tuple[Any, ...]:
        """Return every name in the store with what tells whether it was written to."""
        return tuple(_tree(self.root))


def _tree(folder: str | Path) -> Iterator[tuple[Any, ...]]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        status = entry.stat(follow_symlinks=False)
        if entry.is_dir(follow_symlinks=False):
            yield (
                entry.name,
                status.st_ino,
                status.st_mode,
            )  # its time changes when a temporary comes and goes
            yield from _tree(entry.path)
        else:
            yield entry.name, status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns


def _hung(number: int, frame: object) -> None:
    raise HungError


def different(
    device: Device, make: Callable[[mutants.Seed, random.Random], bytes], rng: random.Random
) -> bytes:
    """Return a mutant that is not, by chance, the good bundle itself."""
    for _ in range(20):
        if (data := make(device.seed, rng)) != device.seed.data:
            return data
    return device.seed.data[:-1]


# The parts of a campaign. Each runs in a process of its own.


def every_byte(device: Device, part: int, parts: int) -> None:
    """Flip every bit of manifest and signature file, one of every other byte; cut at every byte."""
    data, bundle = device.seed.data, device.seed.bundle
    manifest = range(BLOCK, BLOCK + len(bundle.manifest_bytes))
    start = BLOCK + -(-manifest.stop // BLOCK) * BLOCK
    signature = range(start, start + len(bundle.signature_bytes))
    for place in range(part, len(data), parts):
        name = next((name for name, where in _regions(manifest, signature) if place in where), "other bytes")
        for bit in range(8) if name != "other bytes" else (place % 8,):
            altered = bytearray(data)
            altered[place] ^= 1 << bit
            device.give(f"every bit: {name}", bytes(altered), f"byte {place} bit {bit}")
        device.give("cut at every byte", data[:place], f"byte {place}")


def _regions(manifest: range, signature: range) -> tuple[tuple[str, range], ...]:
    return (("manifest", manifest), ("signature file", signature))


def seeded(device: Device, seed: int, numbers: range) -> None:
    """Give the mutants with these numbers."""
    names = list(KINDS)
    for number in numbers:
        rng = random.Random(f"{seed}:{number}")
        name = names[number % len(names)]
        device.give(name, different(device, KINDS[name], rng), f"number {number} of seed {seed}")


def searched(device: Device, seed: int, count: int) -> None:
    """Let hypothesis choose ``count`` mutants: it repeats and varies what it drew before."""
    import hypothesis
    from hypothesis import HealthCheck, Phase, given, settings, strategies

    number = 0

    @hypothesis.seed(seed)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategies.sampled_from(list(KINDS)), strategies.randoms(use_true_random=False))
    def one(name: str, rng: random.Random) -> None:
        nonlocal number
        number += 1
        data = different(device, KINDS[name], rng)
        device.give(name, data, f"example {number} of hypothesis seed {seed}")

    one()


def models(device: Device, seed: int, numbers: range) -> None:
    """Give newer releases with damaged models."""
    for number in numbers:
        rng = random.Random(f"{seed}:model:{number}")
        data = mutants.signed_model(device.seed, rng, counter=COUNTER + 1)
        device.give(MODEL_KIND, data, f"number {number} of seed {seed}")


def model_files(device: Device, seed: int, numbers: range) -> None:
    """Give damaged models to the check alone."""
    for number in numbers:
        rng = random.Random(f"{seed}:model:{number}")
        device.check_model(mutants.damaged_model(device.seed, rng), f"number {number} of seed {seed}")


Task = tuple[Callable[..., None], tuple[Any, ...]]


def plan(count: int, model_count: int, seed: int, jobs: int, *, exhaustive: bool = True) -> list[Task]:
    """Divide a campaign into tasks."""
    tasks: list[Task] = [(every_byte, (part, jobs)) for part in range(jobs)] if exhaustive else []
    for part in range(jobs):
        tasks.append((seeded, (seed, range(part, count, jobs))))
        tasks.append((models, (seed, range(part, model_count, jobs))))
        if share := count // jobs + (part < count % jobs):
            tasks.append((searched, (seed * 1_000 + part, share)))
    tasks.append((model_files, (seed, range(count // 10))))
    return tasks


def _child(task: Task, folder: str, keep: Path | None, pipe: Connection) -> None:
    device = Device(Path(folder), keep)
    call, arguments = task
    call(device, *arguments)
    pipe.send(device.tally)


def run(tasks: list[Task], jobs: int, folder: Path, keep: Path | None = None) -> Tally:
    """Run all tasks, ``jobs`` at a time, and return what they found; one that dies is a failure."""
    context = multiprocessing.get_context("forkserver")
    total, waiting, running = Tally(), list(enumerate(tasks)), []
    while waiting or running:
        while waiting and len(running) < jobs:
            number, task = waiting.pop(0)
            place = folder / str(number)
            place.mkdir()
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(task, str(place), keep, theirs))
            process.start()
            theirs.close()
            running.append((process, ours, task, place))
        multiprocessing.connection.wait([ours for _, ours, _, _ in running])
        for entry in list(running):
            process, ours, task, place = entry
            if not ours.poll():
                continue
            try:
                total.add(ours.recv())
            except EOFError:
                process.join()
                total.failures.append(
                    f"{task[0].__name__}{task[1]}: the process ended with status {process.exitcode}; "
                    f"its last mutant is {place / 'given.galago'}"
                )
            process.join()
            running.remove(entry)
    return total


def table(tally: Tally) -> str:
    """Return kinds of mutants by reason code."""
    kinds = list(dict.fromkeys(kind for kind, _ in tally.outcomes))
    width = max(map(len, kinds))
    lines = [f"{'mutants':<{width}}  {'count':>7}  outcome"]
    for kind in sorted(kinds):
        found = {reason: count for (name, reason), count in tally.outcomes.items() if name == kind}
        told = ", ".join(
            f"{reason} {count}" for reason, count in sorted(found.items(), key=lambda item: -item[1])
        )
        lines.append(f"{kind:<{width}}  {sum(found.values()):>7}  {told}")
    codes = Counter[str]()
    for (_, reason), count in tally.outcomes.items():
        codes[reason] += count
    lines.append(f"{'together':<{width}}  {sum(codes.values()):>7}  {len(codes)} outcomes")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=20_000, help="so many by seed and by hypothesis each")
    parser.add_argument("--models", type=int, default=200, help="damaged models, about a second each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, help="folder for mutants that were not refused as they must be")
    parser.add_argument("--skip-every-byte", action="store_true")
    parser.add_argument("--out", type=Path, default=OUT / "fuzz_bundles.json")
    given = parser.parse_args()
    began = time.monotonic()
    tasks = plan(given.mutants, given.models, given.seed, given.jobs, exhaustive=not given.skip_every_byte)
    with tempfile.TemporaryDirectory(prefix="galago-fuzz-") as folder:
        tally = run(tasks, given.jobs, Path(folder), given.keep)
    seconds = time.monotonic() - began
    print(table(tally))
    count = sum(tally.outcomes.values())
    print(f"{count} mutants in {seconds:.0f} s; {len(tally.failures)} failures")
    for failure in tally.failures[:50]:
        print(f"FAILED {failure}")
    figures = {
        "mutants": count,
        "seed": given.seed,
        "seconds": round(seconds, 1),
        "outcomes": [
            {"kind": kind, "outcome": reason, "count": count}
            for (kind, reason), count in sorted(tally.outcomes.items())
        ],
        "failures": tally.failures,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(figures, indent=1) + "\n")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
