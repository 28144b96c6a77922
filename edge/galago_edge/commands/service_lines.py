"""What ``galago status`` prints of a running service."""

from __future__ import annotations

from typing import Any

from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import CallerError
from galago_edge.contract.status import (
    AttachmentsStatus,
    CoverageStatus,
    LabelLevel,
    RecordingStatus,
    ScrubStatus,
    ServiceStatus,
    SetAsideStatus,
    SinkStatus,
    SourceStatus,
    StreamStatus,
    TrialStatus,
)
from galago_edge.host.time_zone import TimeZone

_EVENTS_SHOWN = 5
_DOUBTS = {"unsynced": "the clock is not synchronised", "early": "the clock was never set"}
_ASIDE = {
    "unsynced": "the clock was not synchronised",
    "early": "the clock had never been set",
    "future": "the clock had jumped ahead",
}


def service_lines(status: ServiceStatus) -> dict[str, list[str]]:
    """Return the lines of each part, by its title."""
    zone = _zone(status.timezone)
    return {
        "service": [_service(status), *(f"  ! {problem}" for problem in status.problems)],
        "sources": [line for source in status.sources for line in _source(source)] or ["none"],
        "streams": [line for stream in status.streams for line in _stream(stream)] or ["none"],
        "sinks": [line for sink in status.sinks for line in _sink(sink)] or ["standard output"],
        "events": [_event(event, zone) for event in status.last_events[:_EVENTS_SHOWN]] or ["none yet"],
        **({"trial": [line for trial in status.trials for line in _trial(trial)]} if status.trials else {}),
        **({"scrub": [_scrub(status.scrub)]} if status.scrub else {}),
        **({"samples": [_samples(status.samples)]} if status.samples else {}),
        **({"attachments": _attachments(status.attachments)} if status.attachments else {}),
        **({"recording": _recording(status.recording)} if status.recording else {}),
    }


def duration(seconds: float) -> str:
    """Return a time as somebody would say it, in its two largest units.

    >>> duration(5), duration(200), duration(15_120), duration(1_051_200)
    ('5.0 s', '3 min 20 s', '4 h 12 min', '12 d 4 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    for large, small, unit, smaller in ((86_400, 3_600, "d", "h"), (3_600, 60, "h", "min")):
        if whole >= large:
            return f"{whole // large} {unit} {whole % large // small} {smaller}"
    return f"{whole // 60} min {whole % 60} s"


def _service(status: ServiceStatus) -> str:
    facts = [
        status.state,
        f"process {status.pid} on {status.device} for {duration(status.uptime_s)}",
        f"galago-edge {status.version}",
        f"{status.rss_mb:.0f} MB",
    ]
    if status.temperature_c is not None:
        facts.append(f"{status.temperature_c:.0f} °C")
    if not status.clock_synced:
        facts.append("clock not synchronised")
    return ", ".join(facts)


def _source(source: SourceStatus) -> list[str]:
    sound = source.level_dbfs is not None or source.kind in ("microphone", "pipe")
    unit = "Hz" if sound else "fps"  # of a plug-in's kind only the level says what it is
    facts = [f"{source.liveness} for {duration(source.for_s)}", f"{source.rate_hz:.1f} {unit}"]
    if source.level_dbfs is not None:
        facts.append(f"{source.level_dbfs:.0f} dBFS")
    facts.append(f"{source.items} arrived")
    if source.dropped:
        facts.append(f"{source.dropped} dropped")
    if source.failures:
        facts.append(count_of(source.failures, "failure"))
    if source.missing_s >= 1:
        facts.append(f"nothing for {duration(source.missing_s)}")
    if source.learning:
        facts.append("learning its view")
    if source.unjudged:
        facts.append("shows too little to tell whether it is blind")
    facts += [f"NOT PLAUSIBLE: {alarm}" for alarm in source.alarms]
    lines = [f"{source.name} ({source.kind}): {', '.join(facts)}"]
    if source.fault:
        lines.append(f"  {source.fault}")
    return lines


def _stream(stream: StreamStatus) -> list[str]:
    backend = stream.backend
    runs = f"{stream.state} on {backend.backend}"
    if backend.backend != backend.wanted:
        runs += f" instead of {backend.wanted} ({backend.reason or 'not tried yet'})"
    facts = [
        runs,
        count_of(stream.windows, "window"),
        count_of(stream.events, "event"),
        count_of(stream.gaps, "gap"),
    ]
    if stream.skipped:
        facts.append(f"{stream.skipped} skipped by the gate")
    if stream.dropped:
        facts.append(f"{stream.dropped} dropped")
    if stream.every > 1:
        facts.append(f"1 window in {stream.every} (governor)")
    if stream.gate is not None:
        facts.append(f"{stream.gate.kind} gate {'open' if stream.gate.open else 'closed'}")
    lines = [f"{stream.name} (source {stream.source}, {stream.bundle} {stream.version}): {', '.join(facts)}"]
    if stream.coverage:
        lines.append(f"  {_coverage(stream.coverage[-1])}")
    lines += [f"  {_set_aside(part)}" for part in stream.set_aside]
    active = [_level(level) for level in stream.levels if level.active]
    if active and stream.state == "running":  # what was on when the source went away says nothing
        lines.append(f"  on now: {', '.join(active)}")
    return lines


def _level(level: LabelLevel) -> str:
    return f"{level.label} {level.score:.2f}"


def _coverage(day: CoverageStatus) -> str:
    whole_s = day.watched_s + sum(day.gap_s.values())
    if whole_s <= 0:
        return f"watched nothing yet on {day.day}"
    causes = sorted(((gap_s, cause) for cause, gap_s in day.gap_s.items() if gap_s > 0), reverse=True)
    missing = (
        f"; missing: {', '.join(f'{duration(gap_s)} {cause}' for gap_s, cause in causes)}" if causes else ""
    )
    # never rounded up: 100 % means that nothing was missed
    share = int(day.watched_s / whole_s * 10_000) / 100
    doubt = f" ({_DOUBTS[day.doubt]})" if day.doubt else ""
    return f"watched {share:g} % of {duration(whole_s)} on {day.day}{doubt}{missing}"


def _set_aside(part: SetAsideStatus) -> str:
    whole_s = part.watched_s + sum(part.gap_s.values())
    return f"counted for no day: {duration(whole_s)} dated {part.day}, when {_ASIDE[part.why]}"


def _trial(trial: TrialStatus) -> list[str]:
    facts: list[str] = [f"{trial.state} on {', '.join(trial.streams)}" if trial.streams else trial.state]
    if trial.state in ("waiting", "judging"):
        facts.append(f"{trial.inferences} inferences ({trial.needed} needed)")
        facts.append(f"{trial.live_s:.0f} s of {trial.trial_s:.0f} s with something to see or hear")
    if trial.inferences:
        facts.append(f"p99 {trial.p99_ms:.1f} ms")
    facts.append(count_of(trial.left, "boot attempt") + " left")
    lines = [f"{trial.name} {trial.version}: {', '.join(facts)}"]
    if trial.fault:
        lines.append(f"  {trial.fault}")
    return lines


def _sink(sink: SinkStatus) -> list[str]:
    facts = [sink.state, f"{sink.delivered} delivered"]
    if sink.pending:
        facts.append(f"{sink.pending} waiting, the oldest for {duration(sink.oldest_pending_s)}")
    if sink.lost:
        facts.append(f"{sink.lost} LOST")
    lines = [f"{sink.name}: {', '.join(facts)}"]
    if sink.fault:
        lines.append(f"  {sink.fault}")
    return lines


def _zone(name: str) -> TimeZone:
    try:
        return TimeZone(name)
    except CallerError:  # the service knows a zone that this machine or this user does not
        return TimeZone()


def _event(event: dict[str, Any], zone: TimeZone) -> str:
    wall_ns = event.get("wall_ns")
    when = "" if wall_ns is None else f"{zone.written(wall_ns)} "
    file = event.get("attachment", {}).get("file")
    attached = f", {file}" if file else ""
    return f"{when}{event.get('label')} on {event.get('stream')}, score {event.get('score', 0):.2f}{attached}"


def _scrub(scrub: ScrubStatus) -> str:
    how = f"{scrub.damaged} DAMAGED" if scrub.damaged else "all whole"
    return f"{count_of(scrub.bundles, 'bundle')} read {duration(scrub.ago_s)} ago, {how}"


def _samples(samples: dict[str, Any]) -> str:
    text = f"{samples.get('kept_today', 0)} kept today, {samples.get('bytes', 0) / 2**20:.1f} MB in all"
    return f"{text}; {samples['fault']}" if samples.get("fault") else text


def _attachments(found: AttachmentsStatus) -> list[str]:
    facts = [
        f"{found.made} made",
        f"{count_of(found.files, 'file')} of {found.bytes / 1e6:.1f} of {found.max_bytes / 1e6:.0f} MB",
    ]
    if found.waiting:
        facts.append(f"{found.waiting} waiting")
    if found.deleted:
        facts.append(f"{found.deleted} deleted to make room")
    if found.skipped:
        told = ", ".join(f"{count} {why}" for why, count in found.skipped.items())
        facts.append(f"{count_of(sum(found.skipped.values()), 'event')} without ({told})")
    return [", ".join(facts), *([f"  {found.fault}"] if found.fault else [])]


def _recording(found: RecordingStatus) -> list[str]:
    idle = [source for source in found.sources if source not in found.writing]
    facts = [
        {"always": "everything", "events": "around events"}[found.mode],
        f"now {', '.join(found.writing) or 'nothing'}",
        *([f"not now {', '.join(idle)}"] if idle else []),
        f"{found.finished} finished",
        f"{count_of(found.files, 'file')} of {found.bytes / 1e6:.1f} of {found.max_bytes / 1e6:.0f} MB",
    ]
    if found.deleted:
        facts.append(f"{found.deleted} deleted")
    if found.short:
        facts.append(f"{found.short} began too late")
    if found.lost:
        facts.append("LOST " + ", ".join(f"{count} {why}" for why, count in found.lost.items()))
    return [", ".join(facts), *([f"  {found.fault}"] if found.fault else [])]
