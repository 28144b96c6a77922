"""A device that records: an MJPEG camera, an RTSP camera of H.264 and a microphone, all real, on loopback.

Used by recording_round_trip.py and recording_kills.py.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaigns import service_rig as rig
from real_parts import MjpegServer, RtspServer, SoundServer, silence, tone

FPS = 10
RATE_HZ = 16_000
SOURCES = {"yard": "camera", "gate": "camera", "hall": "microphone"}
"""Name to modality; a stream of the name ``at-`` NAME decides on each."""
STALL_S = 2.0
"""So long a source may be silent before that is an outage."""
_SHOWN_S = 1.0
_DARK, _BRIGHT = 30, 225


def stream_of(source: str) -> str:
    """Return the stream on a source."""
    return f"at-{source}"


@dataclass(frozen=True)
class Outage:
    """A source is away for a while."""

    source: str
    name: str
    begin: Callable[[], object]
    end: Callable[[], object]


class RecordedWorld:
    """The sources, and a service that records them; ends with ``stack``."""

    def __init__(self, folder: Path, stack: ExitStack, prefix: tuple[str, ...] = ()) -> None:
        """Start the sources; the service is started by ``service.start``.

        Raises:
            MissingPartError: A part is not installed.
        """
        self.folder = folder
        self.mjpeg = MjpegServer(fps=FPS)
        self.rtsp = RtspServer(folder, fps=FPS)
        self.sound = SoundServer(folder, rate_hz=RATE_HZ)
        for part in (self.mjpeg, self.rtsp, self.sound):
            stack.callback(part.stop)
            part.start()
        levels, tones = rig.levels_bundle(folder, rig.CUE_POLICY), rig.tones_bundle(folder, rig.CUE_POLICY)
        self.bundles = {name: tones if kind == "microphone" else levels for name, kind in SOURCES.items()}
        root = rig.make_root(folder / "root", [levels, tones])
        self.log = folder / "events.jsonl"
        self.recordings = folder / "recordings"
        config = folder / "galago.toml"
        config.write_text(rig.toml(self._settings()))
        environment = self.sound.environment
        self.service = rig.Service(root, config, folder, environment, "--scores", prefix=prefix)
        stack.callback(self.service.kill)
        self._lit = itertools.cycle((True, False))
        self._due_s = 0.0

    def _settings(self) -> dict[str, Any]:
        addresses = {
            "yard": f"camera:{self.mjpeg.url}",
            "gate": f"camera:{self.rtsp.url}",
            "hall": f"microphone:{self.sound.name}?rate={RATE_HZ}",
        }
        return {
            "device": {"name": "recorded"},
            "source": {name: {"address": text, "stall_s": STALL_S} for name, text in addresses.items()},
            "stream": [{"name": stream_of(name), "source": name} for name in SOURCES],
            "log": {"path": str(self.log), "max_mb": 1_000},
            "recording": {"mode": "always", "dir": str(self.recordings), "minutes": 60, "keep_free_mb": 0},
        }

    def outages(self) -> list[Outage]:
        """Return two for each source: it goes away, and it falls silent."""
        mjpeg, rtsp, sound = self.mjpeg, self.rtsp, self.sound
        return [
            Outage("yard", "the MJPEG camera is switched off", mjpeg.stop, mjpeg.start),
            Outage("gate", "the RTSP camera is switched off", rtsp.stop, rtsp.start),
            Outage("hall", "the microphone is unplugged", sound.unplug, sound.plug_in),
            Outage("yard", "the MJPEG camera sends nothing", *_switch(mjpeg, "stalled")),
            Outage("gate", "the RTSP camera sends nothing", rtsp.stall, rtsp.resume),
            Outage("hall", "the sound server hangs", sound.hang, sound.unhang),
        ]

    def play(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Show dark and bright, silence and tones in turn for a while, or until something holds."""
        end_s = time.monotonic() + seconds
        while (now_s := time.monotonic()) < end_s:
            if now_s >= self._due_s:
                self._due_s = now_s + _SHOWN_S
                lit = next(self._lit)
                self.mjpeg.level = _BRIGHT if lit else _DARK
                self.rtsp.level(_BRIGHT if lit else _DARK)
                self.sound.sound = tone((300, 600, 1_000)) if lit else silence
            if until():
                return True
            time.sleep(0.05)
        return False

    def suffer(self, outage: Outage, away_s: float) -> bool:
        """Let a source be away; return whether it gives something afterwards."""
        outage.begin()
        self.play(away_s)
        outage.end()
        before = self._items(outage.source)
        return self.play(60.0, until=lambda: self._items(outage.source) > before)

    def flows(self) -> bool:
        """Tell whether every source gives something."""
        status = self.service.status()
        return (
            status is not None
            and len(status.sources) == len(SOURCES)
            and all(source.items for source in status.sources)
        )

    def _items(self, source: str) -> int:
        status = self.service.status()
        return 0 if status is None else sum(one.items for one in status.sources if one.name == source)


def _switch(part: object, name: str) -> tuple[Callable[[], object], Callable[[], object]]:
    return lambda: setattr(part, name, True), lambda: setattr(part, name, False)
