"""The device's end of ``galago flash``: a bundle comes in over a pipe, whatever the pipe is.

Nothing that the other side says is believed: signature, board and release are checked before a byte of
the file is taken, and the whole file again when it lies on this disk, by the one receiver of this device.
What was sent when a connection broke stays in ROOT/inbox, and the next attempt goes on from there. The
inbox is no part of the store: nothing relies on it, and it may be emptied at any time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

import galago_edge
from galago_edge.bundle.compatibility import check_compat, check_runtime
from galago_edge.bundle.manifest_bytes import MANIFEST_LIMIT_BYTES, manifest_id, parse_manifest
from galago_edge.bundle.signature import SIGNATURE_LIMIT_BYTES, verify
from galago_edge.contract.errors import (
    BundleError,
    CallerError,
    GalagoError,
    LinkError,
    Reason,
    disk_error,
    system_words,
)
from galago_edge.contract.flash_messages import (
    Done,
    End,
    FlashProgress,
    FromDevice,
    FromWorkstation,
    Offer,
    Provision,
    Ready,
    Refused,
    SlotState,
    Start,
    Step,
)
from galago_edge.contract.manifest import Manifest
from galago_edge.engine import runtime
from galago_edge.host.machine import this_arch
from galago_edge.intake.flash_pipe import Pipe
from galago_edge.intake.hello import hello_from, known_state, slot_state
from galago_edge.intake.inbox import Upload
from galago_edge.intake.provisioning import provision
from galago_edge.intake.receiver import receive
from galago_edge.intake.who_logs_in import check_permission
from galago_edge.store import Store
from galago_edge.store.admission import check_release
from galago_edge.store.running_service import ask_status

IDLE_S = 60.0
"""A workstation that says nothing for so long is gone."""
_TELL_EVERY_BYTES = 1 << 20
_TELL_EVERY_S = 5.0
_POLL_S = 0.25
_RESERVE_BYTES = 4 << 20
_NOT_RUN = "not run here: the device answers its golden samples at its first start"


class ReceivingSession:
    """One session: say what there is, be offered a bundle, take it, tell the truth."""

    def __init__(self, pipe: Pipe, root: Path, *, mounted: bool = False) -> None:
        """Prepare a session on the store at ``root``; ``mounted``: it is another machine's disk."""
        self._pipe = pipe
        self._root = root
        self._store = Store(root)
        self._mounted = mounted

    def serve(self) -> int:
        """Hold the session; return the exit code that the other side was told."""
        return _held(self._pipe, self._session)

    def _session(self) -> int:
        check_permission(self._root)
        self._pipe.send(hello_from(self._store, mounted=self._mounted))
        offer = self._pipe.from_workstation(IDLE_S)
        if not isinstance(offer, Offer):
            raise _unexpected(offer)
        done = self._take(offer)
        _tell(self._pipe, done)
        return 0

    def _take(self, offer: Offer) -> Done:
        wanted = self._checked(offer)
        hold = self._store.hold(wanted.id)  # what is there already stays while it is looked at and taken
        try:
            return self._taken(offer, wanted)
        finally:
            if hold is not None:
                hold.close()

    def _taken(self, offer: Offer, wanted: _Wanted) -> Done:
        there = self._copy_of(wanted, offer)
        if there is None:
            self._check_space(wanted.manifest, offer)
        if offer.dry_run:
            return Done(outcome="would install", slot=self._slot(wanted.name))
        if there is not None:
            _tell(self._pipe, Step(name="verifying", detail="the whole bundle, which is there already"))
            return self._install(there, offer, wanted)
        if offer.path is not None:
            if not self._mounted:
                raise _unexpected(offer)
            return self._install(Path(offer.path), offer, wanted)
        with Upload.open(self._root, offer.sha256, offer.size, waiting=self._waiting) as upload:
            self._transfer(upload, offer)
            _tell(self._pipe, Step(name="verifying"))
            try:
                upload.finish()
                done = self._install(upload.path, offer, wanted)
            except GalagoError as error:
                if error.reason is not Reason.LOCKED:  # then it need not be sent again
                    upload.discard()
                raise
            upload.discard()
        return done

    def _checked(self, offer: Offer) -> _Wanted:
        """Check all that manifest and signature can tell, before anything is sent."""
        if len(offer.manifest) > MANIFEST_LIMIT_BYTES or len(offer.signature) > SIGNATURE_LIMIT_BYTES:
            raise BundleError(
                Reason.TOO_BIG,
                "manifest or signature is too long",
                hint="this is no bundle of ours; galago bundle verify BUNDLE says what it is",
            )
        where = "the offered bundle"
        signers = verify(offer.manifest, offer.signature, where)
        self._store.trusted().require(signers, where)
        manifest = parse_manifest(offer.manifest, where)
        profile = self._store.profile()
        if self._mounted and profile is None:
            raise CallerError(
                Reason.TARGET_UNKNOWN,
                f"{self._root} holds no profile.toml, so no device's store is there",
                hint="mount the disk, or make it one: galago provision TARGET --profile NAME --trust KEY.pub",
            )
        arch = profile.arch if self._mounted and profile is not None else this_arch()
        check_compat(
            manifest,
            arch=arch,
            edge_version=galago_edge.__version__,
            profile=profile,
            ignore_compatible=offer.wishes.ignore_compatible,
        )
        if profile is not None and not self._mounted:
            here = runtime()
            check_runtime(here.package, here.version, profile)
        wanted = _Wanted(manifest_id(offer.manifest), manifest)
        state = known_state(self._store)
        slot = state.slots.get(wanted.name) if state is not None else None  # else the install checks it
        if slot is None or slot.active.id != wanted.id:
            check_release(wanted, slot, offer.wishes)
        return wanted

    def _copy_of(self, wanted: _Wanted, offer: Offer) -> Path | None:
        """Return where the store holds this bundle, whole: staged, active, or from an earlier attempt."""
        try:
            found = self._store.open(wanted.id)
        except GalagoError:
            return None
        return found.path if found.signature_bytes == offer.signature else None

    def _check_space(self, manifest: Manifest, offer: Offer) -> None:
        """Refuse early what cannot end well: the file, and beside it the bundle that is made of it."""
        sent = 0 if offer.path is not None else offer.size
        needed = sent + max(offer.size, manifest.resources.min_free_disk_bytes) + _RESERVE_BYTES
        try:
            free = self._store.fs.free(self._root).size_bytes + Upload.present(self._root)
        except OSError as error:
            raise disk_error(error, f"look at {self._root}") from error
        if free < needed:
            raise LinkError(
                Reason.NO_SPACE,
                f"{self._root} has room for {free} bytes, to receive and install takes {needed}",
                hint=f"free some space there: galago gc --root {self._root}",
            )

    def _waiting(self) -> None:
        self._pipe.send(Step(name="waiting", detail="for another upload of it, whose sender may be gone"))

    def _transfer(self, upload: Upload, offer: Offer) -> None:
        self._pipe.send(Ready(offset=upload.received, sha256=upload.digest()))
        start = self._pipe.from_workstation(IDLE_S)
        if not isinstance(start, Start) or start.offset not in (0, upload.received):
            raise _unexpected(start)
        if start.offset == 0:
            upload.restart()
        told = upload.received
        while isinstance(piece := self._pipe.from_workstation(IDLE_S), bytes):
            upload.write(piece)
            if upload.received - told >= _TELL_EVERY_BYTES:
                told = upload.received
                self._pipe.send(FlashProgress(received=told))
        if not isinstance(piece, End):
            raise _unexpected(piece)
        self._pipe.send(FlashProgress(received=upload.received))

    def _install(self, path: Path, offer: Offer, wanted: _Wanted) -> Done:
        """Install, tell the service, wait for its verdict; from here on nobody needs to listen."""
        _tell(self._pipe, Step(name="installing"))
        receipt = receive(path, self._root, wishes=offer.wishes, mounted=self._mounted)
        slot = slot_state(wanted.name, receipt.slot)
        if receipt.phase == "staged":
            return Done(outcome="staged", slot=slot, detail="galago activate makes it the active one")
        if receipt.outcome == "already installed" and receipt.phase == "committed":
            return Done(outcome="already active", slot=slot)
        told = _NOT_RUN if self._mounted else _notify(self._root)
        return self._verdict(wanted.name, wanted.id, offer.wait_s, told)

    def _verdict(self, name: str, bundle_id: str, wait_s: float, told: str) -> Done:
        until = time.monotonic() + wait_s
        tell_at = time.monotonic()
        while True:
            slot = self._slot(name)
            if slot is None or slot.active.id != bundle_id:
                return Done(outcome="rolled back", slot=slot, detail=self._why(bundle_id))
            if slot.trial_left is None:
                return Done(outcome="committed", slot=slot, detail=told)
            if (now := time.monotonic()) >= until:
                return Done(outcome="on trial", slot=slot, detail=told)
            if now >= tell_at:
                self._pipe.send(Step(name="on trial", detail=f"for at most {until - now:.0f} s more"))
                tell_at = now + _TELL_EVERY_S
            time.sleep(_POLL_S)

    def _why(self, bundle_id: str) -> str:
        for entry in reversed(self._store.state().history):
            if entry.action == "rollback" and entry.id == bundle_id:
                return entry.reason
        return "the device's history does not say why"

    def _slot(self, name: str) -> SlotState | None:
        state = known_state(self._store)
        slot = state.slots.get(name) if state is not None else None
        return None if slot is None else slot_state(name, slot)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A bundle of which only manifest and signature are here."""

    id: str
    manifest: Manifest

    def __str__(self) -> str:
        return f"{self.name} {self.manifest.bundle.version}"

    @property
    def name(self) -> str:
        return self.manifest.bundle.name


class ProvisioningSession:
    """A session in which the other side says what this machine is and whom it trusts."""

    def __init__(self, pipe: Pipe, root: Path) -> None:
        self._pipe = pipe
        self._root = root

    def serve(self) -> int:
        """Hold the session; return the exit code that the other side was told."""
        return _held(self._pipe, self._session)

    def _session(self) -> int:
        asked = self._pipe.from_workstation(IDLE_S)
        if not isinstance(asked, Provision):
            raise _unexpected(asked)
        check_permission(self._root, making=True)
        written = provision(self._root, asked.profile, asked.keys, replace=asked.replace, unit=asked.unit)
        _tell(self._pipe, Done(outcome="provisioned", slot=None, detail="\n".join(written)))
        return 0


def _held(pipe: Pipe, session: Callable[[], int]) -> int:
    try:
        pipe.greet()
        return session()
    except GalagoError as error:
        _tell(pipe, msgspec.convert(error.as_data(with_exit=True), Refused))
        return error.exit_code


def _tell(pipe: Pipe, message: FromDevice) -> None:
    """Say it to whoever still listens: what is done to the store does not depend on that."""
    with contextlib.suppress(LinkError):
        pipe.send(message)


def _unexpected(message: FromWorkstation | bytes) -> LinkError:
    met = "bytes" if isinstance(message, bytes) else type(message).__name__.lower()
    return LinkError(
        Reason.TRANSPORT,
        f"the workstation sent {met} where something else was due",
        hint="galago --version, here and there: use the same version of Galago on workstation and device",
    )


def _notify(root: Path) -> str:
    """Let the service that runs here take the bundle now; say where it stands when it cannot be told."""
    try:
        status = ask_status(root)
        if status is None:
            return "no service runs there: it begins with the next galago run"
        os.kill(status.pid, signal.SIGHUP)
    except (GalagoError, PermissionError, ProcessLookupError) as error:
        return f"the service there was not told ({system_words(error)}): systemctl reload galago"
    return ""
