"""The store on a device's disk: bundles in folders named by their hash, and one state that says
which of them count.

::

    ROOT/lock               held while something changes, never removed
    ROOT/bundles/<id>/      whole bundles, never changed
    ROOT/incoming/          what is being written; anything here may be removed at any time
    ROOT/state.a state.b    the state, twice (see ``state``)
    ROOT/state.a.bad-<hash> what was left of a copy when a new state had to be made (``rebuild``)
    ROOT/factory/NAME.galago  what the device was delivered with; nothing here ever writes it
    ROOT/trust/*.pub        whose bundles are taken
    ROOT/profile.toml       what this board is
    ROOT/loaded/<id>        that this device has run a bundle it did not install itself; may be removed

This module only reads, takes no lock, and sees the old or the new state, never a mixture.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from galago_edge.bundle import Bundle, TrustedKeys, open_bundle
from galago_edge.contract.errors import (
    BundleError,
    CallerError,
    DeviceError,
    NotOwnError,
    Reason,
    disk_error,
)
from galago_edge.contract.profile import PROFILE_FILE, DeviceProfile
from galago_edge.host.toml_file import load_toml
from galago_edge.store.filesystem import StoreFs
from galago_edge.store.missing_bundle import missing_bundle
from galago_edge.store.state import STATE_LIMIT_BYTES, State, decode_state, is_intact

COPY_NAMES = ("state.a", "state.b")
TEMPORARY = ".tmp-"
TRUST_FOLDER = "trust"
FACTORY_FOLDER = "factory"
BUNDLE_SUFFIX = ".galago"


@dataclass(frozen=True, slots=True)
class StateCopy:
    """One of the two copies of the state."""

    name: str
    data: bytes | None
    """What lies on the disk, None when there is no such file."""
    state: State | None
    """None when there is none or it is damaged."""
    refused: OSError | None = None
    """What the disk answered instead of giving it, twice."""

    @property
    def health(self) -> Literal["ok", "damaged", "missing", "foreign"]:
        """One word for status; ``foreign``: whole, but written by a version of Galago that says more."""
        if self.data is None:
            return "missing"
        if self.state is not None:
            return "ok"
        return "foreign" if is_intact(self.data) else "damaged"


class Hold:
    """Keeps one bundle's folder from being removed, until ``close`` or the end of the process."""

    def __init__(self, fd: int) -> None:
        self._close = weakref.finalize(self, _let_go, fd)

    def close(self) -> None:
        """Let go; a second time is fine."""
        self._close()


def _let_go(fd: int) -> None:
    with contextlib.suppress(OSError):  # nothing was written through it, and it is gone in any case
        os.close(fd)


class Store:
    """One device's store. What changes it: ``installing``, ``activating``, ``booting``, ``collecting``."""

    def __init__(self, root: Path, fs: StoreFs | None = None) -> None:
        self.root = root
        self.fs = fs or StoreFs()
        self.fs.roots |= {root}
        self.bundles = root / "bundles"
        self.incoming = root / "incoming"
        self.trust = root / TRUST_FOLDER
        self.factory = root / FACTORY_FOLDER

    def copies(self) -> list[StateCopy]:
        """Return both copies of the state as they are.

        Raises:
            LinkError: A copy cannot be read.
        """
        return [self.copy(name) for name in COPY_NAMES]

    def copy(self, name: str) -> StateCopy:
        """Return one copy of the state as it is; what the disk has lost is damaged.

        Raises:
            LinkError: It cannot be read, but may be there.
        """
        data: bytes | None = b""
        refused = None
        for _ in range(2):  # what the disk does not give twice, it has lost
            try:
                data, refused = self.fs.read(self.root / name, STATE_LIMIT_BYTES), None
                break
            except OSError as error:
                if error.errno != errno.EIO:
                    raise disk_error(error, f"read the state of {self.root}") from error
                refused = error
        return StateCopy(name, data, None if data is None else decode_state(data), refused)

    def state(self) -> State:
        """Return the newest whole copy of the state; an empty state when there was never one.

        Raises:
            DeviceError: STATE_BAD; there are copies and none is whole.
            LinkError: A copy cannot be read, or the disk gives none.
        """
        copies = self.copies()
        whole = [copy.state for copy in copies if copy.state is not None]
        if whole:
            return max(whole, key=lambda state: state.seq)
        if all(copy.health == "missing" for copy in copies):
            return State()
        self._check_given(copies)
        foreign = any(copy.health == "foreign" for copy in copies)
        raise DeviceError(
            Reason.STATE_BAD,
            f"{self.root}: {' and '.join(f'{copy.name} is {copy.health}' for copy in copies)}, so which "
            "bundle is active is unknown",
            hint="another version of Galago wrote it: use that one, or see docs/store.md"
            if foreign
            else f"galago scrub --root {self.root} rebuilds the state from the bundles there, "
            "and so do the next start and the next install",
        )

    def lost(self) -> list[StateCopy]:
        """Return the damaged copies of a state that is beyond reading; nothing where one can be made out.

        Raises:
            LinkError: A copy cannot be read.
        """
        copies = self.copies()
        if any(copy.health in ("ok", "foreign") for copy in copies):
            return []
        self._check_given(copies)
        return [copy for copy in copies if copy.health == "damaged"]

    def _check_given(self, copies: list[StateCopy]) -> None:
        """Refuse to believe that a state is lost of which the disk gives nothing at all.

        One bad sector is one copy. When neither can be read it is more likely the whole disk that does not
        answer now, and may again.
        """
        there = [copy for copy in copies if copy.health != "missing"]
        if there and all(copy.refused is not None for copy in there):
            error = there[0].refused
            assert error is not None
            raise disk_error(error, f"read the state of {self.root}") from error

    def profile(self) -> DeviceProfile | None:
        """Return what this board is, None when nobody has said.

        Raises:
            CallerError: CONFIG_BAD; the file is not a profile.
            LinkError: It cannot be read.
        """
        path = self.root / PROFILE_FILE
        return load_toml(path, DeviceProfile) if self._is_file(path) else None

    def trusted(self) -> TrustedKeys:
        """Return whose bundles this device takes.

        Raises:
            CallerError: KEY_BAD; a file in the trust folder is not a key.
            LinkError: It cannot be read, or is not the store's own.
        """
        self.check_trust()
        return TrustedKeys.in_folder(self.trust)

    def check_trust(self) -> None:
        """Refuse a trust folder that is not the store's own, or that holds links to other places.

        Raises:
            LinkError: NOT_OWN; or it cannot be read.
        """
        try:
            for entry in self.fs.entries(self.trust):
                if entry.kind != "file":
                    said = "is no plain file, a key or policy.toml is expected"
                    raise NotOwnError(self.trust / entry.name, said)
        except OSError as error:
            raise disk_error(error, f"read whom {self.root} trusts") from error

    def leftovers(self) -> list[Path]:
        """Return what broken installs left behind; the next install removes it.

        Raises:
            OSError: A folder cannot be listed.
        """
        found = [self.incoming / entry.name for entry in self.fs.entries(self.incoming)]
        torn = tuple(f"{name}{TEMPORARY}" for name in COPY_NAMES)
        found += [self.root / e.name for e in self.fs.entries(self.root) if e.name.startswith(torn)]
        return sorted(found)

    def folder(self, bundle_id: str) -> Path:
        """Return where the bundle with this id lies, or would lie."""
        return self.bundles / bundle_id

    def open(self, bundle_id: str) -> Bundle:
        """Open a bundle of this device and check every byte of it.

        One that is not installed may be the factory's.

        Raises:
            BundleError: What lies on the disk is no longer what was installed.
            LinkError: It cannot be read.
        """
        bundle: Bundle | None
        try:
            bundle = self._opened(self.folder(bundle_id))
        except CallerError:
            found = (self.factory_bundle(name) for name in self.factory_names())
            bundle = next((one for one in found if one is not None and one.id == bundle_id), None)
        if bundle is None:
            raise BundleError(
                Reason.TRUNCATED, f"{self.folder(bundle_id)} is missing", hint="install the bundle again"
            )
        if bundle.id != bundle_id:
            raise BundleError(
                Reason.FILE_HASH,
                f"{self.folder(bundle_id)} holds the bundle {bundle.id[:16]}…",
                hint="install the bundle again",
            )
        return bundle

    def hold(self, bundle_id: str) -> Hold | None:
        """Keep an installed bundle from being removed while it is used; None when it is not there.

        Hold first and open then, so that nothing can happen between.

        Raises:
            LinkError: The folder cannot be opened.
        """
        try:
            return Hold(self.fs.hold(self.folder(bundle_id)))
        except FileNotFoundError:
            return None  # the factory's bundle, which nobody removes
        except OSError as error:
            raise disk_error(error, f"hold {self.folder(bundle_id)}") from error

    def factory_names(self) -> list[str]:
        """Return the names under which this device was delivered with a bundle.

        Raises:
            LinkError: NOT_OWN, the folder is not the store's; or it cannot be listed.
        """
        try:
            names = [entry.name for entry in self.fs.entries(self.factory)]
        except OSError as error:
            raise disk_error(error, f"list {self.factory}") from error
        return sorted(Path(name).stem for name in names if name.endswith(BUNDLE_SUFFIX))

    def factory_bundle(self, name: str) -> Bundle | None:
        """Open the bundle that the device was delivered with; None when there is none.

        Raises:
            BundleError: It is not whole, or of another name.
            LinkError: It cannot be read.
        """
        path = self.factory / f"{name}{BUNDLE_SUFFIX}"
        try:
            bundle = self._opened(path)
        except CallerError:
            return None
        if bundle.name != name:
            raise BundleError(
                Reason.MANIFEST_BAD,
                f"{path} holds a bundle named {bundle.name}",
                hint=f"name the file {bundle.name}{BUNDLE_SUFFIX}",
            )
        return bundle

    def active(self, name: str) -> Bundle:
        """Open the active bundle of this name and check every byte of it.

        Raises:
            DeviceError: NO_BUNDLE, or STATE_BAD.
            BundleError: What lies on the disk is no longer what was installed.
            LinkError: It cannot be read.
        """
        slots = self.state().slots
        if name not in slots:
            raise missing_bundle(self.root, name, slots)
        return self.open(slots[name].active.id)

    def _opened(self, path: Path) -> Bundle:
        """Open a bundle that lies in the store, behind no link.

        Raises:
            CallerError: There is none.
            BundleError, LinkError: As :func:`~galago_edge.bundle.open_bundle`.
        """
        try:
            fd = self.fs.open(path)
        except FileNotFoundError:
            raise CallerError(
                Reason.TARGET_UNKNOWN, f"there is no bundle {path}", hint="install it again"
            ) from None
        except OSError as error:
            raise disk_error(error, f"open {path}") from error
        return open_bundle(path, fd=fd)

    def _is_file(self, path: Path) -> bool:
        """Tell whether a file of the store's own is there.

        Raises:
            LinkError: NOT_OWN, it is a link; or the disk is failing.
        """
        try:
            there = self.fs.status(path)
            if there is not None and stat.S_ISLNK(there.st_mode):
                raise NotOwnError(path, "is a link, a file of the store's own is expected")
        except OSError as error:
            raise disk_error(error, f"read {path}") from error
        return there is not None
