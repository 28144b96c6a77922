"""What is said when a store has no bundle of a name: which names it has, and which may have been meant."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from galago_edge.contract.errors import DeviceError, Reason
from galago_edge.contract.known_names import did_you_mean


def missing_bundle(root: Path, name: str = "", names: Iterable[str] = ()) -> DeviceError:
    """Return NO_BUNDLE: the store at ``root`` has no bundle, or none of ``name`` beside ``names``."""
    others = sorted({*names} - {name})
    named = f" named {name}, it has {', '.join(others) or 'none at all'}" if name else ""
    return DeviceError(
        Reason.NO_BUNDLE,
        f"{root} has no bundle{named}{did_you_mean(name, others)}",
        hint=f"galago install BUNDLE --root {root}",
    )
