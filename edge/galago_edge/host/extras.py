"""Optional libraries: imported when first needed, and named when they are missing."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

from galago_edge.contract.errors import DeviceError, Reason


@dataclass(frozen=True, slots=True)
class Library:
    """One optional library."""

    module: str
    """As it is imported: ``paho.mqtt.client``."""
    distribution: str
    """As it is installed: ``paho-mqtt``."""


@dataclass(frozen=True, slots=True)
class Extra:
    """What ``galago-edge[name]`` installs."""

    name: str
    libraries: tuple[Library, ...]


def import_extra(module: str, extra: str, need: str) -> ModuleType:
    """Import ``module``, which the extra ``galago-edge[extra]`` installs.

    ``need`` completes "... needs": what the caller wanted to do.

    Raises:
        DeviceError: EXTRA_MISSING, with the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise  # installed but broken: say so
        raise DeviceError(
            Reason.EXTRA_MISSING,
            f"{need} needs the Python module {module}, which is not installed",
            hint=f'pip install "galago-edge[{extra}]"',
        ) from None
