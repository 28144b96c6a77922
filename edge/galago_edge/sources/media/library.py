"""PyAV, imported when first needed and told that its troubles are reported by us."""

from __future__ import annotations

from typing import Any

from galago_edge.contract.errors import DeviceError
from galago_edge.host.extras import Extra, Library, import_extra
from galago_edge.host.machine import this_arch

MEDIA_EXTRA = Extra("media", (Library("av", "av"),))
"""What reads videos, sound in containers and network streams needs."""


def import_av(need: str) -> Any:
    """Return the module ``av``; ``need`` completes "... needs".

    FFmpeg reports bad input on standard error too, beside the error that says the same, and its lines may
    hold addresses with passwords. Galago reports each once, in one line.

    Raises:
        DeviceError: EXTRA_MISSING.
    """
    try:
        av = import_extra("av", MEDIA_EXTRA.name, need)
    except DeviceError as error:
        if this_arch() != "armv7l":
            raise
        raise DeviceError(
            error.reason,
            f"{error}; PyAV has no wheel for 32-bit Arm",
            hint="build it from its sources, or take a camera by USB or HTTP, a sound card or a pipe",
        ) from None
    av.logging.set_level(None)  # PyAV's default too: lines of FFmpeg's threads may not call into Python
    return av
