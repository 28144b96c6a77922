"""How the rows of the metric table are read from one ``ServiceStatus``: as series of labels and a value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import attrgetter
from typing import Any, get_args

from galago_edge.contract.status import Aside, CoverageStatus, LabelLevel, Liveness, ServiceStatus

ALARMS = ("frozen", "dark", "moved", "defocused", "covered", "flat", "clipped", "offset", "rate")
"""Every alarm has a series of its own from the start, so that a rule on it never lacks data."""

Sample = tuple[Mapping[str, str], float]
"""The labels of one series, and its value."""
Read = Callable[[ServiceStatus], Iterable[Sample]]

_STATES = ("starting", "ok", "degraded")
_STREAM_STATES = ("running", "waiting", "ended", "failed")
_TRIAL_STATES = ("waiting", "judging", "passed", "failed")
_SINK_STATES = ("ok", "retrying", "failed")
_LIVENESS: tuple[str, ...] = get_args(Liveness)


def one(path: str) -> Read:
    """Read one figure of the whole service; no series where it, or what holds it, is None."""
    whole, _, part = path.partition(".")

    def read(status: ServiceStatus) -> list[Sample]:
        value = getattr(status, whole)
        value = getattr(value, part) if part and value is not None else value
        return [] if value is None else [({}, value)]

    return read


def each(parts: str, label: str, path: str, scale: float = 1) -> Read:
    """Read one figure of each source, stream or sink, which ``label`` names; no series where it is None."""
    figure = attrgetter(path)

    def read(status: ServiceStatus) -> list[Sample]:
        named = [({label: part.name}, figure(part)) for part in getattr(status, parts)]
        return [(labels, value * scale) for labels, value in named if value is not None]

    return read


source = partial(each, "sources", "source")
stream = partial(each, "streams", "stream")
sink = partial(each, "sinks", "sink")


def _one_of(current: str, known: Iterable[str], **labels: str) -> list[Sample]:
    """Give every state a series: 1 for the one that holds, 0 for the others."""
    return [
        ({**labels, "state": state}, float(state == current)) for state in dict.fromkeys((*known, current))
    ]


def service_states(status: ServiceStatus) -> Iterable[Sample]:
    """Read the state of the whole service."""
    return _one_of(status.state, _STATES)


def liveness(status: ServiceStatus) -> Iterable[Sample]:
    """Read the state of each source."""
    for source in status.sources:
        yield from _one_of(source.liveness, _LIVENESS, source=source.name, kind=source.kind)


def alarms(status: ServiceStatus) -> Iterable[Sample]:
    """Read which alarms of each source are on."""
    for source in status.sources:
        for alarm in dict.fromkeys((*ALARMS, *source.alarms)):
            yield {"source": source.name, "alarm": alarm}, float(alarm in source.alarms)


def trial_states(status: ServiceStatus) -> Iterable[Sample]:
    """Read the state of each trial."""
    for trial in status.trials:
        yield from _one_of(trial.state, _TRIAL_STATES, bundle=trial.name, version=trial.version)


def trial(field: str, scale: float = 1) -> Read:
    """Read one figure of each bundle on trial."""
    return lambda status: [
        ({"bundle": trial.name, "version": trial.version}, getattr(trial, field) * scale)
        for trial in status.trials
    ]


def stream_info(status: ServiceStatus) -> Iterable[Sample]:
    """Read what each stream runs."""
    told = ("source", "modality", "bundle", "version", "bundle_id")
    for stream in status.streams:
        yield {"stream": stream.name, **{field: getattr(stream, field) for field in told}}, 1.0


def stream_states(status: ServiceStatus) -> Iterable[Sample]:
    """Read the state of each stream."""
    for stream in status.streams:
        yield from _one_of(stream.state, _STREAM_STATES, stream=stream.name)


def level(field: str, *, background: bool = False) -> Read:
    """Read one figure of each label; ``background``: of labels that never become events too."""
    return lambda status: [(labels, getattr(found, field)) for labels, found in _levels(status, background)]


def thresholds(status: ServiceStatus) -> Iterable[Sample]:
    """Read where each label goes on and off."""
    for labels, found in _levels(status, background=False):
        yield {**labels, "edge": "on"}, found.on
        yield {**labels, "edge": "off"}, found.off


def _levels(status: ServiceStatus, background: bool) -> list[tuple[dict[str, str], LabelLevel]]:
    return [
        ({"stream": stream.name, "label": found.label}, found)
        for stream in status.streams
        for found in stream.levels
        if background or not found.background
    ]


def backend_info(status: ServiceStatus) -> Iterable[Sample]:
    """Read what runs the model of each stream, what should, and why it does not."""
    for stream in status.streams:
        backend = stream.backend
        told = {"backend": backend.backend, "wanted": backend.wanted, "reason": backend.reason or ""}
        yield {"stream": stream.name, **told}, 1.0


def fallbacks(status: ServiceStatus) -> Iterable[Sample]:
    """Read whether something else than what should runs the model of each stream."""
    for stream in status.streams:
        yield {"stream": stream.name}, float(stream.backend.backend != stream.backend.wanted)


def gate(field: str) -> Read:
    """Read one figure of each gate."""
    return lambda status: [
        ({"stream": stream.name, "kind": stream.gate.kind}, getattr(stream.gate, field))
        for stream in status.streams
        if stream.gate is not None
    ]


def watched(status: ServiceStatus) -> Iterable[Sample]:
    """Read how long each stream was watched today."""
    return [(labels, day.watched_s) for labels, day in _today(status)]


def gaps(status: ServiceStatus) -> Iterable[Sample]:
    """Read how long each stream was not watched today, by cause."""
    for labels, day in _today(status):
        for cause, gap_s in day.gap_s.items():
            yield {**labels, "cause": cause}, gap_s


def set_aside(status: ServiceStatus) -> Iterable[Sample]:
    """Read how much time of each stream counts for no day, by why."""
    for stream in status.streams:
        found = dict.fromkeys(get_args(Aside), 0.0)
        for part in stream.set_aside:
            found[part.why] += part.watched_s + sum(part.gap_s.values())
        for why, aside_s in found.items():
            yield {"stream": stream.name, "why": why}, aside_s


def shares(status: ServiceStatus) -> Iterable[Sample]:
    """Read which share of today each stream was watched."""
    for labels, day in _today(status):
        if (share := coverage_share(day)) is not None:
            yield labels, share


def _today(status: ServiceStatus) -> list[tuple[dict[str, str], CoverageStatus]]:
    """Of the current day only: a label for the day would make new series every midnight."""
    return [({"stream": stream.name}, stream.coverage[-1]) for stream in status.streams if stream.coverage]


def coverage_share(day: CoverageStatus) -> float | None:
    """Return the share of the time that was watched, None before there is any.

    >>> coverage_share(CoverageStatus(day="2026-11-22", watched_s=90.0, gap_s={"stall": 10.0}))
    0.9
    """
    whole_s = day.watched_s + sum(day.gap_s.values())
    return day.watched_s / whole_s if whole_s > 0 else None


def sink_states(status: ServiceStatus) -> Iterable[Sample]:
    """Read the state of each sink."""
    for sink in status.sinks:
        yield from _one_of(sink.state, _SINK_STATES, sink=sink.name)


def samples(field: str) -> Read:
    """Read one figure of the samples folder; no series where nothing is kept."""
    return lambda status: [({}, _told(status)[field])] if field in _told(status) else []


def samples_by(field: str, label: str) -> Read:
    """Read one table of the samples folder, whose keys become the label."""
    return lambda status: [({label: name}, value) for name, value in _told(status).get(field, {}).items()]


def _told(status: ServiceStatus) -> Mapping[str, Any]:
    """Return what ``galago_edge.recording.sample_folder`` says of its folder."""
    return status.samples or {}


def recorded(status: ServiceStatus) -> Iterable[Sample]:
    """Read of which sources a recording is open."""
    told = status.recording
    if told is None:
        return []
    known = dict.fromkeys((*told.sources, *told.writing))
    return [({"source": source, "mode": told.mode}, float(source in told.writing)) for source in known]


def recording_lost(status: ServiceStatus) -> Iterable[Sample]:
    """Read what is in no recording, by why."""
    told = status.recording
    return [({"why": why}, count) for why, count in told.lost.items()] if told is not None else []


def attachments_skipped(status: ServiceStatus) -> Iterable[Sample]:
    """Read how many events went without an attachment, by why."""
    told = status.attachments
    return [({"why": why}, count) for why, count in told.skipped.items()] if told is not None else []
