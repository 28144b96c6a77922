"""What a device has decided: which bundle is active under each name. One small record, kept twice.

A copy is the record as one line of JSON and a line with that line's sha256. Whichever valid copy has
the higher ``seq`` counts.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec

from galago_edge.contract.manifest import BundleName, Natural, Sha256, Version

HISTORY_LENGTH = 20
STATE_LIMIT_BYTES = 1 << 20


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every object in the record."""


class Release(_Part, frozen=True, kw_only=True):
    """One bundle in the store."""

    id: Sha256
    """Also the name of its folder."""
    version: Version
    release_counter: Natural
    since_utc: str
    """When it became active, by this device's clock, which may have been wrong. For people only."""


class Slot(_Part, frozen=True, kw_only=True):
    """The bundles of one name."""

    active: Release
    previous: Release | None = None
    trial: None = None
    """Nothing is on trial: an installed bundle is committed at once."""
    floor: Natural = 0
    """No bundle with a lower release counter is taken; only ever rises."""


class Event(_Part, frozen=True, kw_only=True):
    """One change of the record."""

    seq: Natural
    action: Literal["install", "repair"]
    name: BundleName
    id: Sha256
    version: Version
    at_utc: str


class State(_Part, frozen=True, kw_only=True):
    """The whole record."""

    schema: Literal["galago.state/1"] = "galago.state/1"
    seq: Annotated[int, msgspec.Meta(ge=0)] = 0
    slots: dict[BundleName, Slot] = {}
    history: Annotated[tuple[Event, ...], msgspec.Meta(max_length=HISTORY_LENGTH)] = ()
    """The last changes, oldest first."""


def encode_state(state: State) -> bytes:
    """Return the bytes of one copy."""
    body = msgspec.json.encode(state, order="deterministic")
    return body + b"\n" + hashlib.sha256(body).hexdigest().encode() + b"\n"


def decode_state(data: bytes) -> State | None:
    """Return the record, or None when these bytes are not one whole copy."""
    body, _, tail = data.partition(b"\n")
    if tail != hashlib.sha256(body).hexdigest().encode() + b"\n":
        return None
    try:
        return msgspec.json.decode(body, type=State)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # whole, but of another version: no better than torn


def with_active(state: State, name: str, release: Release, floor: int) -> State:
    """Return the record after ``release`` became active under ``name``.

    What was active becomes ``previous``, unless it is the same bundle, which was repaired.
    """
    old = state.slots.get(name)
    repaired = old is not None and old.active.id == release.id
    previous = None if old is None else old.previous if repaired else old.active
    slot = Slot(active=release, previous=previous, floor=max(floor, old.floor if old else 0))
    event = Event(
        seq=state.seq + 1,
        action="repair" if repaired else "install",
        name=name,
        id=release.id,
        version=release.version,
        at_utc=release.since_utc,
    )
    return State(
        seq=state.seq + 1,
        slots={**state.slots, name: slot},
        history=(*state.history, event)[-HISTORY_LENGTH:],
    )
