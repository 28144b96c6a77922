"""Runs several streams side by side until they end or somebody says stop."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Literal, NoReturn

import galago_edge
from galago_edge.bundle import Bundle
from galago_edge.contract.errors import DeviceError, GalagoError, Reason
from galago_edge.contract.manifest import Manifest
from galago_edge.contract.records import Record, StateRecord
from galago_edge.contract.settings import Settings, StreamSettings
from galago_edge.contract.status import ServiceStatus
from galago_edge.host.wall_clock import clock_synced
from galago_edge.pipeline.driver import drive
from galago_edge.pipeline.threshold_overrides import override
from galago_edge.preprocess.image import use_one_thread
from galago_edge.recording import SampleCollector, SampleFolder
from galago_edge.service.build import Build
from galago_edge.service.control import Control
from galago_edge.service.coverage import Coverage, Days
from galago_edge.service.errands import Errands
from galago_edge.service.governor import Governor
from galago_edge.service.handover import Heartbeat, between, now, read_coverage, write_coverage
from galago_edge.service.limits import cap_arenas, resident_mb
from galago_edge.service.live_sources import LiveSource, LiveSources
from galago_edge.service.live_stream import LiveStream
from galago_edge.service.page import Page
from galago_edge.service.prepared_stream import PreparedStream, build_of, check_same_input, is_live, prepare
from galago_edge.service.slots import RecordingSlots, Slots
from galago_edge.service.status_report import (
    RecentEvents,
    preview_jpeg,
    service_status,
    stream_status,
)
from galago_edge.service.systemd import Supervisor
from galago_edge.service.trial import LiveTrial, as_failure
from galago_edge.service.upkeep import Upkeep
from galago_edge.service.watchdog import Hang, StreamProgress, Watchdog
from galago_edge.sinks import JsonlSink
from galago_edge.sinks.outbox import Outbox
from galago_edge.sources import Source

Report = Callable[[str, BaseException], None]
"""Told name and failure of a stream as soon as it has failed; a fault of our own is no GalagoError."""

_Told = Literal["stop", "reload", "settled"]
_TICK_S = 0.5
_KEEP_COVERAGE_S = 900.0
_LAST_WORDS_S = 2.0
_JOIN_S = 10.0
_HUNG_EXIT = 1


@dataclass(slots=True)
class Running:
    """One stream and what it runs with."""

    prepared: PreparedStream
    live: LiveStream
    capture: LiveSource | None
    """None for a recording, which is read by this stream alone."""
    source: Source | None = None
    thread: threading.Thread | None = None
    ended: bool = False
    emitting_since_ns: int | None = None

    @property
    def name(self) -> str:
        """Name of the stream."""
        return self.live.name


@dataclass(frozen=True, slots=True)
class _Ended:
    running: Running
    failure: BaseException | None


class Service:
    """One thread for each source and each stream. A stream that fails does not stop the others."""

    def __init__(
        self,
        settings: Settings,
        root: Path,
        streams: Sequence[PreparedStream],
        *,
        out: JsonlSink | None = None,
        scores: bool = False,
        absent: Sequence[tuple[str, GalagoError]] = (),
        slots: Slots | None = None,
    ) -> None:
        """Prepare to run ``streams``, with bundles out of ``slots``.

        ``absent`` are streams that cannot run, and why. Those on a live source begin as soon as a bundle
        that can run is installed; until then the service stays up for them, without any stream if need be.

        Raises:
            CallerError: CONFIG_BAD; the page may not listen there.
            DeviceError: EXTRA_MISSING; a sink, the page or a source needs a library that is not installed.
            LinkError: The spool cannot be opened.
        """
        cap_arenas()
        self._settings = settings
        self._root = root
        self._scores = scores
        self._absent = dict(absent)
        self._slots: Slots = slots or RecordingSlots(root)
        self._upkeep = Upkeep(self._slots.store, settings.store)
        self.device = settings.device.name or socket.gethostname() or "galago"
        self._messages: SimpleQueue[_Ended | PreparedStream | _Told] = SimpleQueue()
        self._errands = Errands()
        self._stopping = False
        self._broken: Exception | None = None
        self._giving_up: GalagoError | None = None
        self._watchdog = Watchdog(settings.limits)
        self._told: str | None = None
        self._supervisor = Supervisor()
        self._outbox = Outbox(settings, root, self.device, out=out, version=galago_edge.__version__)
        self._samples = (
            SampleFolder(settings.samples, device=self.device, synced=clock_synced)
            if settings.samples is not None
            else None
        )
        self._heartbeat = Heartbeat(root)
        self._captures = LiveSources()
        down_ns = self._down_ns()
        self._kept = read_coverage(root)
        self._streams = [
            self._running(stream, self._kept.get(stream.settings.name), down_ns) for stream in streams
        ]
        self._left = len(self._streams)
        self._governor = Governor(settings.governor)
        self._recent = RecentEvents()
        self._outbox.add_listener(self._recent.take)
        self._started_ns = time.monotonic_ns()
        self._ready = False
        self._control = Control(root, self.status)
        self._page = Page(settings.page, self.status, self.preview) if settings.page is not None else None

    @property
    def absent(self) -> list[GalagoError]:
        """Why streams cannot run that have no bundle yet."""
        return list(self._absent.values())

    def status(self) -> ServiceStatus:
        """Return how everything is now. From any thread."""
        sources = self._captures.statuses()
        failures: list[tuple[str, BaseException]] = list(self._absent.copy().items())
        streams, refused = [], []
        for running in list(self._streams):
            live, name = running.live, running.prepared.source_name
            if live.failure is not None:
                failures.append((running.name, live.failure))
            elif live.refused is not None and self._wanted_id(running) != live.bundle_id:
                refused.append((running.name, live.refused))
            streams.append(stream_status(live, sources.get(name), name, ended=running.ended))
        return service_status(
            device=self.device,
            started_ns=self._started_ns,
            ready=self._ready,
            sources=tuple(sources.values()),
            streams=tuple(streams),
            sinks=self._outbox.status(),
            slots=self._slots,
            failures=failures,
            refused=refused,
            events=self._recent.newest(),
            temperature_c=self._governor.temperature_c,
            samples=self._samples.status() if self._samples is not None else None,
            upkeep=self._upkeep,
            silent=self._control.fault,
        )

    def preview(self, stream: str) -> bytes | None:
        """Return the newest frame of a stream's camera as a small JPEG; None when there is none."""
        for running in list(self._streams):
            if running.name == stream and running.capture is not None:
                frame = running.capture.fanout.latest()
                return preview_jpeg(frame) if frame is not None else None
        return None

    def stop(self) -> None:
        """Let every stream finish what it has and end. May be called from a signal handler."""
        self._messages.put("stop")  # SimpleQueue.put is reentrant

    def reload(self) -> None:
        """Load what is installed now beside what runs. May be called from a signal handler."""
        self._messages.put("reload")

    def run(
        self, report: Report, started: Callable[[str | None], None] = lambda page_url: None
    ) -> list[GalagoError]:
        """Run every stream to its end and return the failures of those that failed.

        ``started`` is told where the status page is, once everything runs.

        Raises:
            LinkError, BrokenPipeError: Standard output, or the file named on the command line, failed; all
                streams were stopped then.
            DeviceError: MEMORY_LIMIT; the service was ended before the device had none left.
            Exception: A stream met a fault of our own; it was reported, and the others ran to their end. One
                on a live source, which has no end, ends the service so that it is started anew.
        """
        with contextlib.ExitStack() as stack:
            self._control.start()  # first: it takes the store, which another service may have
            stack.callback(self._control.stop)
            stack.callback(self._heartbeat.close)
            stack.callback(self._keep_coverage)
            self._outbox.start()
            stack.callback(lambda: self._outbox.stop(self._settings.limits.drain_s))
            if self._page is not None:
                self._page.start()
                stack.callback(self._page.stop)
            stack.callback(self._slots.close)
            stack.callback(self._close_streams)
            self._errands.start()
            stack.callback(self._errands.stop, _JOIN_S)
            self._start()
            self._ready = True
            self._supervisor.ready()
            started(self._page.url if self._page is not None else None)
            failures, fault = self._watch(report)
        if (raised := self._broken or fault or self._giving_up) is not None:
            raise raised
        return failures

    # what the loop does

    def _watch(self, report: Report) -> tuple[list[GalagoError], BaseException | None]:
        failures: list[GalagoError] = []
        fault: BaseException | None = None
        kept = time.monotonic()
        while self._left or (not self._stopping and self._broken is None and self._waiting()):
            try:
                message = self._messages.get(timeout=_TICK_S)
            except Empty:
                message = None
            if isinstance(message, _Ended):
                self._left -= 1
                if message.failure is not None and self._broken is None:
                    report(message.running.name, message.failure)
                    if isinstance(message.failure, GalagoError):
                        failures.append(message.failure)
                    else:
                        fault = fault or message.failure
                        if message.running.capture is not None:  # a camera must not stay dark for ever
                            self._messages.put("stop")
            elif isinstance(message, PreparedStream):
                self._begin(message)
            elif message == "reload" and not self._stopping:
                self._errands.do(self._reload)
            if (message == "stop" or self._broken is not None) and not self._stopping:
                self._stop_sources()
            self._tick()
            if time.monotonic() - kept >= _KEEP_COVERAGE_S:
                kept = time.monotonic()
                self._keep_coverage()
        return failures, fault

    def _tick(self) -> None:
        self._heartbeat.beat()
        for trial in self._slots.due():
            self._errands.do(functools.partial(self._settle, trial))
        self._tell(self._slots.news())
        if self._slots.live and self._upkeep.due():
            self._errands.do(lambda: self._tell(self._upkeep.scrub()))
        if (step := self._governor.look()) is not None:
            for running in self._streams:
                running.live.pace(step.every, step.detail())
        used, limit = resident_mb(), self._settings.limits.memory_mb
        if limit and used > limit and not self._stopping:
            self._give_up(
                DeviceError(
                    Reason.MEMORY_LIMIT,
                    f"the service uses {used:.0f} MB, limits.memory_mb allows {limit}",
                    hint="it ends so that systemd starts it anew; if that happens often, tell us how",
                )
            )
        streams = [
            StreamProgress(running.name, running.live.busy_since_ns, running.emitting_since_ns)
            for running in self._streams
            if not running.ended
        ]
        if (hang := self._watchdog.hang(streams)) is not None:
            self._end_hung(hang)
        standstill = self._watchdog.standstill(self._captures.progress(), streams, self._outbox.stalled_s())
        if standstill is None:
            self._supervisor.alive()
        if standstill != self._told:
            self._told = standstill
            self._supervisor.text(standstill or "running")

    def _end_hung(self, hang: Hang) -> NoReturn:
        """End the process, with a record and a line that say why."""
        text = f"stream {hang.stream}: one window has taken {hang.for_s:.0f} s"
        (ns,) = (running.live.coverage.end_ns for running in self._streams if running.name == hang.stream)
        record = StateRecord(
            stream=hang.stream,
            subject="stream",
            state="hung",
            index=0,
            ns=ns,
            detail={"reason": str(Reason.HUNG), "message": text},
        )
        telling = threading.Thread(target=self._last_words, args=(record, hang.stream, text), daemon=True)
        telling.start()
        telling.join(_LAST_WORDS_S)  # whoever hangs may hold what is needed for telling
        sys.stderr.write(f"Error: {text}; the process ends to be started anew [{Reason.HUNG}]\n")
        sys.stderr.flush()
        self._heartbeat.close()
        os._exit(_HUNG_EXIT)

    def _last_words(self, record: StateRecord, stream: str, text: str) -> None:
        with contextlib.suppress(GalagoError, OSError):
            (build,) = (running.live.working for running in self._streams if running.name == stream)
            if build is not None and build.judge is not None:
                failure = DeviceError(Reason.HUNG, text, hint="build it with a smaller model")
                self._slots.leave_now(failure, build.bundle_id)
        with contextlib.suppress(GalagoError, OSError):
            self._outbox.emit([record, *self._slots.news()])
            self._outbox.stop(_LAST_WORDS_S / 2)

    def _give_up(self, failure: GalagoError) -> None:
        if self._giving_up is None:  # a bundle on trial is the likeliest cause
            self._errands.do(functools.partial(self._slots.leave_now, failure))
        self._giving_up = self._giving_up or failure
        self._messages.put("stop")

    # streams

    def _running(self, prepared: PreparedStream, kept: Days | None, down_ns: int | None) -> Running:
        capture = self._captures.of(prepared)
        source = capture.fanout.subscribe(prepared.bundle.manifest.preprocess.spec) if capture else None
        live = LiveStream(
            prepared.build,
            Coverage(time.time_ns, kept),
            collect=self._collecting(prepared.settings),
            down_ns=down_ns if capture is not None else None,
        )
        return Running(prepared, live, capture, source)

    def _collecting(self, settings: StreamSettings) -> Callable[[Build], SampleCollector] | None:
        folder = self._samples
        if folder is None:
            return None

        def collect(build: Build) -> SampleCollector:
            labels, _ = override(build.loaded.manifest.labels, settings.overrides())
            return SampleCollector(folder, settings.name, build.loaded, labels=labels)

        return collect

    def _start(self) -> None:
        self._heartbeat.beat()
        for running in self._streams:
            self._start_stream(running)
        self._captures.start()
        if self._slots.live and any(
            self._wanted_id(one) not in (None, one.prepared.bundle.id) for one in self._streams
        ):
            self._errands.do(self._match)  # a later stream has found that the bundle is no good
        for name, failure in self._absent.items():
            detail = {"reason": str(failure.reason), "message": str(failure)}
            self._outbox.emit(
                [StateRecord(stream=name, subject="stream", state="failed", index=0, ns=0, detail=detail)]
            )

    def _start_stream(self, running: Running) -> None:
        self._describe(running.name, running.prepared.bundle.manifest)
        running.thread = threading.Thread(
            target=self._walk, args=(running,), name=f"stream {running.name}", daemon=True
        )
        running.thread.start()

    def _begin(self, prepared: PreparedStream) -> None:
        """Run a stream that had no bundle until now."""
        name = prepared.settings.name
        if self._stopping or name not in self._absent:
            prepared.build.close()
            return
        if prepared.bundle.manifest.modality == "camera":
            use_one_thread()
        try:
            running = self._running(prepared, self._kept.get(name), None)
        except GalagoError as failure:
            prepared.build.close()
            self._absent[name] = failure
            return
        del self._absent[name]
        self._streams.append(running)
        self._left += 1
        self._start_stream(running)
        self._captures.start()

    def _waiting(self) -> list[StreamSettings]:
        """Return the streams that begin once there is a bundle for them."""
        return [
            stream
            for stream in self._settings.stream
            if stream.name in self._absent and is_live(stream, self._settings.source)
        ]

    def _describe(self, stream: str, manifest: Manifest) -> None:
        labels = [label.name for label in manifest.labels if not label.background]
        self._outbox.describe(stream, manifest.modality, labels)

    def _walk(self, running: Running) -> None:
        failure: BaseException | None = None
        try:
            failure = self._walked(running)
        except BaseException as error:  # noqa: BLE001 handed to the thread that waits for it
            failure = error
        finally:
            running.ended = True
            self._messages.put(_Ended(running, failure))

    def _walked(self, running: Running) -> GalagoError | None:
        def emit(records: Sequence[Record]) -> None:
            running.emitting_since_ns = time.monotonic_ns()
            self._deliver(records)
            running.emitting_since_ns = None

        if running.source is None:
            try:
                running.source = running.prepared.open_source()
            except GalagoError as failure:
                emit(running.live.absent(failure))
                return failure
        if self._stopping and running.capture is None:
            running.source.stop()
        return drive(running.source, running.live, emit)

    def _deliver(self, records: Sequence[Record]) -> None:
        try:
            self._outbox.emit(records)
        except (GalagoError, OSError) as error:
            self._broken = self._broken or error
            raise

    def _tell(self, news: Sequence[Record]) -> None:
        """Deliver what is about the whole device."""
        if news:
            with contextlib.suppress(GalagoError, OSError):  # noted, and raised at the end
                self._deliver(news)

    def _stop_sources(self) -> None:
        self._stopping = True
        self._supervisor.stopping()
        self._captures.stop()
        for running in self._streams:
            # a live source ends its streams itself, when they have what it still holds
            if running.source is not None and running.capture is None:
                running.source.stop()

    def _close_streams(self) -> None:
        self._captures.stop()
        self._captures.join(_JOIN_S)
        for running in self._streams:
            running.live.close()
        if self._samples is not None:
            self._samples.close()

    # bundles that are replaced

    def _reload(self) -> None:
        """Follow what the store says now."""
        self._supervisor.reloading(time.monotonic_ns())
        try:
            self._slots.refresh()
        except GalagoError as failure:
            for running in list(self._streams):
                self._deliver([running.live.reload_failed(failure)])
        else:
            self._match()
        self._upkeep.recheck()
        self._supervisor.ready()

    def _settle(self, trial: LiveTrial) -> None:
        """Record how a trial ended, and leave a bundle that failed."""
        if self._slots.settle(trial):
            for running in list(self._streams):
                running.live.withdraw(trial.bundle_id)
            self._match(leave=trial.bundle_id)
        self._messages.put("settled")  # what is to be said of it shall not wait for the next tick

    def _match(self, leave: str | None = None) -> None:
        """Load the bundle that should run now for every stream that runs another; ``leave`` one at once."""
        for running in list(self._streams):
            live, wanted = running.live, None
            try:
                bundle = self._slots.bundle(live.manifest.bundle.name)
                wanted = bundle.id
                if bundle.id == live.bundle_id:
                    continue
                check_same_input(live.manifest, bundle.manifest)
                build = self._built(running, bundle)
            except Exception as failure:  # noqa: BLE001 the one that runs goes on, whatever it was
                live.refused = failure
                self._deliver([live.reload_failed(failure, to=wanted)])
                continue
            if running.ended:
                build.close()
            else:
                self._describe(running.name, bundle.manifest)
                live.offer(build, at_once=live.bundle_id == leave)
        for stream in self._waiting():
            try:
                prepared = prepare(
                    stream,
                    self._slots,
                    sources=self._settings.source,
                    accelerator=self._settings.accelerator,
                    scores=self._scores,
                )
            except GalagoError as failure:
                self._absent[stream.name] = failure
            else:
                self._messages.put(prepared)

    def _built(self, running: Running, bundle: Bundle) -> Build:
        """Load a bundle for a stream; one on trial that does not load has failed.

        Raises:
            Exception: It does not load.
        """
        settings, accelerator = running.prepared.settings, self._settings.accelerator
        try:
            return build_of(settings, bundle, self._slots, accelerator, scores=self._scores)
        except Exception as failure:
            self._slots.fail(bundle, as_failure(str(bundle), failure))
            raise

    def _wanted_id(self, running: Running) -> str | None:
        """Return the id of the bundle that the store says should run; None where nothing can."""
        try:
            return self._slots.bundle(running.live.manifest.bundle.name).id
        except GalagoError:
            return None

    # what the next process must know

    def _down_ns(self) -> int | None:
        if self._heartbeat.last is None:
            return None
        return between(self._heartbeat.last, now())

    def _keep_coverage(self) -> None:
        write_coverage(self._root, {running.name: running.live.coverage.days() for running in self._streams})
