"""What flows through a stream: frames, audio blocks, what is missing between them, and what was decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import InputError, Reason

NS_PER_S = 1_000_000_000
LATEST_NS = 1 << 62
"""Times of a stream and numbers of its frames are below: what follows from them fits 64 bits."""


@dataclass(frozen=True, slots=True)
class CodedFormat:
    """How the packets of one connection are coded."""

    codec: str
    """By FFmpeg's name: ``h264``, ``hevc``."""
    extradata: bytes
    """Parameter sets that the camera told beside its packets (Annex B); empty when they are only in them."""
    time_base: tuple[int, int]
    """Numerator and denominator, in seconds, of ``CodedPacket.pts``."""


@dataclass(frozen=True, slots=True)
class CodedPacket:
    """What a camera sent of one picture that may lean on others: one access unit, as Annex B bytes."""

    data: bytes
    number: int
    """Position among the packets of its connection, from 0. A jump means that packets were left out."""
    key: bool
    """Whether a decoder may begin with it. Its parameter sets are in ``data`` then."""
    before_ns: int
    """So long before the ``captured_ns`` of the frame that it comes with, it had arrived."""
    pts: int | None
    """Presentation time stamp as the camera sent it; None when it sent none."""
    damaged: bool
    """Whether its container said that bytes of it are missing or wrong."""


@dataclass(frozen=True, slots=True)
class Coded:
    """All packets that have come since the frame before: of this one, and of those that nobody took."""

    format: CodedFormat
    packets: tuple[CodedPacket, ...]
    """In the order in which they came, which is that of decoding."""
    shown: int
    """Number of the packet that the frame was decoded from; it came with this frame or an earlier one."""
    begins: bool
    """Whether a new decoder took them: they count from 0 again, and nothing in them leans on earlier ones."""
    left_out: int = 0
    """Packets that there was no room for since the frame before."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One camera image and the moment it was taken."""

    pixels: npt.NDArray[np.uint8]
    """Shape ``(height, width, 3)``, BGR as OpenCV gives it."""

    index: int
    """Position in the stream, from 0. A jump means frames were dropped."""

    captured_ns: int
    """Nanoseconds on the stream's own clock (monotonic when live), never wall-clock time."""

    encoded: bytes | None = None
    """What the camera itself sent (JPEG), when it did, so that a recorder keeps it without loss."""

    coded: Coded | None = None
    """What it sent instead of pictures that stand for themselves (H.264), when that was asked for."""


def check_pixels(pixels: npt.NDArray[Any]) -> None:
    """Refuse what cannot be the pixels of a :class:`Frame`, whatever program gave them.

    Raises:
        InputError: SOURCE_MISMATCH.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise InputError(
            Reason.SOURCE_MISMATCH,
            f"frame is {pixels.dtype} of shape {pixels.shape}, expected uint8 of shape (height, width, 3)",
            hint="convert to 8-bit BGR first",
        )


@dataclass(frozen=True, slots=True)
class AudioBlock:
    """Some consecutive samples of one microphone."""

    samples: npt.NDArray[np.int16]
    """Shape ``(n,)``, mono, at ``rate_hz``. Never written to again: streams keep it until it is decided."""

    first_sample: int
    """Position of ``samples[0]`` in the stream, from 0. A jump means samples were lost."""

    captured_ns: int
    """Stream time of ``samples[0]`` in nanoseconds, never wall-clock time."""

    rate_hz: int
    """Samples per second."""


GAP_CAUSES = (
    *("connecting", "disconnect", "stall", "restart", "drop", "overrun"),  # of live sources
    *("truncated", "unreadable", "missing"),  # of recordings
)
"""Why nobody watched or heard: the stable words of docs/events.md."""
GAPS_OF_DAMAGE = frozenset({"truncated", "unreadable"})
"""Those that stand where a recording could not be read."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of stream time that nobody watched or heard, and why."""

    from_ns: int
    to_ns: int
    cause: str
    """A stable word: one of ``GAP_CAUSES``."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something about the source that a reader of the events must know; becomes a ``state`` record."""

    state: str
    """A stable word, such as ``truncated``."""
    index: int
    ns: int
    detail: dict[str, Any]


Item = Frame | AudioBlock | Gap | Notice
"""What a source gives, in stream order."""


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a stream that one window covers, half-open."""

    start_index: int
    end_index: int
    """Frame or sample index behind the last one used."""
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class WindowSeen:
    """What was decided on one window, for those who watch a stream beside its decisions.

    Arrays have the shape ``(labels,)``, are in label order, and are to be read only.
    """

    span: Span
    logits: npt.NDArray[np.int8]
    """The model's output codes; empty when the gate skipped the window."""
    scores: npt.NDArray[np.int64]
    """Q16 (65536 is 1.0), before smoothing; all 0 when the gate skipped the window."""
    smoothed: npt.NDArray[np.int64]
    """Q16, rounded half up; too low in warm-up."""
    skipped: bool
    """The gate was closed: the model was not run."""
    warm_up: bool
    """Too few windows were seen, since the start or the last gap, to decide anything."""
    fired: tuple[str, ...]
    """Labels that became events with this window."""
    restart: bool = False
    """Smoothing began anew with this window: it is the first since the start or the last gap."""


def samples_to_ns(samples: int, rate_hz: int) -> int:
    """Return the stream time of a sample index, in integer nanoseconds (floor).

    >>> samples_to_ns(16_001, 16_000)
    1000062500
    """
    return samples * NS_PER_S // rate_hz
