"""systemd's description of the service: what ``provision`` writes, and whether the service can start with it.

A unit hides folders from its service (``ProtectHome=``, ``PrivateTmp=``), and its user may not enter every
other. A program that lies there, or whose interpreter does, cannot be started, and systemd says so with a
number only (203/EXEC); so it is found here, before anything is written.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from galago_edge.intake.system_user import SystemUser, user_of

UNIT_FILE = "galago.service"
DEVICE_ROOT = Path("/var/lib/galago")
"""Where a device keeps its store unless somebody says otherwise; the unit file says the same."""
UNIT_PROGRAM = "/usr/local/bin/galago"
_HOMES, _TEMPORARY = ("/home", "/root", "/run/user"), ("/tmp", "/var/tmp")
_HIDES = {
    "ProtectHome": (("yes", "true", "on", "1", "tmpfs"), _HOMES),
    "PrivateTmp": (("yes", "true", "on", "1", "disconnected"), _TEMPORARY),
}
_PATH = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")
_LINKS = 40
"""So many links are followed on one way, as the kernel does."""
_HEAD_BYTES = 4096
_EXEC = re.compile(rb"^#!\s*(?P<program>/\S+)(?:[ \t]+(?P<word>[^\s-]\S*))?")
_LONG = re.compile(rb"^#!/bin/sh\n'''exec' \"?(?P<program>/[^\"\n]*?)\"? \"\$0\"")
"""How pip writes an interpreter that is too long, or has a blank in it, for a first line."""


def unit_text(program: str | None, at: Path) -> str:
    """Return the unit file of a service that starts ``program`` on the store ``at``."""
    text = (files("galago_edge.intake") / UNIT_FILE).read_text(encoding="utf-8")
    text = text.replace(UNIT_PROGRAM, program or UNIT_PROGRAM).replace(str(DEVICE_ROOT), str(at))
    if at != DEVICE_ROOT:  # systemd makes and owns a state folder below /var/lib only
        text = text.replace("StateDirectory=galago\n", f"ReadWritePaths={at}\n")
    return text


def setting_of(text: str, key: str) -> str:
    """Return a unit file's last value of ``key``; empty where there is none."""
    found = re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)
    return found[-1].strip() if found else ""


def is_installed(program: str, system: Path) -> bool:
    """Tell whether a program is there, through whatever links of that system."""
    return os.path.lexists(_inside(list(_way(Path(program), system))[-1], system))


def why_unreachable(program: str, text: str, system: Path = Path("/")) -> str:
    """Say why a service with the unit ``text`` could not start ``program``; empty when it could.

    ``system``: root of the file system that it will run on. The program, its interpreter, the environment
    that this belongs to, and every link on the way are looked at.
    """
    hidden = [folder for key, (values, folders) in _HIDES.items() if setting_of(text, key).lower() in values
              for folder in folders]  # fmt: skip
    for what, path in _needed(Path(program), system):
        way = list(_way(path, system))
        for step in way:
            below = next((folder for folder in hidden if Path(step).is_relative_to(folder)), None)
            if below is not None:
                leads = (
                    ""
                    if str(step) == program
                    else f": {path} leads to {step}"
                    if step != path
                    else f": {path}"
                )
                return f"{what} lies below {below}, which the unit hides from it{leads}"
        end = _inside(way[-1], system)
        try:
            end.stat()
        except OSError as error:
            return f"{what} cannot be used: {way[-1]}: {error.strerror}"
        closed = _closed(way, system)
        if closed is not None:
            return f"{what} lies at {way[-1]}, and the service's user may not use {closed}"
    return ""


def _needed(program: Path, system: Path) -> Iterator[tuple[str, Path]]:
    """Yield what must be there for ``program`` to start, and what it is."""
    yield f"the program {program}", program
    seen = {program}
    for _ in range(_LINKS):
        interpreter = _interpreter(_inside(list(_way(program, system))[-1], system), system)
        if interpreter is None or interpreter in seen:
            return
        seen.add(interpreter)
        yield f"the interpreter {interpreter} of {program}", interpreter
        home = _home(_inside(interpreter, system).parent.parent)
        if home is not None:
            yield f"the Python {home} of the environment {interpreter.parent.parent}", home
        program = interpreter


def _interpreter(script: Path, system: Path) -> Path | None:
    try:
        with script.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return None
    found = _LONG.match(head) or _EXEC.match(head)
    if found is None:
        return None
    program = Path(found["program"].decode(errors="replace"))
    word = found.groupdict().get("word")
    if program.name != "env" or word is None:
        return program
    name = word.decode(errors="replace")
    there = (Path("/") / folder / name for folder in _PATH if os.path.lexists(system / folder / name))
    return next(there, program)


def _home(environment: Path) -> Path | None:
    """Return where the Python of a virtual environment lies."""
    try:
        text = (environment / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"^home\s*=\s*(/.*)$", text, re.MULTILINE)
    return Path(found[1].strip()) if found else None


def _way(path: Path, system: Path) -> Iterator[Path]:
    """Yield ``path`` and what it becomes by each link in it, as ``system`` has them; the last has none."""
    yield path
    for _ in range(_LINKS):
        parts = path.parts[1:]
        for count in range(1, len(parts) + 1):
            here = Path("/", *parts[:count])
            inside = system / str(here).lstrip("/")
            if inside.is_symlink():
                target = _joined(here.parent, inside.readlink())
                path = target.joinpath(*parts[count:])
                yield path
                break
        else:
            return


def _joined(folder: Path, target: Path) -> Path:
    """Return where a link in ``folder`` leads, without dots."""
    found: list[str] = []
    for part in (folder / target).parts[1:]:
        if part == "..":
            found = found[:-1]
        else:
            found.append(part)
    return Path("/", *found)


def _inside(path: Path, system: Path) -> Path:
    return system / str(path).lstrip("/")


def _closed(way: list[Path], system: Path) -> Path | None:
    """Return what on the way the service's user may not enter, or at its end not read."""
    user = user_of(system)
    for step in way:
        for folder in reversed(step.parents):
            inside = _inside(folder, system)
            if not inside.is_symlink() and inside.is_dir() and not _may(inside, user, 0o1):
                return folder
    end = _inside(way[-1], system)
    return None if _may(end, user, 0o5) else way[-1]


def _may(path: Path, user: SystemUser | None, wanted: int) -> bool:
    """Tell by the permission bits; a user that is not there yet is nobody's owner and in no group."""
    status = path.stat()
    shift = 0
    if user is not None:
        shift = 6 if status.st_uid == user.uid else 3 if status.st_gid == user.gid else 0
    return stat.S_IMODE(status.st_mode) >> shift & wanted == wanted
