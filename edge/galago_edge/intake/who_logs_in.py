"""Whether the user who logs in may change the store: what is refused for it says as whom it would work."""

from __future__ import annotations

import contextlib
import os
import pwd
from pathlib import Path

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.intake.system_user import USER


def check_permission(root: Path, *, making: bool = False) -> None:
    """Refuse a user who may not change the store at ``root``; ``making``: who may not make it either.

    A file system that nobody may write is not this user's fault and is found by whoever writes.

    Raises:
        LinkError: PERMISSION.
    """
    there = root
    while making and not os.path.lexists(there) and there != there.parent:
        there = there.parent
    try:
        owner = there.stat().st_uid
        read_only = bool(os.statvfs(there).f_flag & os.ST_RDONLY)
    except FileNotFoundError:
        return  # there is no store, and that is told by who needs it
    except OSError:
        owner, read_only = -1, False
    if read_only or os.access(there, os.R_OK | os.W_OK | os.X_OK):
        return
    me, whose = _name(os.geteuid()), _name(owner) if owner >= 0 else "another user"
    as_whom = "root" if making or owner <= 0 else whose
    raise LinkError(
        Reason.PERMISSION,
        f"the user {me} may not change {there}, which belongs to {whose}",
        hint=f"log in as root: root@HOST; or let sudo there: --user {as_whom}",
    )


def _name(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return USER if uid < 0 else f"number {uid}"
