"""Every metric in one table: its type, its name, its help, and how it is read from the service's status.

A metric is one row. docs/watching.md lists the names.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from galago_edge.service import metric_readers as readers


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """One row."""

    type: Literal["gauge", "counter"]
    name: str
    """Without the unit and without ``_total``."""
    help: str
    read: readers.Read
    unit: str = ""


_gauge = partial(MetricFamily, "gauge")
_counter = partial(MetricFamily, "counter")

_SERVICE = (
    _gauge(
        "galago_build_info",
        "1; labels say device name and version of galago-edge.",
        lambda status: [({"device": status.device, "version": status.version}, 1)],
    ),
    _gauge(
        "galago_state",
        "1 for the state that the service is in.",
        readers.service_states,
    ),
    _gauge(
        "galago_problems",
        "How many things are not as they should be.",
        lambda status: [({}, len(status.problems))],
    ),
    _gauge("galago_safe_mode", "1 while no stream has a bundle that can run.", readers.one("safe_mode")),
    _gauge("galago_uptime", "Time since the service began.", readers.one("uptime_s"), "seconds"),
    _gauge("galago_process_pid", "Process id of the service.", readers.one("pid")),
    _gauge(
        "galago_wall_time",
        "The device's own clock, Unix time.",
        lambda status: [({}, status.wall_ns / 1e9)],
        "seconds",
    ),
    _gauge(
        "galago_clock_synced", "1 when the kernel knows its clock to be right.", readers.one("clock_synced")
    ),
    _gauge(
        "galago_resident_memory",
        "Memory of the service.",
        lambda status: [({}, status.rss_mb * 1e6)],
        "bytes",
    ),
    _gauge(
        "galago_temperature",
        "Of the processor; no series where none is known.",
        readers.one("temperature_c"),
        "celsius",
    ),
)
_SOURCES = (
    _gauge("galago_source_liveness", "1 for the state that the source is in.", readers.liveness),
    _gauge("galago_source_liveness_age", "Time since that state began.", readers.source("for_s"), "seconds"),
    _gauge("galago_source_alarm", "1 while the input is not plausible for this reason.", readers.alarms),
    _gauge(
        "galago_source_learning",
        "1 while a camera's view is not known well enough to tell whether it was moved or covered.",
        readers.source("learning"),
    ),
    _gauge(
        "galago_source_unjudged",
        "1 while a camera's pictures show too little to tell whether it was moved or covered.",
        readers.source("unjudged"),
    ),
    _gauge(
        "galago_source_missing",
        "How long it has given nothing; 0 while it does.",
        readers.source("missing_s"),
        "seconds",
    ),
    _counter("galago_source_items", "Frames or samples that arrived.", readers.source("items")),
    _counter(
        "galago_source_dropped",
        "Frames or samples thrown away before the streams.",
        readers.source("dropped"),
    ),
    _counter("galago_source_connects", "Successful opens, the first included.", readers.source("connects")),
    _counter(
        "galago_source_failures",
        "Attempts to open that failed and connections that broke.",
        readers.source("failures"),
    ),
    _gauge(
        "galago_source_rate",
        "Frames or samples a second over the last ten.",
        readers.source("rate_hz"),
        "hertz",
    ),
    _gauge(
        "galago_source_level", "RMS of the last second of a microphone.", readers.source("level_dbfs"), "dbfs"
    ),
)
_STORE = (
    _gauge("galago_trial", "1 for the state that the trial of a new bundle is in.", readers.trial_states),
    _gauge("galago_trial_loads_left", "Boot attempts left to a bundle on trial.", readers.trial("left")),
    _gauge("galago_trial_inferences", "On believable input, of all streams.", readers.trial("inferences")),
    _gauge("galago_trial_needed_inferences", "Needed by each stream.", readers.trial("needed")),
    _gauge("galago_trial_live", "Time of believable input so far.", readers.trial("live_s"), "seconds"),
    _gauge(
        "galago_trial_live_needed",
        "Time of believable input after which it is committed.",
        readers.trial("trial_s"),
        "seconds",
    ),
    _gauge(
        "galago_trial_invoke_p99",
        "Of the last 256 windows of the slowest stream.",
        readers.trial("p99_ms", 1e-3),
        "seconds",
    ),
    # nothing before the first scrub, so that "never" is not taken for "all whole"
    _gauge(
        "galago_scrub_age",
        "Time since every byte of the store was read.",
        readers.one("scrub.ago_s"),
        "seconds",
    ),
    _gauge("galago_scrub_bundles", "Bundles in the store that were read.", readers.one("scrub.bundles")),
    _gauge(
        "galago_scrub_damaged", "Bundles in the store that were found damaged.", readers.one("scrub.damaged")
    ),
)
_STREAMS = (
    _gauge("galago_stream_info", "1; labels say what the stream runs.", readers.stream_info),
    _gauge("galago_stream_state", "1 for the state that the stream is in.", readers.stream_states),
    _counter("galago_stream_windows", "Windows decided.", readers.stream("windows")),
    _counter(
        "galago_stream_skipped_windows", "Windows that the gate spared the model.", readers.stream("skipped")
    ),
    _counter("galago_stream_events", "Events decided.", readers.stream("events")),
    _counter("galago_stream_gaps", "Spans that nobody watched.", readers.stream("gaps")),
    _counter(
        "galago_stream_dropped", "Frames given up because a newer one was there.", readers.stream("dropped")
    ),
    _gauge(
        "galago_stream_every", "The governor lets every so many windows be decided.", readers.stream("every")
    ),
    _gauge(
        "galago_label_score",
        "Smoothed score.",
        readers.level("score", background=True),
    ),
    _gauge("galago_label_threshold", "Where the label goes on and off.", readers.thresholds),
    _gauge(
        "galago_label_active",
        "1 while the label is on.",
        readers.level("active"),
    ),
    _gauge(
        "galago_backend_info",
        "1; labels say what runs the model, what should, and why not.",
        readers.backend_info,
    ),
    _gauge(
        "galago_backend_fallback",
        "1 while the wanted accelerator does not run the model.",
        readers.fallbacks,
    ),
    _counter(
        "galago_backend_falls", "How often an accelerator was given up.", readers.stream("backend.falls")
    ),
    _counter(
        "galago_backend_promotions",
        "How often an accelerator was given the stream.",
        readers.stream("backend.promotions"),
    ),
    _gauge(
        "galago_invoke_median",
        "Of the last 64 windows.",
        readers.stream("backend.invoke_p50_us", 1e-6),
        "seconds",
    ),
    _gauge(
        "galago_invoke_max",
        "Of the last 64 windows.",
        readers.stream("backend.invoke_max_us", 1e-6),
        "seconds",
    ),
    _gauge("galago_gate_open", "1 while windows reach the model.", readers.gate("open")),
    _gauge("galago_gate_level", "Changed cells, or dBFS.", readers.gate("level")),
    _gauge("galago_gate_threshold", "At which level it opens.", readers.gate("threshold")),
    _gauge(
        "galago_coverage_watched",
        "Watched today, in the device's time zone.",
        readers.watched,
        "seconds",
    ),
    _gauge("galago_coverage_gap", "Not watched today, by cause.", readers.gaps, "seconds"),
    _gauge("galago_coverage", "Share of today's time that was watched.", readers.shares, "ratio"),
    _gauge(
        "galago_coverage_set_aside",
        "Time that counts for no day, because the clock was not right.",
        readers.set_aside,
        "seconds",
    ),
)
_SINKS = (
    _gauge("galago_sink_state", "1 for the state that the sink is in.", readers.sink_states),
    _counter("galago_sink_delivered", "Records delivered.", readers.sink("delivered")),
    _counter("galago_sink_lost", "Records given up before delivery.", readers.sink("lost")),
    _gauge("galago_sink_pending", "Records that wait for delivery.", readers.sink("pending")),
    _gauge(
        "galago_sink_oldest_pending",
        "How long the oldest has waited.",
        readers.sink("oldest_pending_s"),
        "seconds",
    ),
)
_SAMPLES = (
    _counter("galago_samples_kept", "Samples kept.", readers.samples("kept")),
    _counter(
        "galago_samples_triggers",
        "Samples kept, by what made them worth it.",
        readers.samples_by("by_trigger", "trigger"),
    ),
    _counter(
        "galago_samples_labels",
        "Samples kept, by the label that was predicted.",
        readers.samples_by("by_label", "label"),
    ),
    _counter("galago_samples_refused", "Samples not kept, by why.", readers.samples_by("refused", "why")),
    _gauge(
        "galago_samples_kept_today", "Samples in the folder that are of today.", readers.samples("kept_today")
    ),
    _gauge("galago_samples_today", "Size of today's samples.", readers.samples("bytes_today"), "bytes"),
    _gauge(
        "galago_samples_day_limit", "Most that is kept in a day.", readers.samples("bytes_per_day"), "bytes"
    ),
    _gauge("galago_samples_folder", "Size of all samples.", readers.samples("bytes"), "bytes"),
    _gauge("galago_samples_folder_limit", "Most that is kept in all.", readers.samples("max_bytes"), "bytes"),
)

_ATTACHMENTS = (
    _counter(
        "galago_attachments_made", "Pictures and sounds of events made.", readers.one("attachments.made")
    ),
    _counter("galago_attachments_skipped", "Events that went without, by why.", readers.attachments_skipped),
    _counter("galago_attachments_deleted", "Deleted to make room.", readers.one("attachments.deleted")),
    _gauge("galago_attachments_waiting", "Not written yet.", readers.one("attachments.waiting")),
    _gauge("galago_attachments_files", "Kept now.", readers.one("attachments.files")),
    _gauge(
        "galago_attachments_folder", "Size of all that are kept.", readers.one("attachments.bytes"), "bytes"
    ),
    _gauge(
        "galago_attachments_folder_limit", "Most that is kept.", readers.one("attachments.max_bytes"), "bytes"
    ),
)

_RECORDING = (
    _gauge("galago_recording", "1 while a recording of the source is open.", readers.recorded),
    _counter("galago_recording_finished", "Recordings that are whole.", readers.one("recording.finished")),
    _counter("galago_recording_deleted", "Deleted for room or age.", readers.one("recording.deleted")),
    _counter("galago_recording_short", "Of events, begun too late.", readers.one("recording.short")),
    _counter("galago_recording_lost", "Frames or samples in no recording, by why.", readers.recording_lost),
    _gauge("galago_recording_files", "Kept now.", readers.one("recording.files")),
    _gauge("galago_recording_folder", "Size of all that are kept.", readers.one("recording.bytes"), "bytes"),
    _gauge(
        "galago_recording_folder_limit", "Most that is kept.", readers.one("recording.max_bytes"), "bytes"
    ),
)

METRICS: tuple[MetricFamily, ...] = (
    *_SERVICE,
    *_SOURCES,
    *_STORE,
    *_STREAMS,
    *_SINKS,
    *_SAMPLES,
    *_ATTACHMENTS,
    *_RECORDING,
)
"""In the order in which they are told."""
