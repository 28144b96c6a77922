"""Which machine this is."""

from __future__ import annotations

import platform


def this_arch() -> str:
    """Return the machine name that profiles and manifests use for this computer."""
    machine = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
