"""Breaks everything that a running service depends on, one thing after the other, and counts what was lost.

    .venv/bin/python -m campaigns.soak [--minutes 10] [--faults TEXT,TEXT...] [--seed 0] [--keep DIR]

Real parts: an RTSP camera and an MJPEG camera, a PulseAudio microphone, a named pipe with samples, an MQTT
broker, a webhook, a wall clock that can be set, a small disk that can be filled. The cameras see something
bright and the microphones hear a tone for a moment every few seconds (a cue). One thing is broken, repaired,
watched until everything works again, and left alone for two more cues; so it goes on until the time is over.

The table says for each fault how long the part was away, how soon after its return everything worked again,
and how much of that absence the gaps in the log leave unaccounted for. Bars; the exit code is 1 when one is
missed:

  lost events   0: every cue that no fault touched was decided, once, and all that was decided reached the
                broker and the webhook
  recovery      at most 10 s after the part is back
  coverage      a stream's watched time and gaps add up to the time that passed to within one frame, and gaps
                account for every absence of its source to within one frame
  memory        the service grows by at most 10 MB
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from campaigns import OUT, work_folder
from campaigns import service_rig as rig
from campaigns.soak_accounts import Accounts, unaccounted_s
from campaigns.soak_faults import Fault, script
from campaigns.soak_world import FPS, LATEST_S, World
from real_parts import MissingPartError

RECOVERY_BAR_S = 10.0
GROWTH_BAR_MB = 10.0
FRAME_S = 1 / FPS
"""One frame of the cameras; the blocks of the microphones are not longer."""
SETTLE_S = 7.0
"""Two cues for every source."""
DRAIN_S = 30.0
PROBES = 9


@dataclass
class Outcome:
    """What one fault did."""

    name: str
    broken: tuple[str, ...]
    gap: bool
    from_s: float
    """Monotonic time."""
    to_s: float = 0.0
    recovery_s: float | None = None
    """After the part was back; None when it never worked again."""
    unaccounted_s: float | None = None
    """Time away that is in no gap."""
    rss_mb: float = 0.0
    """Of the service's own process, afterwards."""


@dataclass
class Run:
    """What is known in the end."""

    outcomes: list[Outcome] = field(default_factory=list)
    memory: dict[str, rig.Usage] = field(default_factory=dict)
    unaccounted_s: dict[str, float] = field(default_factory=dict)
    """By stream: time that passed and is neither watched nor a gap."""
    exit_code: int = 0


def suffer(world: World, fault: Fault, settle_s: float) -> Outcome:
    """Break, wait, repair, wait until everything works again."""
    print(f"  {fault.name} ...", end="", file=sys.stderr, flush=True)
    works = fault.works()
    world.break_off(fault.broken)
    outcome = Outcome(fault.name, fault.broken, fault.gap, time.monotonic())
    fault.break_()
    world.play(fault.away_s)
    fault.repair()
    outcome.to_s = time.monotonic()
    if world.play(3 * RECOVERY_BAR_S, until=works):
        outcome.recovery_s = time.monotonic() - outcome.to_s
    world.take_up(fault.broken)
    told = "never" if outcome.recovery_s is None else f"{outcome.recovery_s:.1f} s"
    print(f" works again after: {told}", file=sys.stderr, flush=True)
    world.play(settle_s)
    outcome.rss_mb = rig.usage([world.service.pid]).rss_mb
    return outcome


def soak(world: World, options: argparse.Namespace) -> Run:
    """Go through the script until the time is over, or so often; then let everything drain."""
    run = Run()
    end = time.monotonic() + 60 * options.minutes
    world.service.wait("every source gives something", lambda status: all(s.items for s in status.sources))
    world.play(options.settle)
    only = [text.strip() for text in options.faults.split(",")]
    faults = [fault for fault in script(world) if any(text in fault.name for text in only)]
    before: dict[str, float] = {}
    for number in range(options.rounds):
        for fault in faults:
            if time.monotonic() >= end:
                break
            if number and fault.once:
                continue
            if not before and not fault.new_process:
                before = standing(world)
                run.memory["start"] = rig.usage(rig.tree(world.service.pid))
            run.outcomes.append(suffer(world, fault, options.settle))
    if not before:
        before = standing(world)
        run.memory["start"] = rig.usage(rig.tree(world.service.pid))
    world.finish()
    time.sleep(LATEST_S)
    run.memory["end"] = rig.usage(rig.tree(world.service.pid))
    run.unaccounted_s = {stream: before[stream] - there for stream, there in standing(world).items()}
    drained = time.monotonic() + DRAIN_S
    while time.monotonic() < drained:
        status = world.service.status()
        if status is not None and not any(sink.pending for sink in status.sinks):
            break
        time.sleep(0.1)
    run.exit_code = world.service.stop()
    return run


def standing(world: World) -> dict[str, float]:
    """Return for each stream how much of the service's time its coverage does not account for.

    The newest frame lies up to one frame back: the median of several looks is compared.
    """
    looks: dict[str, list[float]] = {}
    for _ in range(PROBES):
        status = world.service.status()
        for stream in status.streams if status is not None else ():
            accounted = sum(day.watched_s + sum(day.gap_s.values()) for day in stream.coverage)
            looks.setdefault(stream.name, []).append(status.uptime_s - accounted)
        time.sleep(1.3 * FRAME_S)
    return {stream: median(found) for stream, found in looks.items()}


def report(world: World, run: Run) -> tuple[dict[str, Any], list[str]]:
    """Print the table; return the figures and what missed its bar."""
    accounts = Accounts(world)
    missed: list[str] = []

    def bar(name: str, holds: bool) -> str:
        if not holds:
            missed.append(name)
        return "" if holds else "  MISSED"

    rows = [["fault", "away s", "works again after s", "unaccounted ms", "service RSS MB", ""]]
    for outcome in run.outcomes:
        if outcome.gap:
            gaps = accounts.gaps(outcome.broken[0])
            outcome.unaccounted_s = unaccounted_s(gaps, outcome.from_s, outcome.to_s)
        quick = outcome.recovery_s is not None and outcome.recovery_s <= RECOVERY_BAR_S
        covered = outcome.unaccounted_s is None or outcome.unaccounted_s <= FRAME_S
        rows.append(
            [
                outcome.name,
                f"{outcome.to_s - outcome.from_s:.1f}",
                "never" if outcome.recovery_s is None else f"{outcome.recovery_s:.1f}",
                "" if outcome.unaccounted_s is None else f"{outcome.unaccounted_s * 1e3:.0f}",
                f"{outcome.rss_mb:.1f}",
                bar(f"{outcome.name}: recovery", quick) + bar(f"{outcome.name}: coverage", covered),
            ]
        )
    print(rig.table(rows, right=(1, 2, 3, 4)))
    if not world.can_fill_disk:
        print("left out: disk is full (this user may not mount a small one)")
    survived = sum(outcome.recovery_s is not None for outcome in run.outcomes)
    print(
        f"\nfaults survived   {survived} of {len(run.outcomes)}; exit code at SIGTERM {run.exit_code}", end=""
    )
    print(bar("exit code", run.exit_code == 0))
    cues = accounts.cues()
    print(
        f"cues              {cues['given']} given, {cues['undisturbed']} of them undisturbed: "
        f"{cues['decided']} decided once, {cues['missed']} missed, {cues['repeated']} repeated"
        + bar("cues", not cues["missed"] and not cues["repeated"] and cues["undisturbed"] > 0)
    )
    for cue, count in accounts.odd:
        last = max((outcome for outcome in run.outcomes if outcome.from_s < cue.off), key=lambda o: o.from_s)
        after = cue.on - last.from_s
        print(f"                  {cue.source}: decided {count} times, {after:+.1f} s after: {last.name}")
    deliveries = accounts.deliveries()
    for receiver, counts in deliveries.items():
        lost = counts["lost"] + counts["numbers_missing"] + counts["told_lost"] + counts["unreadable"]
        print(
            f"{receiver:<17} {counts['expected']} events expected, {counts['delivered']} delivered, "
            f"{counts['duplicated']} deliveries repeated, {lost} lost" + bar(f"{receiver}: lost", lost == 0)
        )
    start, end = run.memory["start"], run.memory["end"]
    growth = end.mb - start.mb
    print(
        f"memory            {start.mb:.1f} MB at the start, {end.mb:.1f} at the end (sum of RSS "
        f"{start.rss_mb:.1f}, {end.rss_mb:.1f}); processes {start.processes}, {end.processes}; "
        f"threads {start.threads}, {end.threads}; descriptors {start.descriptors}, {end.descriptors}"
        + bar("memory", growth <= GROWTH_BAR_MB)
    )
    worst = max((abs(found) for found in run.unaccounted_s.values()), default=0.0)
    print(
        "coverage          not accounted for, by stream: "
        + ", ".join(f"{stream} {found * 1e3:+.0f} ms" for stream, found in run.unaccounted_s.items())
        + f" (one frame is {FRAME_S * 1e3:.0f} ms)"
        + bar("coverage", worst <= FRAME_S)
    )
    figures = {
        "faults": [asdict(outcome) for outcome in run.outcomes],
        "survived": survived,
        "cues": cues,
        "deliveries": deliveries,
        "memory": {when: asdict(used) for when, used in run.memory.items()},
        "unaccounted_s": run.unaccounted_s,
        "exit_code": run.exit_code,
        "missed": missed,
    }
    return figures, missed


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=1_000, help="go through the script so often at most")
    parser.add_argument("--faults", default="", help="only those whose names hold one of these texts")
    parser.add_argument("--settle", type=float, default=SETTLE_S, help="seconds after each fault")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="leave everything in this folder")
    parser.add_argument("--out", type=Path, default=OUT / "soak.json")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = work_folder(options.keep, "soak", stack)
        try:
            world = World(folder, options.seed, stack)
        except MissingPartError as missing:
            print(f"Error: {missing}", file=sys.stderr)
            return 1
        run = soak(world, options)
        figures, missed = report(world, run)
        if options.keep is not None and world.can_fill_disk:
            leave_out = shutil.ignore_patterns("*.sock")
            shutil.copytree(world.disk, world.folder / "disk-copy", ignore=leave_out, dirs_exist_ok=True)
    figures |= {"minutes": options.minutes, "seed": options.seed, "cores": os.cpu_count()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=2) + "\n")
    print("bars              " + (f"MISSED: {', '.join(missed)}" if missed else "all met"))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
