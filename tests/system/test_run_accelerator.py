"""``galago run`` on a device whose profile has an accelerator: the whole way, with the real delegate path."""

from __future__ import annotations

import platform
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from galago_devices import profile_text
from galago_edge.bundle import TrustedKeys, open_bundle
from galago_edge.bundle.keys import key_id
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.records import EventRecord, Record, StateRecord, decode_record
from galago_edge.store import Store, install_bundle
from real_parts import wait_for
from real_parts.processes import DEADLINE_S
from test_kit import TEST_KEY, accepted_here, make_bundle, trust

GALAGO = (sys.executable, "-m", "galago_edge")
RATE_HZ = 16_000
POLICY = LabelPolicy(on=0.6, off=0.4, smoothing_windows=1, min_count=1, refractory_ms=0)


def device(root: Path, library: Path, mode: str, model: bytes, folder: Path) -> Path:
    """Make a store with a bundle for an Edge TPU, on a board that has one."""
    machine = {"x86_64": "generic-x86-64", "aarch64": "generic-arm64"}[platform.machine()]
    board = profile_text(machine)
    accelerator = (
        f'[accelerator.edgetpu]\nlibrary = "{library}"\nmax_latency_ratio = 100000.0\n'
        f'options = {{ mode = "{mode}", at = "40" }}\n'
    )
    root.mkdir()
    (root / "profile.toml").write_text(board.replace("\n[runtime]\n", f"\n{accelerator}\n[runtime]\n", 1))
    labels = [
        Label(name=name, background=not n, policy=POLICY) for n, name in enumerate(("quiet", "low", "high"))
    ]
    path = make_bundle(
        folder / "tones.galago", model, labels, modality="microphone", accelerated={"edgetpu": model}
    )
    trusted = TrustedKeys({key_id(TEST_KEY): "test"})
    install_bundle(Store(trust(root)), open_bundle(path), trusted, accepted_here)
    return root


CONFIG = f"""
[accelerator]
probe_s = 600.0
invoke_s = 600.0
[limits]
hang_s = 600.0
[[stream]]
name = "hall"
source = "pipe:-?rate={RATE_HZ}"
"""
"""A busy machine is no accelerator that hangs: only what it does itself ends it."""


class Service:
    """``galago run`` with a microphone on its standard input that hears a tone every other half second."""

    def __init__(self, root: Path, out: Path) -> None:
        self._out = out
        config = out.with_name("galago.toml")
        config.write_text(CONFIG)
        self._process = subprocess.Popen(
            [*GALAGO, "run", "--root", root, "--out", out, "--config", config],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._silent = threading.Event()
        self._thread = threading.Thread(target=self._play)
        self._thread.start()

    def _play(self) -> None:
        assert self._process.stdin is not None
        time_s = np.arange(RATE_HZ // 2) / RATE_HZ
        tone = np.rint(12_000 * np.sin(2 * np.pi * 300 * time_s)).astype("<i2").tobytes()
        pattern = tone + bytes(len(tone))
        block = RATE_HZ // 25 * 2
        try:
            while not self._silent.is_set():
                for start in range(0, len(pattern), block):
                    self._process.stdin.write(pattern[start : start + block])
                    self._process.stdin.flush()
                    if self._silent.wait(0.02):  # twice real time
                        return
        except BrokenPipeError:
            pass

    def records(self) -> list[Record]:
        data = self._out.read_bytes() if self._out.exists() else b""
        return [decode_record(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]

    def changes(self) -> list[str]:
        return [
            f"{record.state} {record.detail.get('reason', '')}".strip()
            for record in self.records()
            if isinstance(record, StateRecord) and record.subject == "backend"
        ]

    def backends(self) -> set[str]:
        return {
            record.backend + (f" {record.backend_reason}" if record.backend_reason else "")
            for record in self.records()
            if isinstance(record, EventRecord)
        }

    def end(self) -> tuple[int, str]:
        """Ask it to end; return exit code and standard error."""
        self._process.send_signal(signal.SIGTERM)
        self._silent.set()
        self._thread.join()
        _, errors = self._process.communicate(timeout=DEADLINE_S)
        return self._process.returncode, errors.decode()


def workers(library: Path) -> list[str]:
    """Return the processes in which this delegate is loaded."""
    found = []
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            if str(library) in maps.read_text():
                found.append(maps.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    ("mode", "changes", "backends"),
    [
        ("good", ["promoted"], {"edgetpu"}),
        ("create_fails", ["fallback delegate_load_failed"], {"cpu delegate_load_failed"}),
        ("prepare_crashes", ["fallback delegate_crashed"], {"cpu delegate_crashed"}),
        (
            "crashes",
            ["promoted", "fallback delegate_crashed"],
            {"edgetpu", "cpu delegate_crashed"},
        ),
    ],
)
def test_a_running_service_says_which_backend_decided_and_why(
    mode: str,
    changes: list[str],
    backends: set[str],
    delegate_library: Path,
    tiny_audio_model: bytes,
    tmp_path: Path,
) -> None:
    root = device(tmp_path / "root", delegate_library, mode, tiny_audio_model, tmp_path)
    service = Service(root, tmp_path / "events.jsonl")
    try:
        wait_for(lambda: service.changes() == changes, f"the backend to be {changes}")
        wait_for(lambda: backends <= service.backends(), f"events from {backends}")
        wait_for(lambda: len(workers(delegate_library)) == (mode == "good"), "only what decides to run")
    finally:
        code, errors = service.end()
    assert code == 0, errors
    assert "Traceback" not in errors
    wait_for(lambda: not workers(delegate_library), "the end of the accelerator's process")
