"""What a workstation and a device say to each other while a bundle is flashed, and how it goes over a pipe.

A frame is one letter (``J`` a message as JSON, ``D`` bytes of the bundle), the length of what follows as
four bytes, the most significant first, and that. Before the first frame the device writes ``GREETING``:
what a login shell printed before it is skipped.

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

import os
import select
import struct
import time
from typing import Annotated, Literal

import msgspec

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.manifest import Natural, Sha256

GREETING = b"\ngalago-receive/1\n"
CHUNK_BYTES = 64 << 10
"""Bytes of the bundle in one frame."""
WRITE_S = 60.0
"""A link that takes no byte for so long is broken. Holds for a descriptor that does not block."""
_FRAME_LIMIT_BYTES = 1 << 20  # a manifest of 256 KiB in base64, and what stands around it
_NOISE_LIMIT_BYTES = 64 << 10  # of a login shell
_HEADER = struct.Struct(">cI")
_HINT = "run the same command again: it goes on where it stopped"


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
    """The record is lost, so what is active is unknown until the next start or install makes a new one."""
    machine: str | None = None
    """See ``service/machine_id.py``; None for a disk without a system."""


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


class Pipe:
    """Frames over one descriptor to read and one to write. Neither is closed here."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._in = incoming
        self._out = outgoing
        self._buffer = bytearray()
        self.noise = b""
        """What came before the greeting."""

    def greet(self) -> None:
        """Say that frames follow.

        Raises:
            LinkError: TRANSPORT; nobody reads any more.
        """
        self._write(GREETING)

    def await_greeting(self, timeout_s: float) -> None:
        """Skip everything up to the greeting and keep it as ``noise``.

        Raises:
            LinkError: TRANSPORT; it did not come.
        """
        until = time.monotonic() + timeout_s
        while (at := self._buffer.find(GREETING)) < 0:
            self.noise = bytes(self._buffer)
            if len(self._buffer) > _NOISE_LIMIT_BYTES:
                raise _broken("something else than galago answers there", "try ssh HOST galago status")
            self._fill(until, timeout_s)
        self.noise = bytes(self._buffer[:at])
        del self._buffer[: at + len(GREETING)]

    def send(self, message: FromDevice | FromWorkstation) -> None:
        """Send one message.

        Raises:
            LinkError: TRANSPORT; nobody reads any more.
        """
        body = msgspec.json.encode(message)
        self._write(_HEADER.pack(b"J", len(body)) + body)

    def send_data(self, data: bytes) -> None:
        """Send bytes of the bundle.

        Raises:
            LinkError: TRANSPORT; nobody reads any more.
        """
        self._write(_HEADER.pack(b"D", len(data)) + data)

    def from_workstation(self, timeout_s: float) -> FromWorkstation | bytes:
        """Return the next message, or bytes of the bundle.

        Raises:
            LinkError: TRANSPORT; the other side is gone, silent for ``timeout_s``, or talks nonsense.
        """
        kind, body = self._frame(timeout_s)
        if kind == b"D":
            return body
        try:
            asked: FromWorkstation = msgspec.json.decode(body, type=FromWorkstation)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _nonsense(error) from None
        return asked

    def from_device(self, timeout_s: float) -> FromDevice:
        """Return the next message.

        Raises:
            LinkError: TRANSPORT; the other side is gone, silent for ``timeout_s``, or talks nonsense.
        """
        kind, body = self._frame(timeout_s)
        try:
            if kind != b"J":
                raise msgspec.DecodeError("it sends bytes that nobody asked for")
            said: FromDevice = msgspec.json.decode(body, type=FromDevice)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _nonsense(error) from None
        return said

    def has_more(self) -> bool:
        """Whether something has come that was not returned yet: a message, a part of one, or the end."""
        return bool(self._buffer) or bool(select.select([self._in], [], [], 0.0)[0])

    def _frame(self, timeout_s: float) -> tuple[bytes, bytes]:
        self._need(_HEADER.size, timeout_s)
        kind, length = _HEADER.unpack(self._buffer[: _HEADER.size])
        if kind not in (b"J", b"D") or length > _FRAME_LIMIT_BYTES:
            raise _nonsense("that is no frame")
        self._need(_HEADER.size + length, timeout_s)
        body = bytes(self._buffer[_HEADER.size : _HEADER.size + length])
        del self._buffer[: _HEADER.size + length]
        return kind, body

    def _need(self, size: int, timeout_s: float) -> None:
        """Read until ``size`` bytes are there. A slow link may take its time as long as something comes."""
        while len(self._buffer) < size:
            self._fill(time.monotonic() + timeout_s, timeout_s)

    def _fill(self, until: float, timeout_s: float) -> None:
        ready = select.select([self._in], [], [], max(until - time.monotonic(), 0.0))[0]
        if not ready:
            raise _broken(f"nothing came for {timeout_s:g} s", _HINT)
        try:
            piece = os.read(self._in, CHUNK_BYTES)
        except OSError as error:
            raise _broken(f"reading failed: {error.strerror}", _HINT) from None
        if not piece:
            raise _broken("the connection ended", _HINT)
        self._buffer += piece

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            if not select.select([], [self._out], [], WRITE_S)[1]:
                raise _broken(f"nothing could be sent for {WRITE_S:g} s", _HINT)
            try:
                rest = rest[os.write(self._out, rest) :]
            except BlockingIOError:
                continue  # less room than a whole frame needs; there will be some
            except OSError as error:
                raise _broken(f"the connection ended ({error.strerror})", _HINT) from None


def _broken(text: str, hint: str) -> LinkError:
    return LinkError(Reason.TRANSPORT, text, hint=hint)


def _nonsense(error: object) -> LinkError:
    return _broken(
        f"the other side does not speak this version's protocol: {error}",
        "use the same version of Galago on workstation and device",
    )
