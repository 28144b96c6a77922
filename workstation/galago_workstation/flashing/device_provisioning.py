"""Makes a device out of a machine that is reached by ssh, or out of a disk that is mounted here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from galago_devices import profile_text
from galago_edge.bundle.keys import public_line, read_public_key
from galago_edge.contract.errors import CallerError, LinkError, Reason
from galago_edge.contract.flash_messages import Done, Hello, Provision, Refused
from galago_edge.intake.provisioning import UNIT_FOLDER, provision
from galago_edge.intake.unit_file import DEVICE_ROOT
from galago_workstation.flashing.answers import refusal
from galago_workstation.flashing.links import open_link
from galago_workstation.flashing.mounts import mount_of, settle
from galago_workstation.flashing.targets import Target

_WORK_S = 60.0


def provision_target(
    target: Target, board: str, keys: Sequence[Path], *, replace: bool = False, unit: bool = True
) -> list[str]:
    """Write profile, trusted keys and unit file; return one line for each thing done.

    Raises:
        CallerError: TARGET_UNKNOWN, no such board or folder; KEY_BAD; EXISTS, the device is another board.
        LinkError: The device cannot be reached, or its disk refuses.
        GalagoError: What else a device answers.
    """
    profile = profile_text(board)
    lines = [public_line(*read_public_key(path)) for path in keys]
    if target.kind == "folder":
        return _mounted(Path(target.root), profile, lines, replace=replace, unit=unit)
    asked = Provision(profile=profile, keys=tuple(lines), replace=replace, unit=unit)
    with open_link(target, "--provision") as link:
        try:
            link.await_greeting()
            link.pipe.send(asked)
            answer = link.pipe.from_device(_WORK_S)
        except LinkError as error:
            raise link.explained(error) from None
    if isinstance(answer, Refused):
        raise refusal(answer)
    if isinstance(answer, Hello):
        raise LinkError(
            Reason.TRANSPORT,
            f"{target.name} takes bundles from this key, and no profile or keys",
            hint="galago provision needs a key whose line in authorized_keys names no command or --provision",
        )
    if not isinstance(answer, Done):
        raise LinkError(
            Reason.TRANSPORT,
            "the device sent something else than an answer",
            hint="galago --version, here and there: use the same version of Galago on workstation and device",
        )
    return answer.detail.splitlines()


def _mounted(folder: Path, profile: str, keys: list[str], *, replace: bool, unit: bool) -> list[str]:
    if not folder.is_dir():
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"there is no folder {folder}",
            hint="mount the disk, or make the folder: mkdir -p",
        )
    mount = mount_of(folder)
    mount.check()
    whole = (folder / UNIT_FOLDER).is_dir()  # a disk with a system, not one for data only
    root = folder / DEVICE_ROOT.relative_to("/") if whole else folder
    done = provision(
        root, profile, keys, replace=replace, unit=unit, system=folder if whole else None, at=DEVICE_ROOT
    )
    settle(mount)
    note = mount.note()
    return [*done, note] if note else done
