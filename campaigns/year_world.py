"""What is around the year's device: a broker, a web server, power, and who starts the process again."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from campaigns import ROOT
from campaigns import service_rig as rig
from campaigns.year_plan import ENDS, Plan
from real_parts import Broker, WebhookServer, wait_for

NS = 1_000_000_000
_PLACES = (0, 4_096)
_PLACE_BYTES = 512
"""Where a cursor file is written in place; one of these is on the disk as a whole or not at all."""
_AROUND = ("broker away", "broker hangs", "server away", "server fails")


class World:
    """One part of the year: everything that the device needs, and its lives, one after another."""

    def __init__(self, folder: Path, plan: Plan, tell: Callable[[str], None] = lambda line: None) -> None:
        """Prepare ``folder``, which must not exist."""
        folder.mkdir(parents=True)
        self.folder, self.plan, self._tell = folder, plan, tell
        plan.write(folder / "plan.json")
        self._draw = random.Random(f"{plan.seed} world")
        self.broker, self.server = Broker(folder), WebhookServer()
        self._listener: rig.Listener
        self._lives: list[dict[str, Any]] = []
        self._broken: set[str] = set()

    def live(self) -> None:
        """Let the whole part pass.

        Raises:
            RuntimeError: The device's process ended otherwise than the plan says.
        """
        self.broker.start()
        self.server.start()
        # at once: a clean session would miss what is delivered before
        self._listener = rig.Listener(self.broker.port, "galago/porch/#").start()
        try:
            world = {"broker": self.broker.port, "server": self.server.url}
            (self.folder / "world.json").write_text(json.dumps(world))
            self._python("-c", f"from campaigns.year_device import *; make_root(Path({str(self.folder)!r}))")
            now_ns = boot_ns = 0
            faults = {round(fault.from_s * NS): fault for fault in self.plan.of(*ENDS)}
            while True:
                self._go_on(now_ns)
                ended = self._life(now_ns, boot_ns)
                self._lives.append({"from_ns": now_ns, "to_ns": ended["ns"], "ends": ended["ends"]})
                if ended["ends"] == "end":
                    break
                if ended["ends"] == "power cut":
                    self._lives[-1]["taken"] = self._cut()
                now_ns = round(faults[ended["ns"]].to_s * NS)
                if ended["ends"] == "power cut":
                    boot_ns = now_ns
            self._wait_for_listener()
        finally:
            self._listener.stop()
            self.server.stop()
            self.broker.stop()
        self._write()

    def _python(self, *command: str) -> None:
        subprocess.run([sys.executable, *command], check=True, cwd=ROOT)

    def _life(self, now_ns: int, boot_ns: int) -> dict[str, Any]:
        numbers = [str(len(self._lives)), str(now_ns), str(boot_ns)]
        command = [sys.executable, "-m", "campaigns.year_device", str(self.folder), *numbers]
        errors = self.folder / "device.err"
        with (
            errors.open("ab") as said,
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True, cwd=ROOT
            ) as process,
        ):
            assert process.stdin is not None and process.stdout is not None
            ended: dict[str, Any] = {}
            for line in process.stdout:
                asked = json.loads(line)
                if "ends" in asked:
                    ended = asked
                elif "do" in asked:
                    self._do(asked["do"], asked["begins"])
                elif "day" in asked:
                    self._tell(f"day {asked['day']} of {self.plan.days}")
                process.stdin.write("\n")
                process.stdin.flush()
        if not ended or process.returncode not in (0, -9):
            raise RuntimeError(
                f"life {len(self._lives)} ended with {process.returncode}: see {errors}: "
                f"{errors.read_text(errors='replace')[-2_000:]}"
            )
        return ended

    def _go_on(self, now_ns: int) -> None:
        """Do what happened around the device while it was not there."""
        now = {
            fault.kind
            for fault in self.plan.of(*_AROUND)
            if fault.from_s * NS < now_ns and now_ns < fault.to_s * NS
        }
        for kind in sorted(self._broken - now):
            self._do(kind, False)
        for kind in sorted(now - self._broken):
            self._do(kind, True)

    def _do(self, kind: str, begins: bool) -> None:
        (self._broken.add if begins else self._broken.discard)(kind)
        if kind == "broker away":
            self.broker.stop() if begins else self.broker.start()
        elif kind == "broker hangs":
            self.broker.hang() if begins else self.broker.unhang()
        elif kind == "server away":
            self.server.stop() if begins else self.server.start()
        elif kind == "server fails":
            self.server.status = 500 if begins else 200
        else:
            raise RuntimeError(f"nobody knows how to do {kind}")

    def _cut(self) -> int:
        """Take away some of what was written and not synced, as a disk would; return how many bytes."""
        taken = 0
        spool, notes = self.folder / "root" / "spool", self.folder / "notes"
        for path in sorted(spool.glob("*.spool")):
            length, note = path.stat().st_size, notes / f"{path.name}.length"
            synced = int(note.read_text()) if note.exists() else length
            if length > synced:
                left = self._draw.randint(synced, length)
                os.truncate(path, left)
                taken += length - left
        for path in sorted(spool.glob("*.cursor")):
            note = notes / f"{path.name}.synced"
            if not note.exists():
                continue
            now, then = path.read_bytes(), note.read_bytes()
            kept = bytearray(now)
            for place in _PLACES:
                if self._draw.random() < 0.5:
                    kept[place : place + _PLACE_BYTES] = then[place : place + _PLACE_BYTES]
            path.write_bytes(kept)
        return taken

    def _wait_for_listener(self) -> None:
        """Wait until everything that the broker has taken has come to the listener."""
        seen = -1

        def still() -> bool:
            nonlocal seen
            before, seen = seen, sum(self._listener.inbox.counts.values())
            return before == seen

        wait_for(self._listener.client.is_connected, "the listener's connection")
        wait_for(still, "the last message")

    def _write(self) -> None:
        """Write what the accountant reads."""
        (self.folder / "lives.json").write_text(json.dumps(self._lives))
        with (self.folder / "mqtt.jsonl").open("w") as file:
            for key, record in self._listener.inbox.records.items():
                line = {"key": key, "times": self._listener.inbox.counts[key], "record": record}
                file.write(json.dumps(line) + "\n")
        inbox = rig.Inbox()
        for request in self.server.accepted():
            inbox.take(request.body, request.key)
        with (self.folder / "webhook.jsonl").open("w") as file:
            for key, record in inbox.records.items():
                file.write(json.dumps({"key": key, "times": inbox.counts[key], "record": record}) + "\n")
