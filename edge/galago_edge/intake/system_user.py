"""The user that the service runs as, made by the system's own tools: here, or on a disk that is mounted."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from galago_edge.contract.errors import system_words

USER = "galago"
SYSUSERS_FILE = Path("etc/sysusers.d/galago.conf")
"""Read by ``systemd-sysusers``, also when an image is made or its /etc is empty."""
_HOME, _SHELL = "/var/lib/galago", "/usr/sbin/nologin"
_SYSUSERS = f'u {USER} - "Galago" {_HOME}\n'
_BY_HAND = f"useradd --system --user-group --home-dir {_HOME} --shell {_SHELL} {USER}"
_WORK_S = 30.0


class SystemUser(NamedTuple):
    """Who owns the store."""

    uid: int
    gid: int


def user_of(system: Path) -> SystemUser | None:
    """Return the service's user on the system with this root; None when there is none yet."""
    if system == Path("/"):
        with contextlib.suppress(KeyError):
            here = pwd.getpwnam(USER)  # from a directory service too
            return SystemUser(here.pw_uid, here.pw_gid)
        return None
    with contextlib.suppress(OSError, UnicodeDecodeError, ValueError):
        for line in (system / "etc/passwd").read_text(encoding="utf-8").splitlines():
            name, _, uid, gid, *_ = line.split(":")
            if name == USER:
                return SystemUser(int(uid), int(gid))
    return None


def ensure_user(system: Path) -> str:
    """Make the user if there is none; return one line that says how it stands.

    ``system``: root of the machine's file system, ``/`` for this one. Where no tool can make it, or this
    user may not, the line says what to do.
    """
    if user_of(system) is not None:
        return f"user {USER} was there already"
    with contextlib.suppress(OSError):
        path = system / SYSUSERS_FILE
        path.parent.mkdir(exist_ok=True)
        path.write_text(_SYSUSERS, encoding="utf-8")
        path.chmod(0o644)
    said = ""
    for command in _commands(system) if os.geteuid() == 0 else ():
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_WORK_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            said = system_words(error)
            continue
        if user_of(system) is not None:
            return f"user {USER} made by {Path(command[0]).name}"
        said = (done.stderr.strip().splitlines() or [f"{command[0]} made none"])[-1]
    why = f" ({said})" if said else ""
    return f"there is no user {USER} yet{why}; as root on the device: {_BY_HAND}"


def _commands(system: Path) -> list[list[str]]:
    """Return the commands that could make the user, the better one first; those that are installed."""
    here = system == Path("/")
    given = [
        ["systemd-sysusers", *([] if here else [f"--root={system}"]), SYSUSERS_FILE.name],
        ["useradd", *([] if here else ["--prefix", str(system)]), *_BY_HAND.split()[1:]],
    ]
    return [[found, *words[1:]] for words in given if (found := shutil.which(words[0]))]
