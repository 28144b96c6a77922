"""The device fetches its bundles itself, from a folder on a web server with a signed index.

For devices that nobody can reach: behind mobile networks and other people's routers. The server needs to know
nothing and nobody needs to trust it: index and bundles are signed, and an older index than the last one
is refused. What is fetched goes the way of every bundle: ``service/receiver.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from galago_edge.bundle import TrustedKeys
from galago_edge.bundle.index import (
    INDEX_LIMIT_BYTES,
    INDEX_NAME,
    INDEX_SIGNATURE_NAME,
    Index,
    IndexEntry,
    read_index,
)
from galago_edge.bundle.signature import SIGNATURE_LIMIT_BYTES
from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import (
    BundleError,
    CallerError,
    DeviceError,
    GalagoError,
    LinkError,
    Reason,
    disk_error,
)
from galago_edge.contract.wishes import Wishes
from galago_edge.host.backoff import backoff_s
from galago_edge.host.file_replacement import Durable, replace_file
from galago_edge.intake.hello import known_state
from galago_edge.intake.inbox import Upload
from galago_edge.intake.receiver import Receipt, receive
from galago_edge.intake.web import Fetched, Server
from galago_edge.store import Store, restore_record
from galago_edge.store.state import Slot

T = TypeVar("T")

PULLED_FILE = "pulled.json"
ATTEMPTS = 5
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 60.0
_SLOWEST_BYTES_PER_S = 2_000
_LEAST_S = 300.0
_PULLED_LIMIT_BYTES = 1 << 20


class Pulled(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered between two pulls, in ROOT/pulled.json."""

    url: str
    etag: str | None
    sequence: int
    """The highest that was ever met; kept when the address changes."""
    index: bytes = b""
    signature: bytes = b""


@dataclass(frozen=True, slots=True)
class PullOutcome:
    """What became of one name."""

    name: str
    state: Literal["installed", "up to date", "not offered", "refused", "failed"]
    version: str | None
    """What is active now."""
    receipt: Receipt | None = None
    fault: GalagoError | None = None
    note: str = ""


class Puller:
    """One pull."""

    def __init__(
        self, url: str, root: Path, channel: str = "stable", *, wait: Callable[[float], None] = time.sleep
    ) -> None:
        """Prepare it.

        Raises:
            CallerError: CONFIG_BAD, the address is none; TARGET_UNKNOWN, there is no such folder.
        """
        if not root.is_dir():
            raise CallerError(
                Reason.TARGET_UNKNOWN, f"there is no folder {root}", hint="galago provision makes a device"
            )
        self._server = Server(url)
        self._store = Store(root)
        self._channel = channel
        self._wait = wait

    def index(self) -> Index:
        """Fetch the index, or take the last one when the server says that it is still the same.

        Raises:
            BundleError: It is not signed by whom this device trusts, or no index.
            DeviceError: REPLAY; it is older than the last one.
            LinkError: TRANSPORT, or the disk fails.
        """
        trusted = self._store.trusted()
        last = self._remembered()
        same = last if last is not None and last.url == self._server.url else None
        fetched = self._again(
            lambda: self._server.small(INDEX_NAME, INDEX_LIMIT_BYTES, etag=same.etag if same else None)
        )
        if fetched.data is None and same is not None:
            try:
                return read_index(same.index, same.signature, trusted, "the last index")
            except BundleError:  # a key was revoked since: the server may have another signature by now
                fetched = self._again(lambda: self._server.small(INDEX_NAME, INDEX_LIMIT_BYTES))
        index, fetched, signature = self._signed(fetched, trusted)
        if last is not None and index.sequence < last.sequence:
            raise DeviceError(
                Reason.REPLAY,
                f"{self._server.url} gives the index {index.sequence} of {index.created_utc}, "
                f"this device has seen {last.sequence}",
                hint="the server shows an old folder; a new list: galago bundle index FOLDER --key KEY",
            )
        self._remember(
            Pulled(
                url=self._server.url,
                etag=fetched.etag,
                sequence=index.sequence,
                index=fetched.data or b"",
                signature=signature,
            )
        )
        return index

    def take(self, index: Index, name: str, *, stage_only: bool = False) -> PullOutcome:
        """Install what the index has under ``name``, if that is newer than what is here."""
        state = known_state(self._store)
        slot = state.slots.get(name) if state is not None else None  # else the install makes a new state
        active = slot.active.version if slot else None
        entry = next((e for e in index.bundles if (e.name, e.channel) == (name, self._channel)), None)
        if entry is None:
            return PullOutcome(name, "not offered", active, note=f"nothing in the channel {self._channel}")
        if (why := _not_wanted(entry, slot)) is not None:
            return PullOutcome(name, "up to date", active, note=why)
        try:
            receipt = self._fetch(entry, stage_only=stage_only)
        except GalagoError as fault:
            return PullOutcome(
                name, "failed" if fault.exit_code in (3, 5) else "refused", active, fault=fault
            )
        return PullOutcome(name, "installed", receipt.active_version, receipt=receipt)

    def names(self) -> list[str]:
        """Return the names that this device has bundles of.

        Raises:
            DeviceError: STATE_BAD, another version of Galago wrote the state. BusyError: LOCKED, where the
                state is lost and a new one must be made first.
        """
        restore_record(self._store)  # a device that pulls by a timer is visited by nobody
        return sorted({*self._store.state().slots, *self._store.factory_names()})

    def _signed(self, fetched: Fetched, trusted: TrustedKeys) -> tuple[Index, Fetched, bytes]:
        for last in (False, True):
            signature = self._again(lambda: self._server.small(INDEX_SIGNATURE_NAME, SIGNATURE_LIMIT_BYTES))
            assert signature.data is not None
            try:
                index = read_index(
                    fetched.data or b"", signature.data, trusted, self._server.url + INDEX_NAME
                )
            except BundleError as error:
                if last or error.reason is not Reason.SIG_BAD:
                    raise
                # somebody may be putting a new one there at this moment
                self._wait(_FIRST_PAUSE_S)
                fetched = self._again(lambda: self._server.small(INDEX_NAME, INDEX_LIMIT_BYTES))
                continue
            return index, fetched, signature.data
        raise AssertionError("the second round returns or raises")

    def _fetch(self, entry: IndexEntry, *, stage_only: bool) -> Receipt:
        self._check_space(entry)
        with Upload.open(self._store.root, entry.sha256, entry.size) as upload:
            self._download(entry, upload)
            try:
                receipt = receive(upload.path, self._store.root, wishes=Wishes(stage_only=stage_only))
            except GalagoError as error:
                if error.reason is not Reason.LOCKED:
                    upload.discard()
                raise
            upload.discard()
        return receipt

    def _check_space(self, entry: IndexEntry) -> None:
        try:
            free = self._store.fs.free(self._store.root).size_bytes + Upload.present(self._store.root)
        except OSError as error:
            raise disk_error(error, f"look at {self._store.root}") from error
        if free < 2 * entry.size:
            raise LinkError(
                Reason.NO_SPACE,
                f"{self._store.root} has room for {free} bytes, {entry.file} needs {2 * entry.size}",
                hint=f"free some space: galago gc --root {self._store.root}",
            )

    def _download(self, entry: IndexEntry, upload: Upload) -> None:
        """Fetch what is missing; once more from 0 if what an earlier attempt left was rotten."""

        def rest() -> None:
            deadline_s = _LEAST_S + entry.size / _SLOWEST_BYTES_PER_S
            if upload.received < entry.size:
                for at, piece in self._server.file(entry.file, upload.received, entry.size, deadline_s):
                    if at == 0 and upload.received:
                        upload.restart()
                    upload.write(piece)
            if upload.received < entry.size:
                raise LinkError(
                    Reason.TRANSPORT,
                    f"{entry.file} has {upload.received} bytes, the index says {entry.size}",
                    hint="make the index again: galago bundle index FOLDER --key KEY",
                )

        resumed = upload.received > 0
        self._again(rest)
        try:
            upload.finish()
        except LinkError:
            upload.restart()
            if not resumed:
                raise
            self._again(rest)
            upload.finish()

    def _again(self, act: Callable[[], T]) -> T:
        """Try something on the network up to ``ATTEMPTS`` times, with pauses that grow."""
        for failures in range(1, ATTEMPTS):
            try:
                return act()
            except LinkError as error:
                if error.reason is not Reason.TRANSPORT:
                    raise  # the disk's fault: waiting would not mend it
            self._wait(backoff_s(failures, _FIRST_PAUSE_S, _LONGEST_PAUSE_S))
        return act()

    def _remembered(self) -> Pulled | None:
        try:
            data = self._store.fs.read(self._store.root / PULLED_FILE, _PULLED_LIMIT_BYTES)
        except OSError as error:
            raise disk_error(error, f"read {PULLED_FILE}") from error
        if data is None:
            return None
        try:
            return from_json(data, type=Pulled)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None  # it costs one more download, and the floor in the store still holds

    def _remember(self, pulled: Pulled) -> None:
        path = self._store.root / PULLED_FILE
        try:
            # the service's user pulls too, and reads what root has written
            replace_file(
                path, msgspec.json.encode(pulled), durable=Durable.WHOLE, mode=0o644, effects=self._store.fs
            )
        except OSError as error:
            raise disk_error(error, f"write {path}") from error


def pull(
    url: str, root: Path, *, names: Sequence[str] = (), channel: str = "stable", stage_only: bool = False
) -> tuple[Index, list[PullOutcome]]:
    """Bring the bundles ``names`` up to date, those that the device has unless any is named.

    Raises:
        GalagoError: The index cannot be fetched or is not to be trusted; what fails for one name only is in
            its outcome.
    """
    puller = Puller(url, root, channel)
    index = puller.index()
    wanted = list(names) or puller.names()
    if not wanted:
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"{root} has no bundle yet, so nobody knows which ones it shall have",
            hint="name them: galago pull URL --name NAME",
        )
    return index, [puller.take(index, name, stage_only=stage_only) for name in wanted]


def _not_wanted(entry: IndexEntry, slot: Slot | None) -> str | None:
    """Return why a bundle is not fetched, None when it is."""
    if slot is None:
        return None
    if entry.id == slot.active.id:
        return "on trial" if slot.trial else ""
    if slot.staged is not None and entry.id == slot.staged.id:
        return f"{entry.version} is staged"
    if entry.id in slot.bad:
        return f"{entry.version} failed here before and is not taken again"
    if entry.release_counter <= slot.active.release_counter:
        return f"the index has {entry.version}, which is no later release"
    return None
