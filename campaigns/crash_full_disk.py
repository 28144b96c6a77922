"""Works on a store on small real file systems, with every amount of room from none to plenty.

    .venv/bin/python -m campaigns.crash_full_disk [--step 1] [--kinds ext4,tmpfs,inodes] [--scenarios update]

  ext4    an image of 2 MiB with blocks of 1 KiB and no journal, mounted through a loop device: a ballast file
          leaves 0, 1, 2 ... KiB
  tmpfs   the same in steps of 4 KiB: a tmpfs counts pages
  inodes  a tmpfs with room for 0, 1, 2 ... more files and folders

The store is told that there is plenty, so that the disk itself refuses in the middle of whatever is written;
then a few times as it is, where an install must be refused by the check for free space, before anything is
written. The device starts on the disk as full as it is. What must hold are the promises of
crash_syscalls.py, and a full disk is called full: NO_SPACE. Needs root. The exit code is 1 when one does not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from campaigns import OUT
from campaigns import store_rig as rig
from campaigns.service_rig import table
from galago_edge.contract.errors import Reason
from galago_edge.store.filesystem import Free, StoreFs
from real_parts import MissingPartError

KIB = 1024
MOST = 400
"""KiB or files: more than any of this needs."""
DISK_KIB = 2_048


class Optimist(StoreFs):
    """Claims that there is room, so that the disk itself must refuse."""

    def free(self, path: Path) -> Free:
        """Return plenty."""
        return Free(1 << 40, None)


class Disk:
    """A small file system and how to fill it."""

    unit = "KiB"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def left(self) -> int:
        """Return how much is left."""
        status = os.statvfs(self.folder)
        return status.f_bavail * status.f_frsize // KIB

    def leave(self, room: int) -> None:
        """Fill it so that no more than this is left."""
        with self._ballast.open("ab") as file:
            while (surplus := self.left() - room) > 0:
                size = os.fstat(file.fileno()).st_size
                os.posix_fallocate(file.fileno(), size, min(surplus, 64) * KIB)

    def clear(self) -> None:
        """Make room again."""
        self._ballast.unlink(missing_ok=True)


class ManyFiles(Disk):
    """The same where not the bytes but the number of files is scarce."""

    unit = "files"

    def left(self) -> int:
        """Return how many files can be made."""
        return os.statvfs(self.folder).f_favail

    def leave(self, room: int) -> None:
        """Fill it so that no more than this is left."""
        self._ballast.mkdir()
        for number in range(self.left() - room):
            (self._ballast / str(number)).touch()

    def clear(self) -> None:
        """Make room again."""
        for path in self._ballast.glob("*"):
            path.unlink()
        with contextlib.suppress(FileNotFoundError):
            self._ballast.rmdir()


KINDS = {"ext4": (Disk, 1), "tmpfs": (Disk, 4), "inodes": (ManyFiles, 1)}
"""What each is filled by, and the steps in which it counts."""


@contextlib.contextmanager
def mounted(kind: str, folder: Path) -> Iterator[Disk]:
    """Make a small file system for the ``with`` block.

    Raises:
        MissingPartError: This user may not, or there is no mke2fs.
    """
    image, target = folder / f"{kind}.img", folder / kind
    target.mkdir()
    if kind == "ext4":
        with image.open("wb") as file:
            file.truncate(DISK_KIB * KIB)
        _system("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-m", "0", "-O", "^has_journal", str(image))
        _system("mount", "-o", "loop", str(image), str(target))
    else:
        limit = "nr_inodes=300" if kind == "inodes" else f"size={DISK_KIB}k"
        _system("mount", "-t", "tmpfs", "-o", limit, "galago-test", str(target))
    try:
        yield KINDS[kind][0](target)
    finally:
        _system("umount", "--lazy", str(target))


def _system(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise MissingPartError(command[0]) from None
    if done.returncode != 0:
        raise MissingPartError(f"right to {command[0]} ({done.stderr.strip()})")


@dataclass(slots=True)
class Tally:
    """What became of one scenario on one disk."""

    kind: str
    scenario: str
    endings: Counter[str] = field(default_factory=Counter)
    least: int | None = None
    """With how much room it went well."""
    new: int = 0
    """How often it failed when the record had been written already: the new state counts, and is whole."""
    broken: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, object]:
        """Return everything as plain data."""
        return {name: getattr(self, name) for name in self.__slots__} | {"endings": dict(self.endings)}


def fill(kind: str, scenario: rig.Scenario, versions: list[Path], folder: Path, step: int) -> Tally:
    """Try one scenario with ever more room, until it went well three times in a row.

    Raises:
        MissingPartError: There can be no such disk here.
    """
    folder.mkdir()
    tally = Tally(kind, scenario.name)
    template, whole = folder / "before", folder / "after"
    scenario.prepare(template, versions)
    scenario.act(rig.remade(template, whole), versions, Optimist())
    expected = rig.Expected(scenario, versions, template, whole)
    rooms = range(0, MOST, KINDS[kind][1] * step)
    well = 0
    with mounted(kind, folder) as disk:
        for room in rooms:
            root = rig.remade(template, disk.folder / "device")
            disk.leave(room)
            left = disk.left()
            ending = _in_a_process(lambda: scenario.act(root, versions, Optimist()))  # noqa: B023
            tally.endings[ending.partition(":")[0]] += 1
            well = well + 1 if ending == "done" else 0
            if well == 1:
                tally.least = left
            where = f"{kind}, {scenario.name} with {left} {disk.unit}"
            if rig.is_refusal(ending) and ending != Reason.NO_SPACE:
                tally.broken.append(f"{where}: a full disk is called {ending}")
            broken, now = expected.judge(root, ending, Optimist(), disk.clear)
            tally.new += ending != "done" and now == expected.after.standing != expected.before.standing
            tally.broken += [f"{where}, {ending}: {text}" for text in broken]
            if well == 3:
                break
        else:
            tally.broken.append(f"{kind}, {scenario.name}: {rooms[-1]} {disk.unit} were not enough")
    return tally


def refuse(kind: str, versions: list[Path], folder: Path) -> Tally:
    """Install with little room and let the store look for itself: it must refuse before it writes.

    Raises:
        MissingPartError: There can be no such disk here.
    """
    folder.mkdir()
    tally = Tally(kind, "check first")
    template = folder / "before"
    rig.SCENARIOS["update"].prepare(template, versions)
    with mounted(kind, folder) as disk:
        root = rig.remade(template, disk.folder / "device")
        for room in (0, 1, 4, 16):
            disk.leave(room)
            before = _contents(root)
            ending = _in_a_process(lambda: rig.install(root, versions[2]))
            tally.endings[ending.partition(":")[0]] += 1
            if ending != Reason.NO_SPACE:
                tally.broken.append(f"{kind}: with {disk.left()} {disk.unit} an install ended with {ending}")
            if new := set(_contents(root)) - set(before):
                tally.broken.append(f"{kind}: a refused install left {', '.join(sorted(new))}")
            disk.clear()
    return tally


def _contents(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]


def _in_a_process(work: Callable[[], object]) -> str:
    with rig.worker(work, at_once=True) as worker:
        return worker.wait()


def campaign(kinds: list[str], scenarios: list[str], folder: Path, step: int) -> list[Tally]:
    """Fill each kind of disk for each scenario.

    Raises:
        MissingPartError: There can be no such disk here.
    """
    versions = rig.make_versions(folder, 3)
    tallies = []
    for kind in kinds:
        for name in scenarios:
            tallies.append(fill(kind, rig.SCENARIOS[name], versions, folder / f"{kind}-{name}", step))
            if sys.stderr.isatty():
                print(f"\r{kind} {name:<20}", end="", file=sys.stderr, flush=True)
        tallies.append(refuse(kind, versions, folder / f"{kind}-check"))
    return tallies


def report(tallies: list[Tally]) -> int:
    """Print the table; return how many promises were broken."""
    rows = [["disk", "scenario", "attempts", "done", "NO_SPACE", "new all the same", "least room", "broken"]]
    rows += [
        [
            tally.kind,
            tally.scenario,
            str(tally.endings.total()),
            str(tally.endings["done"]),
            str(tally.endings[Reason.NO_SPACE]),
            str(tally.new),
            "" if tally.least is None else f"{tally.least} {KINDS[tally.kind][0].unit}",
            str(len(tally.broken)),
        ]
        for tally in tallies
    ]
    print(table(rows, right=range(2, 8)))
    for tally in tallies:
        for text in tally.broken[:20]:
            print(text)
    broken = sum(len(tally.broken) for tally in tallies)
    print(f"{sum(tally.endings.total() for tally in tallies)} attempts, {broken} promises broken")
    return broken


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", type=rig.listed(tuple(KINDS)), default=list(KINDS))
    parser.add_argument("--scenarios", type=rig.listed(tuple(rig.SCENARIOS)), default=rig.USUAL)
    parser.add_argument("--step", type=int, default=1, help="leave so many units more each time")
    parser.add_argument("--out", type=Path, default=OUT / "crash_full_disk.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="galago-full-disk-") as folder:
        try:
            tallies = campaign(options.kinds, options.scenarios, Path(folder), options.step)
        except MissingPartError as missing:
            print(f"Error: {missing}", file=sys.stderr)
            return 1
    broken = report(tallies)
    figures = {
        "step": options.step,
        "broken": broken,
        "tallies": [tally.figures() for tally in tallies],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
