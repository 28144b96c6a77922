"""What a workstation and a device say to each other while a bundle is flashed.

How it goes over a pipe, bytes of the bundle (D) among the messages: ``galago_edge.intake.flash_pipe``.

::

    device                                workstation
    Hello            what it is and has
                                          Offer     manifest, signature, size and hash of the file
    Ready            what it has of it
                                          Start     from which byte on
                                          D D D ... the file
    Progress         now and then
                                          End
    Step             now and then
    Done | Refused   the truth
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from galago_edge.contract.manifest import Natural, Sha256
from galago_edge.contract.wishes import Wishes


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Base of every message. Unknown fields are ignored, so that either side may be the newer one."""


class BundleState(msgspec.Struct, frozen=True, kw_only=True):
    """One bundle that a device has."""

    version: str
    id: str
    release_counter: int


class SlotState(msgspec.Struct, frozen=True, kw_only=True):
    """What a device has under one name."""

    name: str
    active: BundleState
    previous: BundleState | None = None
    staged: BundleState | None = None
    trial_left: int | None = None
    """Starts that are left to the active bundle; None when it is not on trial."""
    floor: int = 0


class Hello(_Message, frozen=True, kw_only=True, tag="hello"):
    """What a device is and has, before anything is sent to it."""

    root: str
    galago_edge: str
    arch: str
    runtime: str | None
    """TFLite runtime and its version; None when there is none, or when it is not this machine's store."""
    profile: str | None
    free_bytes: int
    busy: bool
    """Another command is changing the store now."""
    service: Literal["running", "silent", "none", "elsewhere"]
    """``elsewhere``: the store is a mounted disk; who runs on it is unknown."""
    slots: tuple[SlotState, ...]
    trusted: tuple[str, ...]
    """Key ids."""
    damaged: bool = False
    """The state is lost, so what is active is unknown until the next start or install makes a new one."""
    machine: str | None = None
    """See ``intake/machine_id.py``; None for a disk without a system."""


class Offer(_Message, frozen=True, kw_only=True, tag="offer"):
    """What the device is asked to take."""

    manifest: bytes
    signature: bytes
    size: Natural
    sha256: Sha256
    path: str | None = None
    """The bundle's file on this same machine, for a mounted disk: nothing has to be sent."""
    dry_run: bool = False
    stage_only: bool = False
    allow_downgrade: bool = False
    allow_bad: bool = False
    ignore_compatible: bool = False
    trial_s: Natural | None = None
    """How long the device's service shall judge it, where that differs from the manifest."""
    wait_s: Annotated[float, msgspec.Meta(ge=0, le=7 * 86_400)] = 0.0
    """How long to wait for the verdict of the device's service."""

    @property
    def wishes(self) -> Wishes:
        """How the device is asked to take it."""
        return Wishes(
            stage_only=self.stage_only,
            allow_downgrade=self.allow_downgrade,
            allow_bad=self.allow_bad,
            ignore_compatible=self.ignore_compatible,
            trial_s=self.trial_s,
        )

    def asking(self, wishes: Wishes) -> Offer:
        """Return the same offer with these wishes.

        Raises:
            ValueError: One of them is not for a workstation to ask for.
        """
        if wishes.commit or wishes.trial_loads is not None:
            raise ValueError("commit and trial_loads are for a command on the device itself")
        return msgspec.structs.replace(
            self,
            stage_only=wishes.stage_only,
            allow_downgrade=wishes.allow_downgrade,
            allow_bad=wishes.allow_bad,
            ignore_compatible=wishes.ignore_compatible,
            trial_s=wishes.trial_s,
        )


class Ready(_Message, frozen=True, kw_only=True, tag="ready"):
    """The device would take it, and has the first ``offset`` bytes of a file that ought to be this one."""

    offset: Natural
    sha256: Sha256
    """Of these bytes."""


class Start(_Message, frozen=True, kw_only=True, tag="start"):
    """The bytes from ``offset`` on follow; what the device has behind it is not wanted."""

    offset: Natural


class FlashProgress(_Message, frozen=True, kw_only=True, tag="progress"):
    """So many bytes of the file are there."""

    received: Natural


class End(_Message, frozen=True, kw_only=True, tag="end"):
    """The whole file was sent."""


class Step(_Message, frozen=True, kw_only=True, tag="step"):
    """What the device does now."""

    name: Literal["waiting", "verifying", "installing", "on trial"]
    detail: str = ""


class Provision(_Message, frozen=True, kw_only=True, tag="provision"):
    """What makes a machine a Galago device."""

    profile: str
    """Content of ``profile.toml``."""
    keys: tuple[str, ...]
    """Public key lines."""
    replace: bool = False
    """Another profile that is there already may go."""
    unit: bool = True
    """Write the service's unit file too."""


class Done(_Message, frozen=True, kw_only=True, tag="done"):
    """How it ended, when it ended well, by what stands on the device's disk now."""

    outcome: Literal[
        "would install", "staged", "on trial", "committed", "rolled back", "already active", "provisioned"
    ]
    slot: SlotState | None
    detail: str = ""


class Refused(_Message, frozen=True, kw_only=True, tag="refused"):
    """How it ended, when it did not end well."""

    reason: str
    message: str
    hint: str
    exit: int


FromDevice = Hello | Ready | FlashProgress | Step | Done | Refused
FromWorkstation = Offer | Start | End | Provision
