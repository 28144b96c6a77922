"""What a device has decided: which bundle is active under each name. One small state, kept twice.

A copy is the state as one line of JSON and a line with that line's sha256. Whichever valid copy has
the higher ``seq`` counts. The functions below compute the state after a change; nothing here touches
a disk.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.manifest import BundleName, Manifest, Natural, Sha256, Version

HISTORY_LENGTH = 20
BAD_LENGTH = 16
STATE_LIMIT_BYTES = 1 << 20

Action = Literal[
    "install",
    "repair",
    "stage",
    "activate",
    "commit",
    "rollback",
    "boot",
    "scrub",
    "gc",
    "override",
    "mark-bad",
    "rebuild",
]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every object in the state."""


class Release(_Part, frozen=True, kw_only=True):
    """One bundle in the store."""

    id: Sha256
    """Also the name of its folder."""
    version: Version
    release_counter: Natural
    since_utc: str
    """When it became active (or was staged), by this device's clock, which may be wrong. For people only."""
    floor: Natural = 0
    """What its commit raises the slot's floor to."""

    @classmethod
    def of(cls, manifest: Manifest, bundle_id: str, since_utc: str) -> Release:
        """Return what the state says of a bundle."""
        return cls(
            id=bundle_id,
            version=manifest.bundle.version,
            release_counter=manifest.bundle.release_counter,
            since_utc=since_utc,
            floor=manifest.rollback.min_release_counter_after_commit,
        )


class Trial(_Part, frozen=True, kw_only=True):
    """The active bundle has yet to prove itself on live input."""

    left: Natural
    """How often it may still be loaded; counted down on the disk before each load."""
    since_utc: str
    boots: Natural = 0
    """How often it was loaded."""
    trial_s: Natural | None = None
    """How long it is judged, where that differs from the manifest's ``health.trial_s``."""
    before: Release | None = None
    """What was ``previous`` before the trial; a rollback puts it back, a commit lets go of it."""


class Slot(_Part, frozen=True, kw_only=True):
    """The bundles of one name."""

    active: Release
    """What runs, on trial or committed."""
    previous: Release | None = None
    """What a rollback returns to; without one, the factory's bundle."""
    staged: Release | None = None
    """Whole and accepted, but not active yet."""
    trial: Trial | None = None
    """None: the active bundle is committed."""
    floor: Natural = 0
    """No bundle with a lower release counter is taken; only ever rises."""
    bad: Annotated[tuple[Sha256, ...], msgspec.Meta(max_length=BAD_LENGTH)] = ()
    """Bundles that failed here and are not taken again, oldest first."""

    def releases(self) -> dict[str, Release]:
        """Return what the slot still needs on the disk, by its part: ``active``, ``previous`` ..."""
        parts = {"active": self.active, "previous": self.previous, "staged": self.staged}
        if self.trial is not None:
            parts["before"] = self.trial.before
        return {part: release for part, release in parts.items() if release is not None}


class HistoryEntry(_Part, frozen=True, kw_only=True):
    """One change, or one finding, that somebody may want to read later."""

    seq: Natural
    action: Action
    at_utc: str
    name: BundleName | None = None
    """None: it is about the whole store."""
    id: Sha256 | None = None
    version: Version | None = None
    reason: str = ""
    """Why: a reason code, or words."""


class State(_Part, frozen=True, kw_only=True):
    """The whole state."""

    schema: Literal["galago.state/1"] = "galago.state/1"
    seq: Annotated[int, msgspec.Meta(ge=0)] = 0
    slots: dict[BundleName, Slot] = {}
    history: Annotated[tuple[HistoryEntry, ...], msgspec.Meta(max_length=HISTORY_LENGTH)] = ()
    """The last entries, oldest first; an override for a bundle that is still here goes last of all."""


def encode_state(state: State) -> bytes:
    """Return the bytes of one copy."""
    body = msgspec.json.encode(state, order="deterministic")
    return body + b"\n" + hashlib.sha256(body).hexdigest().encode() + b"\n"


def is_intact(data: bytes) -> bool:
    """Tell whether these are the bytes of one copy as somebody wrote it, perhaps another version of us."""
    body, _, tail = data.partition(b"\n")
    return tail == hashlib.sha256(body).hexdigest().encode() + b"\n"


def decode_state(data: bytes) -> State | None:
    """Return the state, or None when these bytes are not one whole copy."""
    if not is_intact(data):
        return None
    try:
        return from_json(data.partition(b"\n")[0], type=State)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # whole, but of another version: no better than torn


def with_entry(
    state: State,
    action: Action,
    at_utc: str,
    *,
    name: str | None = None,
    release: Release | None = None,
    reason: str = "",
    slot: Slot | None = None,
) -> State:
    """Return the next state: one more line of history and, when given, ``slot`` under ``name``."""
    entry = HistoryEntry(
        seq=state.seq + 1,
        action=action,
        at_utc=at_utc,
        name=name,
        id=release.id if release else None,
        version=release.version if release else None,
        reason=reason,
    )
    slots = state.slots if slot is None or name is None else {**state.slots, name: slot}
    return State(seq=state.seq + 1, slots=slots, history=_kept((*state.history, entry), slots))


def with_active(
    state: State, name: str, release: Release, trial: Trial | None = None, *, action: Action = "install"
) -> State:
    """Return the state after ``release`` became active under ``name``, on trial or committed at once.

    What was active becomes ``previous``; but a bundle that was itself on trial is dropped, because it
    never proved anything. The same bundle again was repaired, and everything else stays.
    """
    old = state.slots.get(name)
    if old is not None and old.active.id == release.id:
        return with_entry(state, "repair", release.since_utc, name=name, release=release)
    if old is None:
        old = Slot(active=release)
    proven = (old.previous, old.trial.before) if old.trial is not None else (old.active, old.previous)
    previous, before = [*(known for known in proven if known and known.id != release.id), None, None][:2]
    slot = Slot(
        active=release,
        previous=previous,
        staged=_unless(old.staged, release),
        trial=None if trial is None else msgspec.structs.replace(trial, before=before),
        floor=max(old.floor, release.floor if trial is None else 0),
        bad=tuple(bad for bad in old.bad if bad != release.id),
    )
    return with_entry(state, action, release.since_utc, name=name, release=release, slot=slot)


def with_staged(state: State, name: str, release: Release) -> State:
    """Return the state after ``release`` was staged under ``name``, which must have an active bundle."""
    slot = msgspec.structs.replace(state.slots[name], staged=release)
    return with_entry(state, "stage", release.since_utc, name=name, release=release, slot=slot)


def with_commit(state: State, name: str, at_utc: str, reason: str = "") -> State:
    """Return the state after the active bundle of ``name`` has proved itself."""
    old = state.slots[name]
    slot = msgspec.structs.replace(old, trial=None, floor=max(old.floor, old.active.floor))
    return with_entry(state, "commit", at_utc, name=name, release=old.active, reason=reason, slot=slot)


def with_rollback(
    state: State, name: str, target: Release, at_utc: str, reason: str, *, bad: bool = True
) -> State:
    """Return the state after ``name`` went back to ``target``; ``bad``: never take the other again."""
    old = state.slots[name]
    restored = old.trial.before if old.trial is not None else None
    slot = msgspec.structs.replace(
        old,
        active=target,
        previous=_unless(restored, target),
        staged=_unless(old.staged, target),
        trial=None,
        bad=and_bad(old.bad, old.active.id) if bad else old.bad,
    )
    return with_entry(state, "rollback", at_utc, name=name, release=old.active, reason=reason, slot=slot)


def with_boot(state: State, name: str, at_utc: str) -> State:
    """Return the state after one of the trial's loads of ``name`` was used up."""
    old = state.slots[name]
    assert old.trial is not None
    trial = msgspec.structs.replace(old.trial, left=old.trial.left - 1, boots=old.trial.boots + 1)
    slot = msgspec.structs.replace(old, trial=trial)
    reason = f"trial, {trial.left} boot attempts left"
    return with_entry(state, "boot", at_utc, name=name, release=old.active, reason=reason, slot=slot)


def with_boot_back(state: State, name: str) -> State:
    """Return the state after a load of the trial of ``name`` was given back, because nothing crashed.

    The history forgets that load too: a bundle may be on trial through a hundred dark nights.
    """
    old = state.slots[name]
    assert old.trial is not None
    trial = msgspec.structs.replace(old.trial, left=old.trial.left + 1, boots=old.trial.boots - 1)
    slot = msgspec.structs.replace(old, trial=trial)
    history = state.history
    if history and (history[-1].action, history[-1].id) == ("boot", old.active.id):
        history = history[:-1]
    return State(seq=state.seq + 1, slots={**state.slots, name: slot}, history=history)


def came_back(state: State, name: str) -> bool:
    """Tell whether the active bundle of ``name`` is there because of a rollback, and nothing followed."""
    moves = ("install", "activate", "commit", "rollback")
    last = next((e.action for e in reversed(state.history) if e.name == name and e.action in moves), None)
    return last == "rollback"


def _kept(history: tuple[HistoryEntry, ...], slots: dict[str, Slot]) -> tuple[HistoryEntry, ...]:
    """Return a history that is one entry too long without the oldest one that nobody will ask for."""
    if len(history) <= HISTORY_LENGTH:
        return history
    here = {release.id for slot in slots.values() for release in slot.releases().values()}
    needed = {  # of the same twice the later one
        (entry.id, entry.reason): n
        for n, entry in enumerate(history)
        if entry.action == "override" and entry.id in here
    }.values()
    oldest = next((n for n in range(HISTORY_LENGTH) if n not in needed), 0)
    return history[:oldest] + history[oldest + 1 :]


def _unless(release: Release | None, other: Release) -> Release | None:
    return None if release is not None and release.id == other.id else release


def and_bad(bad: tuple[str, ...], bundle_id: str) -> tuple[str, ...]:
    """Return the list of bad bundles with one more, the oldest dropped where there are too many."""
    return (*(known for known in bad if known != bundle_id), bundle_id)[-BAD_LENGTH:]
