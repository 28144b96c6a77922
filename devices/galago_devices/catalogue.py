"""Read the profiles of boards. A device gets a copy of one as ``ROOT/profile.toml``.

A board is one TOML file, ``profiles/ID.toml``. Other distributions bring theirs through the entry-point group
``galago.boards``: the name is the board's id, the value the package that holds ``ID.toml``. How to add one:
docs/extending.md.
"""

from __future__ import annotations

import difflib
from importlib import import_module, resources
from importlib.metadata import EntryPoint
from pathlib import Path

from galago_edge.contract.errors import CallerError, GalagoError, Reason
from galago_edge.contract.profile import DeviceProfile
from galago_edge.host.plugins import bad_plugin, brought, fault_of
from galago_edge.host.toml_file import load_toml

GROUP = "galago.boards"
_FOLDER = Path(__file__).parent / "profiles"


def names() -> tuple[str, ...]:
    """Return the id of every board in the catalogue, in alphabetical order."""
    return tuple(sorted({*_own(), *_brought()}))


def profile(name: str) -> DeviceProfile:
    """Return the profile with this id.

    Raises:
        CallerError: TARGET_UNKNOWN, with the ids that come near.
        DeviceError: PLUGIN_BAD; another distribution's board cannot be read.
    """
    if name in _own():
        return load_toml(_FOLDER / f"{name}.toml", DeviceProfile)
    point = _point(name)
    with resources.as_file(resources.files(_module(point)) / f"{name}.toml") as path:
        try:
            found = load_toml(path, DeviceProfile)
        except GalagoError as error:
            raise bad_plugin("board", point, fault_of(error)) from None
    if found.id != name:
        raise bad_plugin("board", point, f"its profile calls itself {found.id}")
    return found


def profile_text(name: str) -> str:
    """Return the profile's file as it is, comments included.

    Raises:
        CallerError: TARGET_UNKNOWN, with the ids that come near.
        DeviceError: PLUGIN_BAD; another distribution's board cannot be read.
    """
    if name in _own():
        return (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    profile(name)
    return (resources.files(_module(_point(name))) / f"{name}.toml").read_text(encoding="utf-8")


def _own() -> tuple[str, ...]:
    return tuple(path.stem for path in _FOLDER.glob("*.toml"))


def _brought() -> dict[str, EntryPoint]:
    """Return where boards of other distributions are, by id; one of our own wins over its namesake."""
    return {point.name: point for point in brought(GROUP) if point.name not in _own()}


def _point(name: str) -> EntryPoint:
    try:
        return _brought()[name]
    except KeyError:
        near = difflib.get_close_matches(name, names(), n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "galago devices list shows all"
        raise CallerError(Reason.TARGET_UNKNOWN, f"the catalogue has no board {name!r}", hint=hint) from None


def _module(point: EntryPoint) -> str:
    """Return the package that holds the profile, once it is known to be importable."""
    try:
        if not hasattr(import_module(point.module), "__path__"):
            raise bad_plugin("board", point, "it is a module, expected the package that holds the profile")
    except GalagoError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 (somebody else's code)
        raise bad_plugin("board", point, fault_of(error)) from None
    return point.module
