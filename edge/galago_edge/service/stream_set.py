"""The streams of a service: those that run, and those that cannot yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from galago_edge.contract.errors import GalagoError
from galago_edge.contract.records import StateRecord
from galago_edge.contract.settings import Settings, StreamSettings
from galago_edge.contract.streams import Gap
from galago_edge.pipeline.threshold_overrides import override_thresholds
from galago_edge.preprocess.image import use_one_thread
from galago_edge.recording import Attacher, AttachmentFolder, SampleCollector, SampleFolder
from galago_edge.service.build import Build
from galago_edge.service.coverage import Coverage
from galago_edge.service.day_book import Days
from galago_edge.service.day_clock import DayClock
from galago_edge.service.handover import Untold
from galago_edge.service.live_sources import LiveSource, LiveSources
from galago_edge.service.live_stream import LiveStream, untold_of
from galago_edge.service.live_taps import LiveTaps
from galago_edge.service.outlet import Outlet
from galago_edge.service.prepared_stream import PreparedStream, is_live
from galago_edge.service.running_stream import Ended, RunningStream
from galago_edge.service.watchdog import StreamProgress
from galago_edge.sources.fanout import Subscription
from galago_edge.sources.view_options import stated_view
from galago_edge.sources.viewed_source import viewed

_JOIN_S = 10.0


class StreamSet:
    """Every stream of one service. Changed by the service's thread; asked by any."""

    def __init__(
        self,
        settings: Settings,
        prepared: Iterable[PreparedStream],
        absent: Mapping[str, GalagoError],
        outlet: Outlet,
        ended: Ended,
        *,
        root: Path | None = None,
        samples: SampleFolder | None = None,
        attachments: AttachmentFolder | None = None,
        taps: LiveTaps | None = None,
        kept: Mapping[str, Days] | None = None,
        before: Callable[[str], Sequence[Gap]] | None = None,
        day_clock: DayClock | None = None,
    ) -> None:
        """Make a stream of each that is ``prepared``; nothing is opened or started yet.

        ``root``: the store's folder. ``absent``: streams that cannot run, and why. ``ended`` is told of each
        end. ``samples``, ``attachments``: where they keep those; ``taps``: what records; closed with them.
        ``kept``: what earlier processes watched, by stream; ``before``: what a stream missed since.
        ``day_clock``: what a day is.

        Raises:
            DeviceError: EXTRA_MISSING; a source needs a library that is not installed.
            InputError: SOURCE_MISMATCH; a bundle is for the other kind of source.
        """
        self.sources = LiveSources(root, taps)
        self._taps = taps
        self._settings = settings
        self._samples = samples
        self._attachments = attachments
        self._kept = kept or {}
        self._day_clock = day_clock or DayClock()
        self._absent = dict(absent)
        self._outlet = outlet
        self._ended = ended
        self._running = [self._made(stream, before) for stream in prepared]
        self._left = len(self._running)
        self._stopping = False

    def __iter__(self) -> Iterator[RunningStream]:
        """Yield those that run, and those that have ended, as they are now."""
        return iter(list(self._running))

    @property
    def left(self) -> int:
        """How many have not ended yet, as far as :meth:`ended` was told."""
        return self._left

    @property
    def absent(self) -> dict[str, GalagoError]:
        """Why streams do not run, by their name."""
        return self._absent.copy()

    def waiting(self) -> list[StreamSettings]:
        """Return the streams that begin once there is a bundle for them: those on live sources."""
        return [
            stream
            for stream in self._settings.stream
            if stream.name in self._absent and is_live(stream, self._settings.source)
        ]

    def named(self, name: str) -> RunningStream | None:
        """Return the stream of this name, if it runs or has run."""
        return next((running for running in self if running.name == name), None)

    def progress(self) -> list[StreamProgress]:
        """Return what each that has not ended is doing."""
        return [running.progress() for running in self if not running.ended]

    def coverage(self) -> dict[str, Days]:
        """Return what each has watched, for the next process."""
        return {running.name: running.live.coverage.days() for running in self}

    def untold(self) -> dict[str, Untold]:
        """Return what each is missing now and has not told yet."""
        gaps = self.sources.open_gaps()
        found = {running.name: untold_of(running.live, gaps.get(running.source_name)) for running in self}
        return {name: untold for name, untold in found.items() if untold is not None}

    def uncounted(self) -> dict[str, Untold]:
        """Return for how long each has told nothing: neither watched nor missed; for when all have ended."""
        found = {running.name: running.live.coverage.uncounted_ns() for running in self}
        return {name: Untold(ns) for name, ns in found.items() if ns}

    def start(self) -> None:
        """Begin with everything; say of the others why not.

        Raises:
            GalagoError, OSError: That cannot be written.
        """
        for running in self:
            running.start(self._outlet, self._ended)
        self.sources.start()
        for name, failure in self._absent.items():
            detail = {"reason": str(failure.reason), "message": str(failure)}
            self._outlet.deliver(
                [StateRecord(stream=name, subject="stream", state="failed", index=0, ns=0, detail=detail)]
            )

    def begin(self, prepared: PreparedStream) -> None:
        """Run a stream that had no bundle until now."""
        name = prepared.settings.name
        if self._stopping or name not in self._absent:
            prepared.build.close()
            return
        if prepared.bundle.modality == "camera":
            use_one_thread()
        try:
            running = self._made(prepared, None)
        except GalagoError as failure:
            prepared.build.close()
            self.leave_absent(name, failure)
            return
        del self._absent[name]
        self._running.append(running)
        self._left += 1
        running.start(self._outlet, self._ended)
        self.sources.start()

    def leave_absent(self, name: str, failure: GalagoError) -> None:
        """Note why a stream cannot begin yet."""
        self._absent[name] = failure

    def ended(self) -> None:
        """Take that one of them has ended."""
        self._left -= 1

    def stop(self) -> None:
        """Let each finish what it has and end. Does not wait."""
        self._stopping = True
        self.sources.stop()
        for running in self:
            running.stop()

    def close(self) -> None:
        """Give back what the engines hold, and what keeps files, when the sources have ended."""
        self.sources.stop()
        self.sources.join(_JOIN_S)
        for running in self:
            running.live.close()
        for folder in (self._samples, self._attachments):
            if folder is not None:
                folder.close()
        if self._taps is not None:
            self._taps.close()

    def _made(self, prepared: PreparedStream, before: Callable[[str], Sequence[Gap]] | None) -> RunningStream:
        capture = self.sources.of(prepared)
        source = viewed(self._subscribed(capture, prepared), prepared.view) if capture is not None else None
        live = LiveStream(
            prepared.build,
            Coverage(self._day_clock, self._kept.get(prepared.settings.name), live=capture is not None),
            collect=self._collecting(prepared.settings),
            before=lambda: before(prepared.settings.name) if capture and before else (),
        )
        # a recording holds its pictures itself; a test source is captured as a device is
        now = prepared.live or capture is not None
        attacher = self._attaching(prepared, live) if now else None
        return RunningStream(prepared, live, capture, source, attacher)

    @staticmethod
    def _subscribed(capture: LiveSource, prepared: PreparedStream) -> Subscription:
        subscription = capture.fanout.subscribe(prepared.bundle.spec)
        if capture.tap is not None:
            told, views = prepared.settings, (prepared.source, prepared.settings)
            subscription.missed = partial(capture.tap.missed, told.name)
            capture.tap.decides(
                told.name,
                {
                    "bundle": prepared.bundle.id,
                    "overrides": told.threshold_overrides(),
                    "view": stated_view(*views),
                },
            )
        return subscription

    def _attaching(self, prepared: PreparedStream, live: LiveStream) -> Attacher | None:
        """Return what keeps the pictures or sounds of a stream's events; None when nothing does."""
        folder, name = self._attachments, prepared.settings.name
        if folder is None:
            return None
        wanted = folder.settings
        if wanted.streams and name not in wanted.streams:
            return None
        if not (wanted.pictures if prepared.bundle.modality == "camera" else wanted.sounds):
            return None
        return Attacher(folder, name, lambda: live.manifest.preprocess.spec)

    def _collecting(self, settings: StreamSettings) -> Callable[[Build], SampleCollector] | None:
        folder = self._samples
        if folder is None:
            return None

        def collect(build: Build) -> SampleCollector:
            labels, _ = override_thresholds(build.manifest.labels, settings.threshold_overrides())
            return SampleCollector(folder, settings.name, build.loaded, labels=labels)

        return collect
