"""What a capture child and its parent say to each other, over a ``galago_edge.children.channel``.

The parent begins with an ``Order``. The child answers with ``Opened``, then gives what it captures; whatever
goes wrong, ``CaptureFailed`` is its last word. Who asks for what, and when, is told where it is served:
``frame_server`` for cameras, ``microphone`` for microphones.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from galago_edge.contract.errors import Reason

MOST_DAMAGED = 5
"""Pictures one after the other that are not whole: what damages single ones is not at work."""


class Order(msgspec.Struct, frozen=True, kw_only=True, tag="order"):
    """What to capture."""

    kind: Literal["camera", "mjpeg", "network", "microphone"]
    target: str
    """A device or a URL; may hold credentials, and is told to nobody."""
    shown: str
    """What to call it in messages."""
    options: dict[str, int]
    """What its address declares: ``width``, ``height``, ``fps``; ``rate``, ``channels``, ``channel``."""
    fps: float | None
    """At most so many frames a second count; None for all."""
    rate_hz: int | None
    """The rate that its bundles want of a microphone."""
    open_s: float
    stall_s: float
    """How long the parent waits for it to open, and for anything to come afterwards."""
    gives: tuple[Literal["picture", "sound"], ...] = ("picture",)
    """What is wanted of a stream from the network or of a file; others have but one."""
    transport: Literal["tcp", "udp"] = "tcp"
    conceal: bool = False
    """Whether pictures that a decoder patched up count: see ``SourceSettings.damaged``."""
    loop: bool = False
    """Whether a file begins again at its end."""
    packets: bool = False
    """Whether the packets of a stream are wanted beside the pictures that are decoded from them."""
    ca_file: str = ""
    fingerprint: str = ""
    """Which certificate a server may show: ``galago_edge.host.tls_trust``."""


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """Asks a camera for its newest frame; the first one is asked for by the order."""


class CameraDescription(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="camera"):
    """What a camera promises; what it does not say is unset."""

    name: str
    width: int | UnsetType = UNSET
    height: int | UnsetType = UNSET
    fps: float | UnsetType | None = UNSET
    """None when it says nothing sensible."""
    encoding: Literal["jpeg", "raw"] | UnsetType = UNSET
    """``jpeg``: its own pictures are kept with the frames."""
    codec: str | UnsetType = UNSET
    """By FFmpeg's name: ``h264``, ``hevc``, ``mjpeg``."""
    sent_to: str | UnsetType = UNSET
    """The host that answers, when the named one sent there."""


class MicrophoneDescription(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="microphone"):
    """How a microphone was opened."""

    name: str
    rate_hz: int
    channels: int


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """The device is open."""

    description: CameraDescription | MicrophoneDescription
    sound: MicrophoneDescription | None = None
    """Of the sound that comes beside the pictures, where both are wanted and there."""


class CaptureFailed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """There is nothing, or nothing more."""

    reason: Reason
    message: str
    hint: str


class PacketsBegin(msgspec.Struct, frozen=True, kw_only=True):
    """The packets that follow are the first ones for a new decoder."""

    codec: str
    extradata: bytes
    time_base: tuple[int, int]


class PacketPlace(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One packet: see ``galago_edge.contract.streams.CodedPacket``."""

    size: int
    number: int
    key: bool
    before_ns: int
    pts: int | None
    damaged: bool


class PacketsReady(msgspec.Struct, frozen=True, kw_only=True):
    """The packets since the frame before lie in the memory, one after the other, behind everything else."""

    places: list[PacketPlace]
    shown: int
    """Number of the packet that the frame was decoded from."""
    left_out: int
    begins: PacketsBegin | None


class FrameReady(msgspec.Struct, frozen=True, kw_only=True, tag="frame"):
    """A frame lies in the shared memory: its pixels, and behind them the bytes as the camera sent them.

    The memory's file comes along when it is a new one.
    """

    index: int
    captured_ns: int
    shape: list[int] | None
    """Of the pixels, uint8; None when there are none."""
    encoded: int
    """So many bytes."""
    packets: PacketsReady | UnsetType = UNSET
    """Unset when nobody wants them, or the camera sends pictures that stand for themselves."""


class Sound(msgspec.Struct, frozen=True, kw_only=True, tag="sound"):
    """Interleaved int16 samples, which are the payload."""

    first_sample: int
    captured_ns: int
    rate_hz: int | UnsetType = UNSET
    channels: int | UnsetType = UNSET
    """Both only where they are others than those that were described: some codecs show theirs late."""


class Damaged(msgspec.Struct, frozen=True, kw_only=True, tag="damaged"):
    """A picture arrived that is not whole, or leans on one that is not, behind a whole one at ``from_ns``."""

    from_ns: int
    to_ns: int
    pictures: int
    """1 when no frame's index counts it, else 0."""


class Overrun(msgspec.Struct, frozen=True, kw_only=True, tag="overrun"):
    """The samples that come next do not follow on those before."""

    from_ns: int
    to_ns: int


FromParent = Order | Ask
Captured = FrameReady | Sound | Overrun | Damaged
FromChild = Opened | Captured | CaptureFailed
