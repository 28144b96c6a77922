"""What a running service says about itself, put together when somebody asks."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

import galago_edge
from galago_edge.contract.errors import GalagoError
from galago_edge.contract.records import AttachmentRecord, EventRecord, Record, event_identity
from galago_edge.contract.status import (
    AttachmentsStatus,
    BackendStatus,
    RecordingStatus,
    ServiceStatus,
    SinkStatus,
    SourceStatus,
    StreamStatus,
)
from galago_edge.contract.streams import Frame
from galago_edge.host.wall_clock import clock_synced
from galago_edge.service.limits import resident_mb
from galago_edge.service.live_stream import LiveStream
from galago_edge.service.slots import Slots
from galago_edge.service.upkeep import Upkeep
from galago_edge.sources.opencv import import_cv2

_PREVIEW_WIDTH = 640
_PREVIEW_QUALITY = 70
EVENTS_KEPT = 20


class RecentEvents:
    """The newest event records, as they went out, each with its attachment once there is one."""

    def __init__(self) -> None:
        self._events: deque[_Shown] = deque(maxlen=EVENTS_KEPT)
        self._lock = threading.Lock()

    def take(self, record: Record) -> None:
        """Keep the record if it is an event, or the attachment of one that is kept."""
        with self._lock:
            _take(record, self._events)

    def before(self, records: Sequence[EventRecord | AttachmentRecord]) -> None:
        """Add what earlier processes have seen, the newest first; what is here already counts once."""
        found: deque[_Shown] = deque(maxlen=EVENTS_KEPT)
        for record in reversed(records):
            _take(record, found)
        with self._lock:
            known = [shown.event for shown in self._events]
            further = [shown for shown in found if shown.event not in known]
            self._events.extend(further[: EVENTS_KEPT - len(known)])

    def newest(self) -> tuple[dict[str, Any], ...]:
        """Return them, the newest first: the event's fields, and the record ``attachment`` if it has one."""
        with self._lock:
            shown = [(one.event, one.attachment) for one in self._events]
        return tuple(
            msgspec.to_builtins(event) | ({"attachment": msgspec.to_builtins(own)} if own is not None else {})
            for event, own in shown
        )


@dataclass(slots=True)
class _Shown:
    event: EventRecord
    attachment: AttachmentRecord | None = None


def _take(record: Record, events: deque[_Shown]) -> None:
    """Put an event before the others, or an attachment to its event, which is the newest that it fits."""
    if isinstance(record, EventRecord):
        events.appendleft(_Shown(record))
    elif isinstance(record, AttachmentRecord):
        wanted = event_identity(record)
        for shown in events:
            if event_identity(shown.event) == wanted:
                shown.attachment = record
                return


def stream_status(
    live: LiveStream, source: SourceStatus | None, source_name: str, *, ended: bool
) -> StreamStatus:
    """Return how one stream is; ``source`` is None when it is a recording."""
    stream, manifest, tally = live.stream, live.manifest, live.stream.tally
    if live.failure is not None:
        state = "failed"
    elif ended:
        state = "ended"
    elif source is not None and source.liveness != "healthy":
        state = "waiting"
    else:
        state = "running"
    return StreamStatus(
        name=live.name,
        source=source_name,
        modality=manifest.modality,
        bundle=manifest.bundle.name,
        version=manifest.bundle.version,
        bundle_id=live.bundle_id,
        state=state,
        windows=tally.windows,
        skipped=tally.skipped,
        events=tally.events,
        gaps=tally.gaps,
        dropped=live.dropped(),
        levels=stream.levels(),
        backend=backend_status(live),
        gate=stream.gate_status(),
        every=stream.every,
        coverage=live.coverage.status(source.missing_s if source is not None else 0.0),
        set_aside=live.coverage.aside(),
    )


def backend_status(live: LiveStream) -> BackendStatus:
    """Return what runs the model."""
    engine = live.build.engine
    told = getattr(engine, "status", None)
    if told is None:
        return BackendStatus(backend=engine.backend, reason=engine.reason)
    status: BackendStatus = told()
    return status


def problems(
    sources: Sequence[SourceStatus],
    streams: Sequence[StreamStatus],
    sinks: Sequence[SinkStatus],
    failures: Sequence[tuple[str, BaseException]],
    refused: Sequence[tuple[str, BaseException]],
) -> tuple[str, ...]:
    """Return one line for everything that is not as it should be.

    ``failures``: by stream, why it does not decide; ``refused``: why it does not decide with what is active.
    """
    lines = []
    for source in sources:
        if source.liveness != "healthy":
            fault = f": {source.fault}" if source.fault else ""
            lines.append(f"source {source.name} is {source.liveness} for {source.for_s:.0f} s{fault}")
        lines += [f"source {source.name} is not plausible: {alarm}" for alarm in source.alarms]
    lines += [f"stream {name} does not decide: {_words(failure)}" for name, failure in failures]
    lines += [f"stream {name} goes on with the bundle before: {_words(failure)}" for name, failure in refused]
    for stream in streams:
        if stream.backend.backend != stream.backend.wanted:
            lines.append(
                f"stream {stream.name} runs on {stream.backend.backend}, not on {stream.backend.wanted}: "
                f"{stream.backend.reason or 'not tried yet'}"
            )
        if stream.every > 1:
            lines.append(f"stream {stream.name} decides only one window in {stream.every} (governor)")
    for sink in sinks:
        if sink.state != "ok":
            lines.append(f"sink {sink.name} is {sink.state}: {sink.fault}")
        if sink.lost:
            lines.append(f"sink {sink.name} has lost {sink.lost} records")
    return tuple(lines)


def _words(failure: BaseException) -> str:
    if isinstance(failure, GalagoError):
        return failure.line
    return str(failure) or type(failure).__name__


def service_status(
    *,
    device: str,
    timezone: str,
    started_ns: int,
    ready: bool,
    sources: tuple[SourceStatus, ...],
    streams: tuple[StreamStatus, ...],
    sinks: tuple[SinkStatus, ...],
    slots: Slots,
    failures: Sequence[tuple[str, BaseException]],
    refused: Sequence[tuple[str, BaseException]],
    idle: Sequence[str],
    events: tuple[dict[str, Any], ...],
    temperature_c: float | None,
    samples: dict[str, Any] | None,
    attachments: AttachmentsStatus | None,
    recording: RecordingStatus | None,
    upkeep: Upkeep,
    silent: GalagoError | None,
) -> ServiceStatus:
    """Return the whole service.

    ``idle``: what is configured and can never happen; ``silent``: why ``galago status`` cannot ask it.
    """
    safe_mode = bool(failures) and not streams
    found = (
        *(("safe mode: no stream has a bundle that can run",) if safe_mode else ()),
        *problems(sources, streams, sinks, failures, refused),
        *slots.problems(),
        *upkeep.problems(),
        *idle,
        *((f"attachments: {attachments.fault}",) if attachments and attachments.fault else ()),
        *((f"recording: {recording.fault}",) if recording and recording.fault else ()),
        *((f"galago status cannot ask this service: {silent.line}",) if silent else ()),
    )
    return ServiceStatus(
        device=device,
        version=galago_edge.__version__,
        pid=os.getpid(),
        uptime_s=(time.monotonic_ns() - started_ns) / 1e9,
        wall_ns=time.time_ns(),
        clock_synced=clock_synced(),
        timezone=timezone,
        state=("degraded" if found else "ok") if ready else "starting",
        problems=found,
        rss_mb=resident_mb(),
        temperature_c=temperature_c,
        sources=sources,
        streams=streams,
        sinks=sinks,
        trials=slots.status(),
        scrub=upkeep.status(),
        safe_mode=safe_mode,
        last_events=events,
        samples=samples,
        attachments=attachments,
        recording=recording,
    )


def preview_jpeg(frame: Frame) -> bytes | None:
    """Return a frame as a JPEG of at most 640 pixels in width; None when OpenCV cannot."""
    cv2 = import_cv2("the preview")
    height, width = frame.pixels.shape[:2]
    pixels = frame.pixels
    if width > _PREVIEW_WIDTH:
        size = (_PREVIEW_WIDTH, max(1, height * _PREVIEW_WIDTH // width))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    done, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _PREVIEW_QUALITY])
    return bytes(encoded) if done else None
