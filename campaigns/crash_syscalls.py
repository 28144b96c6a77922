"""Kills the store's commands at every system call, and makes every system call of theirs fail.

    .venv/bin/python -m campaigns.crash_syscalls [--scenarios update,commit] [--tampers KILL,ENOSPC]
                                                  [--calls fsync,renameat] [--step 1] [--kills 200]
                                                  [--seed 0] [--jobs 1] [--folder DIR]

Each attempt is a real process on a copy of a real store; strace (from Debian) is attached to it when all is
imported, so that only the work's own calls count, and interferes with one of them: the first openat, the
second openat, and so on to the last, then the next kind of call. KILL is SIGKILL instead of the call; the
others are the call's answer, and the call is not made. Then --kills times SIGKILL at a random moment. After
each attempt must hold:

  V1  the record is readable, and each bundle that it names is whole, signature and every byte; what the
      record says is either what it said before or what it says after a whole attempt
  V2  when the attempt said that it is done, it is done
  V3  the floor has not fallen
  V4  the same again goes well without a hand on it, leaves nothing lying about, and both copies whole
  V5  what could be rolled back to still can
  V6  no more bundle folders than after one whole attempt
  V7  a boot right after the fault finds a bundle that can run
  and a fault ends in one line with a disk's reason code: no traceback, nothing that hangs

The exit code is 1 when one does not.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import multiprocessing
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from campaigns import OUT
from campaigns import store_rig as rig
from campaigns.service_rig import table
from real_parts import MissingPartError
from real_parts.processes import tool

ERRORS = ("ENOSPC", "EDQUOT", "EIO", "EROFS", "EINTR", "EMFILE")
TAMPERS = ("KILL", *ERRORS)
FAILING_CALLS = frozenset(
    {
        *("openat", "close", "read", "pread64", "write", "fsync", "rename", "mkdir", "unlink", "rmdir"),
        *("renameat", "renameat2", "mkdirat", "unlinkat"),  # in a folder that is open already
        *("fchmod", "fallocate", "flock", "statfs", "getdents64", "newfstatat", "fstat", "lseek"),
        *("readlink", "fadvise64"),
    }
)
"""Calls that a disk can make fail; the others (memory, time, signals) are only killed at."""


@dataclass(slots=True)
class Tally:
    """What became of the attempts with one way of interfering."""

    scenario: str
    tamper: str
    calls: int = 0
    """Kinds of system calls."""
    attempts: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    old: int = 0
    new: int = 0
    """What the device stood at right after."""
    broken: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, object]:
        """Return everything as plain data."""
        return {name: getattr(self, name) for name in self.__slots__} | {"endings": dict(self.endings)}


class Campaign:
    """All attempts at one scenario."""

    def __init__(self, scenario: rig.Scenario, versions: list[Path], folder: Path) -> None:
        self._scenario = scenario
        self._versions = versions
        self._template = folder / f"{scenario.name}-before"
        self._root = folder / scenario.name
        self._trace = folder / f"{scenario.name}-trace"
        scenario.prepare(self._template, versions)
        # twice: what a first run imports and caches shall be there in the processes made from this one
        for _ in range(2):
            self._do(rig.remade(self._template, self._root))
        self._expected = rig.Expected(scenario, versions, self._template, self._root)
        self.calls = self._count()

    def _do(self, root: Path) -> object:
        return self._scenario.act(root, self._versions, None)

    def _count(self) -> Counter[str]:
        """Return how often each system call is made when nothing interferes."""
        ending, trace = self._attempt("trace=all")
        assert ending == "done", ending
        calls = Counter(re.findall(r"^(\w+)\(", trace, re.MULTILINE))
        for ends in ("exit_group", "exit", "kill", "restart_syscall"):
            calls.pop(ends, None)
        return calls

    def _attempt(self, *expressions: str) -> tuple[str, str]:
        """Run once under strace on a fresh store; return how it ended and what strace saw."""
        root = rig.remade(self._template, self._root)
        self._trace.unlink(missing_ok=True)
        with rig.worker(lambda: self._do(root)) as worker, _traced(worker.pid, self._trace, *expressions):
            worker.resume()
            ending = worker.wait()
        return ending, self._trace.read_text(errors="replace")

    def tamper(self, how: str, step: int = 1, only: list[str] | None = None) -> Tally:
        """Interfere with every ``step``-th system call and check what is left each time.

        ``only``: kinds of calls; all of them unless given.
        """
        calls = sorted(call for call in self.calls if how == "KILL" or call in FAILING_CALLS)
        if only is not None:
            calls = [call for call in calls if call in only]
        tally = Tally(self._scenario.name, how, calls=len(calls))
        # a few more than were counted: an attempt may make one more or less
        places = [(call, number + 1) for call in calls for number in range(self.calls[call] + 3)]
        what = f"signal={how}" if how == "KILL" else f"error={how}"
        for call, number in places[step // 2 :: step]:
            ending, trace = self._attempt(f"trace={call}", f"inject={call}:{what}:when={number}")
            if ending == "killed" or "(INJECTED)" in trace:
                self._judge(tally, f"{call} {number}", ending)
            elif ending != "done":
                tally.broken.append(f"{self._scenario.name}: undisturbed it ended with {ending}")
            _progress(tally)
        return tally

    def random_kills(self, kills: int, rng: random.Random) -> Tally:
        """Kill at random moments of an attempt, with no strace to slow it down."""
        tally = Tally(self._scenario.name, "random")
        root = rig.remade(self._template, self._root)
        with rig.worker(lambda: self._do(root)) as worker:
            began = time.monotonic()
            worker.resume()
            worker.wait()
            whole_s = time.monotonic() - began
        for _ in range(kills):
            root = rig.remade(self._template, self._root)
            with rig.worker(lambda: self._do(root)) as worker:  # noqa: B023 - it ends within this turn
                worker.resume()
                moment_s = rng.uniform(0.0, whole_s)
                time.sleep(moment_s)
                worker.signal(signal.SIGKILL)
                ending = worker.wait()
            self._judge(tally, f"after {1_000 * moment_s:.1f} ms", ending)
            _progress(tally)
        return tally

    def _judge(self, tally: Tally, where: str, ending: str) -> None:
        tally.attempts += 1
        tally.endings[ending.partition(":")[0]] += 1
        broken, now = self._expected.judge(self._root, ending)
        tally.new += now == self._expected.after.standing
        tally.old += now == self._expected.before.standing
        tally.broken += [f"{self._scenario.name}, {tally.tamper} at {where}: {text}" for text in broken]


@contextlib.contextmanager
def _traced(pid: int, log: Path, *expressions: str) -> Iterator[None]:
    """Attach strace to a stopped process for the ``with`` block.

    Raises:
        MissingPartError: strace is not installed.
    """
    options = [option for expression in expressions for option in ("-e", expression)]
    command = [tool("strace"), "-qq", "-o", str(log), *options, "-p", str(pid)]
    strace = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        while not _is_traced(pid):
            if strace.poll() is not None:
                raise MissingPartError(f"right to trace ({strace.communicate()[1].decode().strip()})")
            time.sleep(0.0005)
        yield
    finally:
        if strace.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                strace.wait(10)
        strace.kill()
        strace.communicate()


def _is_traced(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    return "\nTracerPid:\t0\n" not in status


def _progress(tally: Tally, *, ended: bool = False) -> None:
    """Say how far it is: one line that changes on a terminal, else one for each finished tally."""
    text = f"{tally.scenario} {tally.tamper}: {tally.attempts} attempts, {len(tally.broken)} broken"
    if sys.stderr.isatty():
        print(f"\r{text:<70}", end="", file=sys.stderr, flush=True)
    elif ended:
        print(text, file=sys.stderr, flush=True)


def campaign(options: argparse.Namespace, folder: Path) -> list[Tally]:
    """Run everything that was asked for, ``--jobs`` scenarios at a time.

    Raises:
        MissingPartError: strace is not installed, or may not trace.
    """
    versions = rig.make_versions(folder, 3)
    work = functools.partial(torment, options, versions, folder)
    if options.jobs == 1:
        return [tally for name in options.scenarios for tally in work(name)]
    # processes of their own, started afresh: what a scenario forks is made of nothing but its own imports
    with ProcessPoolExecutor(options.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        return [tally for tallies in pool.map(work, options.scenarios) for tally in tallies]


def torment(options: argparse.Namespace, versions: list[Path], folder: Path, name: str) -> list[Tally]:
    """Run everything that was asked for on one scenario.

    Raises:
        MissingPartError: strace is not installed, or may not trace.
    """
    what = Campaign(rig.SCENARIOS[name], versions, folder)
    tallies = []
    for how in options.tampers:
        tallies.append(what.tamper(how, options.step, options.calls))
        _progress(tallies[-1], ended=True)
    if options.kills:
        rng = random.Random(f"{options.seed} {name}")
        tallies.append(what.random_kills(options.kills // len(options.scenarios), rng))
        _progress(tallies[-1], ended=True)
    return tallies


def report(tallies: list[Tally]) -> int:
    """Print the table; return how many promises were broken."""
    rows: list[list[str]] = [
        [
            "scenario",
            "tamper",
            "calls",
            "attempts",
            "done",
            "killed",
            "refused",
            "reasons",
            "old",
            "new",
            "broken",
        ]
    ]
    for tally in tallies:
        refused = {ending: count for ending, count in tally.endings.items() if rig.is_refusal(ending)}
        rows.append(
            [
                tally.scenario,
                tally.tamper,
                str(tally.calls or ""),
                str(tally.attempts),
                *(str(tally.endings[ending]) for ending in ("done", "killed")),
                str(sum(refused.values())),
                " ".join(sorted(refused)),
                *(str(count) for count in (tally.old, tally.new, len(tally.broken))),
            ]
        )
    print(table(rows, right=(2, 3, 4, 5, 6, 8, 9, 10)))
    for tally in tallies:
        for text in tally.broken[:20]:
            print(text)
    broken = sum(len(tally.broken) for tally in tallies)
    print(f"{sum(tally.attempts for tally in tallies)} attempts, {broken} promises broken")
    return broken


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenarios", type=rig.listed(tuple(rig.SCENARIOS)), default=rig.USUAL)
    parser.add_argument("--tampers", type=rig.listed(TAMPERS), default=list(TAMPERS))
    parser.add_argument("--calls", type=lambda text: text.split(","), help="only these kinds of system calls")
    parser.add_argument("--step", type=int, default=1, help="take every so many-th call only")
    parser.add_argument("--kills", type=int, default=200, help="at random moments, over all scenarios")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="so many scenarios at a time")
    parser.add_argument("--folder", type=Path, help="where the stores lie, to choose the file system")
    parser.add_argument("--out", type=Path, default=OUT / "crash_syscalls.json")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="galago-syscalls-", dir=options.folder) as folder:
        try:
            tallies = campaign(options, Path(folder))
        except MissingPartError as missing:
            print(f"Error: {missing}", file=sys.stderr)
            return 1
    if sys.stderr.isatty():
        print(file=sys.stderr)
    broken = report(tallies)
    figures = {
        "step": options.step,
        "seed": options.seed,
        "seconds": round(time.monotonic() - began, 1),
        "broken": broken,
        "tallies": [tally.figures() for tally in tallies],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
