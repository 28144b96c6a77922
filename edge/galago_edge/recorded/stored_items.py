"""What of one source is in a recording: items of its stream, with pictures still encoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from galago_edge.contract.streams import AudioBlock, Gap, Notice


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """One picture as the camera sent it."""

    index: int
    captured_ns: int
    format: str
    """``jpeg``, ``png``, ``h264`` ..."""
    data: bytes
    hidden: bool = False
    """No stream saw it: later ones lean on it."""
    key: bool = True
    """It leans on nothing before."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Items that were recorded, or should have been, and are not there."""

    items: int
    """0: nobody knows how many."""
    to_ns: int | None
    """Stream time up to which they reached at least; None: nobody knows."""
    why: str


@dataclass(frozen=True, slots=True)
class UnrecordedGap:
    """The recorder itself lost these items, and says so."""

    gap: Gap
    items: int


class MarkMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message of ``/gaps/<source>``."""

    kind: str
    """``gap`` or ``notice``."""
    from_ns: int = 0
    to_ns: int = 0
    cause: str = ""
    lost_items: int = 0
    """Of a gap: so many items the recorder could not keep."""
    state: str = ""
    index: int = 0
    ns: int = 0
    detail: dict[str, Any] = {}


class DropMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message of ``/drops/<source>``: a stream did not take these in time."""

    stream: str
    first: int
    """Index of the first frame or sample."""
    end: int
    """Behind the last."""
    from_ns: int
    to_ns: int
    cause: str = ""
    """Of the gap that the stream was told; empty where it was told none."""


Stored = StoredPicture | AudioBlock | Gap | Notice | UnrecordedGap | Missing


def is_key_unit(data: bytes) -> bool:
    """Tell whether an H.264 access unit in Annex B leans on nothing: it holds an IDR slice (7.4.1.2.4)."""
    at = data.find(b"\x00\x00\x01")
    while at >= 0 and at + 3 < len(data):
        if data[at + 3] & 0x1F == 5:
            return True
        at = data.find(b"\x00\x00\x01", at + 3)
    return False


def begin_ns_of(item: Stored) -> int:
    """Return the stream time at which an item begins; of what is missing, where it ends."""
    if isinstance(item, StoredPicture | AudioBlock):
        return item.captured_ns
    if isinstance(item, UnrecordedGap):
        return item.gap.from_ns
    if isinstance(item, Gap):
        return item.from_ns
    return item.ns if isinstance(item, Notice) else item.to_ns or 0
