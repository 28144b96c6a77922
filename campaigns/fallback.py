"""What every fault of an accelerator does to a stream: the fallback table.

    .venv/bin/python -m campaigns.fallback

A camera stream runs through ``galago_edge.pipeline.DecidingStream`` with a bundle that has a model for an
accelerator. That is the external delegate of tests/data/test_delegate.c, loaded by the runtime's own
``load_delegate`` in a process of its own; in each row it fails in another way. Every window that went in must
come out decided, with the CPU's answer. Prints the table, writes campaigns/out/fallback.json and ends with 1
when a window was lost, answered otherwise, or another state was shown than the one that the row promises.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from campaigns import DATA, OUT
from galago_edge.bundle import Bundle, open_bundle
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.profile import Accelerator
from galago_edge.contract.records import EventRecord, ScoresRecord, StateRecord
from galago_edge.contract.settings import AcceleratorSettings
from galago_edge.contract.streams import Frame
from galago_edge.engine import Engine
from galago_edge.pipeline import DecidingStream, LoadedBundle, load
from test_kit import make_bundle

MODEL = DATA / "tiny_image.tflite"
NAME = "testdelegate"
LABELS = ("dark", "mid", "bright")
DEADLINE_S = 60.0
WINDOWS = 40
"""So many windows follow what the row is about."""
BEFORE = 1 + 3 + 8
"""Runs of an accelerator before it gets the stream: one while loading, the golden samples, the timed ones."""
AT = BEFORE + 6
"""Faults in mid-stream come with the fifth window or so."""
PATIENT = {"probes": 1, "probe_s": 60.0, "invoke_s": 30.0, "cool_down_s": 3600.0}
"""A busy machine is no fault."""
FAST_ENOUGH = 100_000.0
"""The model of the tests takes microseconds, and the way to another process takes tens of them."""


@dataclass(frozen=True)
class Case:
    """One way to fail, and what must be shown for it."""

    name: str
    options: dict[str, str]
    states: tuple[str, ...]
    """What the ``state`` records of the subject ``backend`` say, in order."""
    settings: dict[str, Any] = field(default_factory=dict)
    ratio: float = FAST_ENOUGH
    kill: bool = False
    """Kill its process from outside once it has the stream."""
    repair: bool = False
    """The fault goes away after the first fall."""


def _mode(mode: str, at: int = 1) -> dict[str, str]:
    return {"mode": mode, "at": str(at)}


def _fallback(reason: str) -> tuple[str, ...]:
    return (f"fallback {reason}",)


PROMOTED = ("promoted",)
CASES = (
    Case("works", _mode("good"), PROMOTED),
    Case("gives no delegate", _mode("create_fails"), _fallback("delegate_load_failed")),
    Case("refuses the model", _mode("prepare_fails"), _fallback("delegate_prepare_failed")),
    Case("crashes at the model", _mode("prepare_crashes"), _fallback("delegate_crashed")),
    Case("hangs at the model", _mode("prepare_hangs"), _fallback("delegate_hung"), {"probe_s": 2.0}),
    Case("takes no operator", _mode("takes_nothing"), _fallback("not_applied")),
    Case("fails at the first run", _mode("invoke_fails"), _fallback("invoke_failed")),
    Case("computes wrong numbers", _mode("wrong"), _fallback("parity_failed")),
    Case("is slower than the CPU", _mode("slow"), _fallback("too_slow"), ratio=20.0),
    Case("fails in mid-stream", _mode("invoke_fails", AT), PROMOTED + _fallback("invoke_failed")),
    Case("crashes in mid-stream", _mode("crashes", AT), PROMOTED + _fallback("delegate_crashed")),
    Case("hangs in mid-stream", _mode("hangs", AT), PROMOTED + _fallback("delegate_hung"), {"invoke_s": 2.0}),
    Case("is killed between windows", _mode("good"), PROMOTED + _fallback("delegate_crashed"), kill=True),
    Case(
        "goes wrong in mid-stream",
        _mode("wrong", AT),
        PROMOTED + _fallback("parity_failed"),
        {"recheck_s": 1e-6},  # asked again before every window, so that no wrong answer comes out
    ),
    Case(
        "leaks in mid-stream",
        _mode("leaks", AT),
        PROMOTED + _fallback("delegate_leaks"),
        {"recheck_s": 1e-6, "memory_mb": 128},
    ),
    Case(
        "crashes and is repaired",
        _mode("crashes", AT),
        (*PROMOTED, *_fallback("delegate_crashed"), *PROMOTED),
        {"cool_down_s": 0.2},
        repair=True,
    ),
)


@dataclass
class Row:
    """What happened."""

    case: str
    states: list[str]
    messages: list[str]
    given: int
    decided: int
    otherwise: int
    """Windows whose answer is not the CPU's."""
    by_backend: dict[str, int]
    events: dict[str, int]
    """Events by ``backend`` and ``backend_reason``."""
    longest_ms: float
    """Longest time from a frame to its decision."""

    @property
    def lost(self) -> int:
        """Windows that went in and never came out."""
        return self.given - self.decided


def bundle_in(folder: Path) -> Bundle:
    """Return a bundle whose model takes an accelerator too; every bright frame is an event."""
    policy = LabelPolicy(on=0.6, off=0.5, smoothing_windows=1, min_count=1, refractory_ms=0)
    labels = [Label(name=name, background=name != "bright", policy=policy) for name in LABELS]
    model = MODEL.read_bytes()
    return open_bundle(make_bundle(folder / "fallback.galago", model, labels, accelerated={NAME: model}))


def run_case(case: Case, bundle: Bundle, library: Path, folder: Path) -> Row:
    """Run one stream until the states of ``case`` were shown, and ``WINDOWS`` frames beyond."""
    options = dict(case.options)
    broken = folder / "broken"
    if case.repair:
        broken.touch()
        options["while"] = str(broken)
    loaded = load(
        bundle,
        accelerators={NAME: Accelerator(library=str(library), options=options, max_latency_ratio=case.ratio)},
        accelerator_settings=AcceleratorSettings(**{**PATIENT, **case.settings}),
    )
    try:
        return _Run(case, loaded, broken).run()
    finally:
        loaded.close()


class _Run:
    def __init__(self, case: Case, loaded: LoadedBundle, broken: Path) -> None:
        self.case, self.loaded, self.broken = case, loaded, broken
        self.stream = DecidingStream("fallback", loaded, scores=True)
        self.truth = Engine(MODEL.read_bytes())
        self.row = Row(case.name, [], [], 0, 0, 0, {}, {}, 0.0)

    def run(self) -> Row:
        deadline = time.monotonic() + DEADLINE_S
        while tuple(self.row.states) != self.case.states and time.monotonic() < deadline:
            if len(self.row.states) > len(self.case.states):
                break
            self._window()
            if self.case.kill and self.row.states == ["promoted"]:
                _kill_worker()
            if self.case.repair and len(self.row.states) == 2:
                self.broken.unlink(missing_ok=True)
            time.sleep(0.005)  # a camera is slower still
        for _ in range(WINDOWS):
            self._window()
        return self.row

    def _window(self) -> None:
        row, index = self.row, self.row.given
        pixels = np.full((24, 32, 3), (20, 128, 240, 60)[index % 4], np.uint8)
        start = time.perf_counter()
        records = self.stream.push(Frame(pixels, index, index * 33_000_000))
        row.longest_ms = max(row.longest_ms, (time.perf_counter() - start) * 1000)
        row.given += 1
        self.truth.input_view()[...] = pixels[0, 0, 0]
        self.truth.invoke()
        for record in records:
            if isinstance(record, ScoresRecord):
                row.decided += 1
                backend = self.loaded.engine.backend
                row.by_backend[backend] = row.by_backend.get(backend, 0) + 1
                difference = np.array(record.logits) - self.truth.logits()
                row.otherwise += bool(np.abs(difference).max() > 1)
            elif isinstance(record, EventRecord):
                by = record.backend + (f" ({record.backend_reason})" if record.backend_reason else "")
                row.events[by] = row.events.get(by, 0) + 1
            elif isinstance(record, StateRecord) and record.subject == "backend":
                reason = record.detail.get("reason")
                row.states.append(f"{record.state} {reason}" if reason else record.state)
                row.messages.append(record.detail.get("message", ""))


def _kill_worker() -> None:
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            if "engine.worker" in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(int(pid), signal.SIGKILL)


def main() -> int:
    """Run every case, print the table, write it as JSON."""
    from real_parts import build_delegate

    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle, library = bundle_in(folder), build_delegate(folder)
        for case in CASES:
            rows.append(run_case(case, bundle, library, folder))
            print(f"  {case.name}", file=sys.stderr)
    print("| the accelerator | windows | lost | other answer | state shown | what was said |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        said = next((message for message in row.messages if message), "")
        print(
            f"| {row.case} | {row.given} | {row.lost} | {row.otherwise} | {', then '.join(row.states)} "
            f"| {said.removeprefix(f'{NAME}: ')} |"
        )
    out = OUT / "fallback.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
    missed = [
        row.case
        for case, row in zip(CASES, rows, strict=True)
        if row.lost or row.otherwise or tuple(row.states) != case.states
    ]
    if missed:
        print(f"not as promised: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
