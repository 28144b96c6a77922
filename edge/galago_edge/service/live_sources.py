"""The live sources of a service: each is captured once, for all streams that name it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from galago_edge.contract.settings import SourceSettings
from galago_edge.contract.status import SourceStatus
from galago_edge.contract.streams import Gap
from galago_edge.recording.source_tap import SourceTap
from galago_edge.service.kept_views import KeptView
from galago_edge.service.live_taps import LiveTaps
from galago_edge.service.prepared_stream import PreparedStream
from galago_edge.service.watchdog import SourceProgress
from galago_edge.sources.capture import open_capture
from galago_edge.sources.capture.shared_connections import SharedConnections
from galago_edge.sources.fanout import Fanout
from galago_edge.sources.source_kind import Address
from galago_edge.sources.supervised_source import Supervised


@dataclass(slots=True)
class LiveSource:
    """One live source and the thread that captures it for all its streams."""

    name: str
    fanout: Fanout
    settings: SourceSettings
    tap: SourceTap | None = None
    """What records it."""
    thread: threading.Thread | None = None


class LiveSources:
    """All live sources, by their name."""

    def __init__(self, root: Path | None = None, taps: LiveTaps | None = None) -> None:
        """``root``: of the store, where what cameras see is kept; None: nothing is. ``taps`` record them."""
        self._root, self._taps = root, taps
        self._captures: dict[str, LiveSource] = {}
        self._shared = SharedConnections()

    def of(self, prepared: PreparedStream) -> LiveSource | None:
        """Return the live source of a stream, made if it is the first; None for what it reads alone.

        Raises:
            DeviceError: EXTRA_MISSING.
            ValueError: Two sources have one name: one of them could fail and nobody would see it.
        """
        address, settings, name = prepared.address, prepared.source, prepared.source_name
        if address is None or not address.reopens:
            return None
        rate_hz = getattr(prepared.bundle.spec, "sample_rate_hz", None)
        return self.add(name, address, settings, rate_hz)

    def add(self, name: str, address: Address, settings: SourceSettings, rate_hz: int | None) -> LiveSource:
        """Return the live source of this name, made if it is not there; ``rate_hz`` as of ``open_capture``.

        Raises:
            As :meth:`of`.
        """
        if name not in self._captures:
            taps = self._taps if self._taps is not None and self._taps.wants(name) else None
            packets = taps is not None
            self._shared.expect(address, settings, packets=packets)
            supervised = Supervised(
                name,
                lambda: (
                    self._shared.open(address, settings, rate_hz)
                    or open_capture(address, settings, rate_hz=rate_hz, packets=packets)
                ),
                address.modality,
                settings,
                keeper=self._keeper(name, settings) if address.modality == "camera" else None,
            )
            fanout = Fanout(supervised)
            tap = None if taps is None else taps.of(name, supervised)
            if tap is not None:
                fanout.listen(tap.item)
            self._captures[name] = LiveSource(name, fanout, settings, tap)
        found = self._captures[name]
        if found.settings.address != settings.address:
            raise ValueError(f"two sources are called {name}")
        return found

    def _keeper(self, name: str, settings: SourceSettings) -> KeptView | None:
        return None if self._root is None else KeptView(self._root, name, settings.address)

    def start(self) -> None:
        """Begin with those that have not begun."""
        for capture in self._captures.values():
            if capture.thread is None:
                capture.thread = threading.Thread(
                    target=capture.fanout.run, name=f"source {capture.name}", daemon=True
                )
                capture.thread.start()

    def stop(self) -> None:
        """Let each end its streams, when they have what it still holds. Does not wait."""
        for capture in self._captures.values():
            capture.fanout.stop()

    def join(self, timeout_s: float) -> None:
        """Wait for the end of each, at most ``timeout_s``."""
        for capture in self._captures.values():
            if capture.thread is not None:
                capture.thread.join(timeout_s)

    def statuses(self) -> dict[str, SourceStatus]:
        """Return how each is, by its name. From any thread."""
        return {capture.name: capture.fanout.status() for capture in list(self._captures.values())}

    def open_gaps(self) -> dict[str, Gap]:
        """Return what is missing now and is not told yet, by the name of the source."""
        found = {name: capture.fanout.open_gap() for name, capture in list(self._captures.items())}
        return {name: gap for name, gap in found.items() if gap is not None}

    def progress(self) -> list[SourceProgress]:
        """Return what shows that each is captured or tried."""
        found = []
        for capture in self._captures.values():
            status, own = capture.fanout.status(), capture.settings
            patience_s = 3 * (own.stall_s + own.open_s + own.backoff_max_s + own.breaker_s)
            mark = (status.items, status.connects, status.failures)
            found.append(SourceProgress(capture.name, mark, patience_s))
        return found
