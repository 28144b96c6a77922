"""What waits for a recorder: records, and what a source gave, without pixels where it sent its own bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.records import GapRecord, Record, StateRecord
from galago_edge.contract.streams import AudioBlock, Coded, Frame, Gap, Item, Notice, samples_to_ns
from galago_edge.host.extras import import_extra
from galago_edge.recording.tap_writer import Drop

_JPEG_MAGIC = b"\xff\xd8\xff"
_SMALL_BYTES = 512
"""What a thing without pictures or sound counts for."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame to be recorded: exactly one of the last three says what it shows."""

    index: int | None
    """None: no frame of the stream, only packets that later ones lean on."""
    ns: int
    jpeg: bytes | None = None
    coded: Coded | None = None
    pixels: npt.NDArray[np.uint8] | None = None

    def png(self) -> bytes:
        """Return the pixels as PNG, packed quickly rather than well.

        Raises:
            DeviceError: EXTRA_MISSING.
            InputError: IMAGE_UNREADABLE; OpenCV cannot.
        """
        cv2 = import_extra("cv2", "camera", "recording pictures")
        done, data = cv2.imencode(".png", self.pixels, (cv2.IMWRITE_PNG_COMPRESSION, 1))
        if not done:
            raise InputError(
                Reason.IMAGE_UNREADABLE, f"frame {self.index} cannot be written as PNG", hint="report this"
            )
        content: bytes = data.tobytes()
        return content


Thing = Shot | AudioBlock | Gap | Notice | Drop | Record


def thing_of(item: Item) -> Thing:
    """Return what of an item is recorded."""
    if not isinstance(item, Frame):
        return item
    if item.encoded is not None and item.encoded.startswith(_JPEG_MAGIC):
        return Shot(item.index, item.captured_ns, jpeg=item.encoded)
    if item.coded is not None:
        return Shot(item.index, item.captured_ns, coded=item.coded)
    return Shot(item.index, item.captured_ns, pixels=item.pixels)


def bytes_of(thing: Thing) -> int:
    """Return about how much memory it holds."""
    if isinstance(thing, AudioBlock):
        return thing.samples.nbytes + _SMALL_BYTES
    if not isinstance(thing, Shot):
        return _SMALL_BYTES
    if thing.pixels is not None:
        return thing.pixels.nbytes + _SMALL_BYTES
    if thing.coded is not None:
        return sum(len(packet.data) + _SMALL_BYTES for packet in thing.coded.packets) + _SMALL_BYTES
    return len(thing.jpeg or b"") + _SMALL_BYTES


def end_ns_of(thing: Thing) -> int:
    """Return the stream time up to which it tells something."""
    if isinstance(thing, AudioBlock):
        return thing.captured_ns + samples_to_ns(len(thing.samples), thing.rate_hz)
    if isinstance(thing, Shot | Notice | StateRecord):
        return thing.ns
    return thing.to_ns if isinstance(thing, Gap | GapRecord | Drop) else thing.end_ns


def is_about(thing: Thing) -> bool:
    """Tell whether it is about frames or samples that came before: it may come later than they are over."""
    return not isinstance(thing, Shot | AudioBlock | Gap | Notice)


def span_of(thing: Shot | AudioBlock) -> tuple[int, int, int, int]:
    """Return first index, index behind the last, and the times of both."""
    if isinstance(thing, AudioBlock):
        first, count = thing.first_sample, len(thing.samples)
        return first, first + count, thing.captured_ns, end_ns_of(thing)
    index = thing.index or 0
    return index, index + 1, thing.ns, thing.ns


def begins_here(thing: Shot | AudioBlock) -> bool:
    """Tell whether a recording may begin with it: nothing in it leans on what came before."""
    if isinstance(thing, AudioBlock) or thing.coded is None:
        return True
    return any(packet.key for packet in thing.coded.packets)


def from_key_frame(shot: Shot) -> Shot | None:
    """Return a shot of packets without those before its key frame; None when it has no key frame.

    Of several key frames it is the last one from which its frame can be decoded.
    """
    assert shot.coded is not None
    packets, shown = shot.coded.packets, shot.coded.shown
    keys = [packet.number for packet in packets if packet.key]
    if not keys:
        return None
    first = max((number for number in keys if number <= shown), default=keys[0])
    kept = tuple(packet for packet in packets if packet.number >= first)
    index = shot.index if shown >= first else None
    return replace(shot, index=index, coded=replace(shot.coded, packets=kept))
