"""Read the profiles that come with Galago. A device gets a copy of one as ``ROOT/profile.toml``."""

from __future__ import annotations

import difflib
from pathlib import Path

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.profile import DeviceProfile
from galago_edge.host.toml_file import load_toml

_FOLDER = Path(__file__).parent / "profiles"


def names() -> tuple[str, ...]:
    """Return the id of every board in the catalogue, in alphabetical order."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def profile(name: str) -> DeviceProfile:
    """Return the profile with this id.

    Raises:
        CallerError: TARGET_UNKNOWN, with the ids that come near.
    """
    return load_toml(_path(name), DeviceProfile)


def profile_text(name: str) -> str:
    """Return the profile's file as it is, comments included.

    Raises:
        CallerError: TARGET_UNKNOWN, with the ids that come near.
    """
    return _path(name).read_text(encoding="utf-8")


def _path(name: str) -> Path:
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "galago devices list shows all"
        raise CallerError(Reason.TARGET_UNKNOWN, f"the catalogue has no board {name!r}", hint=hint)
    return _FOLDER / f"{name}.toml"
