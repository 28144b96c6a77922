"""What ``galago.toml`` says: one type for each table, handed to the part that it is for.

Secrets need not be written there: ``${NAME}`` in a text value is replaced from the environment when the
file is read, and a password may stand in a file or a variable of its own.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from galago_edge.contract.manifest import BundleName, Probability

Name = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z",
        description="1 to 64 letters, digits, dots, _ and -, without spaces, the first a letter or a digit",
    ),
]
"""Here and below, what is described is said to whoever writes something else."""
Seconds = Annotated[float, msgspec.Meta(gt=0.0, le=86_400.0)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Fingerprint = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31})?\Z",
        description="the SHA-256 of a certificate: 64 hexadecimal digits, with or without colons",
    ),
]
"""SHA-256 of a certificate in hexadecimal digits, with or without colons; or nothing."""
Megabytes = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every table."""


class LoginTable(Table, frozen=True, kw_only=True):
    """Base of a table that says who we are somewhere. Secrets may stand in it: it is never shown.

    ``galago_edge.host.credentials`` reads the password from where it stands.
    """

    user: str = ""
    """As the other side is to get it: nothing is escaped."""
    password: str = ""
    password_file: str = ""
    """File of one line, which is the password; read at each new connection."""
    password_env: str = ""
    """Environment variable that holds the password."""

    def __post_init__(self) -> None:
        """Refuse two passwords, and one without a user.

        Raises:
            ValueError: As said, in words.
        """
        said = [key for key in ("password", "password_file", "password_env") if getattr(self, key)]
        if len(said) > 1:
            raise ValueError(f"{' and '.join(said)}: say the password in one way")
        if said and not self._names_user():
            raise ValueError(f"{said[0]} without user")

    def _names_user(self) -> bool:
        return bool(self.user)

    def __repr__(self) -> str:
        """Return the type alone."""
        return f"<{type(self).__name__}>"


class Thresholds(Table, frozen=True, kw_only=True):
    """What this device changes in one label's policy."""

    on: Probability | UnsetType = UNSET
    off: Probability | UnsetType = UNSET


class PlausibilitySettings(Table, frozen=True, kw_only=True):
    """``[source.NAME.plausibility]``: when input that arrives is not believed; 0 s means never."""

    frozen_s: Annotated[float, msgspec.Meta(ge=0.0)] = 30.0
    """Frames that are equal to the last bit for so long."""
    dark_s: Annotated[float, msgspec.Meta(ge=0.0)] = 60.0
    """Frames that are black, or one even colour (a covered lens), for so long."""
    moved_s: Annotated[float, msgspec.Meta(ge=0.0)] = 30.0
    """What the camera usually sees lies elsewhere, or is another place, for so long."""
    defocused_s: Annotated[float, msgspec.Meta(ge=0.0)] = 40.0
    """Edges that the camera usually sees are less sharp, nearly everywhere, for so long."""
    covered_s: Annotated[float, msgspec.Meta(ge=0.0)] = 30.0
    """A quarter or more of what the camera usually sees is not to be seen for so long."""
    flat_s: Annotated[float, msgspec.Meta(ge=0.0)] = 10.0
    """Samples that are all equal (digital silence) for so long."""
    clipped_s: Annotated[float, msgspec.Meta(ge=0.0)] = 10.0
    """More than 1 % of the samples at full scale for so long."""
    offset_s: Annotated[float, msgspec.Meta(ge=0.0)] = 10.0
    """Mean of the samples beyond 10 % of full scale for so long."""
    rate_s: Annotated[float, msgspec.Meta(ge=0.0)] = 30.0
    """Over so long, more than 2 % more or fewer samples than the declared rate promises."""


Fraction = Annotated[
    float,
    msgspec.Meta(ge=0.0, le=1.0, description="a fraction of the picture from 0.0 to 1.0, not pixels"),
]
Corners = tuple[Fraction, ...]
"""Fractions of width and height: left, top, right, bottom of a rectangle, or x and y of each corner."""

Region = Annotated[Corners, msgspec.Meta(examples=["[0.1, 0.2, 0.9, 0.8]"])]
Masks = Annotated[tuple[Corners, ...], msgspec.Meta(examples=["[[0.0, 0.0, 0.3, 0.25]]"])]


class ViewSettings(Table, frozen=True, kw_only=True):
    """What a stream sees of a camera's pictures: :mod:`galago_edge.sources.picture_view`."""

    rotate: Literal[0, 90, 180, 270] | UnsetType = UNSET
    """Degrees clockwise."""
    region: Region | UnsetType = UNSET
    """What is kept."""
    mask: Masks | UnsetType = UNSET
    """What is blacked out."""


class SourceSettings(LoginTable, frozen=True, kw_only=True):
    """``[source.NAME]``: a camera or microphone, and when it counts as lost."""

    address: Annotated[str, msgspec.Meta(min_length=1)]
    """As ``galago_edge.sources.address`` reads it."""
    fps: Annotated[float, msgspec.Meta(ge=0.001, le=1_000.0)] | UnsetType = UNSET
    """Frames above this rate are not even decoded."""
    transport: Literal["tcp", "udp"] = "tcp"
    """How an RTSP camera sends; over UDP what is lost on the way damages pictures."""
    damaged: Literal["skip", "conceal"] = "skip"
    """Damaged pictures, up to the next key frame, are left out, or taken as the decoder patched them up."""
    channel: Annotated[int, msgspec.Meta(ge=1, le=64)] | None = None
    """The channel of a microphone that is taken, from 1, instead of the mean of all."""
    stall_s: Seconds = 5.0
    """No frame or sample for so long: the source is reopened."""
    open_s: Seconds = 10.0
    """How long opening may take."""
    backoff_s: Seconds = 0.5
    """Pause before the second attempt; doubles up to ``backoff_max_s``, each up to 20 % shorter by chance."""
    backoff_max_s: Seconds = 8.0
    retries: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 3
    """Failed attempts before the source is ``escalated``."""
    breaker: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10
    """Failed attempts before it is ``failed`` and tried only every ``breaker_s``."""
    breaker_s: Seconds = 8.0
    steady_s: Seconds = 5.0
    """How long items must flow before a source that was lost is ``healthy`` again."""
    rotate: Literal[0, 90, 180, 270] | UnsetType = UNSET
    region: Region | UnsetType = UNSET
    mask: Masks | UnsetType = UNSET
    """These three as in :class:`ViewSettings`: a Struct inherits fields from one other alone."""
    gap_ms: Annotated[int, msgspec.Meta(ge=1, le=3_600_000)] = 1_000
    """A stream that got no frame for so long has a gap."""
    ca_file: str = ""
    """PEM file of the authorities that may have signed a network camera's certificate; empty: public ones."""
    fingerprint: Fingerprint = ""
    """The one certificate that a network camera may show, whoever signed it, whatever its names and dates."""
    plausibility: PlausibilitySettings = PlausibilitySettings()


ViewTable = ViewSettings | SourceSettings
"""A table that may say what is seen of a picture."""


class StreamSettings(ViewSettings, frozen=True, kw_only=True):
    """One ``[[stream]]``; what it says of the view counts before what its source says."""

    name: Name
    source: Annotated[str, msgspec.Meta(min_length=1)]
    """Name of a ``[source.NAME]``, or an address; streams of one source share its capture."""
    bundle: BundleName | None = None
    """Name of an installed bundle; may be left out when only one fits the source."""
    thresholds: dict[str, Thresholds] = {}

    def threshold_overrides(self) -> dict[str, dict[str, float]]:
        """Return the thresholds as the pipeline takes them."""
        return {label: msgspec.to_builtins(given) for label, given in self.thresholds.items()}


class SpoolSettings(Table, frozen=True, kw_only=True):
    """``[spool]``: where events wait for delivery."""

    dir: str = ""
    """Folder; ``spool`` in the store's root when empty."""
    max_mb: Megabytes = 16
    """Beyond it the oldest are given up, and how many is told."""
    sync_s: Annotated[float, msgspec.Meta(ge=0.0, le=3_600.0)] = 5.0
    """Longest time that a record may be lost by a power cut; 0 syncs every batch. Spares the SD card."""


class PageSettings(Table, frozen=True, kw_only=True):
    """``[page]``: status page and ``/metrics``."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 8390
    """0 takes a free one; the service's first lines say which."""
    token: str = ""
    """Must be given by every visitor; without one only a loopback ``host`` is allowed."""
    frame_ancestors: tuple[str, ...] = ()
    """Pages that may show this one in a frame, as a Content-Security-Policy names them; none when empty."""


class SamplesSettings(Table, frozen=True, kw_only=True):
    """``[samples]``: keeps what a human should label. Nothing is kept without this table."""

    dir: Annotated[str, msgspec.Meta(min_length=1)]
    mb_per_day: Megabytes = 50
    max_mb: Megabytes = 500
    """All samples together; nothing is kept beyond it."""
    keep_free_mb: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 100
    """Nothing is kept that would leave less than this on the disk: store and spool need it more."""
    per_class_per_day: Annotated[int, msgspec.Meta(ge=1)] = 40
    margin: Probability = 0.15
    """Uncertain: the two best scores are at most so far apart."""
    near_threshold: Probability = 0.1
    """Near: a smoothed score is at most so far from its label's ``on``."""
    first_of_class: bool = True
    """Keep each label's first event of a day."""
    flips: bool = True
    """Keep a window whose answer stands alone between two that are equal."""
    pre_roll_s: Annotated[float, msgspec.Meta(ge=0.0, le=60.0)] = 1.0
    post_roll_s: Annotated[float, msgspec.Meta(ge=0.0, le=60.0)] = 1.0
    min_interval_s: Annotated[float, msgspec.Meta(ge=0.0)] = 10.0


class AttachmentsSettings(Table, frozen=True, kw_only=True):
    """``[attachments]``: events carry their picture or sound. None do without this table."""

    max_mb: Megabytes = 8
    """All kept files together; the oldest are deleted first."""
    keep_free_mb: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 100
    """Nothing is kept that would leave less than this on the disk: store and spool need it more."""
    pictures: bool = True
    """Of cameras: the frame of the deciding window, as the stream saw it."""
    sounds: bool = True
    """Of microphones: the deciding window, with what was before and after it."""
    before_s: Annotated[float, msgspec.Meta(ge=0.0, le=30.0)] = 2.0
    after_s: Annotated[float, msgspec.Meta(ge=0.0, le=30.0)] = 2.0
    max_width: Annotated[int, msgspec.Meta(ge=0, le=16_384)] = 0
    """Pixels; wider pictures are made smaller. 0: as wide as the stream saw it."""
    per_minute: Annotated[int, msgspec.Meta(ge=1, le=6_000)] = 12
    """So many attachments of one stream in any minute; further events go without."""
    streams: tuple[str, ...] = ()
    """Of these streams alone; empty: of all."""
    labels: tuple[str, ...] = ()
    """Of events with these labels alone; empty: of all."""

    def __post_init__(self) -> None:
        """Refuse a table that asks for nothing.

        Raises:
            ValueError: As said, in words.
        """
        if not self.pictures and not self.sounds:
            raise ValueError("neither pictures nor sounds: leave the table out")


class RecordingSettings(Table, frozen=True, kw_only=True):
    """``[recording]``: what cameras and microphones give is kept, to be replayed. Nothing is without it."""

    mode: Literal["always", "events"]
    """Everything, or what is around the events of the streams."""
    dir: str = ""
    """Folder; ``recordings`` in the store's root when empty."""
    sources: tuple[str, ...] = ()
    """These alone; empty: those of all streams."""
    streams: tuple[str, ...] = ()
    """Around events of these streams alone; empty: of all."""
    labels: tuple[str, ...] = ()
    """Around events with these labels alone; empty: of all."""
    before_s: Annotated[float, msgspec.Meta(ge=0.0, le=300.0)] = 10.0
    """Before an event; of H.264 from the key frame before that."""
    after_s: Annotated[float, msgspec.Meta(ge=0.0, le=300.0)] = 10.0
    minutes: Annotated[float, msgspec.Meta(gt=0.0, le=1_440.0)] = 10.0
    """A recording ends after so long and the next one begins, of H.264 at its next key frame."""
    max_mb: Megabytes = 2_000
    """All recordings together; the oldest are deleted first."""
    max_days: Annotated[int, msgspec.Meta(ge=0, le=36_500)] = 0
    """Older ones are deleted, once the clock is synchronized; 0: age does not matter."""
    keep_free_mb: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 500
    """Nothing is recorded that would leave less than this on the disk: store and spool need it more."""
    memory_mb: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 32
    """Of each source: what waits for the disk, and what was before an event."""
    unmasked: bool = False
    """Whether cameras with a ``mask`` are recorded too: what they send shows what it hides."""

    def __post_init__(self) -> None:
        """Refuse a choice of events where everything is recorded.

        Raises:
            ValueError: As said, in words.
        """
        said = [key for key in ("streams", "labels") if getattr(self, key)]
        if said and self.mode == "always":
            raise ValueError(
                f'{" and ".join(said)} with mode = "always": they choose events, for mode = "events"'
            )


class GovernorSettings(Table, frozen=True, kw_only=True):
    """``[governor]``: what a hot or under-powered device does less of."""

    ladder: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=1, le=1_000)], ...], msgspec.Meta(min_length=1)
    ] = (1, 2, 4, 8)
    """Every window, every second, every fourth ... is decided; one step at a time."""
    hot_c: float = 80.0
    """One step down at or above it, or when the board says that it is throttled or under-powered."""
    cool_c: float = 70.0
    """One step up below it."""
    every_s: Seconds = 10.0
    """A step at most so often."""
    zones: tuple[str, ...] = ()
    """Types of thermal zones to believe (``cpu-thermal``); a list of known ones when empty."""


class LimitsSettings(Table, frozen=True, kw_only=True):
    """``[limits]``: when the service gives itself up, to be restarted."""

    memory_mb: Annotated[int, msgspec.Meta(ge=0)] = 512
    """Resident memory beyond which the service drains and ends; 0 sets no limit."""
    hang_s: Seconds = 10.0
    """A model that runs for so long hangs."""
    drain_s: Seconds = 5.0
    """How long the end may wait for delivery; what is left waits in the spool."""


class AcceleratorSettings(Table, frozen=True, kw_only=True):
    """``[accelerator]``: how hard an accelerator is tried."""

    enabled: bool = True
    probe_s: Seconds = 30.0
    """How long loading may take, in a process of its own."""
    probes: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    """Attempts before the CPU is accepted for ``cool_down_s``."""
    retry_s: Seconds = 1.0
    """Pause between two attempts."""
    invoke_s: Seconds = 2.0
    """An accelerator that takes so long for one window hangs."""
    cool_down_s: Seconds = 300.0
    """Time on the CPU before the accelerator is tried again; doubles with every fall, up to a day."""
    recheck_s: Seconds = 600.0
    """While an accelerator runs, it must give a golden sample's answer again so often."""
    memory_mb: Annotated[int, msgspec.Meta(ge=64)] = 512
    """Resident memory of its process beyond which it leaks; looked at every ``recheck_s``."""


class StoreSettings(Table, frozen=True, kw_only=True):
    """``[store]``: how the service looks after it."""

    scrub_every_s: Annotated[float, msgspec.Meta(ge=0.0)] = 86_400.0
    """Every byte of every bundle is read again so often; 0 leaves that to ``galago scrub``."""


class DeviceSettings(Table, frozen=True, kw_only=True):
    """``[device]``."""

    name: Name | None = None
    """Stands in topics and keys; the host's name when left out."""
    timezone: str = "UTC"
    """Name of the IANA data base: it decides what a day is, and in what time people are told."""


class OwnTables(Table, frozen=True, kw_only=True):
    """The tables of ``galago.toml`` that are not a sink's."""

    device: DeviceSettings = DeviceSettings()
    source: dict[Name, SourceSettings] = {}
    stream: Annotated[tuple[StreamSettings, ...], msgspec.Meta(min_length=1)]
    spool: SpoolSettings = SpoolSettings()
    page: PageSettings | None = None
    samples: SamplesSettings | None = None
    attachments: AttachmentsSettings | None = None
    recording: RecordingSettings | None = None
    governor: GovernorSettings = GovernorSettings()
    limits: LimitsSettings = LimitsSettings()
    accelerator: AcceleratorSettings = AcceleratorSettings()
    store: StoreSettings = StoreSettings()


class Settings(OwnTables, frozen=True, kw_only=True):
    """The whole ``galago.toml``."""

    sinks: dict[str, Any] = {}
    """The settings of each sink, by the name of its table; None for one whose plug-in cannot be used.

    Each is of its sink's own type: ``galago_edge.sinks.sink_kind``.
    """
