"""A device's store to torment: bundles, processes that work on it, and what must hold afterwards.

Used by crash_syscalls.py, crash_crowd.py and crash_full_disk.py.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import mmap
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from campaigns import DATA
from galago_edge.bundle import Bundle, open_bundle
from galago_edge.contract.errors import GalagoError, Reason
from galago_edge.contract.wishes import Wishes
from galago_edge.intake.receiver import receive
from galago_edge.pipeline.golden_run import run_golden
from galago_edge.store import (
    Store,
    activate,
    begin_boot,
    collect,
    commit,
    install_bundle,
    mark_bad,
    rollback,
    scrub,
)
from galago_edge.store.filesystem import StoreFs
from galago_edge.store.store import COPY_NAMES
from test_kit import make_bundle, trust

NAME = "eyes"
LABELS = ("dark", "mid", "bright")
DISK_REASONS = frozenset({Reason.IO, Reason.NO_SPACE, Reason.READ_ONLY})


def make_versions(folder: Path, count: int) -> list[Path]:
    """Write so many versions of one bundle, each with a real model, its own labels and golden samples."""
    model = (DATA / "tiny_image.tflite").read_bytes()
    return [
        make_bundle(
            folder / f"{NAME}-{number}.0.0.galago",
            model,
            [f"{label} {number}" for label in LABELS],
            name=NAME,
            version=f"{number}.0.0",
            release_counter=number,
        )
        for number in range(1, count + 1)
    ]


def golden_accept(bundle: Bundle) -> Mapping[str, Any]:
    """Let the device judge a bundle as it does, but within this process."""
    return {"golden": [done.largest_difference for done in run_golden(bundle)]}


def install(root: Path, path: Path, fs: StoreFs | None = None, **options: Any) -> Any:
    """Check and install a bundle as ``galago install`` does.

    Raises:
        GalagoError: As install_bundle.
    """
    store = Store(root, fs)
    trusted = store.trusted()
    return install_bundle(store, open_bundle(path, trusted), trusted, golden_accept, Wishes(**options))


def make_device(root: Path) -> Path:
    """Make an empty store that trusts the bundles' signer."""
    root.mkdir(parents=True)
    return trust(root)


def remade(template: Path, target: Path) -> Path:
    """Return a fresh copy of a store."""
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(template, target)
    return target


# What a store promises


@dataclass(frozen=True, slots=True)
class Standing:
    """What the record says about the one name, without times."""

    active: str | None
    previous: str | None = None
    staged: str | None = None
    before: str | None = None
    """What a rollback makes ``previous`` again."""
    left: int | None = None
    """How many loads the trial has left; None when the active bundle is committed."""
    floor: int = 0
    bad: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{part} {bundle_id[:8]}" for part, bundle_id in self.parts().items()]
        bad = [f"bad {bundle_id[:8]}" for bundle_id in self.bad]
        return ", ".join([*parts, f"left {self.left}", f"floor {self.floor}", *bad])

    def parts(self) -> dict[str, str]:
        """Return what must lie on the disk, by its part."""
        names = ("active", "previous", "staged", "before")
        return {name: found for name in names if (found := getattr(self, name)) is not None}

    def settled(self) -> Standing:
        """Return the same without the loads that the trial has left: a start uses one up."""
        return self if self.left is None else replace(self, left=0)


def standing(root: Path) -> Standing:
    """Read the record.

    Raises:
        GalagoError: Neither copy is whole.
    """
    slot = Store(root).state().slots.get(NAME)
    if slot is None:
        return Standing(None)
    ids = {part: release.id for part, release in slot.releases().items()}
    return Standing(
        left=slot.trial.left if slot.trial else None,
        floor=slot.floor,
        bad=tuple(sorted(slot.bad)),
        **ids,
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """What a device finds when it looks at its store."""

    standing: Standing | None
    """None when neither copy of the record is whole."""
    unwell: Mapping[str, str]
    """Which part that the record names is not whole, and why."""

    def __str__(self) -> str:
        return "; ".join([str(self.standing), *(f"{part}: {why}" for part, why in self.unwell.items())])


def look(root: Path) -> Seen:
    """Read the record, and every byte of each bundle that it names."""
    try:
        now = standing(root)
    except GalagoError as error:
        return Seen(None, {"record": str(error)})
    unwell = {}
    for part, bundle_id in now.parts().items():
        try:
            Store(root).open(bundle_id)
        except GalagoError as error:
            unwell[part] = str(error)
    return Seen(now, unwell)


def tidy(root: Path, folders: int) -> list[str]:
    """Return what is left lying about after an action that went well (V4, V6)."""
    store = Store(root)
    broken = []
    if left := store.leftovers():
        broken.append(f"V4: {len(left)} leftovers: {left[0].name}")
    if unwell := [copy.name for copy in store.copies() if copy.health != "ok"]:
        broken.append(f"V4: {' and '.join(unwell)} not whole")
    if (found := len(list(store.bundles.iterdir()))) > folders:
        broken.append(f"V6: {found} bundle folders where {folders} are enough")
    return broken


def start(root: Path, fs: StoreFs | None = None, *, lost: bool = False) -> None:
    """Do what a starting service does before it loads a model, and check what it is told to load.

    ``lost``: there may be no whole copy of the record, and then a new one is made first.

    Raises:
        AssertionError: Nothing, though something whole is there; or a trial whose load is not on the disk.
        GalagoError: As begin_boot.
    """
    store = Store(root, fs)
    was = None if lost and Store(root).lost() else standing(root)
    choice = begin_boot(store, store.trusted()).get(NAME)
    still = lost and bool(Store(root).lost())  # on a disk that cannot be written
    if choice is None:
        assert not still and standing(root).active is None, (
            "the record names a bundle and the start does not know it"
        )
        return
    assert choice.bundle is not None, f"safe mode: {'; '.join(map(str, choice.faults))}"
    now = None if still else standing(root)
    if now is None:
        assert choice.trial is None, "a load that is not counted"
    elif was is not None and choice.bundle.id == now.active and now.left is not None:
        assert was.left is not None and now.left == was.left - 1, "a load that is not counted"
    for entry in choice.bundle.manifest.files:
        choice.bundle.read(entry.path)
    if choice.hold is not None:
        choice.hold.close()


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing done to a store."""

    name: str
    prepare: Callable[[Path, list[Path]], None]
    act: Callable[[Path, list[Path], StoreFs | None], object]
    binding: bool = True
    """Whether done means that the record says so; a start goes on without having written."""
    heavy: bool = False
    """Too slow to be among the usual ones."""


def _empty(root: Path, versions: list[Path]) -> None:
    make_device(root)


def _two(root: Path, versions: list[Path]) -> None:
    """Two versions are committed, and an earlier attempt was killed."""
    make_device(root)
    for version in versions[:2]:
        install(root, version, commit=True)
    half = root / "incoming" / "new-killed" / "golden"
    half.mkdir(parents=True)
    (half / "0.png").write_bytes(b"half")
    (root / "state.b.tmp-killed").write_bytes(b"half")


def _trial(root: Path, versions: list[Path]) -> None:
    """The third version is on trial."""
    _two(root, versions)
    install(root, versions[2])


def _used_up(root: Path, versions: list[Path]) -> None:
    """The third version was loaded as often as it may."""
    _trial(root, versions)
    while standing(root).left:
        start(root)


def _staged(root: Path, versions: list[Path]) -> None:
    """The third version is staged."""
    _two(root, versions)
    install(root, versions[2], stage_only=True)


def _damaged(root: Path, versions: list[Path]) -> None:
    """A byte of the active version has changed; one copy of the record is torn."""
    _two(root, versions)
    model = Store(root).folder(standing(root).active or "") / "model.tflite"
    model.chmod(0o644)
    model.write_bytes(b"\0" + model.read_bytes()[1:])
    torn = root / "state.a"
    torn.chmod(0o644)
    torn.write_bytes(torn.read_bytes()[:100])


def _lost(root: Path, versions: list[Path]) -> None:
    """Both copies of the record are torn."""
    _two(root, versions)
    for name in COPY_NAMES:
        (root / name).chmod(0o644)
        (root / name).write_bytes((root / name).read_bytes()[:100])


def _littered(root: Path, versions: list[Path]) -> None:
    """A bundle lies there that nobody needs."""
    _staged(root, versions)
    kept = root.with_name("kept")
    shutil.copytree(Store(root).folder(standing(root).staged or ""), kept)
    store = Store(root)
    mark_bad(store, NAME, bundle_id=standing(root).staged or "")
    litter = store.folder("0" * 64)
    shutil.copytree(kept, litter)
    shutil.rmtree(kept)


def _install(version: int, **options: Any) -> Callable[[Path, list[Path], StoreFs | None], object]:
    return lambda root, versions, fs: install(root, versions[version], fs, **options)


def _change(
    change: Callable[..., object], *args: Any, version: int | None = None, **options: Any
) -> Callable[[Path, list[Path], StoreFs | None], object]:
    def act(root: Path, versions: list[Path], fs: StoreFs | None) -> object:
        named = {} if version is None else {"bundle_id": open_bundle(versions[version]).id}
        return change(Store(root, fs), *args, **named, **options)

    return act


def _scrub(root: Path, versions: list[Path], fs: StoreFs | None) -> None:
    store = Store(root, fs)
    scrub(store, store.trusted())


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("first", _empty, _install(2)),
        Scenario("update", _two, _install(2)),
        Scenario("repair", _damaged, _install(1)),
        Scenario("stage", _two, _install(2, stage_only=True)),
        # by id, as programs do: then the same again is fine
        Scenario("activate", _staged, _change(activate, NAME, version=2)),
        Scenario("commit", _trial, _change(commit, NAME, version=2)),
        Scenario("rollback", _trial, _change(rollback, NAME, version=2, reason="TRIAL_FAILED")),
        Scenario("collect", _littered, _change(collect)),
        Scenario("scrub", _damaged, _scrub),
        Scenario("rebuild", _lost, _scrub),
        Scenario("start", _trial, lambda root, versions, fs: start(root, fs), binding=False),
        Scenario("breaker", _used_up, lambda root, versions, fs: start(root, fs), binding=False),
        # all of galago install, with the first load in a process of its own
        Scenario("command", _two, lambda root, versions, fs: receive(versions[2], root, fs), heavy=True),
    )
}
USUAL = [scenario.name for scenario in SCENARIOS.values() if not scenario.heavy]


class Expected:
    """What must be so after an attempt that was disturbed: all is as before, or as after a whole attempt."""

    def __init__(self, scenario: Scenario, versions: list[Path], before: Path, after: Path) -> None:
        self._scenario = scenario
        self._versions = versions
        self.before = look(before)
        self.after = look(after)
        self._folders = len(list(Store(after).bundles.iterdir()))

    def judge(
        self,
        root: Path,
        ending: str,
        fs: StoreFs | None = None,
        make_room: Callable[[], None] = lambda: None,
    ) -> tuple[list[str], Standing | None]:
        """Return which promises do not hold after an attempt that ended so, and what the record said.

        Starts the device; then, after ``make_room``, does the same again, undisturbed.
        """
        old, new, now = self.before, self.after, look(root)
        broken = [ending] if ending.startswith("fell") else []
        if is_refusal(ending) and ending not in DISK_REASONS:
            broken.append(f"reason: the disk's fault is called {ending}")
        if now.standing not in (old.standing, new.standing):
            broken.append(f"V1: {now.standing} is neither what was before nor what is to be")
        if hurt := sorted(set(now.unwell) - set(old.unwell)):
            promise = "V1" if "active" in hurt else "V5"
            broken.append(f"{promise}: {'; '.join(now.unwell[part] for part in hurt)}")
        if ending == "done" and self._scenario.binding and now != new:
            broken.append(f"V2: it said done, and there is {now}")
        if now.standing and old.standing and now.standing.floor < old.standing.floor:
            broken.append(f"V3: the floor fell to {now.standing.floor}")
        lost = old.standing is None
        if (started := ending_of(lambda: start(root, fs, lost=lost))) != "done":
            broken.append(f"V7: the next start ended with {started}")
        make_room()
        if (again := ending_of(lambda: self._scenario.act(root, self._versions, fs))) != "done":
            return [*broken, f"V4: the next try ended with {again}"], now.standing
        then = look(root)
        if then.standing is None or then.standing.settled() != _settled(new) or then.unwell != new.unwell:
            broken.append(f"V4: after the next try there is {then}")
        return broken + tidy(root, self._folders), now.standing


def _settled(seen: Seen) -> Standing | None:
    return seen.standing and seen.standing.settled()


# Processes


_PR_SET_PDEATHSIG = 1
"""Linux: the worker dies with whoever made it."""


class Worker:
    """A copy of this process that waits, does one thing and ends; what became of it needs no system call.

    Everything is imported already, so nearly every system call that it makes is the work's own.
    """

    def __init__(self, work: Callable[[], object], *, at_once: bool = False) -> None:
        self._said = mmap.mmap(-1, 4096)
        self._printed = os.memfd_create("printed", os.MFD_CLOEXEC)
        self.pid = os.fork()
        self._code: int | None = None
        if self.pid == 0:
            self._live(work, at_once)
        if not at_once:
            os.waitpid(self.pid, os.WUNTRACED)  # it has stopped itself

    def _live(self, work: Callable[[], object], at_once: bool) -> None:
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            for output in (1, 2):
                os.dup2(self._printed, output)
            if not at_once:
                os.kill(os.getpid(), signal.SIGSTOP)
            self._say(ending_of(work))
        finally:
            os._exit(0)  # nothing of the parent may run here

    def _say(self, text: str) -> None:
        data = text.encode(errors="replace")[:4095]
        self._said[: len(data)] = data

    def signal(self, number: int) -> None:
        if self._code is None:
            os.kill(self.pid, number)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    @property
    def running(self) -> bool:
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code is None

    def close(self) -> None:
        """Forget what it said."""
        self._said.close()
        os.close(self._printed)

    def wait(self, timeout_s: float = 120.0) -> str:
        """Return how it ended: ``done``, a reason code, ``killed``, or ``fell: ...`` which must never be.

        Beyond ``timeout_s`` it is killed and ``fell: hung`` returned.
        """
        deadline = time.monotonic() + timeout_s
        pause_s = 0.0005
        while self.running:
            if time.monotonic() > deadline:
                self.signal(signal.SIGKILL)
                os.waitpid(self.pid, 0)
                self._code = 0
                return f"fell: hung for {timeout_s:g} s"
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.02)
        said = bytes(self._said).rstrip(b"\0").decode()
        printed = os.pread(self._printed, 4096, 0).decode(errors="replace").split("\n")
        if any("Traceback" in line for line in printed):
            return f"fell: {' | '.join(line.strip() for line in printed[-3:])}"
        if self._code == -signal.SIGKILL:
            return said or "killed"
        return said if self._code == 0 and said else f"fell: exit code {self._code} {said}"


@contextlib.contextmanager
def worker(work: Callable[[], object], *, at_once: bool = False) -> Iterator[Worker]:
    """Make a worker that does not outlive the ``with`` block."""
    made = Worker(work, at_once=at_once)
    try:
        yield made
    finally:
        if made.running:
            made.signal(signal.SIGKILL)
            made.wait()
        made.close()


def ending_of(work: Callable[[], object]) -> str:
    """Do something and return how it ended: ``done``, a reason code, or ``fell: ...``."""
    try:
        work()
    except GalagoError as error:
        # what operators see must be one line with what to do
        if "\n" in str(error) or not str(error):
            return f"fell: not one line: {error}"
        return str(error.reason)
    except BaseException as error:  # noqa: BLE001 - a traceback where one line is promised is what we look for
        return f"fell: {type(error).__name__}: {error} at {_where(error)}"
    return "done"


def _where(error: BaseException) -> str:
    place, trace = "", error.__traceback__
    while trace is not None:
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def is_refusal(ending: str) -> bool:
    """Whether the work ended with a reason code."""
    return ending in set(Reason)


def listed(choices: tuple[str, ...]) -> Callable[[str], list[str]]:
    """Return what reads an option that is some of these names, with commas between."""

    def read(text: str) -> list[str]:
        names = text.split(",")
        if unknown := sorted(set(names) - set(choices)):
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: known are {', '.join(choices)}")
        return names

    return read
