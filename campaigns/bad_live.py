"""Lets a running service try bundles that are good at the install and bad live.

    .venv/bin/python -m campaigns.bad_live [--only NAME,...] [--out FILE]

Each row is a device that runs a good bundle on a camera; a newer one is installed, and the service is told by
SIGHUP. A process that ends is restarted, as systemd does. The row is right when the old bundle decides
again and the record gives the reason, or, for a good one, when it is committed; for one that was committed by
hand, when the records say why another one runs. ``after``: from SIGHUP until then;
``blind``: what the records say that nobody watched, ``starts``: processes in all. Prints the table,
writes campaigns/out/bad_live.json and ends with 1 when a row is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from campaigns import DATA, OUT
from campaigns.trial_rig import DARK, DARKER, Device
from galago_edge.contract.errors import GalagoError
from galago_edge.contract.records import GapRecord
from galago_edge.store import Store
from galago_edge.store.transitions import commit
from real_parts import MjpegServer
from test_kit import set_numbers

LIMIT_S = 120.0
STALL_S, HANG_S = 1.0, 1.5
"""A short silence is told here, and a model hangs soon: this machine is expected to do nothing else."""


@dataclass(frozen=True)
class Case:
    """One newer bundle, and how its trial must end."""

    name: str
    reason: str
    """``committed``, or the reason of the rollback."""
    install: dict[str, Any] = field(default_factory=dict)
    misbehave: str = ""
    sees: Callable[[Device], None] = lambda device: None
    """What happens before the camera once the new bundle runs."""
    memory_mb: int = 0
    committed: bool = False
    """By hand, before it shows what it is: then it stays in the record and another one runs."""


@dataclass(frozen=True)
class Row:
    """How it ended."""

    case: str
    expected: str
    met: str
    after_s: float
    blind_s: float
    starts: int

    @property
    def right(self) -> bool:
        return self.met == self.expected


def _model(name: str, **numbers: int) -> bytes:
    return set_numbers((DATA / f"bad_{name}.tflite").read_bytes(), **numbers)


def _glare(device: Device) -> None:
    device.camera.level = 255


LONG = {"trial_s": 60}
CASES = (
    Case("good", "committed", {"trial_s": 2}),
    Case("fails on live input", "MODEL_BAD", LONG, "fail=2"),
    Case("crashes when it is loaded", "LOAD_CRASH", LONG | {"model": _model("crash"), "by_card": True}),
    Case("crashes on live input", "TRIAL_FAILED", LONG, "crash=2"),
    Case("too slow", "TOO_SLOW", LONG | {"model": _model("loop", turns=200_000), "live__max_p99_ms": 5}),
    Case("hangs at a glare", "HUNG", LONG | {"model": _model("loop", turns_bright=10**9)}, sees=_glare),
    Case("eats memory", "MEMORY_LIMIT", LONG, "memory=2", memory_mb=250),
    Case("one answer to everything", "CONSTANT_ANSWER", {"model": _model("deaf"), "trial_s": 2}),
    Case("lacks a label of the device", "CONFIG_BAD", LONG | {"labels": "dark mid lit"}),
    Case("crashes behind its commit", "LOAD_CRASH", misbehave="crash=2", committed=True),
)


def run(case: Case, folder: Path) -> Row:
    """Let one device try one bundle."""
    camera = MjpegServer(size=(64, 48), fps=20)
    camera.levels = (DARK, DARKER)
    camera.start()
    try:
        device = Device(folder, camera)
        device.memory_mb = case.memory_mb
        device.stall_s, device.hang_s = STALL_S, HANG_S
        return _run(case, device)
    finally:
        camera.stop()


def _run(case: Case, device: Device) -> Row:
    starts, begun, shown = 0, 0.0, False
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        starts += 1
        with device.running(case.misbehave):
            if not begun:
                device.until(lambda: device.windows() > 3, "windows")
                device.install(2, **case.install)
                if case.committed:
                    commit(Store(device.root), "levels")
                begun = time.monotonic()
                device.hup()
            while device.process.poll() is None and time.monotonic() < deadline:
                met = _passed_over(device) if case.committed else _met(device)
                if met == "committed" or (met and _runs(device) == "1.0.0"):
                    return Row(
                        case.name, case.reason, met, time.monotonic() - begun, _blind_s(device), starts
                    )
                if not shown and _runs(device) == "2.0.0":
                    shown = True
                    case.sees(device)
                time.sleep(0.05)
    return Row(case.name, case.reason, "no end", time.monotonic() - begun, _blind_s(device), starts)


def _met(device: Device) -> str:
    """Return how the record says that the trial of version 2 ended; empty before it has."""
    for event in Store(device.root).state().history:
        if event.id == device.ids["2.0.0"] and event.action in ("commit", "rollback"):
            return "committed" if event.action == "commit" else event.reason.partition(":")[0]
    return ""


def _passed_over(device: Device) -> str:
    """Return why another one runs than the committed one; empty while it runs."""
    return next((str(said["reason"]) for said in device.told("fallback")), "")


def _runs(device: Device) -> str | None:
    """Return the version that decides now, None while there is none or the process is ending."""
    with contextlib.suppress(GalagoError):
        if device.windows():
            return device.runs()
    return None


def _blind_s(device: Device) -> float:
    gaps = [record for record in device.records() if isinstance(record, GapRecord)]
    return sum(gap.to_ns - gap.from_ns for gap in gaps[1:]) / 1e9  # the first is the camera's first picture


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases, print the table, write the figures."""
    parser = argparse.ArgumentParser(description="Lets a running service try bundles that are bad live.")
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--out", type=Path, default=OUT / "bad_live.json")
    options = parser.parse_args(arguments)
    only = {name for name in options.only.split(",") if name}
    rows = []
    print(f"{'bundle':<30}{'ends with':<18}{'after s':>8}{'blind s':>9}{'starts':>8}")
    for case in CASES:
        if only and case.name not in only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            row = run(case, Path(folder))
        rows.append(row)
        wrong = "" if row.right else f"   WRONG, {row.expected} was expected"
        print(
            f"{row.case:<30}{row.met:<18}{row.after_s:>8.1f}{row.blind_s:>9.1f}{row.starts:>8}{wrong}",
            flush=True,
        )
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps([asdict(row) | {"right": row.right} for row in rows], indent=2) + "\n")
    return 0 if rows and all(row.right for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
