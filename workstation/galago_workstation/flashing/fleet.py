"""The fleet file: every device by name, groups of them, and who goes first.

::

    [defaults]
    ssh_config = "ssh_config"          # beside this file; ~/.ssh/config without it
    canary_wait_s = 900                # for the verdict of the canaries

    [device.barn1]
    address = "pi@barn1"               # or a folder, or ssh://host:port
    profile = "raspberry-pi-5"         # refuse it when it is another board
    machine = "0f2c9a51e8d34b76"       # or when it is another machine: as galago flash --results said

    [group.barns]
    members = ["barn1", "barn2", "@cows"]
    canary = ["barn1"]                 # first, and the others only if it is well
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import msgspec

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.host.toml_file import load_toml
from galago_workstation.flashing.targets import Target, parse_target

_DOCS = "docs/flashing.md"
_Machine = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z", description="the 16 hexadecimal digits of a machine")
]
_Name = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z",
        description="1 to 63 letters, digits, dots, _ and -, without spaces, the first a letter or a digit",
    ),
]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every table."""


class Defaults(_Part, frozen=True, kw_only=True):
    """What holds for every device that says nothing else."""

    root: str | None = None
    galago: str = "galago"
    user: str | None = None
    ssh_config: str | None = None
    """Relative to the fleet file."""
    canary_wait_s: Annotated[float, msgspec.Meta(gt=0, le=7 * 86_400)] = 900.0


class Device(_Part, frozen=True, kw_only=True):
    """One device."""

    address: str
    root: str | None = None
    galago: str | None = None
    user: str | None = None
    profile: str | None = None
    machine: _Machine | None = None


class Group(_Part, frozen=True, kw_only=True):
    """Devices that are flashed together."""

    members: tuple[str, ...]
    """Names of devices, and ``@name`` of other groups."""
    canary: tuple[str, ...] = ()
    """Of its devices."""


class Fleet(_Part, frozen=True, kw_only=True):
    """The whole file."""

    defaults: Defaults = Defaults()
    device: dict[_Name, Device] = {}
    group: dict[_Name, Group] = {}


def read_fleet(path: Path) -> Fleet:
    """Read and check a fleet file.

    Raises:
        CallerError: CONFIG_BAD; unknown keys, names that stand for nothing, groups that hold themselves or
            nobody, addresses that are none or the same.
        LinkError: It cannot be read.
    """
    fleet = load_toml(path, Fleet, docs=_DOCS)
    for name in fleet.device.keys() & fleet.group.keys():
        raise _bad(path, f"{name!r} is a device and a group")
    places: dict[tuple[object, ...], str] = {}
    for name in fleet.device:
        try:
            place = _target(fleet, path, name).place()
        except CallerError as error:
            raise CallerError(
                Reason.CONFIG_BAD, f"{path}: the device {name!r}: {error}", hint=error.hint
            ) from None
        if (other := places.setdefault(place, name)) != name:
            raise _bad(path, f"the devices {other!r} and {name!r} are one: they have the same address")
    for name, group in fleet.group.items():
        if not group.members:
            raise _bad(path, f"the group {name!r} has no members")
        members = _members(fleet, name, path, ())
        for canary in group.canary:
            if canary not in members:
                raise _bad(path, f"the canary {canary!r} is not in the group {name!r}")
    return fleet


def fleet_targets(
    fleet: Fleet, path: Path, name: str, root: str | None = None
) -> tuple[list[Target], set[str]]:
    """Return the devices that ``@name`` means, each once and in the file's order, and the names of canaries.

    ``root``: of the store on devices whose address does not say it, before what the file says.

    Raises:
        CallerError: TARGET_UNKNOWN; there is no such device or group, or an address is none.
    """
    if name in fleet.device:
        return [_target(fleet, path, name, root)], set()
    if name not in fleet.group:
        known = ", ".join(f"@{known}" for known in (*fleet.group, *fleet.device)) or "nobody"
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"{path} has no device or group {name!r}",
            hint=f"it knows {known}: galago flash BUNDLE @NAME",
        )
    members = _members(fleet, name, path, ())
    canaries = {f"@{canary}" for canary in fleet.group[name].canary}
    return [_target(fleet, path, member, root) for member in members], canaries


def _members(fleet: Fleet, name: str, path: Path, trail: tuple[str, ...]) -> list[str]:
    if name in trail:
        raise _bad(path, f"groups hold each other: {' -> '.join((*trail, name))}")
    found: dict[str, None] = {}
    for member in fleet.group[name].members:
        if member.startswith("@") and member[1:] in fleet.group:
            found |= dict.fromkeys(_members(fleet, member[1:], path, (*trail, name)))
        elif member in fleet.device:
            found[member] = None
        else:
            raise _bad(path, f"the group {name!r} has the member {member!r}, which is no device or @group")
    return list(found)


def _target(fleet: Fleet, path: Path, name: str, root: str | None = None) -> Target:
    device, defaults = fleet.device[name], fleet.defaults
    config = defaults.ssh_config
    return replace(
        parse_target(device.address, root or device.root or defaults.root),
        name=f"@{name}",
        galago=device.galago or defaults.galago,
        user=device.user or defaults.user,
        profile=device.profile,
        machine=device.machine,
        ssh_config=path.parent / Path(config).expanduser() if config else None,
    )


def _bad(path: Path, text: str) -> CallerError:
    return CallerError(
        Reason.CONFIG_BAD, f"{path}: {text}", hint=f"see {_DOCS}; then run the same command again"
    )
