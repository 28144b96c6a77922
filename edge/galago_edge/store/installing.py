"""Bring a bundle into a store so that nothing can hurt: a power cut, a full disk, two at once.

The old bundle stays the active one until one small file is renamed, and before that every byte of
the new one is on the disk, was read back and has answered its golden samples. What a broken attempt
leaves behind is removed by the next one, and the steps run in an order in which each makes
durable what the next relies on.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec

from galago_edge.bundle import Bundle, TrustedKeys, open_bundle
from galago_edge.bundle.reading import ACCEPTED_NAME, MANIFEST_NAME, SIGNATURE_NAME
from galago_edge.contract.errors import BusyError, DeviceError, GalagoError, LinkError, Reason, disk_error
from galago_edge.store.folder import COPY_NAMES, TEMPORARY, Store
from galago_edge.store.state import Release, State, encode_state, with_active

RESERVE_BYTES = 4 << 20
"""Left free on purpose: the record, logs and other programs must still be able to write."""

Accept = Callable[[Bundle], Mapping[str, Any]]
"""The last word on a bundle that lies on this disk: raises, or returns what to note about it."""


@dataclass(frozen=True, slots=True)
class Installation:
    """How an install ended, when it ended well."""

    outcome: Literal["installed", "already installed", "repaired"]
    folder: Path


def install_bundle(store: Store, bundle: Bundle, trusted: TrustedKeys, accept: Accept) -> Installation:
    """Copy a bundle into the store, let ``accept`` judge the copy, and make it the active one.

    Raises:
        BusyError: LOCKED; another process is changing this store.
        DeviceError: DOWNGRADE, REPLAY or STATE_BAD; or what ``accept`` raises.
        LinkError: The disk is full or failing.
    """
    installer = _Installer(store, bundle, trusted, accept)
    try:
        with _locked(store):
            return installer.run()
    except OSError as error:
        doing = f"install {bundle} into {store.root}"
        if installer.committed:  # the truth is: it is active, but the disk has not confirmed it
            doing = f"confirm on the disk that {bundle}, active in {store.root} now, will stay so"
        raise disk_error(error, doing) from error


@contextlib.contextmanager
def _locked(store: Store) -> Iterator[None]:
    _ensure_folder(store, store.root, 0o700)
    try:
        fd = store.fs.lock(store.root / "lock")
    except BlockingIOError:
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


def _ensure_folder(store: Store, path: Path, mode: int = 0o755) -> None:
    if not path.is_dir():
        if not path.parent.is_dir():
            _ensure_folder(store, path.parent)
        store.fs.mkdir(path, mode)
        store.fs.fsync_dir(path.parent)


class _Installer:
    """The steps, in order. Each raises OSError when the disk refuses."""

    def __init__(self, store: Store, bundle: Bundle, trusted: TrustedKeys, accept: Accept) -> None:
        self._store = store
        self._fs = store.fs
        self._bundle = bundle
        self._trusted = trusted
        self._accept = accept
        self.committed = False

    def run(self) -> Installation:
        self._recover()
        state = self._store.state()
        folder = self._store.folder(self._bundle.id)
        slot = state.slots.get(self._bundle.manifest.bundle.name)
        active = slot is not None and slot.active.id == self._bundle.id
        whole = self._is_whole()
        if active and whole:
            return Installation("already installed", folder)
        if not active:
            self._check_release(state)
        if whole:  # an earlier attempt came this far
            self._accept(self._store.open(self._bundle.id))
        else:
            self._check_space()
            self._copy_in(folder)
        self._commit(state)
        return Installation("repaired" if active else "installed", folder)

    def _recover(self) -> None:
        for folder in (self._store.bundles, self._store.incoming):
            _ensure_folder(self._store, folder)
        for path in self._store.leftovers():
            self._remove(path)
        self._mirror()

    def _is_whole(self) -> bool:
        try:
            self._store.open(self._bundle.id)
        except GalagoError:  # missing, damaged or unreadable: it will be written anew
            return False
        return True

    def _check_release(self, state: State) -> None:
        info = self._bundle.manifest.bundle
        slot = state.slots.get(info.name)
        if slot is None:
            return
        lowest = max(slot.floor, slot.active.release_counter)
        if info.release_counter < lowest:
            raise DeviceError(
                Reason.DOWNGRADE,
                f"{self._bundle} has release counter {info.release_counter}; "
                f"{slot.active.version} with {slot.active.release_counter} is active here"
                + (f" and the floor is {slot.floor}" if slot.floor else ""),
                hint="to go back, build the old model again with a higher release counter",
            )
        if info.release_counter == slot.active.release_counter:
            raise DeviceError(
                Reason.REPLAY,
                f"{self._bundle} is another bundle than the active {slot.active.version} "
                f"but has the same release counter {info.release_counter}",
                hint="build it again with a higher release counter",
            )

    def _check_space(self) -> None:
        manifest = self._bundle.manifest
        size = sum(entry.size for entry in manifest.files)
        needed = max(size + size // 10 + RESERVE_BYTES, manifest.resources.min_free_disk_bytes)
        files = len(manifest.files) + 16  # manifest, signature, notes, folders, the record's new copy
        free = self._fs.free(self._store.root)
        if free.size_bytes < needed or (free.files is not None and free.files < files):
            met = f"{free.size_bytes} bytes" + ("" if free.files is None else f" and {free.files} files")
            raise LinkError(
                Reason.NO_SPACE,
                f"{self._store.root} has room for {met}, "
                f"{self._bundle} needs {needed} bytes and {files} files",
                hint="free some space and run the command again",
            )

    def _copy_in(self, folder: Path) -> None:
        stage = self._store.incoming / f"new-{secrets.token_hex(8)}"
        self._fs.mkdir(stage)
        try:
            self._write_files(stage)
            copy = open_bundle(stage, self._trusted)  # what the disk gives back, not what was sent to it
            note = self._accept(copy)
            self._write_file(stage / ACCEPTED_NAME, _accepted(copy, note))
            self._fs.fsync_dir(stage)
            if os.path.lexists(folder):  # damaged: out of the way, for a folder cannot be replaced
                self._fs.rename(folder, self._store.incoming / f"bad-{secrets.token_hex(8)}")
            self._fs.rename(stage, folder)
            self._fs.fsync_dir(self._store.bundles)
            self._fs.fsync_dir(self._store.incoming)
        except BaseException:
            with contextlib.suppress(OSError):
                self._remove(stage)
            raise

    def _write_files(self, stage: Path) -> None:
        contents = {MANIFEST_NAME: self._bundle.manifest_bytes, SIGNATURE_NAME: self._bundle.signature_bytes}
        for name, data in contents.items():
            self._write_file(stage / name, data)
        names = [entry.path for entry in self._bundle.manifest.files]
        folders = sorted({parent for name in names for parent in PurePosixPath(name).parents[:-1]})
        for inner in folders:  # a parent sorts before its children
            self._fs.mkdir(stage / inner)
        for name in names:
            self._write_file(stage / name, self._bundle.read(name))
        for inner in reversed(folders):
            self._fs.fsync_dir(stage / inner)
        self._fs.fsync_dir(stage)
        self._fs.fsync_dir(self._store.incoming)
        for name in (*contents, *names):
            self._fs.forget_cache(stage / name)

    def _commit(self, state: State) -> None:
        """Write the record. From its first rename on the new bundle is the active one."""
        manifest = self._bundle.manifest
        release = Release(
            id=self._bundle.id,
            version=manifest.bundle.version,
            release_counter=manifest.bundle.release_counter,
            since_utc=_now_utc(),
        )
        floor = manifest.rollback.min_release_counter_after_commit
        data = encode_state(with_active(state, manifest.bundle.name, release, floor))
        for name in COPY_NAMES:  # both are the same and whole, so the order does not matter
            self._put_copy(name, data)
            self.committed = True
            self._fs.fsync_dir(self._store.root)

    def _mirror(self) -> None:
        """Make both copies of the record the same again, so that one that rots later costs nothing."""
        state = self._store.state()
        for copy in self._store.copies():
            if state.seq and copy.data != encode_state(state):
                self._put_copy(copy.name, encode_state(state))
                self._fs.fsync_dir(self._store.root)

    def _put_copy(self, name: str, data: bytes) -> None:
        temporary = self._store.root / f"{name}{TEMPORARY}{secrets.token_hex(8)}"
        try:
            self._write_file(temporary, data)
            self._fs.rename(temporary, self._store.root / name)
        except BaseException:
            with contextlib.suppress(OSError):
                self._remove(temporary)
            raise

    def _write_file(self, path: Path, data: bytes) -> None:
        fd = self._fs.create(path)
        try:
            self._fs.allocate(fd, len(data))
            self._fs.write(fd, data)
            self._fs.chmod(fd, 0o444)
            self._fs.fsync(fd)
        except BaseException:
            with contextlib.suppress(OSError):
                self._fs.close(fd)
            raise
        self._fs.close(fd)

    def _remove(self, path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            for child in sorted(path.iterdir()):
                self._remove(child)
            self._fs.rmdir(path)
        else:
            self._fs.unlink(path)


def _accepted(bundle: Bundle, note: Mapping[str, Any]) -> bytes:
    body = {"id": bundle.id, "accepted_utc": _now_utc(), **note}
    return msgspec.json.format(msgspec.json.encode(body)) + b"\n"


def _now_utc() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
