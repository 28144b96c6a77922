"""PyAV, imported when first needed and told that its troubles are reported by us."""

from __future__ import annotations

from typing import Any

from galago_edge.host.extras import Extra, Library, import_extra

MEDIA_EXTRA = Extra("media", (Library("av", "av"),))
"""What reads videos, sound in containers and network streams needs."""


def import_av(need: str) -> Any:
    """Return the module ``av``; ``need`` completes "... needs".

    FFmpeg reports bad input on standard error too, beside the error that says the same, and its lines may
    hold addresses with passwords. Galago reports each once, in one line.

    Raises:
        DeviceError: EXTRA_MISSING. There is no wheel of it for 32-bit Arm.
    """
    av = import_extra("av", MEDIA_EXTRA.name, need)
    av.logging.set_level(None)  # PyAV's default too: lines of FFmpeg's threads may not call into Python
    return av
