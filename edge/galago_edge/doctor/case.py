"""What a check of the doctor is given, the device and what earlier checks left, and how it is described."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from galago_edge.contract.findings import Finding
from galago_edge.contract.manifest import Manifest
from galago_edge.contract.profile import DeviceProfile
from galago_edge.contract.settings import Settings
from galago_edge.contract.status import ServiceStatus


@dataclass(frozen=True, slots=True)
class Account:
    """A user, as far as files care."""

    name: str
    uid: int
    groups: frozenset[int]

    @property
    def is_me(self) -> bool:
        """Whether this process runs as that user."""
        return self.uid == os.geteuid()

    def may_write(self, path: Path) -> bool:
        """Tell whether the user may read and write a file or device, or list and change a folder.

        For another user than one's own only the permission bits count.
        """
        return self._may(path, os.R_OK | os.W_OK, of_folder=0o7)

    def may_read(self, path: Path) -> bool:
        """Tell whether the user may read a file or list a folder; of another user as above."""
        return self._may(path, os.R_OK, of_folder=0o5)

    def _may(self, path: Path, wanted: int, *, of_folder: int) -> bool:
        if self.is_me:
            return os.access(path, wanted)
        try:
            status = path.stat()
        except OSError:
            return False
        mode = status.st_mode
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid in self.groups else 0
        bits = of_folder if stat.S_ISDIR(mode) else wanted  # R_OK and W_OK are the bits of a mode
        return mode >> shift & bits == bits


@dataclass(slots=True)
class Case:
    """One device that is looked at. Checks may leave here what later ones need."""

    root: Path
    """The store."""
    config: Path | None = None
    system: Path = Path("/")
    """Where ``dev``, ``etc``, ``proc`` and ``sys`` are."""
    account: Account = field(default_factory=lambda: account_of(os.geteuid()))
    """Whom the service runs as."""
    settings: Settings | None = None
    """What the configuration says, when it can be read."""
    broken: set[str] = field(default_factory=set)
    """Modules without which a check would fail only because of them."""
    runtime: tuple[str, str] | None = None
    """Package and version of the TFLite runtime."""
    profile: DeviceProfile | None = None
    bundles: dict[str, Manifest] = field(default_factory=dict)
    """Every installed bundle that is whole, by name."""
    running: bool = False
    """A service runs on this store."""
    status: ServiceStatus | None = None
    """What it says of itself, when it runs and can be asked."""

    def kinds(self) -> set[str]:
        """Return what kinds of sources the configuration has, by how their addresses begin."""
        return {address.partition(":")[0] for address in self.addresses().values()}

    def addresses(self) -> dict[str, str]:
        """Return the address of each source of the configuration, by its name."""
        if self.settings is None:
            return {}
        return {name: source.address for name, source in self.settings.source.items()}


Check = Callable[[Case], Iterator["Finding | DoctorCheck"]]
"""Looks at something and says what it found, or which check stands alone beside it. An error is a finding."""


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """What a check says of itself."""

    name: str
    """Stands in the finding of a check that fails altogether, and in docs/doctor.md."""
    look: Check
    place: int = 500
    """Where its findings stand in the report, lowest first."""
    needs: tuple[str, ...] = ()
    """Checks whose results in the case it uses: they run before it, wherever it stands."""


def account_of(uid: int, more_groups: tuple[str, ...] = ()) -> Account:
    """Return a user by number; one without an entry has only the groups of this process."""
    found: set[int] = set()
    for group in more_groups:
        try:
            found.add(grp.getgrnam(group).gr_gid)
        except KeyError:
            continue
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return Account(str(uid), uid, frozenset(found | set(os.getgroups())))
    return Account(user.pw_name, uid, frozenset(found | set(os.getgrouplist(user.pw_name, user.pw_gid))))
