"""The library ``mcap``, imported when first needed; and the extra that installs it."""

from __future__ import annotations

from typing import Any

from galago_edge.host.extras import Extra, Library, import_extra

RECORDING_EXTRA = Extra("recording", (Library("mcap", "mcap"), Library("soxr", "soxr")))
"""``mcap`` reads and writes recordings; ``soxr`` converts rates that the exact filter does not know."""


def mcap_records(need: str) -> Any:
    """Return ``mcap.records``; ``need`` completes "... needs".

    Raises:
        DeviceError: EXTRA_MISSING.
    """
    return import_extra("mcap.records", "recording", need)
