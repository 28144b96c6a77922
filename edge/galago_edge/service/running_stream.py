"""One stream of a service, and the thread in which it decides."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from galago_edge.contract.errors import GalagoError
from galago_edge.contract.records import Record
from galago_edge.contract.status import SourceStatus, StreamStatus
from galago_edge.contract.streams import Frame
from galago_edge.pipeline.driver import Decides, drive
from galago_edge.recording import Attacher
from galago_edge.service.attached_stream import AttachedStream
from galago_edge.service.live_sources import LiveSource
from galago_edge.service.live_stream import LiveStream
from galago_edge.service.outlet import Outlet
from galago_edge.service.prepared_stream import PreparedStream
from galago_edge.service.status_report import stream_status
from galago_edge.service.watchdog import StreamProgress
from galago_edge.sources import Source
from galago_edge.sources.picture_view import PictureViewer

Ended = Callable[["RunningStream", BaseException | None], None]
"""Told, in the stream's own thread, that it has ended, and why if that is a failure."""


class RunningStream:
    """Walks one source through one :class:`LiveStream`, to the end of either, in a thread of its own."""

    def __init__(
        self,
        prepared: PreparedStream,
        live: LiveStream,
        capture: LiveSource | None = None,
        source: Source | None = None,
        attacher: Attacher | None = None,
    ) -> None:
        """``source`` is what ``capture`` gives to this stream; without them it opens its own, later.

        ``attacher`` keeps the picture or the sound of its events.
        """
        self.prepared = prepared
        self.live = live
        self._capture = capture
        self._source = source
        self._attacher = attacher
        self._stopping = False
        self._emitting_since_ns: int | None = None
        self._described = ""
        self.ended = False

    @property
    def name(self) -> str:
        """Name of the stream."""
        return self.live.name

    @property
    def source_name(self) -> str:
        """Name of its source, without credentials."""
        return self.prepared.source_name

    @property
    def bundle_name(self) -> str:
        """Name of the bundle that decides, under which the store may have another one."""
        return self.live.manifest.bundle.name

    @property
    def bundle_id(self) -> str:
        """Id of the bundle that decides now."""
        return self.live.bundle_id

    @property
    def attaches(self) -> bool:
        """Whether its events get pictures or sounds."""
        return self._attacher is not None

    @property
    def endless(self) -> bool:
        """Whether its source is reopened when it ends, so that the stream must not end by itself."""
        return self._capture is not None

    @property
    def end_ns(self) -> int:
        """Stream time up to which it has come."""
        return self.live.coverage.end_ns

    def start(self, outlet: Outlet, ended: Ended) -> None:
        """Begin to decide, in a new thread."""
        self._describe(outlet)
        threading.Thread(
            target=self._run, args=(outlet, ended), name=f"stream {self.name}", daemon=True
        ).start()

    def stop(self) -> None:
        """Read no more of what this stream reads alone.

        One that shares a source is ended by it, when it has what the source still holds.
        """
        self._stopping = True
        if self._source is not None and not self.endless:
            self._source.stop()

    def status(self, source: SourceStatus | None) -> StreamStatus:
        """Return how it is now; ``source`` is how its source is, None when this stream alone reads it."""
        return stream_status(self.live, source, self.source_name, ended=self.ended)

    def progress(self) -> StreamProgress:
        """Return what its thread is doing."""
        return StreamProgress(self.name, self.live.busy_since_ns, self._emitting_since_ns)

    def latest_frame(self) -> Frame | None:
        """Return the newest frame of its camera as this stream sees it; None when there is none."""
        frame = self._capture.fanout.latest() if self._capture is not None else None
        if frame is None or not (view := self.prepared.view):
            return frame
        return PictureViewer(view).frame(frame)

    def on_trial_id(self) -> str | None:
        """Return the id of the bundle that works on an item now, if it is on trial."""
        build = self.live.working
        return build.bundle_id if build is not None and build.judge is not None else None

    def _run(self, outlet: Outlet, ended: Ended) -> None:
        failure: BaseException | None = None
        try:
            failure = self._walk(outlet)
        except BaseException as error:  # noqa: BLE001 handed to the thread that waits for it
            failure = error
        finally:
            if self._attacher is not None:
                self._attacher.close()
            self.ended = True
            ended(self, failure)

    def _describe(self, outlet: Outlet) -> None:
        """Let the sinks know what is decided, before the first record with another bundle and no earlier.

        One that was offered may never take over.
        """
        build = self.live.build
        if build.bundle_id != self._described:
            self._described = build.bundle_id
            outlet.describe(self.name, build.manifest)

    def _walk(self, outlet: Outlet) -> GalagoError | None:
        tap = self._capture.tap if self._capture is not None else None

        def emit(records: Sequence[Record]) -> None:
            self._emitting_since_ns = time.monotonic_ns()
            self._describe(outlet)
            outlet.deliver(records)
            self._emitting_since_ns = None
            if self._attacher is not None:
                self._attacher.told(records)
            if tap is not None:
                tap.told(records)

        if self._source is None:
            try:
                self._source = self.prepared.open_source()
            except GalagoError as failure:
                emit(self.live.absent(failure))
                return failure
        if self._stopping:  # somebody said so while it was being opened
            self.stop()
        decides: Decides = self.live
        if self._attacher is not None:
            decides = AttachedStream(decides, self._attacher)
        return drive(self._source, decides, emit, whole=lambda: not (self._stopping or self.endless))
