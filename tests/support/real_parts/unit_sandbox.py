"""The unit's filter of system calls without systemd: a command runs as the service would, and what is refused
fails with EPERM there too.

    python -m real_parts.unit_sandbox UNIT -- COMMAND ...

Of the unit it takes SystemCallFilter=, RestrictAddressFamilies=, RestrictNamespaces= and NoNewPrivileges=;
no capability is left. Which calls a set such as @system-service holds, the installed systemd-analyze says.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from real_parts.processes import MissingPartError

_ALLOW, _REFUSE = 0x7FFF_0000, 0x0005_0000 | errno.EPERM
_EQUAL, _MASKED_EQUAL = 4, 7
_NAMESPACES = 0x0002_0000 | 0x0200_0000 | 0x0400_0000 | 0x0800_0000 | 0x1000_0000 | 0x2000_0000 | 0x4000_0000
_CAPABILITIES = 41
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38


class _Compare(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def settings_of(unit: Path, name: str) -> list[str]:
    """Return the values of all lines ``name=`` of a unit file, in order."""
    lines = unit.read_text(encoding="utf-8").splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{name}=")]


def allowed_calls(unit: Path) -> set[str]:
    """Return the names of the system calls that the unit's lines let through.

    Raises:
        MissingPartError: systemd-analyze is not installed.
    """
    allowed = calls_of("@default")
    for line in settings_of(unit, "SystemCallFilter"):
        named = set().union(*map(calls_of, line.lstrip("~").split()))
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed | calls_of("@default")


def calls_of(word: str) -> set[str]:
    """Return the system calls of a set, with those of the sets in it; of a call's name, itself."""
    if not word.startswith("@"):
        return {word}
    program = shutil.which("systemd-analyze")
    if program is None:
        raise MissingPartError("systemd-analyze")
    said = subprocess.run(
        [program, "syscall-filter", word], capture_output=True, text=True, check=True
    ).stdout
    words = [line.split()[0] for line in said.splitlines()[1:] if line.strip() and "#" not in line]
    return set().union(*map(calls_of, words))


def enter(unit: Path) -> None:
    """Confine this process, and all that it starts, as the unit says. Nothing of it can be taken back.

    Raises:
        MissingPartError: libseccomp or systemd-analyze is not installed.
    """
    try:
        seccomp = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        raise MissingPartError("libseccomp2") from None
    calls = allowed_calls(unit)
    families = " ".join(settings_of(unit, "RestrictAddressFamilies")).split()
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(_CAPABILITIES) if os.geteuid() == 0 else ():
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    filter_ = ctypes.c_void_p(seccomp.seccomp_init(_REFUSE))

    def number(name: str) -> int:
        return int(seccomp.seccomp_syscall_resolve_name(name.encode()))

    def rule(name: str, *conditions: _Compare) -> None:
        array = (_Compare * max(len(conditions), 1))(*conditions)
        seccomp.seccomp_rule_add_array(filter_, _ALLOW, number(name), len(conditions), array)

    for name in sorted(calls - {"socket", "unshare", "setns", "clone"}):
        if number(name) >= 0:  # others are of other machines
            rule(name)
    for family in families:
        rule("socket", _Compare(0, _EQUAL, getattr(socket, family), 0))
    if "yes" in settings_of(unit, "RestrictNamespaces"):
        rule("clone", _Compare(0, _MASKED_EQUAL, _NAMESPACES, 0))
    seccomp.seccomp_load(filter_)
    seccomp.seccomp_release(filter_)


def main() -> None:
    """Confine this process and become the command."""
    unit, _, *command = sys.argv[1:]
    enter(Path(unit))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
