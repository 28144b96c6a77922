"""The store, its bundles, and the disks that the service writes to."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from galago_edge.contract.attachment import FOLDER as ATTACHMENTS_FOLDER
from galago_edge.contract.errors import DeviceError, GalagoError, NotOwnError, disk_error
from galago_edge.contract.findings import Finding, fail, ok, warn
from galago_edge.contract.profile import PROFILE_FILE
from galago_edge.doctor.case import Case, DoctorCheck
from galago_edge.doctor.probes import run_module
from galago_edge.host.machine import this_arch
from galago_edge.host.own_folders import own_folder

PUBLISHED_KEYS = frozenset(
    {
        "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8",
        "79b5562e8fe654f94078b112e8a98ba7901f853ae695bed7e0e3910bad049664",
    }
)
"""Public halves of the keys in ``test_kit``: fine in a test, on a device a door for everybody."""

_MB = 1_000_000
_LOW_BYTES = 200 * _MB
_OUT_BYTES = 20 * _MB
_FEW_FILES = 1_000


def check_store(case: Case) -> Iterator[Finding]:
    """The state of what is active, twice and whole."""
    if not case.root.is_dir():
        yield fail(
            "store",
            f"there is no folder {case.root}",
            "galago install BUNDLE --root DIR makes one, or give the right one",
        )
        return
    missing = case.broken & {"numpy", "cryptography"}
    if missing:
        yield fail("store", f"cannot be looked at without {' and '.join(sorted(missing))}", "see above")
        return
    from galago_edge.store import Store

    store = Store(case.root)
    state = store.state()
    bad = [f"{copy.name} is {copy.health}" for copy in store.copies() if copy.health != "ok"]
    leftovers = len(store.leftovers())
    if state.slots and bad:
        yield warn(
            "store",
            f"{' and '.join(bad)}; the other copy of the state is whole",
            "install any bundle again: that writes both copies. If it comes back, change the disk",
        )
    elif leftovers:
        yield ok(
            "store", f"{case.root}, {leftovers} leftovers of broken installs, which the next one removes"
        )
    else:
        yield ok("store", f"{case.root} is whole")


def check_board(case: Case) -> Iterator[Finding]:
    """The profile is this machine's, and its runtime is installed."""
    if not _readable(case):
        return
    from galago_edge.bundle.compatibility import check_runtime
    from galago_edge.store import Store

    give = f"galago devices show NAME -o {case.root / PROFILE_FILE}"
    profile = Store(case.root).profile()
    if profile is None:
        yield warn("profile", "none: board and operators are not checked, no accelerator is used", give)
        return
    case.profile = profile
    if profile.arch != this_arch():
        yield fail("profile", f"{profile.id} is for {profile.arch}, this machine is {this_arch()}", give)
        return
    if case.runtime is not None:
        check_runtime(*case.runtime, profile)
    yield ok("profile", f"{profile.id} ({profile.title}), {profile.threads} interpreter threads a stream")


def check_keys(case: Case) -> Iterator[Finding]:
    """Somebody's bundles are taken."""
    if not _readable(case):
        return
    from galago_edge.store import Store

    trusted = Store(case.root).trusted()
    fix = f"galago keys trust KEY.pub --root {case.root}"
    names = ", ".join(f"{keyid[:16]}… {comment}".rstrip() for keyid, comment in trusted.comments.items())
    if len(trusted) >= trusted.threshold:
        both = f"; {trusted.threshold} of them must have signed" if trusted.threshold > 1 else ""
        yield ok("keys", f"trusts {names}{both}")
    elif trusted.comments:
        lacking = f"trusts {names}, and {trusted.threshold} keys must have signed: no bundle can be installed"
        yield warn("keys", lacking, fix)
    else:
        yield warn("keys", "nobody is trusted: no bundle can be installed", fix)
    for keyid in sorted(PUBLISHED_KEYS & set(trusted.comments)):
        yield warn(
            "test key",
            f"{keyid[:16]}… is a key of Galago's tests, whose private half everybody has",
            f"galago keys revoke {keyid} --root {case.root}",
        )


def check_bundles(case: Case) -> Iterator[Finding]:
    """Every byte of every active bundle."""
    if not _readable(case):
        return
    from galago_edge.bundle import TrustedKeys, require_trust
    from galago_edge.store import Store

    store = Store(case.root)
    trusted: TrustedKeys | None = None
    with contextlib.suppress(GalagoError):  # check_keys tells
        trusted = store.trusted()
    slots = store.state().slots
    if not slots:
        yield fail("bundles", "none is installed", f"galago install BUNDLE --root {case.root}")
    for slot, held in sorted(slots.items()):
        name = f"bundle {slot}"
        try:
            bundle = store.open(held.active.id)
            if trusted is not None:
                require_trust(bundle, trusted)
        except GalagoError as error:
            yield fail(name, str(error), error.hint or f"install it again: galago install --root {case.root}")
            continue
        case.bundles[slot] = manifest = bundle.manifest
        yield ok(name, f"{manifest.bundle.version} for a {manifest.modality}, every byte checked")


def check_answers(case: Case) -> Iterator[Finding]:
    """Every installed bundle runs here and answers as it must."""
    if case.broken:
        return  # said already
    for name in sorted(case.bundles):
        outcome = run_module("galago_edge.doctor.golden_child", str(case.root), name)
        if outcome.fault:
            yield fail(
                f"answers {name}",
                outcome.fault,
                f"galago install a bundle that was built for this board; galago status --root {case.root}",
            )
        else:
            yield ok(f"answers {name}", outcome.answer)


def check_disks(case: Case) -> Iterator[Finding]:
    """Every folder that the service writes to can be written and has room."""
    for what, (folder, file) in _written(case).items():
        bad = _file(case, f"disk {what}", file) if file is not None else None
        yield from _disk(case, what, folder) if bad is None else (bad,)


def _readable(case: Case) -> bool:
    """Tell whether the store can be looked at; if not, ``check_store`` has said why."""
    return case.root.is_dir() and not case.broken & {"numpy", "cryptography"}


def _written(case: Case) -> dict[str, tuple[Path, Path | None]]:
    """Return the folders that the service writes to, with the one file that it writes there if it is one."""
    found: dict[str, tuple[Path, Path | None]] = {}
    if case.root.is_dir():  # else check_store has said so
        found["store"] = case.root, None
    settings = case.settings
    if settings is not None:
        from galago_edge.recording.tap_folder import TapFolder
        from galago_edge.service.kept_views import FOLDER as VIEWS_FOLDER
        from galago_edge.sinks.sink_kind import sink_files

        if settings.spool.dir or any(map(_delivers, settings.sinks)):
            found["spool"] = case.root / (settings.spool.dir or "spool"), None
        found |= {name: (file.parent, file) for name, file in sink_files(settings.sinks).items()}
        if settings.samples is not None:
            found["samples"] = Path(settings.samples.dir), None
        if settings.attachments is not None:
            found["attachments"] = case.root / ATTACHMENTS_FOLDER, None
        if settings.recording is not None:
            found["recordings"] = TapFolder(settings.recording, case.root).path, None
        if os.path.lexists(case.root / VIEWS_FOLDER):
            found["views"] = case.root / VIEWS_FOLDER, None
    return found


def _delivers(sink: str) -> bool:
    """Tell whether the records of this sink wait in the spool."""
    from galago_edge.sinks.sink_kind import WriterKind, kind_of

    try:
        return not isinstance(kind_of(sink), WriterKind)
    except DeviceError:  # of a plug-in that cannot be used they do
        return True


def _file(case: Case, name: str, file: Path) -> Finding | None:
    """Return what is wrong with a file that is there already."""
    if file.is_dir():
        return fail(
            name, f"{file} is a folder, expected a file", "name a file in it, or move the folder away"
        )
    if file.exists() and not case.account.may_write(file):
        return fail(name, f"the service's user {case.account.name} may not write {file}", _chown(case, file))
    return None


def _disk(case: Case, what: str, folder: Path) -> Iterator[Finding]:
    name = f"disk {what}"
    there = folder
    while what != "store" and not os.path.lexists(there) and there != there.parent:
        there = there.parent  # it will be made
    try:
        with own_folder(there, {case.root}):  # as the service does
            _write_test(there)
    except OSError as error:
        failure = disk_error(error, f"write to {there}")
        yield fail(name, str(failure), _writing_fix(case, there, error))
        return
    if not case.account.is_me and not case.account.may_write(there):
        yield fail(
            name, f"the service's user {case.account.name} may not write to {there}", _chown(case, there)
        )
        return
    disk = os.statvfs(there)
    free = disk.f_bavail * disk.f_frsize
    met = f"{there}: {free // _MB} MB free of {disk.f_blocks * disk.f_frsize // _MB}, a write test went well"
    fix = f"make room: du -xh --max-depth=2 {there} | sort -h | tail"
    if free < _OUT_BYTES:
        yield fail(name, met, fix)
    elif free < _LOW_BYTES or (disk.f_files and disk.f_favail < _FEW_FILES):
        files = f", {disk.f_favail} files" if disk.f_files else ""
        yield warn(name, f"{met}{files}", fix)
    else:
        yield ok(name, met)


def _write_test(folder: Path) -> None:
    """Write a small file to the disk itself, read it and remove it."""
    path = folder / f".galago-doctor-{secrets.token_hex(6)}"
    content = secrets.token_bytes(4096)
    try:
        with path.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.read_bytes() != content:
            raise OSError(errno.EIO, "what was written is not what is read")
    finally:
        path.unlink(missing_ok=True)


def _writing_fix(case: Case, folder: Path, error: OSError) -> str:
    if isinstance(error, NotOwnError) and (folder.is_symlink() or not folder.is_dir()):
        return "find out who put it there and remove it; the service makes a folder of its own"
    if isinstance(error, NotOwnError) or error.errno in (errno.EACCES, errno.EPERM):
        return _chown(case, folder)
    if error.errno == errno.EROFS:
        return f"sudo mount -o remount,rw {folder}; dmesg shows whether the disk is failing"
    if error.errno == errno.ENOENT:
        return f"sudo install -d -o {case.account.name} {folder}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"make room: du -xh --max-depth=2 {folder} | sort -h | tail"
    if error.errno == errno.ENOTDIR:
        return "move it away, or name another folder: the service makes its own"
    return "dmesg shows what the disk says; save what is on it and change it"


def _chown(case: Case, folder: Path) -> str:
    return f"sudo chown {case.account.name} {folder}"


CHECKS = (
    DoctorCheck("store", check_store, place=70, needs=("numpy", "cryptography")),
    DoctorCheck("profile", check_board, place=75, needs=("store", "interpreter")),
    DoctorCheck("keys", check_keys, place=80, needs=("store",)),
    DoctorCheck("bundles", check_bundles, place=90, needs=("store",)),
    DoctorCheck("answers", check_answers, place=110, needs=("interpreter", "bundles")),
    DoctorCheck("disk", check_disks, place=200, needs=("config", "unit")),
)
