"""What soak.py breaks: cameras, microphones, a broker, a webhook, a clock, a disk, and the service."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaigns import service_rig as rig
from real_parts import (
    Broker,
    MjpegServer,
    RtspServer,
    SoundPipe,
    SoundServer,
    WallClock,
    WebhookServer,
    silence,
    tone,
)

FPS = 10
SOURCES = ("porch", "yard", "hall", "barn")
LABELS = {"porch": "bright", "yard": "bright", "hall": "low", "barn": "low"}
YEAR_S = 365 * 86_400
"""By how much the wall clock jumps."""
LATEST_S = 2.5
"""An event comes so soon after the end of its cue, or not at all."""
_DARK, _BRIGHT = 30, 225
_TONES_HZ = (300, 600, 1_000)
_CUE_S = 1.2
_PAUSE_S = (1.4, 2.4)
_DISK_MB = 24


@dataclass
class Cue:
    """Something to be seen or heard, once."""

    source: str
    on: float
    """Monotonic time."""
    off: float = 0.0
    disturbed: bool = False
    """Something was broken that this cue's decision needs."""


class World:
    """Everything around one running service; ends with ``stack``."""

    def __init__(self, folder: Path, seed: int, stack: ExitStack) -> None:
        """Start all parts, then the service.

        Raises:
            MissingPartError: A part is not installed.
        """
        self.folder = folder
        self._rng = random.Random(seed)
        self._stack = stack
        self.disk, self.can_fill_disk = self._make_disk()
        self.clock = WallClock(folder)
        self.rtsp = RtspServer(folder, fps=FPS)
        self.mjpeg = MjpegServer(fps=FPS)
        self.sound = SoundServer(folder)
        self.pipe = SoundPipe(folder / "barn.pcm")
        self.broker = Broker(folder)
        self.webhook = WebhookServer()
        for part in (self.rtsp, self.mjpeg, self.sound, self.pipe, self.broker, self.webhook):
            stack.callback(part.stop)
            part.start()
        bundles = [rig.levels_bundle(folder, rig.CUE_POLICY), rig.tones_bundle(folder, rig.CUE_POLICY)]
        self.root = rig.make_root(self.disk / "root", bundles)
        self.log = self.disk / "log" / "events.jsonl"
        self.log.parent.mkdir()
        config = folder / "galago.toml"
        config.write_text(rig.toml(self._settings()))
        self.listener = rig.Listener(self.broker.port, "soak/#").start()
        stack.callback(self.listener.stop)
        self.service = rig.Service(
            self.root, config, folder, {**self.sound.environment, **self.clock.environment}
        )
        stack.callback(self.service.kill)
        self.cues: list[Cue] = []
        self._broken: set[str] = set()
        self._running: dict[str, Cue] = {}
        self._due: dict[str, float] = {}
        for source in SOURCES:
            self._show(source, False)
        self.service.start()

    def _make_disk(self) -> tuple[Path, bool]:
        """Return a small disk where this user may mount one, else a folder."""
        disk = self.folder / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m", "galago-soak", str(disk)]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            return disk, False
        self._stack.callback(subprocess.run, ["umount", "--lazy", str(disk)], check=True)
        return disk, True

    def _settings(self) -> dict[str, Any]:
        return {
            "device": {"name": "soak"},
            "source": {
                "porch": {"address": f"camera:{self.rtsp.url}"},
                "yard": {"address": f"camera:{self.mjpeg.url}"},
                "hall": {"address": f"microphone:{self.sound.name}?rate={self.sound.rate_hz}"},
                "barn": {"address": f"pipe:{self.pipe.path}?rate={self.pipe.rate_hz}"},
            },
            "stream": [{"name": name, "source": name} for name in SOURCES],
            "spool": {"max_mb": 4, "sync_s": 1.0},
            "log": {"path": str(self.log), "max_mb": 1, "keep": 20},
            "mqtt": {"host": "127.0.0.1", "port": self.broker.port, "topic": "soak", "keepalive_s": 5},
            "webhook": {"url": self.webhook.url, "timeout_s": 2.0, "backoff_max_s": 4.0},
            "samples": {"dir": str(self.disk / "samples"), "mb_per_day": 2, "max_mb": 2},
        }

    # cues

    def play(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Give cues to every source that works for a while, or until something holds: whether it did."""
        deadline = time.monotonic() + seconds
        while (now := time.monotonic()) < deadline:
            for source in SOURCES:
                self._cue(source, now)
            if until is not None and until():
                return True
            time.sleep(0.05)
        return False

    def break_off(self, sources: tuple[str, ...]) -> None:
        """Give no more cues to these; what was just given may be decided or not."""
        now = time.monotonic()
        for source in sources:
            if source in self._running:
                self._end(source, now)
        for cue in self.cues:
            cue.disturbed |= cue.source in sources and cue.off > now - LATEST_S
        self._broken |= set(sources)

    def take_up(self, sources: tuple[str, ...]) -> None:
        """Give cues to these again, soon."""
        self._broken -= set(sources)

    def finish(self) -> None:
        """End the cues that run; they may have been too short to be decided."""
        for source in list(self._running):
            self._running[source].disturbed = True
            self._end(source, time.monotonic())

    def _cue(self, source: str, now: float) -> None:
        if source in self._broken:
            self._due[source] = now + 1.0
        elif source in self._running:
            if now >= self._running[source].on + _CUE_S:
                self._end(source, now)
        elif now >= self._due.setdefault(source, now + self._rng.uniform(*_PAUSE_S)):
            self._show(source, True)
            self._running[source] = Cue(source, time.monotonic())
            self.cues.append(self._running[source])

    def _end(self, source: str, now: float) -> None:
        self._show(source, False)
        self._running.pop(source).off = now
        self._due[source] = now + self._rng.uniform(*_PAUSE_S)

    def _show(self, source: str, on: bool) -> None:
        match source:
            case "porch":
                self.rtsp.level(_BRIGHT if on else _DARK)
            case "yard":
                self.mjpeg.level = _BRIGHT if on else _DARK
            case "hall":
                self.sound.sound = tone(_TONES_HZ) if on else silence
            case "barn":
                self.pipe.sound = tone(_TONES_HZ) if on else silence
