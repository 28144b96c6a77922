"""What a board is and can do: the profile file that a device carries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from galago_edge.contract.manifest import BackendName

PROFILE_FILE = "profile.toml"
"""Name of the profile in a store's root."""


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """The TFLite runtime that runs models here."""

    package: str
    """``ai-edge-litert`` or ``tflite-runtime``."""
    version: str


class Runtime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The TFLite interpreter that this board gets."""

    package: Literal["ai-edge-litert", "tflite-runtime"]
    min_version: str
    ops: dict[str, int]
    """Highest version of every builtin operator that an int8 Galago model may use there."""


class Accelerator(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A TFLite external delegate that this board may have."""

    library: Annotated[str, msgspec.Meta(min_length=1)]
    """Shared library, as the dynamic loader finds it or as an absolute path: ``libedgetpu.so.1``."""
    options: dict[str, str] = {}
    """Handed to the delegate as it is."""
    max_latency_ratio: Annotated[float, msgspec.Meta(gt=0.0)] = 1.0
    """It gets no stream when its median invoke takes more than so many times the CPU's."""


class DeviceProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of board."""

    id: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[a-z0-9][a-z0-9-]{0,39}\Z", description="1 to 40 small letters, digits and -"
        ),
    ]
    title: str
    arch: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[a-z0-9_]{1,20}\Z", description="1 to 20 small letters, digits and _, such as aarch64"
        ),
    ]
    """As ``platform.machine()`` gives it there: ``x86_64``, ``aarch64``, ``armv7l``."""
    ram_mb: Annotated[int, msgspec.Meta(ge=32)]
    cores: Annotated[int, msgspec.Meta(ge=1)]
    threads: Annotated[int, msgspec.Meta(ge=1)] = 1
    """Interpreter threads that serve one stream best on this board."""
    microphone_rates_hz: tuple[int, ...] = (16_000, 44_100, 48_000)
    accelerator: dict[BackendName, Accelerator] = {}
    """By backend name, the best first."""
    runtime: Runtime
