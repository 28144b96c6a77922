"""Kills a running service again and again while it writes events, and looks for any that was lost.

    .venv/bin/python -m campaigns.kills [--kills 200] [--seed 0] [--keep DIR]

A camera shows dark and bright in turn, five streams decide on it: about 50 events a second go to a log, and
through the spool to an MQTT broker and to a webhook. The service gets SIGKILL at a random moment up to a
second after its first decision and is restarted at once. For three kills out of every ten the broker is
away, so that what waits in the spool survives several kills. Bars; the exit code is 1 when one is missed:

  lost events   0: what stands in the log, and every number that the spool gave, reached the broker
  spool         readable after every kill: nothing damaged, nothing told as lost
  restart       first decision within 2 s of the start of the process, every time
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from campaigns import OUT, work_folder
from campaigns import service_rig as rig
from galago_edge.contract.manifest import LabelPolicy
from real_parts import Broker, MissingPartError, MjpegServer, WebhookServer, wait_for

RESTART_BAR_S = 2.0
STREAMS = 5
FPS = 20.0
POLICY = LabelPolicy(on=0.6, off=0.4, smoothing_windows=1, min_count=1, refractory_ms=0)
"""Every bright frame behind a dark one is an event."""
DRAIN_S = 120.0


class Log:
    """The service's log, read as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._rest = b""
        self.events: list[rig.Record] = []
        self.broken_lines = 0

    def read(self) -> list[rig.Record]:
        """Return the events that came since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        self._at += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        fresh = []
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                self.broken_lines += 1  # a kill in the middle of a line; the next process ends it
                continue
            if record["kind"] == "event":
                fresh.append(record)
        self.events += fresh
        return fresh


def first_event(service: rig.Service, log: Log) -> float:
    """Wait for the first decision of this process; return how long after its start that was, in seconds."""

    def look() -> list[rig.Record]:
        assert service.child is not None
        assert service.child.running, f"the service ended: {service.child.said()}"
        return [event for event in log.read() if event["wall_ns"] >= service.started_wall_ns]

    events = wait_for(look, "the first decision", 60.0)
    return (events[0]["wall_ns"] - service.started_wall_ns) / rig.NS


def settings(folder: Path, camera: MjpegServer, broker: Broker, webhook: WebhookServer) -> dict[str, Any]:
    return {
        "device": {"name": "kills"},
        "source": {"cam": {"address": f"camera:{camera.url}"}},
        "stream": [{"name": f"cam{number}", "source": "cam"} for number in range(STREAMS)],
        "spool": {"max_mb": 64, "sync_s": 5.0},
        "log": {"path": str(folder / "events.jsonl"), "max_mb": 1_000},
        "mqtt": {"host": "127.0.0.1", "port": broker.port, "topic": "kills"},
        "webhook": {"url": webhook.url},
    }


def loop(folder: Path, kills: int, seed: int, stack: ExitStack) -> dict[str, Any]:
    """Kill the service so often and return the figures.

    Raises:
        MissingPartError: A part is not installed.
    """
    rng = random.Random(seed)
    camera, broker, webhook = MjpegServer(size=(64, 48), fps=FPS), Broker(folder), WebhookServer()
    camera.levels = (30, 225)
    for part in (camera, broker, webhook):
        stack.callback(part.stop)
        part.start()
    root = rig.make_root(folder / "root", [rig.levels_bundle(folder, POLICY)])
    config = folder / "galago.toml"
    config.write_text(rig.toml(settings(folder, camera, broker, webhook)))
    listener = rig.Listener(broker.port, "kills/#").start()
    stack.callback(listener.stop)
    service = rig.Service(root, config, folder)
    stack.callback(service.kill)
    log = Log(folder / "events.jsonl")
    restarts, lived = [], 0.0
    for number in range(kills):
        if number % 10 == 5:
            broker.stop()
        if number % 10 == 8:
            broker.start()
        service.start()
        restarts.append(first_event(service, log))
        begun = time.monotonic()
        time.sleep(rng.uniform(0.0, 1.0))
        service.kill()
        lived += time.monotonic() - begun
        log.read()
        print(f"\r{number + 1} kills, {len(log.events)} events", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    if kills % 10 in (6, 7, 8):
        broker.start()
    service.start()
    restarts.append(first_event(service, log))
    camera.level = 30  # nothing new is decided: what waits is delivered
    hook = rig.Inbox()
    status = service.wait(
        "everything is delivered",
        lambda status: not any(sink.pending for sink in status.sinks),
        DRAIN_S,
    )
    code = service.stop()
    log.read()
    for request in webhook.accepted():
        hook.take(request.body, request.key)
    logged = {rig.identity(event) for event in log.events}
    deliveries = {}
    for name, inbox in (("mqtt", listener.inbox), ("webhook", hook)):
        arrived = {rig.identity(event) for event in inbox.events()}
        deliveries[name] = {
            "delivered": len(arrived),
            "duplicated": inbox.duplicates(),
            "lost": len(logged - arrived),
            "numbers_missing": len(inbox.missing_numbers()) if name == "mqtt" else 0,
            "told_lost": inbox.told_lost(),
            "unreadable": inbox.unreadable,
        }
    return {
        "kills": kills,
        "logged": len(logged),
        "events_per_s": len(logged) / lived,
        "broken_lines": log.broken_lines,
        "deliveries": deliveries,
        "lost_in_status": {sink.name: sink.lost for sink in status.sinks},
        "restart_s": {"median": median(restarts), "worst": max(restarts), "each": restarts},
        "exit_code": code,
        "cores": os.cpu_count(),
        "seed": seed,
    }


def report(found: dict[str, Any]) -> list[str]:
    """Print the table and return what missed its bar."""
    missed: list[str] = []

    def bar(name: str, holds: bool) -> str:
        if not holds:
            missed.append(name)
        return "" if holds else "  MISSED"

    print(
        f"{found['kills']} kills, {found['logged']} events in the log, {found['events_per_s']:.0f} a second "
        f"while it decided; {found['broken_lines']} lines cut off by a kill"
    )
    rows = [
        ["receiver", "delivered", "repeated", "lost", "numbers missing", "told as lost", "unreadable", ""]
    ]
    for name, counts in found["deliveries"].items():
        lost = counts["lost"] + counts["numbers_missing"] + counts["told_lost"] + counts["unreadable"]
        kinds = ("delivered", "duplicated", "lost", "numbers_missing", "told_lost", "unreadable")
        rows.append([name, *(str(counts[kind]) for kind in kinds), bar(f"{name}: lost", lost == 0)])
    print(rig.table(rows, right=range(1, 7)))
    restart = found["restart_s"]
    print(
        f"first decision after the start of the process: median {restart['median']:.2f} s, worst "
        f"{restart['worst']:.2f} s" + bar("restart", restart["worst"] <= RESTART_BAR_S)
    )
    print(f"exit code at SIGTERM: {found['exit_code']}" + bar("exit code", found["exit_code"] == 0))
    print("bars: " + (f"MISSED: {', '.join(missed)}" if missed else "all met"))
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="leave everything in this folder")
    parser.add_argument("--out", type=Path, default=OUT / "kills.json")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = work_folder(options.keep, "kills", stack)
        try:
            found = loop(folder, options.kills, options.seed, stack)
        except MissingPartError as missing:
            print(f"Error: {missing}", file=sys.stderr)
            return 1
        missed = report(found)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found | {"missed": missed}, indent=2) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
