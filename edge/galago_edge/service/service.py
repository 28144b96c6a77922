"""Runs several streams side by side until they end or somebody says stop."""

from __future__ import annotations

import contextlib
import functools
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue

import galago_edge
from galago_edge.contract.errors import GalagoError
from galago_edge.contract.settings import Settings
from galago_edge.contract.status import ServiceStatus, SinkStatus
from galago_edge.host.time_zone import TimeZone
from galago_edge.host.wall_clock import clock_synced
from galago_edge.recording import AttachmentFolder, SampleFolder
from galago_edge.recording.tap_opener import tap_opener
from galago_edge.recording.tap_writer import OpenTap
from galago_edge.service.control import Control
from galago_edge.service.day_clock import DayClock
from galago_edge.service.errands import Errands
from galago_edge.service.governor import Governor
from galago_edge.service.handover import Heartbeat, read_coverage, write_coverage
from galago_edge.service.idle_settings import event_labels, idle_attachments, unheard_labels
from galago_edge.service.last_words import LastWords
from galago_edge.service.life import Cause, Life, Phase
from galago_edge.service.limits import cap_arenas, too_much_memory
from galago_edge.service.live_taps import LiveTaps
from galago_edge.service.outlet import Outlet
from galago_edge.service.page import Page, attached_files
from galago_edge.service.prepared_stream import PreparedStream
from galago_edge.service.reload import Reload
from galago_edge.service.running_stream import RunningStream
from galago_edge.service.slots import RecordingSlots, Slots
from galago_edge.service.status_report import EVENTS_KEPT, RecentEvents, preview_jpeg, service_status
from galago_edge.service.stream_set import StreamSet
from galago_edge.service.systemd import Supervisor
from galago_edge.service.trial import LiveTrial
from galago_edge.service.upkeep import Upkeep
from galago_edge.service.watchdog import Watchdog
from galago_edge.sinks import JsonlSink
from galago_edge.sinks.outbox import Outbox
from galago_edge.sinks.record_history import history_of

Report = Callable[[str, BaseException], None]
"""Told name and failure of a stream as soon as it has failed; a fault of our own is no GalagoError."""

_TICK_S = 0.5
KEEP_COVERAGE_S = 60.0
"""A kill or a power cut costs at most so much of what was watched."""
_JOIN_S = 10.0
_RECALLED_BYTES = 64_000_000
"""How much of the log is looked through for the last events at most; mostly some kilobytes."""


class Service:
    """One thread for each source and each stream. A stream that fails does not stop the others.

    The thread that calls :meth:`run` attends to everything else: what other threads ask of it is put into a
    queue, and what waits for the disk is given to the errands.
    """

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
        open_tap: OpenTap | None = None,
    ) -> None:
        """Prepare to run ``streams``, with bundles out of ``slots``.

        ``absent`` are streams that cannot run, and why. Those on a live source begin as soon as a bundle
        that can run is installed; until then the service stays up for them, without any stream if need be.
        ``open_tap`` begins the recordings of ``[recording]``; None: the writer that is installed does.

        Raises:
            CallerError: CONFIG_BAD; the page may not listen there, or the time zone is not known.
            DeviceError: EXTRA_MISSING; a sink, the page, a source or a recording needs a library that is
                not installed.
            LinkError: The spool cannot be opened.
        """
        cap_arenas()
        self._settings = settings
        self._root = root
        self._life = Life()
        self._asked: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._errands = Errands()
        self._report: Report = lambda name, failure: None
        self._failures: list[GalagoError] = []
        self._started_ns = time.monotonic_ns()
        self.device = settings.device.name or socket.gethostname() or "galago"
        self._slots: Slots = slots or RecordingSlots(root)
        self._upkeep = Upkeep(self._slots.store, settings.store)
        self._outbox = Outbox(settings, root, self.device, out=out, version=galago_edge.__version__)
        self._outlet = Outlet(self._outbox, self._records_failed)
        self._recent = RecentEvents()
        self._outbox.add_listener(self._recent.take)
        kept = settings.samples
        self._zone = TimeZone(settings.device.timezone)
        self._samples = (
            SampleFolder(kept, device=self.device, synced=clock_synced, zone=self._zone) if kept else None
        )
        attached = settings.attachments
        self._attachments = AttachmentFolder(attached, root, self._outlet.tell) if attached else None
        recorded = settings.recording
        self._taps = (
            LiveTaps(recorded, root, self.device, self._outlet.tell, open_tap or tap_opener())
            if recorded is not None
            else None
        )
        self._heartbeat = Heartbeat(root)
        self._streams = StreamSet(
            settings,
            streams,
            dict(absent),
            self._outlet,
            lambda running, failure: self._asked.put(lambda: self._stream_ended(running, failure)),
            root=root,
            samples=self._samples,
            attachments=self._attachments,
            taps=self._taps,
            kept=read_coverage(root),
            before=self._heartbeat.gaps,
            day_clock=DayClock(zone=self._zone),
        )
        self._reload = Reload(
            settings,
            self._slots,
            self._streams,
            self._outlet,
            scores=scores,
            begin=lambda prepared: self._asked.put(lambda: self._streams.begin(prepared)),
        )
        self._governor = Governor(settings.governor)
        self._watchdog = Watchdog(settings.limits)
        self._last_words = LastWords(self._streams, self._slots, self._outbox, self._heartbeat)
        self._supervisor = Supervisor()
        self._control = Control(root, self.status)
        self._page = (
            Page(settings.page, self.status, self.preview, attached_files(root))
            if settings.page is not None
            else None
        )

    @property
    def absent(self) -> list[GalagoError]:
        """Why streams cannot run that have no bundle yet."""
        return list(self._streams.absent.values())

    @property
    def sinks(self) -> tuple[SinkStatus, ...]:
        """Where every sink stands; after the end too."""
        return self._outbox.status()

    @property
    def unwritten(self) -> dict[str, int]:
        """How many things of each kind the disk was too slow for when everything had ended."""
        folders = {"attachments": self._attachments, "samples": self._samples}
        return {kind: folder.unwritten for kind, folder in folders.items() if folder is not None}

    @property
    def idle(self) -> tuple[str, ...]:
        """What is configured and can never happen with the bundles that run; one line for each."""
        running = list(self._streams)
        decided = {one.name: event_labels(one.live.manifest) for one in running}
        unheard = (line for _, line in unheard_labels(self._settings, decided))
        return (*unheard, *idle_attachments(self._settings, {one.name: one.attaches for one in running}))

    def status(self) -> ServiceStatus:
        """Return how everything is now. From any thread."""
        sources = self._streams.sources.statuses()
        failures: list[tuple[str, BaseException]] = list(self._streams.absent.items())
        streams, refused = [], []
        for running in self._streams:
            live = running.live
            if live.failure is not None:
                failures.append((running.name, live.failure))
            elif live.refused is not None and self._reload.wanted_id(running) != running.bundle_id:
                refused.append((running.name, live.refused))
            streams.append(running.status(sources.get(running.source_name)))
        return service_status(
            device=self.device,
            timezone=self._zone.name,
            started_ns=self._started_ns,
            ready=self._life.started,
            sources=tuple(sources.values()),
            streams=tuple(streams),
            sinks=self.sinks,
            slots=self._slots,
            failures=failures,
            refused=refused,
            idle=self.idle,
            events=self._recent.newest(),
            temperature_c=self._governor.temperature_c,
            samples=self._samples.status() if self._samples is not None else None,
            attachments=self._attachments.status() if self._attachments is not None else None,
            recording=self._taps.status() if self._taps is not None else None,
            upkeep=self._upkeep,
            silent=self._control.fault,
        )

    def preview(self, stream: str) -> bytes | None:
        """Return the newest frame of a stream's camera as a small JPEG; None when there is none."""
        running = self._streams.named(stream)
        frame = running.latest_frame() if running is not None else None
        return preview_jpeg(frame) if frame is not None else None

    def stop(self) -> None:
        """Let every stream finish what it has and end. May be called from a signal handler."""
        self._asked.put(self._stop)  # SimpleQueue.put is reentrant

    def reload(self) -> None:
        """Load what is installed now beside what runs. May be called from a signal handler."""
        self._asked.put(self._reload_soon)

    def run(
        self, report: Report, started: Callable[[str | None], None] = lambda page_url: None
    ) -> list[GalagoError]:
        """Run every stream to its end and return the failures of those that failed. To be called once.

        ``started`` is told where the status page is, once everything runs.

        Raises:
            LinkError, BrokenPipeError: Standard output, or the file named on the command line, failed; all
                streams were stopped then.
            DeviceError: MEMORY_LIMIT; the service was ended before the device had none left.
            Exception: A stream met a fault of our own; it was reported, and the others ran to their end. One
                on a live source, which has no end, ends the service so that it is restarted.
        """
        self._report = report
        with contextlib.ExitStack() as stack:
            self._open(stack)
            self._life.go(Phase.RUNNING)
            self._supervisor.ready()
            started(self._page.url if self._page is not None else None)
            self._attend()
            self._life.go(Phase.ENDED)
        if (failure := self._life.failure) is not None:
            raise failure
        return self._failures

    # what the thread of run() does

    def _open(self, stack: contextlib.ExitStack) -> None:
        """Begin with everything, and let ``stack`` close it in the opposite order."""
        self._control.start()  # first: it takes the store, which another service may have
        stack.callback(self._control.stop)
        stack.callback(lambda: self._heartbeat.close(self._streams.uncounted()))
        stack.callback(self._keep_coverage)
        self._outbox.start()
        stack.callback(lambda: self._outbox.stop(self._settings.limits.drain_s))
        if self._page is not None:
            self._page.start()
            stack.callback(self._page.stop)
        stack.callback(self._slots.close)
        stack.callback(self._streams.close)
        self._errands.start()
        self._errands.do(self._recall)
        stack.callback(self._errands.stop, _JOIN_S)
        self._streams.start()
        self._heartbeat.beat()  # they have told what was missed before, and must not be told of it again
        if self._slots.live and self._reload.behind():
            self._errands.do(self._reload.match)  # a later stream has found that the bundle is no good

    def _attend(self) -> None:
        """Do what is asked, and look after everything, while there is a stream or one may begin."""
        kept_s = time.monotonic()
        while self._streams.left or (not self._life.stopping and self._streams.waiting()):
            with contextlib.suppress(Empty):
                self._asked.get(timeout=_TICK_S)()
            self._look_after()
            if time.monotonic() - kept_s >= KEEP_COVERAGE_S:
                kept_s = time.monotonic()
                self._keep_coverage()

    def _look_after(self) -> None:
        self._heartbeat.beat(self._streams.untold())
        for trial in self._slots.due():
            self._errands.do(functools.partial(self._settle, trial))
        self._outlet.tell(self._slots.news())
        if self._slots.live and self._upkeep.due():
            self._errands.do(lambda: self._outlet.tell(self._upkeep.scrub()))
        if (step := self._governor.look()) is not None:
            for running in self._streams:
                running.live.pace(step.every, step.detail())
        self._look_at_memory()
        self._look_at_progress()

    def _look_at_memory(self) -> None:
        failure = too_much_memory(self._settings.limits)
        if failure is None or self._life.stopping:
            return
        if self._life.failed(Cause.MEMORY, failure):
            self._errands.do(functools.partial(self._settle_memory, failure))
        self.stop()

    def _look_at_progress(self) -> None:
        streams = self._streams.progress()
        if (hang := self._watchdog.hang(streams)) is not None:
            self._last_words.end(hang)
        sources, writing_s = self._streams.sources.progress(), self._outbox.stalled_s()
        standstill = self._watchdog.standstill(sources, streams, writing_s)
        if standstill is None:
            self._supervisor.alive()
        self._supervisor.standstill(standstill)

    def _stop(self) -> None:
        if not self._life.stopping:
            self._life.go(Phase.STOPPING)
            self._supervisor.stopping()
            self._streams.stop()

    def _reload_soon(self) -> None:
        if not self._life.stopping:
            self._errands.do(self._follow)

    def _stream_ended(self, running: RunningStream, failure: BaseException | None) -> None:
        self._streams.ended()
        if failure is None or self._life.met(Cause.RECORDS):  # that ends every stream, and is told once
            return
        self._report(running.name, failure)
        if isinstance(failure, GalagoError):
            self._failures.append(failure)
            return
        self._life.failed(Cause.FAULT, failure)
        if running.endless:  # a camera must not stay dark for ever
            self.stop()

    # what other threads do

    def _records_failed(self, failure: Exception) -> None:
        self._life.failed(Cause.RECORDS, failure)
        self.stop()

    def _recall(self) -> None:
        """Show the last events of earlier processes too. A log that cannot be read costs only that."""
        with contextlib.suppress(GalagoError):
            history = history_of(self._settings, self._root)
            self._recent.before(history.newest_events(EVENTS_KEPT, _RECALLED_BYTES))

    def _follow(self) -> None:
        self._supervisor.reloading(time.monotonic_ns())
        self._reload.follow()
        self._upkeep.recheck()
        self._supervisor.ready()

    def _settle(self, trial: LiveTrial) -> None:
        self._reload.settle(trial)
        self._asked.put(lambda: None)  # wakes the loop: what there is to say shall not wait for a tick

    def _settle_memory(self, failure: GalagoError) -> None:
        """Leave a bundle on trial that has taken the memory; it is no evidence against any other."""
        self._slots.leave_now(failure, LiveTrial.outgrew)
        self._slots.stopped()

    def _keep_coverage(self) -> None:
        write_coverage(self._root, self._streams.coverage())
