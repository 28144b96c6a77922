"""The demo's commands: which they are, and how they are run one after the other."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from galago_edge.contract.errors import CallerError, GalagoError, Reason
from galago_edge.host.machine import this_arch
from galago_workstation.demo.truth import CORPUS, GATES, WORSE

PROFILES = {"x86_64": "generic-x86-64", "aarch64": "generic-arm64"}


class StepError(GalagoError):
    """A command of the demo failed; its own message came before. The demo ends with its exit code.

    One that should have failed and did not ends it with 1.
    """

    def __init__(self, step: DemoStep, exit_code: int) -> None:
        wanted = f", expected {step.exit_code}" if step.exit_code else ""
        super().__init__(
            Reason.STEP_FAILED,
            f"`{step}` ended with exit code {exit_code}{wanted}",
            hint="its own message is above; run it again by itself once the cause is removed",
        )
        self.exit_code = exit_code or 1


@dataclass(frozen=True, slots=True)
class DemoStep:
    """One call of the ``galago`` command."""

    arguments: tuple[str, ...]
    exit_code: int = 0
    """How it must end."""

    def __str__(self) -> str:
        return shlex.join(("galago", *self.arguments))


@dataclass(frozen=True, slots=True)
class FinishedStep:
    """A step that went well."""

    step: DemoStep
    seconds: float
    output: str
    """What it printed, on both channels."""


@dataclass(frozen=True, slots=True)
class DemoStream:
    """One of the two ways through the product."""

    name: str
    """``camera`` or ``microphone``."""
    data: str
    """What ``galago demo-data`` makes for it; also the bundle's name."""
    recording: str

    def folder(self, out: Path) -> Path:
        """Return where its data lie."""
        return out / self.data

    def run(self, out: Path) -> Path:
        """Return its training run."""
        return out / "runs" / self.data

    def bundle(self, out: Path) -> Path:
        """Return its bundle."""
        return out / f"{self.data}-1.0.0.galago"

    def worse(self, out: Path) -> Path:
        """Return the bundle that is made worse on purpose."""
        return out / f"{self.data}-1.0.1.galago"

    def page(self, out: Path) -> Path:
        """Return the page that compares the two."""
        return out / f"{self.data}-diff.html"

    def events(self, out: Path) -> Path:
        """Return what the replay writes."""
        return out / self.data / "events.jsonl"


STREAMS = (
    DemoStream("camera", "digits", "recording.avi"),
    DemoStream("microphone", "alarms", "recording.wav"),
)


def this_profile() -> str:
    """Return the catalogue's profile for this computer.

    Raises:
        CallerError: TARGET_UNKNOWN; there is none.
    """
    arch = this_arch()
    if arch not in PROFILES:
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"the demo has no device profile for {arch}; it knows {', '.join(PROFILES)}",
            hint="run it on one of those",
        )
    return PROFILES[arch]


def plan(out: Path, profile: str, seed: int, streams: Sequence[DemoStream] = STREAMS) -> list[DemoStep]:
    """Return every command of the demo in order; all of them work below ``out``."""
    key, device = out / "keys" / "demo.pem", out / "device"
    lines: list[tuple[object, ...]] = [
        ("demo-data", stream.data, "--out", stream.folder(out), "--seed", seed) for stream in streams
    ]
    lines.append(("keys", "new", key))
    for stream in streams:
        run = stream.run(out)
        lines += [
            ("train", stream.folder(out) / f"{stream.data}.toml", "--out", run),
            ("convert", run),
            ("evaluate", run),
            (
                *("bundle", "build", run, "--key", key, "--name", stream.data, "--version", "1.0.0"),
                *("--release-counter", 1),
                *(word for name in PROFILES.values() for word in ("--device", name)),
                *("-o", stream.bundle(out)),
            ),
        ]
    lines += [
        ("devices", "show", profile, "-o", device / "profile.toml"),
        ("keys", "trust", f"{key}.pub", "--root", device),
        *(("install", stream.bundle(out), "--root", device) for stream in streams),
        ("status", "--root", device),
    ]
    for stream in streams:
        recording = stream.folder(out) / stream.recording
        line = ("replay", recording, "--bundle", stream.bundle(out), "--stream", stream.name, "--scores")
        lines.append((*line, "--out", stream.events(out)))
    steps = [_step(*line) for line in lines]
    for stream in STREAMS:
        steps += _compared(stream, out, key)
    return steps


def _compared(stream: DemoStream, out: Path, key: Path) -> list[DemoStep]:
    """Return how a bundle is made worse, and how that is noticed: the gates fail."""
    old, worse, folder = stream.bundle(out), stream.worse(out), stream.folder(out)
    made = ("bundle", "repolicy", old, folder / WORSE, "--key", key, "--version", "1.0.1", "-o", worse)
    compared = (
        *("qa", "diff", old, worse, folder / CORPUS, "--results", out / "results"),
        *("--gates", folder / GATES, "--html", stream.page(out)),
    )
    return [_step(*made), _step(*compared, exit_code=1)]


def _step(*line: object, exit_code: int = 0) -> DemoStep:
    return DemoStep(tuple(str(word) for word in line), exit_code)


def run_step(step: DemoStep, log: TextIO, echo: Callable[[str], None]) -> FinishedStep:
    """Run one command in a process of its own; every line goes to ``echo`` and ``log`` as it comes.

    Raises:
        StepError: It did not end as it must.
        OSError: The log cannot be written.
    """
    _say(f"$ {step}", log, echo)
    began = time.perf_counter()
    command = [sys.executable, "-m", "galago_edge", *step.arguments]
    lines = []
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            _say("  " + line.rstrip("\n"), log, echo)
    if process.returncode != step.exit_code:
        raise StepError(step, _exit_code(process.returncode))
    seconds = time.perf_counter() - began
    _say(f"  ({seconds:.1f} s)", log, echo)
    return FinishedStep(step, seconds, "".join(lines))


def _say(line: str, log: TextIO, echo: Callable[[str], None]) -> None:
    echo(line)
    log.write(line + "\n")
    log.flush()


def _exit_code(returncode: int) -> int:
    """Return what a shell would say: a process that a signal ended gives 128 and its number."""
    return returncode if returncode >= 0 else 128 + signal.Signals(-returncode).value
