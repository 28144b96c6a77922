"""What a board is and can do: the profile file that a device carries."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from galago_edge.contract.config import load_toml

PROFILE_FILE = "profile.toml"
"""Name of the profile in a store's root."""


class Runtime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The TFLite interpreter that this board gets."""

    package: Literal["ai-edge-litert", "tflite-runtime"]
    min_version: str
    ops: dict[str, int]
    """Highest version of every builtin operator that an int8 Galago model may use there."""


class DeviceProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of board."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,39}\Z")]
    title: str
    arch: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]{1,20}\Z")]
    """As ``platform.machine()`` gives it there: ``x86_64``, ``aarch64``, ``armv7l``."""
    ram_mb: Annotated[int, msgspec.Meta(ge=32)]
    cores: Annotated[int, msgspec.Meta(ge=1)]
    threads: Annotated[int, msgspec.Meta(ge=1)] = 1
    """Interpreter threads that serve one stream best on this board."""
    microphone_rates_hz: tuple[int, ...] = (16_000, 44_100, 48_000)
    runtime: Runtime


def read_profile(path: Path) -> DeviceProfile:
    """Read one profile file.

    Raises:
        CallerError: CONFIG_BAD; the file does not exist or is not a profile.
    """
    return load_toml(path, DeviceProfile)


def this_arch() -> str:
    """Return the machine name that profiles and manifests use for this computer."""
    machine = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
