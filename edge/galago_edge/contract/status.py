"""What a running service says about itself: for ``galago status``, the status page and the metrics.

Times are nanoseconds on the monotonic clock unless the name says otherwise.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from galago_edge.contract.modality import Modality

Liveness = Literal["healthy", "alarmed", "recovering", "escalated", "failed"]
Doubt = Literal["unsynced", "early"]
"""Why the wall clock is not believed: nobody has set it, or it stands before this software was made."""
Aside = Literal["unsynced", "early", "future"]
"""Why time counts for no day; ``future``: the clock had jumped ahead and was set back."""


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every part."""


class SourceStatus(_Part, frozen=True, kw_only=True):
    """One camera or microphone, captured once."""

    name: str
    """Name of ``[source.NAME]``, or the address without credentials."""
    kind: str
    """``camera``, ``microphone``, ``pipe``, or a plug-in's name."""
    liveness: Liveness
    for_s: float
    """Seconds since ``liveness`` last changed."""
    fault: str = ""
    """What was wrong last, in one line without credentials; empty while healthy."""
    alarms: tuple[str, ...] = ()
    """What is implausible now: ``frozen``, ``dark``, ``moved``, ``defocused``, ``covered``, ``flat``,
    ``clipped``, ``offset``, ``rate``."""
    learning: bool = False
    """Cameras: too little is known of the view yet to tell whether it was moved, defocused or covered."""
    unjudged: bool = False
    """Cameras: most pictures of the last minutes show too little of what is known to tell it."""
    items: int = 0
    """Frames or samples that arrived."""
    dropped: int = 0
    """Frames or samples that arrived and were thrown away before the streams."""
    connects: int = 0
    """Successful opens, the first included."""
    failures: int = 0
    rate_hz: float = 0.0
    """Frames or samples a second, measured over the last ten seconds."""
    level_dbfs: float | None = None
    """Microphones: RMS of the last second; -120 is digital silence."""
    missing_s: float = 0.0
    """For so long nothing has come, which will be a gap as soon as something comes."""


class LabelLevel(_Part, frozen=True, kw_only=True):
    """Where one label stands now."""

    label: str
    score: float
    """Smoothed."""
    on: float
    off: float
    active: bool
    background: bool = False


class CoverageStatus(_Part, frozen=True, kw_only=True):
    """How much of one day a stream really watched; ``timezone`` of the service says what a day is."""

    day: str
    """``2026-11-22``; by the wall clock, which is only a label."""
    watched_s: float
    gap_s: dict[str, float]
    """By cause."""
    doubt: Doubt | None = None
    """Why the clock that names the day is not believed; None when it is."""


class SetAsideStatus(_Part, frozen=True, kw_only=True):
    """Time of one stream that counts for no day, because the clock that named the day was not right."""

    day: str
    """As that clock named it."""
    why: Aside
    watched_s: float
    gap_s: dict[str, float]
    """By cause."""


class BackendStatus(_Part, frozen=True, kw_only=True):
    """What runs the model."""

    backend: str
    reason: str | None = None
    """Why it is not the accelerator that was wanted."""
    wanted: str = "cpu"
    falls: int = 0
    """How often an accelerator was given up."""
    promotions: int = 0
    invoke_p50_us: int = 0
    """Over the last 64 windows."""
    invoke_max_us: int = 0


class GateStatus(_Part, frozen=True, kw_only=True):
    """The gate before the model."""

    kind: str
    open: bool
    level: float
    """Changed cells, or dBFS."""
    threshold: float


class StreamStatus(_Part, frozen=True, kw_only=True):
    """One stream."""

    name: str
    source: str
    """Name of its source."""
    modality: Modality
    bundle: str
    version: str
    bundle_id: str
    state: str
    """``running``, ``waiting`` (for its source), ``ended``, ``failed``."""
    windows: int = 0
    """Decided."""
    skipped: int = 0
    """Not run, by the gate."""
    events: int = 0
    gaps: int = 0
    dropped: int = 0
    """Frames that arrived at the stream and were older than another one."""
    levels: tuple[LabelLevel, ...] = ()
    backend: BackendStatus
    gate: GateStatus | None = None
    every: int = 1
    """By the governor, every so many windows are decided."""
    coverage: tuple[CoverageStatus, ...] = ()
    """The day of the present clock last."""
    set_aside: tuple[SetAsideStatus, ...] = ()
    """What counts for none of these days."""


class SinkStatus(_Part, frozen=True, kw_only=True):
    """One sink: ``log``, ``spool``, ``mqtt``, ``webhook``, or with a name of its own ``webhook.phone``."""

    name: str
    state: Literal["ok", "retrying", "failed"]
    fault: str = ""
    delivered: int = 0
    pending: int = 0
    lost: int = 0
    oldest_pending_s: float = 0.0


class TrialStatus(_Part, frozen=True, kw_only=True):
    """One new bundle that has yet to prove itself."""

    name: str
    bundle_id: str
    version: str
    state: Literal["waiting", "judging", "passed", "failed"]
    """``waiting``: no stream gets input that says anything about it."""
    left: int = 0
    """How many more starts it may take."""
    streams: tuple[str, ...] = ()
    """Those that run it or are to."""
    inferences: int = 0
    """On believable input, all streams together."""
    needed: int = 0
    """By each stream."""
    live_s: float = 0.0
    """Time of believable input, of the stream that has most."""
    trial_s: float = 0.0
    """Time of believable input after which it is committed."""
    p99_ms: float = 0.0
    """Of the last 256 windows, of the slowest stream."""
    fault: str = ""
    """Why it failed, or why its end cannot be recorded."""


class ScrubStatus(_Part, frozen=True, kw_only=True):
    """What was found when every byte of the store's bundles was read."""

    ago_s: float
    bundles: int
    """Read, damaged ones included."""
    damaged: int


class AttachmentsStatus(_Part, frozen=True, kw_only=True):
    """Pictures and sounds of events. The first three are of the folder, the others count since the start."""

    files: int = 0
    """Kept now."""
    bytes: int = 0
    """Their size."""
    max_bytes: int
    made: int = 0
    waiting: int = 0
    """Complete, not written yet."""
    deleted: int = 0
    """The oldest, to make room."""
    skipped: dict[str, int]
    """Events that went without, by why: ``rate`` (too many in a minute), ``missed`` (not there any more),
    ``busy`` (too many waited), ``budget`` (larger than all that may be kept), ``disk`` (too little left),
    ``failed``, ``stopped`` (not written when the service ended)."""
    fault: str = ""
    """Why the last one could not be made; empty when it could."""


class RecordingStatus(_Part, frozen=True, kw_only=True):
    """Recordings of sources. The first three are of the folder, the others count since the start."""

    files: int = 0
    """Kept when that was looked at last, those that are being written included."""
    bytes: int = 0
    """Their size."""
    max_bytes: int
    mode: Literal["always", "events"]
    sources: tuple[str, ...] = ()
    """Those that are recorded."""
    writing: tuple[str, ...] = ()
    """Those of which a recording is open now."""
    finished: int = 0
    """Recordings that are whole."""
    deleted: int = 0
    """The oldest, to make room, or because of their age."""
    short: int = 0
    """Recordings of events that begin too late: there was no room for what came before."""
    lost: dict[str, int]
    """Frames or samples that are in no recording, by why: ``busy`` (the disk was too slow), ``disk`` (too
    little left), ``failed``, ``undecodable`` (what they lean on is missing), ``stopped`` (not written when
    the service ended); ``records`` counts records instead."""
    fault: str = ""
    """Why the last could not be written; empty when it could."""


class ServiceStatus(_Part, frozen=True, kw_only=True):
    """The whole service."""

    device: str
    version: str
    """Of galago-edge."""
    pid: int
    uptime_s: float
    wall_ns: int
    clock_synced: bool
    timezone: str = "UTC"
    """In which days are counted and times are shown."""
    state: Literal["starting", "ok", "degraded"]
    problems: tuple[str, ...] = ()
    """One line for everything that is not as it should be; empty when ``ok``."""
    rss_mb: float = 0.0
    temperature_c: float | None = None
    sources: tuple[SourceStatus, ...] = ()
    streams: tuple[StreamStatus, ...] = ()
    sinks: tuple[SinkStatus, ...] = ()
    trials: tuple[TrialStatus, ...] = ()
    """Bundles on trial now."""
    scrub: ScrubStatus | None = None
    """The last one; None before the first since the start."""
    safe_mode: bool = False
    """No stream has a bundle that can run; an install and SIGHUP bring the device back."""
    last_events: tuple[dict[str, Any], ...] = ()
    """The newest 20 event records, the newest first; with the record ``attachment`` of its own as soon as one
    has it."""
    samples: dict[str, Any] | None = None
    """What was kept for retraining, when that is switched on."""
    attachments: AttachmentsStatus | None = None
    """Pictures and sounds of events, when they are switched on."""
    recording: RecordingStatus | None = None
    """Recordings of sources, when they are switched on."""
