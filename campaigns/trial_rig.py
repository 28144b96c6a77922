"""A device whose service tries new bundles: a store, a real camera, and processes one after another.

Used by bad_live.py and tests/system/test_service_trial.py. Bundles that misbehave hold real models
(tests/data/make_bad_models.py) where a model can do it; where it cannot, the process under test is told to
do it in the model's place.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from campaigns import DATA
from galago_edge.bundle import open_bundle
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.records import Record, StateRecord, decode_record
from galago_edge.contract.status import ServiceStatus, TrialStatus
from galago_edge.store import Store, install_bundle
from galago_edge.store.running_service import ask_status
from galago_edge.store.state import Slot
from real_parts import MjpegServer, wait_for
from real_parts.processes import DEADLINE_S
from test_kit import accepted_here, make_bundle, trust, with_model

POLICY = LabelPolicy(on=0.6, off=0.4, smoothing_windows=2, min_count=2, refractory_ms=100)
DARK, DARKER = 70, 20
"""Two levels that both mean ``dark``: the input changes, and no label is on that would have to end first."""
PATIENT_S = 60.0
"""How long everything may take that a busy machine makes late, where a test is not about just that."""
CONFIG = """
[device]
name = "porch"
[source.cam]
address = "camera:{url}"
stall_s = {stall_s}
open_s = 60.0
gap_ms = {gap_ms}
backoff_s = 0.1
backoff_max_s = 0.5
steady_s = 0.2
[limits]
hang_s = {hang_s}
memory_mb = {memory_mb}
[[stream]]
name = "door"
source = "cam"
bundle = "levels"
[stream.thresholds.{label}]
on = 0.61
{more}[log]
path = "events.jsonl"
"""
PROGRAM = """
import os, signal, sys
from galago_edge.service import prepared_stream
from galago_edge.sources.capture import jpeg_decoding
from galago_edge.commands.cli import main
from galago_edge.contract.errors import BundleError, Reason

load, kept = prepared_stream.load, []
ways = {version: way for way, version in (case.split("=") for case in os.environ["MISBEHAVE"].split())}

def misbehaving(bundle, **options):
    how = ways.get(bundle.manifest.bundle.version[0])
    if how == "load":
        raise BundleError(Reason.MODEL_BAD, "it does not load")
    loaded = load(bundle, **options)
    if how:
        engine, count = loaded.engine, [0]
        invoke = engine.invoke
        def bad():
            count[0] += 1
            if count[0] > 5 and how == "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            if count[0] > 5 and how == "fail":
                raise BundleError(Reason.MODEL_BAD, "an operator failed")
            if how == "memory":
                kept.append(b"x" * 8_000_000)
            invoke()
        engine.invoke = bad
    return loaded

prepared_stream.load = misbehaving
if "camera" in ways:
    decode = jpeg_decoding.decode_picture
    def greedy(*args, **options):
        kept.append(b"x" * 8_000_000)
        return decode(*args, **options)
    jpeg_decoding.decode_picture = greedy
main()
"""


class Device:
    """A store, a camera, and the service as processes one after another."""

    def __init__(self, folder: Path, camera: MjpegServer) -> None:
        self.folder, self.camera = folder, camera
        self.root = trust(folder / "root")
        self.log = folder / "events.jsonl"
        self.label = "bright"
        self.memory_mb = 0
        self.more = ""
        """Further tables of the configuration."""
        self.stall_s = self.hang_s = PATIENT_S
        self.process: subprocess.Popen[bytes]
        self.ids: dict[str, str] = {}
        self.install(1)

    def install(
        self, version: int, model: bytes | None = None, labels: str = "dark mid bright", **fields: Any
    ) -> str:
        """Install the version, on trial when there is one before it; ``by_card``: nobody has run it here."""
        accept = (lambda copy: {"mounted": True}) if fields.pop("by_card", False) else accepted_here
        bundle = open_bundle(self.make(version, model, labels, **fields))
        install_bundle(Store(self.root), bundle, Store(self.root).trusted(), accept)
        self.ids[f"{version}.0.0"] = bundle.id
        return bundle.id

    def make(self, version: int, model: bytes | None, labels: str, **fields: Any) -> Path:
        good = (DATA / "tiny_image.tflite").read_bytes()
        answers = model if model == (DATA / "bad_deaf.tflite").read_bytes() else good
        found = [Label(name=name, background=name == "dark", policy=POLICY) for name in labels.split()]
        info: dict[str, Any] = {"name": "levels", "version": f"{version}.0.0", "release_counter": version}
        plain = make_bundle(self.folder / "plain.galago", answers, found, **info)
        health = {"trial_s": 1, "max_trials": 2, "live__min_inferences": 8, "live__within_s": int(PATIENT_S)}
        health |= {"live__max_p99_ms": int(PATIENT_S * 1_000)} | fields
        path = self.folder / f"levels-{version}.galago"
        return with_model(plain, model or good, path, **{f"health__{key}": health[key] for key in health})

    @contextmanager
    def running(self, misbehave: str = "") -> Iterator[Device]:
        """Run the service; ``misbehave``: what it does in the place of models, as ``WAY=VERSION``, or of the
        camera: ``memory=camera``."""
        config = self.folder / "galago.toml"
        limits = {"stall_s": self.stall_s, "gap_ms": int(self.stall_s * 1_000), "hang_s": self.hang_s}
        limits["memory_mb"] = self.memory_mb
        text = CONFIG.format(url=self.camera.url, label=self.label, more=self.more, **limits)
        config.write_text(text)
        command = [sys.executable, "-c", PROGRAM, "run", "--root", str(self.root), "--config", str(config)]
        environment = {**os.environ, "MISBEHAVE": misbehave}
        with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment) as self.process:
            try:
                yield self
            finally:
                self.process.kill()

    def ends(self) -> int:
        """Wait until the process ends by itself."""
        return self.process.wait(DEADLINE_S)

    def hup(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def records(self) -> list[Record]:
        data = self.log.read_bytes() if self.log.exists() else b""
        return [decode_record(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]

    def told(self, state: str) -> list[dict[str, Any]]:
        """Return what was said of bundles with this state."""
        return [
            record.detail
            for record in self.records()
            if isinstance(record, StateRecord) and (record.subject, record.state) == ("bundle", state)
        ]

    def status(self) -> ServiceStatus | None:
        return ask_status(self.root, timeout_s=DEADLINE_S)

    def runs(self) -> str | None:
        """Return the version that the stream runs; None while there is none."""
        status = self.status()
        return status.streams[0].version if status is not None and status.streams else None

    def windows(self) -> int:
        status = self.status()
        return status.streams[0].windows if status is not None and status.streams else 0

    def trial(self) -> TrialStatus | None:
        status = self.status()
        return status.trials[0] if status is not None and status.trials else None

    def slot(self) -> Slot:
        return Store(self.root).state().slots["levels"]

    def until(self, condition: Callable[[], object], what: str) -> None:
        def checked() -> object:
            assert self.process.poll() is None, self.process.stderr and self.process.stderr.read().decode()
            return condition()

        wait_for(checked, what)

    def is_left(self, version: int, reason: str) -> None:
        """Check that version 1 runs again and goes on, and that the record says why."""
        bad = self.ids[f"{version}.0.0"]

        def told() -> dict[str, Any] | None:
            return next((said for said in self.told("rolled_back") if said.get("bundle") == bad), None)

        self.until(told, f"the rollback of version {version}")
        assert (told() or {})["reason"] == reason
        self.until(lambda: self.runs() == "1.0.0", "the old bundle")
        before = self.windows()
        self.until(lambda: self.windows() > before, "windows")
        self.is_recorded(version, reason)

    def is_recorded(self, version: int, reason: str) -> None:
        """Check what lies on the disk."""
        slot, bad = self.slot(), self.ids[f"{version}.0.0"]
        assert slot.active.id == self.ids["1.0.0"] and slot.trial is None
        assert bad in slot.bad
        events = [event for event in Store(self.root).state().history if event.action == "rollback"]
        assert events[-1].reason.startswith(reason) and events[-1].id == bad
