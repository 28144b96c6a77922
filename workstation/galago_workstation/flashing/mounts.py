"""What kind of disk a folder lies on, and when it is safe to take it out."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from galago_edge.contract.errors import LinkError, Reason

_MOUNTS = Path("/proc/mounts")
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph"})
_FAT = frozenset({"vfat", "msdos", "exfat"})
_SYNC_S = 600.0
_ESCAPED = re.compile(r"\\([0-7]{3})")  # a blank is \040


@dataclass(frozen=True, slots=True)
class Mount:
    """The file system that a folder lies on."""

    folder: Path
    point: str
    kind: str
    """As /proc/mounts names it: ``ext4``, ``vfat``; empty where nobody says."""
    read_only: bool

    def check(self) -> None:
        """Refuse a disk that cannot be written, or whose promises end at a network.

        Raises:
            LinkError: READ_ONLY or IO.
        """
        if self.read_only:
            raise LinkError(
                Reason.READ_ONLY,
                f"{self.point} is mounted read-only",
                hint=f"mount -o remount,rw {self.point}; a card: look at its write protection",
            )
        if self.kind in _NETWORK:
            raise LinkError(
                Reason.IO,
                f"{self.folder} lies on {self.kind}, where a lock and a sync cannot be relied on",
                hint="flash the device itself: galago flash BUNDLE user@host",
            )

    def note(self) -> str:
        """Return what is to be known about it, after :func:`settle`."""
        if self.kind in _FAT:
            return f"{self.kind} keeps no owners and modes: only the checks at each start protect the bundle"
        return "written through: safe to unmount" if self.kind else ""


def mount_of(folder: Path) -> Mount:
    """Return the file system of a folder."""
    real = folder.resolve()
    best = Mount(folder, str(real), "", False)
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return best  # no Linux: nothing is known
    length = -1
    for line in lines:
        _, point, kind, options, *_ = line.split(" ")
        point = _ESCAPED.sub(lambda code: chr(int(code[1], 8)), point)
        # a later line hides an earlier one at the same place
        if real.is_relative_to(point) and len(point) >= length:
            length = len(point)
            best = Mount(folder, point, kind, "ro" in options.split(","))
    return best


def settle(mount: Mount) -> None:
    """Wait until everything that was written to the disk is on it.

    Raises:
        LinkError: IO; the disk has failed.
    """
    try:
        done = subprocess.run(
            ["sync", "-f", str(mount.folder)], capture_output=True, text=True, timeout=_SYNC_S, check=False
        )
    except FileNotFoundError:
        return  # no coreutils: the store has synced what it relies on itself
    except subprocess.TimeoutExpired:
        raise _failed(mount, f"not finished after {_SYNC_S:g} s") from None
    if done.returncode != 0:
        raise _failed(mount, done.stderr.strip())


def _failed(mount: Mount, text: str) -> LinkError:
    return LinkError(
        Reason.IO,
        f"what was written to {mount.point} is not safely there: {text}",
        hint="do not use this disk before galago flash has written it again: fsck it, or take another one",
    )
