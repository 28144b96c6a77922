"""Many installers at once, some frozen and some killed, and readers that must never see a mixture.

    .venv/bin/python -m campaigns.crash_crowd [--rounds 20] [--installers 8] [--readers 2] [--seed 0]
                                               [--frozen-s 60] [--folder DIR]

A round: a store with one version; so many installers start together, each a process with a version of its
own; who finds the store locked tries again until it is done or an older release than what is active. The
readers do meanwhile what a runtime does: read the record, hold what is active, open it, read all of it, and
after a moment all of it again; somebody collects what is not needed, over and over. In every second round a
random installer is killed at a random moment, and started again. Afterwards an installer is frozen (SIGSTOP)
while it holds the lock, others try, and it is thawed. What must hold:

  mixture   each reading is one whole version: record, manifest, labels and model belong together
  held      what a reader holds stays as it is, however many versions came since
  order     what is active never goes back to an older version
  end       the newest version is active, both copies of the record are whole, nothing is left lying about
  frozen    the others are told LOCKED at once, readers go on, and the thawed one ends well
  and every process ends done or with a reason code: no traceback, nothing that hangs

The exit code is 1 when one does not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from campaigns import OUT
from campaigns import store_rig as rig
from campaigns.service_rig import table
from galago_edge.bundle import Bundle, open_bundle
from galago_edge.contract.errors import BusyError, GalagoError, Reason
from galago_edge.store import Store, collect, install_bundle
from real_parts import wait_for

ROUND_S = 120.0
"""Longer than any round may take."""
PAUSE_S = 0.002
READ_AGAIN_S = 0.02
LOCKED_BAR_S = 1.0
"""Within which somebody must be told that the store is locked, on a machine that does nothing else."""


@dataclass(slots=True)
class Found:
    """What all rounds gave."""

    endings: Counter[str] = field(default_factory=Counter)
    readings: int = 0
    changes_seen: int = 0
    """How often a reader found another version than the time before."""
    again: int = 0
    """Readings that were begun again, because the record changed meanwhile."""
    kills: int = 0
    frozen: int = 0
    locked_s: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def install_until_done(root: Path, version: Path) -> None:
    """Install, and try again for as long as somebody else is changing the store.

    Raises:
        GalagoError: DOWNGRADE when a newer version is active; anything else is a fault.
    """
    while True:
        try:
            rig.install(root, version)
            return
        except BusyError:
            time.sleep(PAUSE_S)


def read_whole(root: Path) -> tuple[int, int]:
    """Do what a starting runtime does; return the version's number and how often it had to begin again.

    Raises:
        AssertionError: A mixture.
        GalagoError: The active bundle cannot be read although it still is the active one.
    """
    store = Store(root)
    again = 0
    while True:
        slot = store.state().slots[rig.NAME]
        hold = None
        try:
            hold = store.hold(slot.active.id)
            bundle = store.open(slot.active.id)
            break
        except GalagoError:
            if hold is not None:
                hold.close()
            if store.state().slots[rig.NAME].active.id == slot.active.id:
                raise
            again += 1  # it was replaced twice since, and collected
    assert hold is not None, "what is held is not what was opened"
    contents = {entry.path: bundle.read(entry.path) for entry in bundle.manifest.files}
    time.sleep(READ_AGAIN_S)
    held = store.open(slot.active.id)
    assert {entry.path: held.read(entry.path) for entry in held.manifest.files} == contents
    hold.close()
    info = bundle.manifest.bundle
    number = info.release_counter
    assert (info.version, slot.active.version) == (f"{number}.0.0",) * 2, "record and manifest differ"
    labels = [label.name for label in bundle.manifest.labels]
    assert labels == [f"{label} {number}" for label in rig.LABELS], f"version {number} has {labels}"
    assert len(contents) == len(bundle.manifest.files)
    return number, again


def read_for_ever(root: Path, report: Path) -> None:
    """Read until the file ``enough`` is there, then write what was seen.

    Raises:
        AssertionError: A mixture, or an older version than before.
    """
    last = readings = changes = again = 0
    while not (report.parent / "enough").exists():
        number, begun_again = read_whole(root)
        assert number >= last, f"version {number} is active after {last}"
        readings, changes, again = readings + 1, changes + (number != last), again + begun_again
        last = number
    report.write_text(json.dumps({"readings": readings, "changes": changes - 1, "again": again}))


def collect_for_ever(root: Path, enough: Path) -> None:
    """Remove what is not needed, over and over, until a file is there."""
    while not enough.exists():
        with contextlib.suppress(BusyError):
            collect(Store(root))
        time.sleep(PAUSE_S)


class Crowd:
    """Rounds in one folder."""

    def __init__(self, folder: Path, installers: int, readers: int, rng: random.Random) -> None:
        self._folder = folder
        self._readers = readers
        self._rng = rng
        self._versions = rig.make_versions(folder, installers + 1)
        self._template = rig.make_device(folder / "before")
        rig.install(self._template, self._versions[0])
        rig.install(rig.remade(self._template, folder / "warm"), self._versions[1])  # imports everything
        self.found = Found()

    def round(self, number: int, *, killing: bool) -> None:
        """Let everybody loose once."""
        root = rig.remade(self._template, self._folder / "device")
        reports = [self._folder / f"reader-{index}.json" for index in range(self._readers)]
        (self._folder / "enough").unlink(missing_ok=True)
        broken: list[str] = []
        with ExitStack() as stack:
            readers = [
                stack.enter_context(rig.worker(lambda path=path: read_for_ever(root, path)))  # type: ignore[misc]
                for path in reports
            ]
            installers = {
                version: stack.enter_context(rig.worker(lambda path=version: install_until_done(root, path)))  # type: ignore[misc]
                for version in self._rng.sample(self._versions[1:], len(self._versions) - 1)
            }
            collector = stack.enter_context(
                rig.worker(lambda: collect_for_ever(root, self._folder / "enough"))
            )
            for worker in (*readers, *installers.values(), collector):
                worker.resume()
            if killing:
                version = self._rng.choice(self._versions[1:])
                time.sleep(self._rng.uniform(0.0, 0.15))
                installers[version].signal(signal.SIGKILL)
                ending = installers[version].wait()
                self.found.endings[ending] += 1
                self.found.kills += ending == "killed"
                installers[version] = stack.enter_context(
                    rig.worker(lambda: install_until_done(root, version), at_once=True)
                )
            for version, worker in installers.items():
                ending = worker.wait(ROUND_S)
                self.found.endings[ending] += 1
                if ending != "done" and (ending != Reason.DOWNGRADE or version == self._versions[-1]):
                    broken.append(f"{version.name}: {ending}")
            (self._folder / "enough").touch()
            if (ending := collector.wait()) != "done":
                broken.append(f"the collector: {ending}")
            for reader, report in zip(readers, reports, strict=True):
                if (ending := reader.wait()) != "done":
                    broken.append(f"a reader: {ending}")
                    continue
                seen = json.loads(report.read_text())
                self.found.readings += seen["readings"]
                self.found.changes_seen += seen["changes"]
                self.found.again += seen["again"]
        broken += self._end(root)
        self.found.broken += [f"round {number}: {text}" for text in broken]

    def _end(self, root: Path) -> list[str]:
        newest = open_bundle(self._versions[-1]).id
        seen = rig.look(root)
        broken = [f"the {kind} bundle: {why}" for kind, why in seen.unwell.items()]
        if seen.standing is None or seen.standing.active != newest:
            broken.append(f"the newest is not active: {seen.standing}")
        return broken + rig.tidy(root, len(self._versions))

    def freeze(self, frozen_s: float) -> None:
        """Freeze an installer that holds the lock, and let the others run into it."""
        root = rig.remade(self._template, self._folder / "device")
        late, other = self._versions[-1], self._versions[1]
        before = rig.standing(root)
        broken: list[str] = []
        with rig.worker(lambda: _install_and_freeze(root, late), at_once=True) as frozen:
            wait_for(lambda: _is_stopped(frozen.pid) or not frozen.running, "the installer stops")
            until = time.monotonic() + frozen_s
            while True:
                began = time.monotonic()
                with rig.worker(lambda: rig.install(root, other), at_once=True) as impatient:
                    ending = impatient.wait()
                self.found.locked_s.append(time.monotonic() - began)
                self.found.endings[ending] += 1
                if ending != Reason.LOCKED:
                    broken.append(f"beside a frozen installer: {ending}")
                read_whole(root)
                if rig.standing(root) != before:
                    broken.append("the record changed beside a frozen installer")
                if time.monotonic() > until:
                    break
                time.sleep(min(1.0, frozen_s / 4))
            frozen.resume()
            ending = frozen.wait()
            self.found.frozen += 1
            self.found.endings[ending] += 1
            if ending != "done":
                broken.append(f"thawed: {ending}")
        with rig.worker(lambda: rig.install(root, other), at_once=True) as older:
            if (ending := older.wait()) != Reason.DOWNGRADE:
                broken.append(f"an older version after the thaw: {ending}")
        self.found.broken += [f"frozen: {text}" for text in broken + self._end(root)]

    def kill_frozen(self) -> None:
        """Kill an installer that is frozen: its lock dies with it, and the next one is not hindered."""
        root = rig.remade(self._template, self._folder / "device")
        newest = self._versions[-1]
        with rig.worker(lambda: _install_and_freeze(root, newest), at_once=True) as frozen:
            wait_for(lambda: _is_stopped(frozen.pid) or not frozen.running, "the installer stops")
            frozen.signal(signal.SIGKILL)
            self.found.kills += frozen.wait() == "killed"
        with rig.worker(lambda: rig.install(root, newest), at_once=True) as next_one:
            ending = next_one.wait()
        self.found.endings[ending] += 1
        broken = [] if ending == "done" else [f"the next one: {ending}"]
        self.found.broken += [f"killed while frozen: {text}" for text in broken + self._end(root)]


def _install_and_freeze(root: Path, version: Path) -> None:
    store = Store(root)
    trusted = store.trusted()

    def accept(copy: Bundle) -> Mapping[str, Any]:
        os.kill(os.getpid(), signal.SIGSTOP)  # the copy is complete, the lock is held, nothing is active yet
        return rig.golden_accept(copy)

    install_bundle(store, open_bundle(version, trusted), trusted, accept)


def _is_stopped(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "T"


def report(found: Found, bar_s: float) -> list[str]:
    """Print the table and return what did not hold; ``bar_s``: within which LOCKED must be told."""
    if max(found.locked_s, default=0.0) > bar_s:
        found.broken.append(f"frozen: LOCKED was told only after {max(found.locked_s):.2f} s")
    rows = [["installers ended", "times"]]
    rows += [[ending, str(count)] for ending, count in sorted(found.endings.items())]
    print(table(rows, right=(1,)))
    print(
        f"{found.readings} readings, each one whole version; {found.changes_seen} times another than before; "
        f"{found.again} begun again because the record changed meanwhile; {found.kills} kills"
    )
    if found.locked_s:
        print(f"told LOCKED within {1_000 * max(found.locked_s):.0f} ms, {len(found.locked_s)} times")
    for text in found.broken[:40]:
        print(text)
    print(f"{len(found.broken)} promises broken")
    return found.broken


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--installers", type=int, default=8)
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frozen-s", type=float, default=60.0)
    parser.add_argument(
        "--locked-s", type=float, default=LOCKED_BAR_S, help="within which somebody is told LOCKED"
    )
    parser.add_argument("--folder", type=Path, help="where the stores lie, to choose the file system")
    parser.add_argument("--out", type=Path, default=OUT / "crash_crowd.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="galago-crowd-", dir=options.folder) as folder:
        crowd = Crowd(Path(folder), options.installers, options.readers, random.Random(options.seed))
        for number in range(options.rounds):
            crowd.round(number, killing=number % 2 == 1)
        crowd.freeze(options.frozen_s)
        crowd.kill_frozen()
    found = crowd.found
    broken = report(found, options.locked_s)
    figures = {
        "rounds": options.rounds,
        "installers": options.installers,
        "readers": options.readers,
        "endings": dict(found.endings),
        "readings": found.readings,
        "changes_seen": found.changes_seen,
        "again": found.again,
        "kills": found.kills,
        "locked_s": found.locked_s,
        "broken": broken,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
