"""Makes a machine a Galago device: its profile, the keys that it trusts, and the service's unit file."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from galago_edge.bundle.keys import parse_public_line
from galago_edge.contract.decoding import from_toml
from galago_edge.contract.errors import CallerError, DeviceError, Reason, disk_error
from galago_edge.contract.profile import PROFILE_FILE, DeviceProfile
from galago_edge.host.file_replacement import Durable, FileEffects, replace_file
from galago_edge.host.machine import this_arch
from galago_edge.host.toml_file import TOML_LIMIT_BYTES
from galago_edge.intake.system_user import USER, ensure_user, user_of
from galago_edge.intake.unit_file import (
    UNIT_FILE,
    UNIT_PROGRAM,
    is_installed,
    unit_text,
    why_unreachable,
)
from galago_edge.store import Store
from galago_edge.store.trust_folder import trust_key

UNIT_FOLDER = Path("etc/systemd/system")
_CONFIG = Path("etc/galago/galago.toml")


def provision(
    root: Path,
    profile: str,
    keys: Iterable[str],
    *,
    replace: bool = False,
    unit: bool = True,
    system: Path | None = Path("/"),
    at: Path | None = None,
) -> list[str]:
    """Write what a device needs before it can take a bundle; return one line for each thing done or missing.

    ``profile``: content of profile.toml. ``keys``: public key lines, added to those that are trusted.
    ``replace``: another profile may go. ``system``: root of the machine's file system, None when it is
    not mounted here; ``/`` is this machine. ``at``: where the store will be for the device itself.

    What is done already is left as it is, so a broken attempt can be repeated.

    Raises:
        CallerError: CONFIG_BAD or KEY_BAD; profile or key is none. EXISTS; the device is another board.
        DeviceError: ARCH; the profile is for another machine than this one. UNREACHABLE; the service could
            not start the program that the unit would name.
        LinkError: The disk is full or failing, or this user may not write there.
    """
    board = _parsed(profile)
    named = [parse_public_line(line, "the given key") for line in keys]
    here = system == Path("/")
    if here and board.arch != this_arch():
        raise DeviceError(
            Reason.ARCH,
            f"the profile {board.id} is for {board.arch}, this machine is {this_arch()}",
            hint="give it its own board's profile: galago devices list",
        )
    folder = _unit_folder(system) if unit else None
    if folder is not None and system is not None:
        _check_program(this_program() if here else UNIT_PROGRAM, at or root, system)
    store = Store(root)
    done = [_put_profile(store, profile, board, replace=replace)]
    done += [_trust(store, keyid, comment) for keyid, comment in named]
    if not store.trusted():
        done.append("no key is trusted yet, so no bundle is taken: give --trust KEY.pub")
    if unit:
        done.append(_put_unit(root, folder, at or root, here=here))
        if system is not None and folder is not None:
            done.append(ensure_user(system))
            _give_away(root, system)
            done += _missing(system)
    return done


def _parsed(profile: str) -> DeviceProfile:
    try:
        return from_toml(profile, type=DeviceProfile)
    except msgspec.DecodeError as error:
        raise CallerError(
            Reason.CONFIG_BAD, f"the profile is none: {error}", hint="galago devices show NAME prints one"
        ) from None


def _put_profile(store: Store, text: str, board: DeviceProfile, *, replace: bool) -> str:
    path = store.root / PROFILE_FILE
    try:
        data = store.fs.read(path, TOML_LIMIT_BYTES)
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    there = None if data is None else data.decode("utf-8", "replace")
    if there == text:
        return f"profile {board.id} was there already"
    if there is not None and not replace:
        raise CallerError(
            Reason.EXISTS,
            f"{path} holds another profile",
            hint="is it the right device? Then run the same command with --replace-profile",
        )
    try:
        made = not store.root.is_dir()
        store.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if made:
            store.fs.fsync_dir(store.root.parent)
    except OSError as error:
        raise disk_error(error, f"make {store.root}") from error
    _write(path, text, effects=store.fs)
    return f"profile {board.id} written to {path}"


def _trust(store: Store, keyid: str, comment: str) -> str:
    name = f"{keyid[:16]}… {comment}".rstrip()
    if keyid in store.trusted():
        return f"key {name} was trusted already"
    trust_key(store, keyid, comment)
    return f"key {name} is trusted"


def _unit_folder(system: Path | None) -> Path | None:
    """Return where systemd looks, if there is such a place and this user may write there."""
    folder = system / UNIT_FOLDER if system is not None else None
    return folder if folder is not None and folder.is_dir() and os.access(folder, os.W_OK) else None


def _put_unit(root: Path, folder: Path | None, at: Path, *, here: bool) -> str:
    """Write the unit file where systemd looks, or beside the profile where there is no such place."""
    text = unit_text(this_program() if here else None, at)
    if folder is not None:
        path = folder / UNIT_FILE
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            return f"unit file {path} was there already"
        _write(path, text)
        if here:
            return f"unit file {path} written; systemctl daemon-reload; systemctl enable --now galago"
        wanted = folder / "multi-user.target.wants" / UNIT_FILE
        return f"unit file {path} written" + _enabled(wanted)
    path = root / UNIT_FILE
    _write(path, text, effects=FileEffects(root))
    return f"unit file {path} written; it belongs into /{UNIT_FOLDER} of the device"


def _check_program(program: str | None, at: Path, system: Path) -> None:
    """Refuse a unit that could not start its program; one that is not there yet is told afterwards.

    Raises:
        DeviceError: UNREACHABLE.
    """
    if program is None or not is_installed(program, system):
        return
    if why := why_unreachable(program, unit_text(program, at), system):
        raise DeviceError(
            Reason.UNREACHABLE,
            f"the service could not start: {why}",
            hint="install galago-edge where everybody may run it: python3 -m venv /opt/galago "
            "(docs/first-device.md), and galago provision --galago /opt/galago/bin/galago; or --no-unit",
        )


def _give_away(root: Path, system: Path) -> None:
    """Let the service's user own what root has made: systemd does that below /var/lib only.

    Raises:
        LinkError: The disk refuses.
    """
    user = user_of(system)
    if user is None or os.geteuid() != 0 or root.stat().st_uid != 0:
        return
    try:
        # the root last: until then nobody but root can put anything in the way
        for _, folders, names, fd in os.fwalk(root, topdown=False):
            for name in (*folders, *names):
                os.chown(name, user.uid, user.gid, dir_fd=fd, follow_symlinks=False)
        os.chown(root, user.uid, user.gid)
    except OSError as error:  # FAT has no owners
        if error.errno != errno.EPERM:
            raise disk_error(error, f"give {root} to {USER}") from error


def _missing(system: Path) -> list[str]:
    """Return what the service still lacks."""
    here = system == Path("/")
    lacks = []
    if not here and not os.path.lexists(system / UNIT_PROGRAM.lstrip("/")):
        lacks.append(f"{UNIT_PROGRAM} is missing: install galago-edge, or change ExecStart in the unit file")
    if not (system / _CONFIG).is_file():
        lacks.append(f"/{_CONFIG} is missing: write one before the service starts, see docs/configuration.md")
    return lacks


def this_program() -> str | None:
    """Return where the galago command that runs now lies; None when it was started in another way."""
    started = Path(sys.argv[0])
    if started.name == "galago" and started.is_absolute():
        return str(started)
    return shutil.which("galago")


def _enabled(wanted: Path) -> str:
    """Make the link that ``systemctl enable`` would make, on a disk of another machine."""
    try:
        wanted.parent.mkdir(exist_ok=True)
        if not os.path.lexists(wanted):
            wanted.symlink_to(f"/{UNIT_FOLDER}/{UNIT_FILE}")
    except OSError as error:  # FAT has no links
        return f"; not enabled ({error.strerror}): systemctl enable galago"
    return " and enabled"


def _write(path: Path, text: str, effects: FileEffects | None = None) -> None:
    """Write a file that everybody may read, so that it is the old or the new one after a power cut."""
    try:
        replace_file(
            path, text.encode(), durable=Durable.LASTING, mode=0o644, effects=effects or FileEffects()
        )
    except OSError as error:
        raise disk_error(error, f"write {path}") from error
