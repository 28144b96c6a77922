"""What every change of a store is made of: the lock, the sweep before it, files that last, the state.

A change does everything that may fail first and then writes the state once: :meth:`StoreChange.publish`.
Its first rename is the commit point; before it the old state counts, after it the new one, and each
is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from galago_edge.bundle import TrustedKeys
from galago_edge.contract.errors import BusyError, LinkError, Reason, disk_error
from galago_edge.host.file_replacement import Durable, replacement
from galago_edge.store.missing_bundle import missing_bundle
from galago_edge.store.rebuild import rebuilt
from galago_edge.store.state import Slot, State, encode_state
from galago_edge.store.store import COPY_NAMES, TEMPORARY, Store

_POLL_S = 0.05
_REMAINS = 8
"""So many damaged copies of the state are kept for whoever wants to know what happened."""


class StoreChange:
    """One change, with the store's lock held. Methods raise OSError when the disk refuses."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.fs = store.fs
        self.committed = False
        """Whether the state has been replaced, which nothing can undo."""

    def sweep(self, restore: TrustedKeys | None = None) -> None:
        """Remove what broken attempts left, and make both copies of the state the same again.

        ``restore``: where no copy is whole, make a new state of what these keys have signed; otherwise
        that is STATE_BAD.
        """
        for folder in (self.store.bundles, self.store.incoming):
            self.ensure_folder(folder)
        if leftovers := self.store.leftovers():
            # what was being taken out of bundles must be out for good before it is emptied
            self.fs.fsync_dir(self.store.bundles)
            self.fs.fsync_dir(self.store.incoming)
        for path in leftovers:
            self.remove(path)
        if restore is not None:
            self.restore(restore)
        self.mirror()

    def restore(self, trusted: TrustedKeys) -> None:
        """Where there was a state and no copy is whole, write a new one; what is left of it is kept."""
        lost = self.store.lost()
        if not lost:
            return
        reason = f"{' and '.join(copy.name for copy in lost)} could not be read"
        state = rebuilt(self.store, trusted, now_utc(), f"{Reason.STATE_BAD}: {reason}")
        for copy in lost:
            kept_copies = [e for e in self.fs.entries(self.store.root) if ".bad-" in e.name]
            if copy.data and len(kept_copies) < _REMAINS:
                kept = f"{copy.name}.bad-{hashlib.sha256(copy.data).hexdigest()[:16]}"
                self._put_copy(copy.name, copy.data, kept)
        try:
            self.publish(state)
        finally:
            self.committed = False  # of what is to be done now, nothing is

    def mirror(self) -> None:
        """Make both copies of the state the same, so that one that rots later costs nothing."""
        state = self.store.state()
        for copy in self.store.copies():
            if state.seq and copy.data != encode_state(state):
                self._put_copy(copy.name, encode_state(state))
                self.fs.fsync_dir(self.store.root)  # before anything goes that only the older one needs

    def publish(self, state: State) -> None:
        """Write the state. From its first rename on it counts."""
        self.settle()  # what the state names must last before the state does
        data = encode_state(state)
        for name in COPY_NAMES:  # both are the same and whole, so the order does not matter
            self._put_copy(name, data)
            self.committed = True
            self.fs.fsync_dir(self.store.root)

    def settle(self) -> None:
        """Wait until all that lies in the store will stay, whoever put it there and was killed then."""
        for folder in (self.store.bundles, self.store.incoming, self.store.root):
            if self.fs.is_folder(folder):
                self.fs.fsync_dir(folder)

    def ensure_folder(self, path: Path, mode: int = 0o755) -> None:
        """Make a folder, and those above it, unless it is there."""
        ensure_folder(self.store, path, mode)

    def new_name(self, kind: str) -> Path:
        """Return a path among what is being written that nobody uses."""
        return self.store.incoming / f"{kind}-{secrets.token_hex(8)}"

    def write_file(self, path: Path, data: bytes) -> None:
        """Make a file that nobody may write, and wait until its content is on the disk."""
        fd = self.fs.create(path)
        try:
            self.fs.allocate(fd, len(data))
            self.fs.write(fd, data)
            self.fs.chmod(fd, 0o444)
            self.fs.fsync(fd)
        except BaseException:  # what went wrong is told, not what closing says
            with contextlib.suppress(OSError):
                self.fs.close(fd)
            raise
        self.fs.close(fd)

    def discard(self, folder: Path) -> None:
        """Take a whole bundle away: out of sight in one durable step, then file by file."""
        trash = self.new_name("trash")
        self.fs.rename(folder, trash)
        self.fs.fsync_dir(self.store.bundles)
        self.fs.fsync_dir(self.store.incoming)
        self.remove(trash)

    def remove(self, path: Path) -> None:
        """Remove a file or a folder with all that is in it; of a link, the link."""
        there = self.fs.status(path)
        if there is not None and stat.S_ISDIR(there.st_mode):
            for entry in self.fs.entries(path):
                self.remove(path / entry.name)
            self.fs.rmdir(path)
        else:
            self.fs.unlink(path)

    def _put_copy(self, name: str, data: bytes, as_name: str = "") -> None:
        temporary = self.store.root / f"{name}{TEMPORARY}{secrets.token_hex(8)}"
        path = self.store.root / (as_name or name)
        # the caller waits for the folder: from the rename on the state counts, whatever comes of that
        with replacement(path, durable=Durable.WHOLE, temporary=temporary, effects=self.fs):
            self.write_file(temporary, data)


@contextlib.contextmanager
def changing(
    store: Store, doing: str, done: str, *, wait_s: float = 0.0, restore: TrustedKeys | None = None
) -> Iterator[StoreChange]:
    """Lock a store, sweep it and give what changes it; ``doing`` and ``done`` complete "could not ...".

    ``done`` is said when the state was replaced and only the disk's confirmation is missing. ``restore``:
    as for :meth:`StoreChange.sweep`.

    Raises:
        BusyError: LOCKED; another process is changing this store, for longer than ``wait_s``.
        DeviceError: STATE_BAD; no copy of the state can be made out, and it is not to be restored.
        LinkError: The disk is full or failing.
    """
    change = StoreChange(store)
    try:
        with locked(store, wait_s):
            change.sweep(restore)
            yield change
            if not change.committed:  # everything was as it should be, but perhaps not on the disk yet
                change.settle()
    except OSError as error:
        if not change.committed:
            raise disk_error(error, doing) from error
        failure = disk_error(error, done)  # not to be done again: a second rollback would go further back
        raise LinkError(
            failure.reason,
            str(failure),
            hint=f"check the disk; galago status --root {store.root} shows what is active",
        ) from error


def restore_record(store: Store, *, wait_s: float = 0.0) -> bool:
    """Where there was a state and no copy is whole, make a new one; otherwise nothing is written.

    For whoever needs the state before any change, such as a bundle that is sent. Tells whether one was made.

    Raises:
        BusyError: LOCKED; another process is changing this store, for longer than ``wait_s``.
        CallerError: KEY_BAD or CONFIG_BAD; whom the device trusts is unknown.
        LinkError: The disk is full or failing.
    """
    if not store.lost():
        return False
    doing, done = (f"{verb} the state of {store.root}" for verb in ("rebuild", "confirm on the disk"))
    with changing(store, doing, done, wait_s=wait_s, restore=store.trusted()):
        return True


@contextlib.contextmanager
def locked(store: Store, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock of a store, which is made if needed.

    Raises:
        BusyError: LOCKED.
        OSError: The disk refused.
    """
    ensure_folder(store, store.root, 0o700)
    if not store.fs.is_folder(store.bundles):
        for parent in store.root.absolute().parents:  # made just now, or by one who was killed then
            with contextlib.suppress(PermissionError):
                store.fs.fsync_dir(parent)
    until = time.monotonic() + wait_s
    while True:
        try:
            fd = store.fs.lock(store.root / "lock")
            break
        except BlockingIOError:
            if time.monotonic() < until:
                time.sleep(_POLL_S)
                continue
            raise BusyError(
                Reason.LOCKED,
                f"another galago command is changing {store.root}",
                hint="wait until it has finished, then run this one again",
            ) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # nothing was written through it
            store.fs.close(fd)


def ensure_folder(store: Store, path: Path, mode: int = 0o755) -> None:
    """Make a folder, and those above it, unless it is there; whoever relies on it syncs it.

    Raises:
        OSError: The disk refused.
    """
    if not store.fs.is_folder(path):
        if not store.fs.is_folder(path.parent):
            ensure_folder(store, path.parent)
        store.fs.mkdir(path, mode)


def slot_of(store: Store, state: State, name: str) -> Slot:
    """Return the slot of ``name``.

    Raises:
        DeviceError: NO_BUNDLE.
    """
    if name not in state.slots:
        raise missing_bundle(store.root, name, state.slots)
    return state.slots[name]


def now_utc() -> str:
    """Return the time by this device's clock, for people."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
