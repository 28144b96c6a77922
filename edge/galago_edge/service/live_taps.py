"""The recorders of a service: one for each live source that ``[recording]`` names."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import galago_edge
from galago_edge.contract.errors import DeviceError
from galago_edge.contract.records import Record
from galago_edge.contract.settings import RecordingSettings
from galago_edge.contract.status import RecordingStatus
from galago_edge.engine import runtime
from galago_edge.host.wall_clock import clock_synced
from galago_edge.recording.source_tap import SourceTap
from galago_edge.recording.tap_folder import TapFolder
from galago_edge.recording.tap_writer import OpenTap
from galago_edge.sources.supervised_source import Supervised

_LIBRARIES = ("numpy", "opencv-python-headless", "av")
"""What computes pixels and samples."""


def environment() -> dict[str, str]:
    """Return what decides here: versions by distribution, and the kind of machine."""
    found = {"galago-edge": galago_edge.__version__, "machine": platform.machine()}
    try:
        info = runtime()
        found[info.package] = info.version
    except DeviceError:  # sources can be recorded without one
        found["runtime"] = "none"
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


class LiveTaps:
    """All taps, by the name of their source. Made and closed by the service's thread; asked by any."""

    def __init__(
        self,
        settings: RecordingSettings,
        root: Path,
        device: str,
        tell: Callable[[Sequence[Record]], None],
        open_tap: OpenTap,
        *,
        keeps_all: bool = False,
    ) -> None:
        """Record into the folder of ``settings``, or below ``root``, the store's.

        ``keeps_all``: nothing is deleted there; without room nothing is recorded.

        ``tell`` takes what there is to say about recordings, in a tap's thread; ``open_tap`` begins each.
        """
        self._settings = settings
        self._device = device
        self._tell, self._open_tap = tell, open_tap
        self.folder = TapFolder(settings, root, synced=clock_synced, keeps_all=keeps_all)
        self._taps: dict[str, SourceTap] = {}

    def wants(self, source: str) -> bool:
        """Tell whether a source is to be recorded."""
        return not self._settings.sources or source in self._settings.sources

    def of(self, source: str, supervised: Supervised) -> SourceTap:
        """Return the recorder of a source, which is made now."""

        def about() -> dict[str, object]:
            return {
                "v": 1,
                "device": self._device,
                "environment": environment(),
                "name": source,
                "modality": supervised.modality,
                "source": supervised.description(),
                "damaged": supervised.settings.damaged,
                "zero_ns": supervised.zero_ns,
                "monotonic_ns": time.monotonic_ns(),
                "wall_ns": time.time_ns(),
                "clock_synced": clock_synced(),
            }

        tap = SourceTap(source, self._settings, self.folder, self._open_tap, self._tell, about)
        self._taps[source] = tap
        return tap

    def status(self) -> RecordingStatus:
        """Return what is recorded and what was lost. Never waits for a disk."""
        taps = list(self._taps.values())
        files, size = self.folder.known()
        lost: Counter[str] = Counter()
        for tap in taps:
            lost.update(tap.lost)
        return RecordingStatus(
            mode=self._settings.mode,
            files=files,
            bytes=size,
            max_bytes=self.folder.max_bytes,
            sources=tuple(tap.source for tap in taps),
            writing=tuple(tap.source for tap in taps if tap.writing),
            finished=sum(tap.finished for tap in taps),
            deleted=self.folder.deleted,
            short=sum(tap.short for tap in taps),
            lost=dict(sorted(lost.items())),
            fault=next((f"{tap.source}: {tap.fault}" for tap in taps if tap.fault), ""),
        )

    def close(self) -> None:
        """Write what waits, a few seconds at most, and make every recording whole."""
        for tap in self._taps.values():
            tap.close()
