"""What a tap asks of whatever writes its recordings; the tap knows nothing of their format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from galago_edge.contract.records import Record
from galago_edge.contract.streams import AudioBlock, Coded, Gap, Notice

PictureForm = Literal["jpeg", "png"]


@dataclass(frozen=True, slots=True)
class Drop:
    """Frames or samples of the source that somebody did not get, half-open."""

    stream: str
    """The stream that did not take them in time; empty: they are not in the recording."""
    cause: str
    """Of a stream the cause of the gap that it had instead, empty when it had none; of the recording a key of
    ``RecordingStatus.lost``."""
    from_index: int
    to_index: int
    from_ns: int
    to_ns: int


class TapWriter(Protocol):
    """One recording that is being written, of one source. Used by one thread.

    Everything comes in stream order, but for :meth:`record`, which may come a little later than what it is
    about. Indexes and times are those of the source's stream: frames, or samples at the device's own rate,
    and nanoseconds since its supervision began.

    Each method raises ``OSError`` or ``GalagoError`` when that cannot be written; the tap then closes it.
    """

    @property
    def lost(self) -> int:
        """Frames or blocks that it took, and the disk did not."""
        ...

    def picture(self, index: int, ns: int, form: PictureForm, data: bytes) -> None:
        """Write one frame: the camera's own JPEG, or a PNG of a camera that sends raw pixels."""

    def coded(self, index: int | None, ns: int, coded: Coded) -> None:
        """Write packets, and that the stream had frame ``index`` of packet ``coded.shown`` at ``ns``.

        None: the stream had no frame there; the packets are what later frames lean on. The first packet of a
        recording, and the first one behind a jump of their numbers, is a key frame.
        """

    def sound(self, block: AudioBlock) -> None:
        """Write samples as the device gave them."""

    def gap(self, gap: Gap) -> None:
        """Write that nobody watched or heard."""

    def notice(self, notice: Notice) -> None:
        """Write what the source said of itself."""

    def drop(self, drop: Drop) -> None:
        """Write that something is not here, or was not taken by a stream."""

    def record(self, record: Record) -> None:
        """Write what a stream on this source decided."""

    def tick(self) -> float | None:
        """Write what has waited long enough; return in how many seconds again, None: nothing waits."""
        ...

    def close(self) -> None:
        """Make the recording whole. Called once, after a failure too: then it stays as far as it came."""


OpenTap = Callable[[Path, Mapping[str, Any]], TapWriter]
"""Begins a recording that will be at this path, and has another name until it is whole.

The second argument is what is known of it, to be stored as JSON: ``source_tap.SourceTap``.
"""
