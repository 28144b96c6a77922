"""What a running service says about itself, as Prometheus reads it.

Nothing is counted here: every number comes from one ``ServiceStatus``, so that the metrics, ``galago
status`` and the page can never contradict each other. docs/watching.md lists the names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_args

from galago_edge.contract.status import (
    CoverageStatus,
    Liveness,
    ScrubStatus,
    ServiceStatus,
    SinkStatus,
    SourceStatus,
    StreamStatus,
    TrialStatus,
)
from galago_edge.host.extras import import_extra

if TYPE_CHECKING:
    from prometheus_client.core import Metric

ALARMS = ("frozen", "dark", "flat", "clipped", "offset", "rate")
"""Every alarm has a series of its own from the start, so that a rule on it never lacks data."""

_STATES = ("starting", "ok", "degraded")
_STREAM_STATES = ("running", "waiting", "ended", "failed")
_TRIAL_STATES = ("waiting", "judging", "passed", "failed")
_SINK_STATES = ("ok", "retrying", "failed")
_LIVENESS: tuple[str, ...] = get_args(Liveness)

_Sample = tuple[Mapping[str, str], float]


def render_metrics(status: ServiceStatus, accept: str = "") -> tuple[str, bytes]:
    """Return the content type and the text in the format that the header ``Accept`` asks for.

    Raises:
        DeviceError: EXTRA_MISSING; prometheus-client is not installed.
    """
    client = import_extra("prometheus_client", "metrics", "/metrics")
    exposition = import_extra("prometheus_client.exposition", "metrics", "/metrics")
    registry = client.CollectorRegistry(auto_describe=False)
    registry.register(_Collector(status))
    try:
        encode, content_type = exposition.choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no number: all understand the oldest format
        encode, content_type = exposition.choose_encoder("")
    return content_type, encode(registry)


class _Collector:
    """Gives the families of one status to a registry that lives for one answer."""

    def __init__(self, status: ServiceStatus) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Yield every family; one without series still has its name and help."""
        core = import_extra("prometheus_client.core", "metrics", "/metrics")
        for kind, name, unit, text, samples in _families(self._status):
            family = (core.CounterMetricFamily if kind == "counter" else core.GaugeMetricFamily)(
                name, text, unit=unit
            )
            suffix = "_total" if kind == "counter" else ""
            for labels, value in samples:
                family.add_sample(family.name + suffix, dict(labels), value)
            yield family


_Family = tuple[str, str, str, str, Iterable[_Sample]]
"""Kind, name without the unit and ``_total``, unit, help, samples."""


def _families(status: ServiceStatus) -> Iterator[_Family]:
    yield from _service(status)
    yield from _sources(status.sources)
    yield from _trials(status.trials)
    yield from _scrub(status.scrub)
    yield from _streams(status.streams)
    yield from _labels(status.streams)
    yield from _backends(status.streams)
    yield from _gates(status.streams)
    yield from _coverage(status.streams)
    yield from _sinks(status.sinks)
    yield from _samples(status.samples)


def _service(status: ServiceStatus) -> Iterator[_Family]:
    about = {"device": status.device, "version": status.version}
    warm: list[_Sample] = []
    if status.temperature_c is not None:
        warm.append(({}, status.temperature_c))
    yield _gauge("galago_build_info", "1; labels say device name and version of galago-edge.", [(about, 1)])
    yield _gauge("galago_state", "1 for the state that the service is in.", _one_of(status.state, _STATES))
    yield _gauge(
        "galago_problems", "How many things are not as they should be.", [({}, len(status.problems))]
    )
    yield _gauge("galago_safe_mode", "1 while no stream has a bundle that can run.", [({}, status.safe_mode)])
    yield _gauge("galago_uptime", "Time since the service began.", [({}, status.uptime_s)], "seconds")
    yield _gauge("galago_process_pid", "Process id of the service.", [({}, status.pid)])
    yield _gauge(
        "galago_wall_time", "The device's own clock, Unix time.", [({}, status.wall_ns / 1e9)], "seconds"
    )
    yield _gauge(
        "galago_clock_synced", "1 when the kernel knows its clock to be right.", [({}, status.clock_synced)]
    )
    yield _gauge("galago_resident_memory", "Memory of the service.", [({}, status.rss_mb * 1e6)], "bytes")
    yield _gauge("galago_temperature", "Of the processor; no series where none is known.", warm, "celsius")


def _sources(sources: Iterable[SourceStatus]) -> Iterator[_Family]:
    sources = list(sources)

    def each(field: str) -> list[_Sample]:
        return [({"source": source.name}, getattr(source, field)) for source in sources]

    liveness = [
        sample
        for source in sources
        for sample in _one_of(source.liveness, _LIVENESS, source=source.name, kind=source.kind)
    ]
    alarms = [
        ({"source": source.name, "alarm": alarm}, float(alarm in source.alarms))
        for source in sources
        for alarm in dict.fromkeys((*ALARMS, *source.alarms))
    ]
    heard = [s for s in each("level_dbfs") if s[1] is not None]
    yield _gauge("galago_source_liveness", "1 for the state that the source is in.", liveness)
    yield _gauge("galago_source_liveness_age", "Time since that state began.", each("for_s"), "seconds")
    yield _gauge("galago_source_alarm", "1 while the input is not plausible for this reason.", alarms)
    yield _gauge(
        "galago_source_missing",
        "How long it has given nothing; 0 while it does.",
        each("missing_s"),
        "seconds",
    )
    yield _counter("galago_source_items", "Frames or samples that arrived.", each("items"))
    yield _counter(
        "galago_source_dropped", "Frames or samples thrown away before the streams.", each("dropped")
    )
    yield _counter("galago_source_connects", "Successful opens, the first included.", each("connects"))
    yield _counter(
        "galago_source_failures", "Attempts to open that failed and connections that broke.", each("failures")
    )
    yield _gauge(
        "galago_source_rate", "Frames or samples a second over the last ten.", each("rate_hz"), "hertz"
    )
    yield _gauge("galago_source_level", "RMS of the last second of a microphone.", heard, "dbfs")


def _scrub(scrub: ScrubStatus | None) -> Iterator[_Family]:
    """Of the last scrub; nothing before the first, so that "never" is not taken for "all whole"."""
    ago: list[_Sample] = [({}, scrub.ago_s)] if scrub is not None else []
    damaged: list[_Sample] = [({}, scrub.damaged)] if scrub is not None else []
    yield _gauge("galago_scrub_age", "Time since every byte of the store was read.", ago, "seconds")
    yield _gauge("galago_scrub_damaged", "Bundles in the store that were found damaged.", damaged)


def _trials(trials: Iterable[TrialStatus]) -> Iterator[_Family]:
    trials = list(trials)
    states = [
        sample
        for trial in trials
        for sample in _one_of(trial.state, _TRIAL_STATES, bundle=trial.name, version=trial.version)
    ]
    left: list[_Sample] = [({"bundle": trial.name, "version": trial.version}, trial.left) for trial in trials]
    yield _gauge("galago_trial", "1 for the state that the trial of a new bundle is in.", states)
    yield _gauge("galago_trial_loads_left", "How often a bundle on trial may still be loaded.", left)


def _streams(streams: Iterable[StreamStatus]) -> Iterator[_Family]:
    streams = list(streams)

    def each(field: str) -> list[_Sample]:
        return [({"stream": stream.name}, getattr(stream, field)) for stream in streams]

    about = [
        (
            {
                "stream": stream.name,
                "source": stream.source,
                "modality": stream.modality,
                "bundle": stream.bundle,
                "version": stream.version,
                "bundle_id": stream.bundle_id,
            },
            1.0,
        )
        for stream in streams
    ]
    states = [s for stream in streams for s in _one_of(stream.state, _STREAM_STATES, stream=stream.name)]
    yield _gauge("galago_stream_info", "1; labels say what the stream runs.", about)
    yield _gauge("galago_stream_state", "1 for the state that the stream is in.", states)
    yield _counter("galago_stream_windows", "Windows decided.", each("windows"))
    yield _counter(
        "galago_stream_skipped_windows", "Windows that the gate spared the model.", each("skipped")
    )
    yield _counter("galago_stream_events", "Events decided.", each("events"))
    yield _counter("galago_stream_gaps", "Spans that nobody watched.", each("gaps"))
    yield _counter("galago_stream_dropped", "Frames given up because a newer one was there.", each("dropped"))
    yield _gauge("galago_stream_every", "The governor lets every so many windows be decided.", each("every"))


def _labels(streams: Iterable[StreamStatus]) -> Iterator[_Family]:
    levels = [
        ({"stream": stream.name, "label": level.label}, level)
        for stream in streams
        for level in stream.levels
    ]
    watched = [(labels, level) for labels, level in levels if not level.background]
    thresholds = [
        ({**labels, "edge": edge}, getattr(level, edge))
        for labels, level in watched
        for edge in ("on", "off")
    ]
    yield _gauge("galago_label_score", "Smoothed score.", [(labels, level.score) for labels, level in levels])
    yield _gauge("galago_label_threshold", "Where the label goes on and off.", thresholds)
    yield _gauge(
        "galago_label_active", "1 while the label is on.", [(a, level.active) for a, level in watched]
    )


def _backends(streams: Iterable[StreamStatus]) -> Iterator[_Family]:
    streams = list(streams)

    def each(field: str, scale: float = 1) -> list[_Sample]:
        return [({"stream": stream.name}, getattr(stream.backend, field) * scale) for stream in streams]

    about = [
        (
            {
                "stream": stream.name,
                "backend": stream.backend.backend,
                "wanted": stream.backend.wanted,
                "reason": stream.backend.reason or "",
            },
            1.0,
        )
        for stream in streams
    ]
    degraded = [
        ({"stream": stream.name}, float(stream.backend.backend != stream.backend.wanted))
        for stream in streams
    ]
    yield _gauge("galago_backend_info", "1; labels say what runs the model, what should, and why not.", about)
    yield _gauge(
        "galago_backend_fallback", "1 while the wanted accelerator does not run the model.", degraded
    )
    yield _counter("galago_backend_falls", "How often an accelerator was given up.", each("falls"))
    yield _counter(
        "galago_backend_promotions", "How often an accelerator was given the stream.", each("promotions")
    )
    yield _gauge("galago_invoke_median", "Of the last 64 windows.", each("invoke_p50_us", 1e-6), "seconds")
    yield _gauge("galago_invoke_max", "Of the last 64 windows.", each("invoke_max_us", 1e-6), "seconds")


def _gates(streams: Iterable[StreamStatus]) -> Iterator[_Family]:
    gates = [
        ({"stream": stream.name, "kind": stream.gate.kind}, stream.gate)
        for stream in streams
        if stream.gate is not None
    ]
    yield _gauge(
        "galago_gate_open", "1 while windows reach the model.", [(a, gate.open) for a, gate in gates]
    )
    yield _gauge("galago_gate_level", "Changed cells, or dBFS.", [(a, gate.level) for a, gate in gates])
    yield _gauge(
        "galago_gate_threshold", "At which level it opens.", [(a, gate.threshold) for a, gate in gates]
    )


def _coverage(streams: Iterable[StreamStatus]) -> Iterator[_Family]:
    """Of the current day only: a label for the day would make new series every midnight."""
    today = [({"stream": stream.name}, stream.coverage[-1]) for stream in streams if stream.coverage]
    gaps = [
        ({**labels, "cause": cause}, gap_s) for labels, day in today for cause, gap_s in day.gap_s.items()
    ]
    shares = [(labels, share) for labels, day in today if (share := coverage_share(day)) is not None]
    watched = [(labels, day.watched_s) for labels, day in today]
    yield _gauge("galago_coverage_watched", "Watched today (UTC).", watched, "seconds")
    yield _gauge("galago_coverage_gap", "Not watched today (UTC), by cause.", gaps, "seconds")
    yield _gauge("galago_coverage", "Share of today's (UTC) time that was watched.", shares, "ratio")


def coverage_share(day: CoverageStatus) -> float | None:
    """Return the share of the time that was watched, None before there is any.

    >>> coverage_share(CoverageStatus(day="2026-11-22", watched_s=90.0, gap_s={"stall": 10.0}))
    0.9
    """
    whole_s = day.watched_s + sum(day.gap_s.values())
    return day.watched_s / whole_s if whole_s > 0 else None


def _sinks(sinks: Iterable[SinkStatus]) -> Iterator[_Family]:
    sinks = list(sinks)

    def each(field: str) -> list[_Sample]:
        return [({"sink": sink.name}, getattr(sink, field)) for sink in sinks]

    states = [sample for sink in sinks for sample in _one_of(sink.state, _SINK_STATES, sink=sink.name)]
    yield _gauge("galago_sink_state", "1 for the state that the way out is in.", states)
    yield _counter("galago_sink_delivered", "Records delivered.", each("delivered"))
    yield _counter("galago_sink_lost", "Records given up before delivery.", each("lost"))
    yield _gauge("galago_sink_pending", "Records that wait for delivery.", each("pending"))
    yield _gauge(
        "galago_sink_oldest_pending", "How long the oldest has waited.", each("oldest_pending_s"), "seconds"
    )


def _samples(samples: Mapping[str, Any] | None) -> Iterator[_Family]:
    """What ``galago_edge.recording.sample_folder`` says of its folder; nothing where nothing is kept."""
    told = samples or {}

    def number(field: str) -> list[_Sample]:
        return [({}, told[field])] if field in told else []

    def table(field: str, label: str) -> list[_Sample]:
        return [({label: name}, value) for name, value in told.get(field, {}).items()]

    yield _counter("galago_samples_kept", "Samples kept.", number("kept"))
    yield _counter(
        "galago_samples_triggers", "Samples kept, by what made them worth it.", table("by_trigger", "trigger")
    )
    yield _counter(
        "galago_samples_labels", "Samples kept, by the label that was predicted.", table("by_label", "label")
    )
    yield _counter("galago_samples_refused", "Samples not kept, by why.", table("refused", "why"))
    yield _gauge(
        "galago_samples_kept_today", "Samples in the folder that are of today.", number("kept_today")
    )
    yield _gauge("galago_samples_today", "Size of today's samples.", number("bytes_today"), "bytes")
    yield _gauge("galago_samples_day_limit", "Most that is kept in a day.", number("bytes_per_day"), "bytes")
    yield _gauge("galago_samples_folder", "Size of all samples.", number("bytes"), "bytes")
    yield _gauge("galago_samples_folder_limit", "Most that is kept in all.", number("max_bytes"), "bytes")


def _one_of(current: str, known: Iterable[str], **labels: str) -> list[_Sample]:
    return [
        ({**labels, "state": state}, float(state == current)) for state in dict.fromkeys((*known, current))
    ]


def _gauge(name: str, text: str, samples: Iterable[_Sample], unit: str = "") -> _Family:
    return "gauge", name, unit, text, samples


def _counter(name: str, text: str, samples: Iterable[_Sample]) -> _Family:
    return "counter", name, "", text, samples
