"""The JSONL records of ``galago run`` and ``galago replay``: one object a line, the same for both.

Key order is the order of the fields below and never depends on values. Stream times are
integer nanoseconds. ``wall_ns`` and ``clock_synced`` are added by live sinks only, so that
two replays of one recording give the same bytes. ``key``, ``wall_corrected_ns`` and ``gone`` are added on
delivery only: the idempotency key, the wall time by a clock that was right later in the same boot, and
that the file of an attachment is not there any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from galago_edge.contract.attachment import MediaType
from galago_edge.contract.decoding import from_json


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    v: Literal[1] = 1


class EventRecord(_Record, frozen=True, kw_only=True):
    """A label was decided: smoothed score over ``on`` for long enough, outside the refractory time."""

    kind: Literal["event"] = "event"
    stream: str
    seq: int
    """Counts the events of this stream from 0."""
    label: str
    score: float
    """Smoothed score at the moment of the decision, 0 to 1."""
    start_index: int
    end_index: int
    """Frames or samples from the first supporting window to the deciding one, half-open."""
    start_ns: int
    end_ns: int
    bundle: str
    """Bundle id: sha256 of the manifest."""
    backend: str
    """What ran the model: ``cpu``, or the accelerator's name."""
    backend_reason: str | UnsetType = UNSET
    """Why it is not the accelerator that the bundle has a model for: ``delegate_crashed`` ..."""
    overrides: dict[str, Any] | UnsetType = UNSET
    """Where this device's policy differs from the manifest for this label."""
    wall_ns: int | UnsetType = UNSET
    clock_synced: bool | UnsetType = UNSET
    key: str | UnsetType = UNSET
    wall_corrected_ns: int | UnsetType = UNSET


class ScoresRecord(_Record, frozen=True, kw_only=True):
    """What the model said about one window, before smoothing."""

    kind: Literal["scores"] = "scores"
    stream: str
    window: int
    start_index: int
    end_index: int
    start_ns: int
    end_ns: int
    logits: list[int]
    """The int8 output codes, in label order."""
    scores: list[float]
    """After softmax or sigmoid with the bundle's temperature."""
    warm_up: bool
    """True while smoothing has not yet seen enough windows to decide anything."""
    skipped: str | UnsetType = UNSET
    """``gate``: the model was not run and every score counts as 0; ``logits`` and ``scores`` are empty."""
    wall_ns: int | UnsetType = UNSET
    clock_synced: bool | UnsetType = UNSET


class GapRecord(_Record, frozen=True, kw_only=True):
    """Nobody watched from ``from_ns`` to ``to_ns``."""

    kind: Literal["gap"] = "gap"
    stream: str
    from_ns: int
    to_ns: int
    cause: str
    wall_ns: int | UnsetType = UNSET
    clock_synced: bool | UnsetType = UNSET
    key: str | UnsetType = UNSET
    wall_corrected_ns: int | UnsetType = UNSET


class StateRecord(_Record, frozen=True, kw_only=True):
    """Something about the stream changed: its source, its backend, a label that ended."""

    kind: Literal["state"] = "state"
    stream: str
    """Empty when it is about the whole device."""
    subject: str
    """``stream``, ``source``, ``backend``, ``gate``, ``governor``, ``bundle`` or ``label:NAME``; about the
    whole device, ``bundle``, ``store``, ``recording``, ``spool`` or ``log``."""
    state: str
    """``started``, ``converted``, ``off``, ``ended`` ..."""
    index: int
    ns: int
    detail: dict[str, Any] = {}
    wall_ns: int | UnsetType = UNSET
    clock_synced: bool | UnsetType = UNSET
    key: str | UnsetType = UNSET
    wall_corrected_ns: int | UnsetType = UNSET


class AttachmentRecord(_Record, frozen=True, kw_only=True):
    """The picture or the sound of an event lies in a file. Behind the event, from live streams only."""

    kind: Literal["attachment"] = "attachment"
    stream: str
    seq: int
    """Of the event, as the next five."""
    label: str
    start_index: int
    end_index: int
    start_ns: int
    end_ns: int
    media_type: MediaType
    file: str
    """Its name in the folder ``attachments`` of the store: :mod:`galago_edge.contract.attachment`."""
    bytes: int
    sha256: str
    from_ns: int
    """What it shows, in stream time; a picture begins and ends at the moment at which it was taken."""
    to_ns: int
    wall_ns: int | UnsetType = UNSET
    clock_synced: bool | UnsetType = UNSET
    key: str | UnsetType = UNSET
    wall_corrected_ns: int | UnsetType = UNSET
    gone: bool | UnsetType = UNSET
    """True: the file was deleted or damaged before it could be delivered."""


Record = EventRecord | ScoresRecord | GapRecord | StateRecord | AttachmentRecord

_KINDS: dict[
    str,
    type[EventRecord] | type[ScoresRecord] | type[GapRecord] | type[StateRecord] | type[AttachmentRecord],
] = {
    "event": EventRecord,
    "scores": ScoresRecord,
    "gap": GapRecord,
    "state": StateRecord,
    "attachment": AttachmentRecord,
}
RECORD_KINDS = tuple(_KINDS)
"""What ``kind`` of a record may say."""


class _Kind(msgspec.Struct):
    kind: str


def stamped(records: Sequence[Record], wall_ns: int, synced: bool) -> list[Record]:
    """Return the records with the wall time, which is a label for people; nothing is decided by it."""
    return [msgspec.structs.replace(record, wall_ns=wall_ns, clock_synced=synced) for record in records]


def dated(records: Sequence[Record], started_ns: int) -> list[Record]:
    """Return the records of a replay with the wall time at which each stood, where that of time 0 is known.

    ``clock_synced`` is not said: who knows the time of a recording has not said by which clock.
    """
    return [msgspec.structs.replace(record, wall_ns=started_ns + told_ns(record)) for record in records]


def event_identity(record: EventRecord | AttachmentRecord) -> tuple[str | int, ...]:
    """Return what an event and its attachment share. The number alone begins again with each process."""
    span = (record.start_index, record.end_index, record.start_ns, record.end_ns)
    return (record.stream, record.seq, record.label, *span)


def told_ns(record: Record) -> int:
    """Return the stream time up to which a record tells something."""
    if isinstance(record, GapRecord):
        return record.to_ns
    return record.ns if isinstance(record, StateRecord) else record.end_ns


def encode_record(record: Record) -> bytes:
    """Return the record as one JSON line, newline included."""
    return msgspec.json.encode(record) + b"\n"


def decode_record(line: bytes) -> Record:
    """Return the record that ``encode_record`` wrote.

    Raises:
        msgspec.ValidationError: The line is not a record of version 1.
    """
    kind = from_json(line, type=_Kind).kind
    if kind not in _KINDS:
        raise msgspec.ValidationError(f"unknown record kind {kind!r}")
    return from_json(line, type=_KINDS[kind])
